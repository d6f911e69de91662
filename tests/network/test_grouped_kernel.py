"""The kernel for convolutions with groups against the plain layers that it stands for, over random shapes."""

from __future__ import annotations

import copy
from collections.abc import Sequence

import numpy as np
import pytest

from cnnkit.components import Layer
from cnnkit.errors import ShapeError
from cnnkit.layers import Conv2D, DepthwiseConv2D, ReLU
from cnnkit.network.execution.tile_context import TileContext, Workspace
from cnnkit.network.kernels import grouped_kernel, kernel_for
from cnnkit.network.kernels.epilogue import Epilogue, Rectifier
from cnnkit.network.kernels.grouped_kernel import DepthwiseCorrelation, DepthwiseGradient, GroupedConvKernel
from cnnkit.testing import PlainContext
from cnnkit.types import Array, Context, Grads, Shape


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


def built(conv: Conv2D, in_shape: Shape, rng: np.random.Generator) -> Conv2D:
    """The layer, with biases other than zero."""
    conv.build(in_shape, rng)
    conv.params = {name: value + rng.normal(size=value.shape) for name, value in conv.params.items()}
    return conv


def random_convolution(rng: np.random.Generator, in_group: int, out_group: int) -> tuple[Conv2D, Shape]:
    """Of 2 to 4 groups with these channels each, on images that may be as small as the kernel."""
    while True:
        groups, padding = int(rng.integers(2, 5)), rng.choice(["same", "0", "1", "2"])
        conv = Conv2D(
            groups * out_group,
            (int(rng.integers(1, 4)), int(rng.integers(1, 4))),
            stride=(int(rng.integers(1, 3)), int(rng.integers(1, 3))),
            padding=int(padding) if padding.isdigit() else padding,
            groups=groups,
            bias=bool(rng.integers(2)),
        )
        in_shape = (groups * in_group, int(rng.integers(1, 10)), int(rng.integers(1, 10)))
        try:
            return built(conv, in_shape, rng), in_shape
        except ShapeError:
            continue


def images(shape: Shape, pixels_first: bool, rng: np.random.Generator) -> Array:
    """(N, C, H, W), in memory with the samples or the pixels first."""
    if pixels_first:
        return rng.normal(size=(*shape[2:], shape[1], shape[0])).transpose(3, 2, 0, 1)
    return rng.normal(size=shape)


def assert_kernel_equals(
    conv: Conv2D, expected: Conv2D, in_shape: Shape, rng: np.random.Generator, samples: int = 5
) -> None:
    """What the kernel of `conv` gives, forward and backward, is what the plain layer `expected` gives."""
    relu, pixels_first = bool(rng.integers(2)), bool(rng.integers(2))
    x = images((samples, *in_shape), pixels_first, rng)
    dy = images((samples, conv.filters, *conv.window.out_size), pixels_first, rng)
    y_expected, dx_expected, grads_expected = plain([expected, ReLU()] if relu else [expected], x, dy)
    kernel = GroupedConvKernel(conv, Epilogue(Rectifier() if relu else None), needs_dx=True)
    workspace = Workspace(np.dtype(np.float64))

    def check(ctx: Context) -> None:
        y, cache = kernel.forward(x, ctx)
        np.testing.assert_allclose(y, y_expected, rtol=1e-10, atol=1e-12)
        dx, grads = kernel.backward(dy, cache, ctx)
        assert dx is not None
        np.testing.assert_allclose(dx, dx_expected, rtol=1e-10, atol=1e-12)
        assert grads.keys() == grads_expected.keys()
        for name, grad in grads.items():
            np.testing.assert_allclose(grad, grads_expected[name], rtol=1e-10, atol=1e-12)

    check(PlainContext())  # whose memory is full of NaN
    for _ in range(3):  # the first time plans the memory; later ones find in it what those before left behind
        check(TileContext(workspace, True, (0,)))


@pytest.mark.parametrize("seed", range(24))
def test_depthwise_convolution_equals_its_layers(seed: int) -> None:
    rng = np.random.default_rng(seed)
    conv, in_shape = random_convolution(rng, 1, 1)
    assert_kernel_equals(conv, conv, in_shape, rng)


@pytest.mark.parametrize("seed", range(16))
def test_several_filters_for_each_channel_equal_their_layers(seed: int) -> None:
    rng = np.random.default_rng(seed)
    conv, in_shape = random_convolution(rng, 1, int(rng.integers(2, 4)))
    assert_kernel_equals(conv, conv, in_shape, rng)


@pytest.mark.parametrize("seed", range(32))
def test_groups_of_channels_equal_their_layers(seed: int) -> None:
    """With one filter for each group, too."""
    rng = np.random.default_rng(seed)
    conv, in_shape = random_convolution(rng, int(rng.integers(2, 5)), int(rng.integers(1, 5)))
    assert_kernel_equals(conv, conv, in_shape, rng, samples=1 if seed % 8 == 0 else 5)


@pytest.mark.parametrize("seed", range(6))
def test_wide_groups_equal_their_layers(seed: int) -> None:
    """With as many channels as Winograd's way wants, for the gradient of the weights, too."""
    rng = np.random.default_rng(seed)
    channels, filters = (int(n) for n in rng.integers(16, 40, 2))
    conv = Conv2D(2 * filters, (3, int(rng.integers(1, 4))), padding=int(rng.integers(3)), groups=2)
    in_shape = (2 * channels, int(rng.integers(3, 10)), int(rng.integers(3, 10)))
    assert_kernel_equals(built(conv, in_shape, rng), conv, in_shape, rng)


@pytest.mark.parametrize(
    ("in_shape", "kernel", "stride", "padding"),
    [
        ((2, 3, 3), 3, 1, 0),  # an image as small as the kernel
        ((2, 1, 1), 3, 2, 2),  # smaller than it
        ((2, 7, 5), 1, 2, 0),  # pixels that no window meets, between the others
        ((2, 6, 6), 3, 2, 0),  # and at the end
        ((2, 1, 1), 1, 1, 2),  # windows that meet nothing but padding
    ],
)
@pytest.mark.parametrize("in_group", [1, 2])
def test_edges_equal_their_layers(in_group: int, in_shape: Shape, kernel: int, stride: int, padding: int) -> None:
    rng = np.random.default_rng(0)
    in_shape = (2 * in_group, *in_shape[1:])
    conv = built(Conv2D(4, kernel, stride=stride, padding=padding, groups=2), in_shape, rng)
    assert_kernel_equals(conv, conv, in_shape, rng)


@pytest.mark.parametrize(("in_group", "out_group", "depthwise"), [(1, 1, True), (1, 2, False), (2, 1, False)])
def test_one_channel_and_one_filter_go_the_depthwise_way(in_group: int, out_group: int, depthwise: bool) -> None:
    conv = built(Conv2D(3 * out_group, 3, groups=3), (3 * in_group, 5, 5), np.random.default_rng(0))
    kernel = GroupedConvKernel(conv, Epilogue(), needs_dx=True)
    ways = [kernel.correlation, kernel.weight_gradient, *(correlation for _, _, correlation in kernel.phases)]
    assert {isinstance(way, DepthwiseCorrelation | DepthwiseGradient) for way in ways} == {depthwise}


@pytest.mark.parametrize("multiplier", [1, 2])
def test_a_depthwise_layer_is_run_by_the_kernel(multiplier: int) -> None:
    rng = np.random.default_rng(0)
    conv = DepthwiseConv2D(3, 2, "same", multiplier=multiplier)
    built(conv, (4, 7, 6), rng)
    taken = kernel_for([conv, ReLU(), ReLU()], needs_dx=True)
    assert taken is not None
    assert (type(taken[0]), taken[1]) == (GroupedConvKernel, 2)
    assert_kernel_equals(conv, conv, (4, 7, 6), rng)


def test_a_class_derived_from_a_convolution_is_not_run_by_the_kernel() -> None:
    class Bent(DepthwiseConv2D):
        pass

    conv = built(Bent(3), (4, 7, 6), np.random.default_rng(0))
    assert kernel_for([conv], needs_dx=True) is None


def test_rows_in_several_blocks_equal_their_layers(monkeypatch: pytest.MonkeyPatch) -> None:
    rng, in_shape = np.random.default_rng(0), (4, 11, 9)
    conv = built(Conv2D(4, 3, padding=1, groups=4), in_shape, rng)
    monkeypatch.setattr(grouped_kernel, "BLOCK_BYTES", 3 * 2 * 9 * 4 * 5 * 8)  # three operands, two rows of them
    assert_kernel_equals(conv, conv, in_shape, rng)


@pytest.mark.parametrize("in_group", [1, 2])
def test_the_input_of_a_network_needs_no_gradient(in_group: int) -> None:
    rng = np.random.default_rng(0)
    conv = built(Conv2D(4, 3, groups=2), (2 * in_group, 5, 5), rng)
    kernel, ctx = GroupedConvKernel(conv, Epilogue(), needs_dx=False), PlainContext()
    x = rng.normal(size=(3, 2 * in_group, 5, 5))
    y, cache = kernel.forward(x, ctx)
    dx, grads = kernel.backward(np.ones(y.shape), cache, ctx)
    assert dx is None
    np.testing.assert_allclose(grads["weight"], plain([conv], x, np.ones(y.shape))[2]["weight"], rtol=1e-10)


@pytest.mark.parametrize("in_group", [1, 2])
def test_a_wrong_weight_is_noticed(in_group: int) -> None:
    """What the others compare depends on every single weight."""
    rng = np.random.default_rng(0)
    in_shape = (2 * in_group, 6, 6)
    conv = built(Conv2D(4, 3, padding=1, groups=2), in_shape, rng)
    assert_kernel_equals(conv, conv, in_shape, rng)
    for position in np.ndindex(conv.params["weight"].shape):
        wrong = copy.copy(conv)
        wrong.params = {name: value.copy() for name, value in conv.params.items()}
        wrong.params["weight"][position] += 1e-6
        with pytest.raises(AssertionError):
            assert_kernel_equals(conv, wrong, in_shape, rng)
