"""Values and gradients of some layers against PyTorch's, in float32; `tests/testing/proofs.py` has all with a twin."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from cnnkit.components import Layer
from cnnkit.layers import AvgPool2D, BatchNorm1D, BatchNorm2D, Conv2D, MaxPool2D, Pad2D
from cnnkit.testing import PlainContext
from cnnkit.types import Array, Shape
from tests.testing.twins import copy_parameters, ours, theirs

torch = pytest.importorskip("torch", reason="torch==2.13.0 is not installed")


def built(layer: Layer, in_shape: Shape, rng: np.random.Generator, module: Any) -> tuple[Layer, Shape]:
    """The layer with random parameters, the same as the module's, and its output's shape."""
    out_shape = layer.build(in_shape, rng)
    copy_parameters(layer, module, rng)
    return layer, out_shape


def assert_same(layer: Layer, out_shape: Shape, module: Any, x: Array, rng: np.random.Generator) -> None:
    dy = rng.normal(size=(len(x), *out_shape)).astype("f4")
    y, dx, grads = ours(layer, x, dy)
    expected_y, expected_dx, expected_grads = theirs(module, x, dy)
    assert_close([y, dx, *grads.values()], [expected_y, expected_dx, *expected_grads])


def assert_close(ours: list[Array], theirs: list[Array]) -> None:
    for given, expected in zip(ours, theirs, strict=True):
        assert given.dtype == np.float32
        assert given.shape == expected.shape
        assert np.abs(given - expected).max() <= 1e-5 * max(1.0, np.abs(expected).max())


def pair(rng: np.random.Generator, low: int, high: int) -> tuple[int, int]:
    return int(rng.integers(low, high + 1)), int(rng.integers(low, high + 1))


@pytest.mark.parametrize("seed", range(20))
def test_conv2d(seed: int) -> None:
    rng = np.random.default_rng(seed)
    groups, inner, outer = (int(n) for n in rng.integers(1, 4, 3))
    kernel, stride, padding, dilation = pair(rng, 1, 3), pair(rng, 1, 3), pair(rng, 0, 3), pair(rng, 1, 3)
    channels, filters, bias = groups * inner, groups * outer, bool(seed % 2)
    module = torch.nn.Conv2d(channels, filters, kernel, stride, padding, dilation, groups, bias)
    layer = Conv2D(filters, kernel, stride, padding, dilation, groups, bias)
    x = rng.normal(size=(3, channels, 9, 8)).astype("f4")
    assert_same(*built(layer, (channels, 9, 8), rng, module), module, x, rng)


@pytest.mark.parametrize("kernel", [(1, 1), (3, 3), (3, 5), (5, 1)])
@pytest.mark.parametrize("dilation", [1, 2])
def test_conv2d_same_padding(kernel: tuple[int, int], dilation: int) -> None:
    rng = np.random.default_rng(0)
    module = torch.nn.Conv2d(2, 4, kernel, padding="same", dilation=dilation)
    layer = Conv2D(4, kernel, padding="same", dilation=dilation)
    assert_same(*built(layer, (2, 7, 8), rng, module), module, rng.normal(size=(3, 2, 7, 8)).astype("f4"), rng)


@pytest.mark.parametrize(("cls", "name"), [(MaxPool2D, "MaxPool2d"), (AvgPool2D, "AvgPool2d")])
def test_pooling(cls: type[MaxPool2D | AvgPool2D], name: str) -> None:
    for seed in range(40):
        rng = np.random.default_rng(seed)
        size, stride = pair(rng, 1, 3), pair(rng, 1, 4)
        padding = int(rng.integers(0, size[0] // 2 + 1)), int(rng.integers(0, size[1] // 2 + 1))
        x = rng.normal(size=(3, 2, 8, 7)).astype("f4")
        options = {"ceil_mode": bool(seed % 2)} | ({"count_include_pad": seed % 4 < 2} if cls is AvgPool2D else {})
        module = getattr(torch.nn, name)(size, stride, padding, **options)
        assert_same(*built(cls(size, stride, padding, **options), (2, 8, 7), rng, module), module, x, rng)


@pytest.mark.parametrize(("mode", "name"), [("reflect", "ReflectionPad2d"), ("edge", "ReplicationPad2d")])
def test_padding_with_what_is_there(mode: str, name: str) -> None:
    for seed in range(8):
        rng = np.random.default_rng(seed)
        (top, bottom), (left, right) = pair(rng, 0, 4), pair(rng, 0, 5)
        module = getattr(torch.nn, name)((left, right, top, bottom))
        layer = Pad2D(((top, bottom), (left, right)), mode)
        assert_same(*built(layer, (2, 5, 6), rng, module), module, rng.normal(size=(3, 2, 5, 6)).astype("f4"), rng)


def test_of_equal_maxima_one_gets_the_gradient_as_in_torch() -> None:
    """Which one differs; what each window gets in all does not."""
    rng = np.random.default_rng(0)
    layer, out_shape = built(MaxPool2D(2), (2, 8, 6), rng, torch.nn.MaxPool2d(2))
    x, dy = rng.integers(2, size=(3, 2, 8, 6)).astype("f4"), rng.normal(size=(3, *out_shape)).astype("f4")
    given, expected = (
        dx.reshape(3, 2, 4, 2, 3, 2) for dx in (ours(layer, x, dy)[1], theirs(torch.nn.MaxPool2d(2), x, dy)[1])
    )
    np.testing.assert_array_equal(given.sum(axis=(3, 5)), expected.sum(axis=(3, 5)))
    assert ((given != 0).sum(axis=(3, 5)) == 1).all()


@pytest.mark.parametrize(
    ("cls", "name", "shape"),
    [(BatchNorm2D, "BatchNorm2d", (3, 4, 5)), (BatchNorm1D, "BatchNorm1d", (3, 4)), (BatchNorm1D, "BatchNorm1d", (3,))],
)
def test_batch_norm_over_several_steps(cls: type[BatchNorm1D | BatchNorm2D], name: str, shape: Shape) -> None:
    rng = np.random.default_rng(0)
    module = getattr(torch.nn, name)(3, momentum=0.3, eps=1e-3)
    layer, out_shape = built(cls(momentum=0.3, epsilon=1e-3), shape, rng, module)
    for _ in range(4):
        x = rng.normal(rng.normal(), 2, (4, *shape)).astype("f4")
        assert_same(layer, out_shape, module, x, rng)
        for name, value in layer.buffers.items():
            np.testing.assert_allclose(value, getattr(module, name).numpy(), rtol=1e-5, atol=1e-6)
    layer.buffers = {name: value.astype("f4") for name, value in layer.buffers.items()}
    y, _ = layer.forward(x, PlainContext(training=False, dtype="float32"))
    with torch.no_grad():
        np.testing.assert_allclose(y, module.eval()(torch.tensor(x)).numpy(), rtol=1e-5, atol=1e-5)
