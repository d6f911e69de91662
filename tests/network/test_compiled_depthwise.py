"""Depthwise convolution in compiled loops against the plain layers that it stands for."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from cnnkit.components import Layer
from cnnkit.errors import ShapeError
from cnnkit.layers import Conv2D, DepthwiseConv2D, LeakyReLU, ReLU, ReLU6, Tanh
from cnnkit.network.kernels import kernel_for
from cnnkit.network.kernels.compiled.depthwise_kernel import LANES, DepthwiseKernel
from cnnkit.network.kernels.compiled.vector_code import LANES as LANES_HERE
from cnnkit.types import Array
from tests.network.test_compiled_kernels import check, fill, run
from tests.network.test_kernels import plain

Built = tuple[list[Layer], tuple[int, ...], tuple[int, ...], np.random.Generator]


def built(seed: int) -> Built:
    """Layers that fit their images."""
    rng = np.random.default_rng(seed)
    while True:
        stride, dilation = ([int(n) for n in rng.choice(choice, 2)] for choice in ([1, 1, 2, 3], [1, 1, 1, 2, 3]))
        size = int(rng.integers(2, 6)), int(rng.integers(2, 6))
        padding = int(rng.integers(size[0] + 1)), int(rng.integers(size[1] + 1))
        pairs = (stride[0], stride[1]), padding, (dilation[0], dilation[1])
        activation: list[Layer] = [ReLU(), ReLU6(), LeakyReLU(0.1), Tanh()]
        layers: list[Layer] = [
            DepthwiseConv2D(size, *pairs, bias=bool(rng.integers(2))),
            *([activation[rng.integers(3)]] if rng.integers(2) else []),
        ]
        shape = int(rng.integers(2, 6)), int(rng.integers(1, 16)), int(rng.integers(1, 16))
        out: tuple[int, ...] = shape
        try:
            for layer in layers:
                out = layer.build(out, rng)
        except ShapeError:
            continue
        fill(layers[0], rng.standard_normal)
        return layers, shape, out, rng


def taken(layers: list[Layer], needs_dx: bool = True) -> tuple[DepthwiseKernel, int]:
    found = kernel_for(layers, needs_dx, compiled=True)
    assert found is not None
    kernel, used = found
    assert isinstance(kernel, DepthwiseKernel)
    return kernel, used


def images(rng: np.random.Generator, shape: tuple[int, ...]) -> Array:
    return rng.standard_normal(shape).astype(np.float32)


@pytest.mark.parametrize("seed", range(200))
def test_a_depthwise_convolution_equals_its_layers(seed: int, compiled_kernels: Path) -> None:
    layers, shape, out_shape, rng = built(seed)
    samples = int(rng.choice([LANES, 2 * LANES, 3 * LANES, 7]))
    x, dy = images(rng, (samples, *shape)), images(rng, (samples, *out_shape))
    needs_dx = bool(rng.integers(2))
    kernel, used = taken(layers, needs_dx)
    assert used == len(layers)
    check(kernel, layers, x, dy, needs_dx)


def test_images_that_windows_miss_get_no_gradient(compiled_kernels: Path) -> None:
    layers: list[Layer] = [DepthwiseConv2D(2, 3, 2)]  # its rows are 2 and 1 before the image, and 1 and 2 behind
    shape = layers[0].build((3, 1, 9), np.random.default_rng(0))
    fill(layers[0], np.ones)
    y, dx, grads = run(taken(layers)[0], np.ones((16, 3, 1, 9), np.float32), np.ones((16, *shape), np.float32))
    assert dx is not None
    assert (y == 1).all()  # the bias
    assert not dx.any()
    assert not grads["weight"].any()


def test_long_sums_lose_few_digits(compiled_kernels: Path) -> None:
    """All lanes together add up 128 * 40 * 40 products for each weight, in float32 few at a time."""
    layers: list[Layer] = [DepthwiseConv2D(3, padding=1, bias=False)]
    layers[0].build((2, 40, 40), np.random.default_rng(0))
    fill(layers[0], np.ones)
    rng = np.random.default_rng(1)
    x, dy = (rng.uniform(1, 2, (128, 2, 40, 40)).astype(np.float32) for _ in range(2))
    found = run(taken(layers)[0], x, dy)[2]["weight"][:, 0, 1, 1]
    np.testing.assert_allclose(found, np.einsum("nchw,nchw->c", x, dy, dtype=np.float64), rtol=1e-6)


def test_what_is_not_finite_stays_so(compiled_kernels: Path) -> None:
    layers: list[Layer] = [DepthwiseConv2D(2), ReLU6()]
    shape: tuple[int, ...] = (2, 3, 5)
    for layer in layers:
        shape = layer.build(shape, np.random.default_rng(0))
    fill(layers[0], np.ones)
    x = images(np.random.default_rng(1), (16, 2, 3, 5))
    for number, value in enumerate((np.nan, np.inf, -np.inf)):
        x.reshape(16, -1)[:, number::7] = value
    dy = np.ones((16, *shape), np.float32)
    with np.errstate(invalid="ignore"):
        np.testing.assert_allclose(run(taken(layers)[0], x, dy)[0], plain(layers, x, dy)[0], rtol=1e-6)


def test_what_it_leaves_to_others(compiled_kernels: Path) -> None:
    for layer in (Conv2D(4, 3), Conv2D(4, 3, groups=2), DepthwiseConv2D(3, multiplier=2), Conv2D(1, 3)):
        layer.build((1 if layer.filters == 1 else 4, 8, 8), np.random.default_rng(0))
        fill(layer, np.zeros)
        assert DepthwiseKernel.take([layer], True) is None


def test_the_samples_fill_vectors() -> None:
    assert LANES % LANES_HERE == 0
