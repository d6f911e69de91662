"""Every kernel against the plain layers that it stands for, over random shapes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from cnnkit.components import Layer, Merge
from cnnkit.errors import ShapeError
from cnnkit.layers import BatchNorm1D, BatchNorm2D, Conv2D, Dense, Flatten, MaxPool2D, ReLU
from cnnkit.layers.batch_norm import statistics
from cnnkit.network import Sequential
from cnnkit.network.execution.tile_context import TileContext, Workspace
from cnnkit.network.kernels import kernel_for
from cnnkit.network.kernels.norm_kernel import BatchNormKernel
from cnnkit.testing import PlainContext
from cnnkit.types import Array, Grads


def plain(layers: Sequence[Layer], x: Array, dy: Array) -> tuple[Array, Array, Grads]:
    """Forward and backward, one layer after another; the gradients of the first one."""
    ctx, caches = PlainContext(training=True, seed=0), []
    for layer in layers:
        x, cache = layer.forward(x, ctx)
        caches.append(cache)
    grads: Grads = {}
    for layer, cache in zip(reversed(layers), reversed(caches), strict=True):
        dy, grads = layer.backward(dy, cache, ctx)
    return x, dy, grads


def random_chain(rng: np.random.Generator) -> tuple[list[Layer], tuple[int, int, int]]:
    kernel, stride = (int(n) for n in rng.integers(1, 4, 2))
    padding = rng.choice(["same", "valid", "0", "1", "2"])
    conv = Conv2D(
        int(rng.integers(1, 6)),
        (kernel, int(rng.integers(1, 4))),
        stride=(stride, int(rng.integers(1, 3))),
        padding=int(padding) if padding.isdigit() else padding,
        bias=bool(rng.integers(2)),
    )
    tail: list[Layer] = [MaxPool2D(int(rng.integers(2, 4))), ReLU()]
    rng.shuffle(tail)
    channels, (height, width) = int(rng.integers(1, 4)), rng.integers(1, 14, 2)
    return [conv, *tail[: int(rng.integers(3))]], (channels, int(height), int(width))


def built_chain(rng: np.random.Generator) -> tuple[list[Layer], tuple[int, int, int], tuple[int, ...]]:
    """Layers that fit their images, which may be as small as one pixel."""
    while True:
        layers, shape = random_chain(rng)
        out_shape: tuple[int, ...] = shape
        try:
            for layer in layers:
                out_shape = layer.build(out_shape, rng)
        except ShapeError:
            continue
        return layers, shape, out_shape


def in_order(x: Array, order: int) -> Array:
    """The same images with samples first, rows first, or channels first in memory."""
    axes = [(0, 1, 2, 3), (2, 1, 3, 0), (1, 2, 3, 0)][order]
    return np.ascontiguousarray(x.transpose(axes)).transpose(np.argsort(axes))


def assert_kernel_equals(layers: list[Layer], shape: tuple[int, int, int], rng: np.random.Generator) -> None:
    """Build the layers; forward and backward of their kernel give what they give."""
    out_shape: tuple[int, ...] = shape
    for layer in layers:
        out_shape = layer.build(out_shape, rng)
    for name, value in layers[0].params.items():
        layers[0].params[name] = value + rng.normal(size=value.shape)
    # Few distinct values, so that pooling windows have ties.
    x = in_order(rng.integers(-2, 3, (5, *shape)).astype(np.float64), int(rng.integers(3)))
    dy = (
        in_order(rng.normal(size=(5, *out_shape)), int(rng.integers(3)))
        if len(out_shape) == 3
        else rng.normal(size=(5, *out_shape))
    )
    found = kernel_for(layers, needs_dx=True)
    assert found is not None
    kernel, used = found
    assert not isinstance(kernel, Merge)
    assert used == len(layers)

    y_expected, dx_expected, grads_expected = plain(layers, x, dy)
    workspace = Workspace(np.dtype(np.float64))
    for _ in range(2):  # the second time, the workspace holds what the first left behind
        ctx = TileContext(workspace, True, (0,))
        y, cache = kernel.forward(x, ctx)
        np.testing.assert_allclose(y, y_expected, rtol=1e-12, atol=1e-12)
        dx, grads = kernel.backward(dy, cache, ctx)
        assert dx is not None
        np.testing.assert_allclose(dx, dx_expected, rtol=1e-10, atol=1e-10)
        assert grads.keys() == grads_expected.keys()
        for name, grad in grads.items():
            np.testing.assert_allclose(grad, grads_expected[name], rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("seed", range(150))
def test_convolution_equals_its_layers(seed: int) -> None:
    rng = np.random.default_rng(seed)
    layers, shape, _ = built_chain(rng)
    assert_kernel_equals(layers, shape, rng)


def test_shifted_pixels_are_not_taken_for_their_own() -> None:
    """A kernel one pixel wide with stride 2 and padding: as many columns come out as go in, but others."""
    conv = Conv2D(2, (3, 1), stride=(1, 2), padding=(1, 1))
    conv.build((2, 3, 2), np.random.default_rng(0))
    x, dy = np.random.default_rng(1).normal(size=(2, 4, 2, 3, 2))
    kernel, _ = kernel_for([conv], needs_dx=True) or pytest.fail("there is no kernel")
    ctx = TileContext(Workspace(np.dtype(np.float64)), True, (0,))
    _, cache = kernel.forward(x, ctx)
    np.testing.assert_allclose(kernel.backward(dy, cache, ctx)[0], plain([conv], x, dy)[1])  # type: ignore[arg-type]  # as needs_dx asks, there is one


@pytest.mark.parametrize("padding", [0, 1])
def test_a_network_that_pools_to_one_pixel(padding: int) -> None:
    model = Sequential(
        ["Conv2D(8, 3)", "ReLU()", "AvgPool2D(4)", f"Conv2D(10, 1, padding={padding})", "Flatten()"], (1, 6, 6)
    )
    x = np.random.default_rng(0).normal(size=(5, 1, 6, 6))
    np.testing.assert_allclose(model.logits(x), model.trace(x)[-1], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("means", [(0.7, 0.7), (1e7, 1e7 + 1), (0, 1e4), (-1e4, 0)], ids=str)
@pytest.mark.parametrize("relu", [False, True])
@pytest.mark.parametrize("seed", range(10))
def test_batch_norm_equals_its_layers(seed: int, relu: bool, means: tuple[float, float]) -> None:
    """Of images, signals and vectors; means: of two tiles; far above the deviation, they are summed about a shift."""
    rng = np.random.default_rng(seed)
    shape = tuple(int(n) for n in rng.integers(1, 6, 3 - seed % 3))
    norm = BatchNorm1D() if seed % 3 else BatchNorm2D()
    norm.build(shape, rng)
    norm.params = {name: rng.normal(size=value.shape) for name, value in norm.params.items()}
    norm.buffers = {name: rng.uniform(0.5, 2, value.shape) for name, value in norm.buffers.items()}
    found = kernel_for([norm, ReLU()] if relu else [norm], needs_dx=True)
    assert found is not None
    kernel, used = found
    assert isinstance(kernel, BatchNormKernel)
    assert used == 1 + relu

    # The plain layer in one context, the kernel in others.
    tiles = [rng.normal(mean, 2, (4, *shape)) for mean in means]
    dys = rng.normal(0.7, 2, (2, 4, *shape))
    rectifier, plain_ctx = ReLU(), PlainContext(training=True, seed=0)
    contexts = [TileContext(Workspace(np.dtype(np.float64)), True, (0,)) for _ in tiles]
    total = norm.join([norm.partial(tile, plain_ctx) for tile in tiles])
    joined = kernel.join([kernel.partial(tile, ctx) for tile, ctx in zip(tiles, contexts, strict=True)])
    np.testing.assert_allclose(statistics(joined)[1:], statistics(total)[1:], rtol=1e-12)
    expected, caches, kernel_caches = [], [], []
    for tile, dy, ctx in zip(tiles, dys, contexts, strict=True):
        plain_ctx.total = ctx.total = total
        y, cache = norm.forward(tile, plain_ctx)
        y, mask = rectifier.forward(y, plain_ctx) if relu else (y, None)
        expected.append(rectifier.backward(dy, mask, plain_ctx)[0] if relu else dy)
        caches.append(cache)
        actual, kernel_cache = kernel.forward(tile, ctx)
        kernel_caches.append(kernel_cache)
        np.testing.assert_allclose(actual, y, rtol=1e-9, atol=1e-9)
    partials = [norm.backward_partial(dy, cache, plain_ctx) for dy, cache in zip(expected, caches, strict=True)]
    for i, ctx in enumerate(contexts):
        ctx.partial = kernel.backward_partial(dys[i], kernel_caches[i], ctx)
        np.testing.assert_allclose(ctx.partial, partials[i], rtol=1e-8, atol=1e-9)
        plain_ctx.partial, plain_ctx.total = partials[i], np.sum(partials, axis=0)
        ctx.total = np.sum(partials, axis=0)
        dx, grads = norm.backward(expected[i], caches[i], plain_ctx)
        actual_dx, actual_grads = kernel.backward(dys[i], kernel_caches[i], ctx)
        np.testing.assert_allclose(actual_dx, dx, rtol=1e-8, atol=1e-9)
        for name, grad in grads.items():
            np.testing.assert_allclose(actual_grads[name], grad, rtol=1e-8, atol=1e-9)


def test_the_input_of_a_network_needs_no_gradient() -> None:
    model = Sequential([Conv2D(2, 3), ReLU(), Conv2D(2, 3), Flatten(), Dense(2)], (1, 6, 6))
    assert [getattr(step.run, "needs_dx", None) for step in model.engine().steps[:2]] == [False, True]


def test_kernels_take_what_they_can_and_leave_the_rest() -> None:
    def steps(*layers: Layer) -> list[tuple[str, int]]:
        model = Sequential(layers, (2, 12, 12))
        return [(type(step.run).__name__, step.output) for step in model.engine().steps]

    assert steps(Conv2D(2, 3), ReLU(), MaxPool2D(2), ReLU()) == [("ConvKernel", 2), ("ActivationKernel", 3)]
    assert steps(Conv2D(2, 3), MaxPool2D(2), ReLU()) == [("ConvKernel", 2)]
    assert steps(Conv2D(2, 3), MaxPool2D(3, stride=2)) == [("ConvKernel", 0), ("MaxPool2D", 1)]
    assert steps(Conv2D(2, 3), BatchNorm2D(), ReLU())[0] == ("ConvKernel", 0)
    assert steps(Conv2D(2, 3), MaxPool2D(1)) == [("ConvKernel", 1)]
    assert steps(ReLU(), MaxPool2D(1)) == [("ActivationKernel", 0), ("MaxPool2D", 1)]
    assert steps(Conv2D(2, 3, groups=2)) == [("GroupedConvKernel", 0)]
    assert steps(Conv2D(2, 3, dilation=2)) == [("Conv2D", 0)]


def test_values_that_others_use_are_not_fused_away() -> None:
    model = Sequential(["Conv2D(2, 3, padding=1)", "Residual(ReLU())"], (1, 6, 6))
    assert [(type(step.run).__name__, step.output) for step in model.engine().steps] == [
        ("ConvKernel", 0),
        ("ActivationKernel", 1),
        ("Residual", 2),
    ]


@pytest.mark.parametrize("seed", range(12))
def test_wide_convolutions_equal_their_layers(seed: int) -> None:
    """With as many channels as Winograd's way wants."""
    rng = np.random.default_rng(seed)
    conv = Conv2D(int(rng.integers(16, 40)), (3, int(rng.integers(1, 4))), padding=int(rng.integers(3)))
    tails: list[list[Layer]] = [[], [ReLU()], [MaxPool2D(2)], [MaxPool2D(3), ReLU()]]
    channels, height, width = (int(n) for n in rng.integers((16, 6, 6), (40, 12, 12)))
    assert_kernel_equals([conv, *tails[seed % 4]], (channels, height, width), rng)
