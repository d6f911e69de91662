"""The kernel for transposed convolutions against the plain layers that it stands for, over random shapes."""

from __future__ import annotations

import numpy as np
import pytest

from cnnkit.components import Layer
from cnnkit.layers import ConvTranspose2D, LeakyReLU, ReLU
from cnnkit.network.execution.tile_context import TileContext, Workspace
from cnnkit.network.kernels import kernel_for
from cnnkit.network.kernels.conv_transpose_kernel import ConvTransposeKernel
from cnnkit.network.kernels.epilogue import Epilogue
from cnnkit.testing import PlainContext
from cnnkit.types import Array, Context, Shape

Rng = np.random.Generator


def built(conv: ConvTranspose2D, in_shape: Shape, rng: Rng) -> ConvTranspose2D:
    conv.build(in_shape, rng)
    conv.params = {name: value + rng.normal(size=value.shape) for name, value in conv.params.items()}
    return conv


def random_layer(rng: Rng, channels: int, filters: int) -> tuple[ConvTranspose2D, Shape]:
    kernel, stride = rng.integers(1, 5, 2), rng.integers(1, 4, 2)
    padding = [int(rng.integers(0, (k + 1) // 2)) for k in kernel]
    more = [int(rng.integers(0, s)) for s in stride]
    layer = ConvTranspose2D(
        filters,
        (int(kernel[0]), int(kernel[1])),
        (int(stride[0]), int(stride[1])),
        (padding[0], padding[1]),
        (more[0], more[1]),
        bias=bool(rng.integers(2)),
    )
    return layer, (channels, int(rng.integers(2, 8)), int(rng.integers(2, 8)))


def images(shape: Shape, rng: Rng) -> Array:
    """(N, C, H, W), in memory with the samples or the pixels first."""
    if rng.integers(2):
        return rng.normal(size=(*shape[2:], shape[1], shape[0])).transpose(3, 2, 0, 1)
    return rng.normal(size=shape)


def assert_kernel_equals(conv: ConvTranspose2D, in_shape: Shape, rng: Rng, samples: int = 5) -> None:
    choices: list[list[Layer]] = [[], [ReLU()], [LeakyReLU(0.2)]]
    activation = choices[int(rng.integers(3))]
    taken = kernel_for([conv, *activation], needs_dx=True)
    assert taken is not None
    kernel, used = taken
    assert isinstance(kernel, ConvTransposeKernel)
    assert used == 1 + len(activation)
    x = images((samples, *in_shape), rng)
    y_expected, cache = conv.forward(x, ctx := PlainContext())
    dy = given = images(y_expected.shape, rng)
    for one in activation:
        y_expected, kept = one.forward(y_expected, ctx)
        given, _ = one.backward(dy, kept, ctx)
    dx_expected, grads_expected = conv.backward(given, cache, ctx)

    def check(ctx: Context) -> None:
        y, cache = kernel.forward(x, ctx)
        np.testing.assert_allclose(y, y_expected, rtol=1e-10, atol=1e-11)
        dx, grads = kernel.backward(dy, cache, ctx)
        assert dx is not None
        np.testing.assert_allclose(dx, dx_expected, rtol=1e-10, atol=1e-11)
        assert grads.keys() == grads_expected.keys()
        for name, grad in grads.items():
            np.testing.assert_allclose(grad, grads_expected[name], rtol=1e-10, atol=1e-11)

    check(PlainContext())  # whose memory is full of NaN
    workspace = Workspace(np.dtype(np.float64))
    for _ in range(3):  # the first time plans the memory; later ones find in it what those before left behind
        check(TileContext(workspace, True, (0,)))


@pytest.mark.parametrize("seed", range(40))
def test_the_kernel_equals_its_layers(seed: int) -> None:
    rng = np.random.default_rng(seed)
    conv, in_shape = random_layer(rng, int(rng.integers(1, 6)), int(rng.integers(1, 6)))
    assert_kernel_equals(built(conv, in_shape, rng), in_shape, rng, samples=1 if seed % 8 == 0 else 5)


@pytest.mark.parametrize("seed", range(6))
def test_many_channels_equal_their_layers(seed: int) -> None:
    """As many as Winograd's way wants, for the gradient of the weights, too."""
    rng = np.random.default_rng(seed)
    channels, filters = (int(n) for n in rng.integers(16, 40, 2))
    conv, in_shape = ConvTranspose2D(filters, 3, 1 + seed % 2, 1), (channels, 5, 6)
    assert_kernel_equals(built(conv, in_shape, rng), in_shape, rng)


def test_what_the_kernel_cannot_do_it_leaves_to_the_layer() -> None:
    class Bent(ConvTranspose2D):
        pass

    for layer in (ConvTranspose2D(4, 3, groups=2), ConvTranspose2D(4, 3, dilation=2), Bent(4, 3)):
        assert kernel_for([built(layer, (4, 5, 5), np.random.default_rng(0))], needs_dx=True) is None


def test_the_input_of_a_network_needs_no_gradient() -> None:
    conv = built(ConvTranspose2D(3, 2, 2), (2, 4, 4), np.random.default_rng(0))
    kernel, ctx = ConvTransposeKernel(conv, Epilogue(), needs_dx=False), PlainContext()
    y, cache = kernel.forward(np.ones((2, 2, 4, 4)), ctx)
    assert kernel.backward(np.ones(y.shape), cache, ctx)[0] is None
