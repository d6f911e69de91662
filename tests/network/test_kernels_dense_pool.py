"""The kernels for dense layers, poolings and rectifiers against the plain layers, over random shapes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import pytest

from cnnkit.components import Layer, Merge
from cnnkit.layers import Add, AvgPool2D, Conv2D, Dense, MaxPool2D, ReLU, Residual
from cnnkit.network.execution.tile_context import TileContext, Workspace
from cnnkit.network.kernels import Kernel, kernel_for
from cnnkit.network.kernels.activation_kernel import ActivationKernel, SumKernel
from cnnkit.network.kernels.dense_kernel import FEW_UNITS, DenseKernel
from cnnkit.network.kernels.pool_kernel import AvgPoolKernel, MaxPoolKernel
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


def contexts() -> Iterator[Context]:
    """Memory full of NaN; then a pass that is planned, one in the planned memory, and one in what that left behind."""
    yield PlainContext()
    workspace = Workspace(np.dtype(np.float64))
    for _ in range(3):
        yield TileContext(workspace, True, (0,))


def in_some_order(x: Array, rng: np.random.Generator) -> Array:
    """The same numbers with the axes in any order in memory, sometimes with gaps; read-only."""
    axes = rng.permutation(x.ndim)
    y = np.ascontiguousarray(x.transpose(axes))
    if rng.integers(4) == 0:
        y = np.repeat(y, 2, axis=-1)[..., ::2]
    y.flags.writeable = False
    return y.transpose(np.argsort(axes))


def few_values(shape: Shape, rng: np.random.Generator) -> Array:
    """Windows of these have ties; and there are zeros."""
    return in_some_order(rng.integers(-2, 3, shape).astype(np.float64), rng)


def normal(shape: Shape, rng: np.random.Generator) -> Array:
    return in_some_order(rng.normal(size=shape), rng)


def assert_same(actual: Array | None, expected: Array) -> None:
    assert actual is not None
    np.testing.assert_allclose(actual, expected, rtol=1e-10, atol=1e-12)


def kernel_of(layers: Sequence[Layer], needs_dx: bool = True) -> Kernel:
    """The kernel that takes all of these layers."""
    kernel, used = kernel_for(layers, needs_dx) or pytest.fail("there is no kernel")
    assert used == len(layers)
    assert not isinstance(kernel, Merge)
    return kernel


def assert_kernel_equals(layers: Sequence[Layer], x: Array, dy: Array) -> None:
    kernel, (y_expected, dx_expected, grads_expected) = kernel_of(layers), plain(layers, x, dy)

    def check(ctx: Context) -> None:
        if isinstance(ctx, TileContext):
            ctx.gradients = {name: np.full_like(value, np.nan) for name, value in layers[0].params.items()}
        y, cache = kernel.forward(x, ctx)
        assert_same(y, y_expected)
        dx, grads = kernel.backward(dy, cache, ctx)
        assert_same(dx, dx_expected)
        assert grads.keys() == grads_expected.keys()
        for name, grad in grads.items():
            assert_same(grad, grads_expected[name])

    for ctx in contexts():
        check(ctx)


def dense(units: int, features: int, bias: bool, rng: np.random.Generator) -> Dense:
    layer = Dense(units, bias)
    layer.build((features,), rng)
    layer.params = {name: rng.normal(size=value.shape) for name, value in layer.params.items()}
    return layer


def random_dense(rng: np.random.Generator) -> tuple[Dense, int]:
    """With few units or many; and the number of its features."""
    units = [int(rng.integers(1, FEW_UNITS)), FEW_UNITS, FEW_UNITS + 1, int(rng.integers(FEW_UNITS, 90))][
        rng.integers(4)
    ]
    features = int(rng.integers(1, 60))
    return dense(units, features, bool(rng.integers(2)), rng), features


@pytest.mark.parametrize("relu", [False, True])
@pytest.mark.parametrize("seed", range(20))
def test_dense_equals_its_layers(seed: int, relu: bool) -> None:
    rng = np.random.default_rng(seed)
    layer, features = random_dense(rng)
    layers = [layer, ReLU()] if relu else [layer]
    samples = int(rng.integers(1, 10))
    assert isinstance(kernel_of(layers), DenseKernel)
    assert_kernel_equals(layers, few_values((samples, features), rng), normal((samples, layer.units), rng))


@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize("units", [FEW_UNITS, FEW_UNITS + 1, 104])
def test_dense_in_pieces_equals_its_layer(units: int, transposed: bool) -> None:
    """So large that the products are cut; as Flatten and as a convolution leave its input."""
    rng = np.random.default_rng(units)
    x, dy = rng.normal(size=(64, 300)), rng.normal(size=(64, units))
    if transposed:
        x, dy = np.asfortranarray(x), np.asfortranarray(dy)
    assert_kernel_equals([dense(units, 300, True, rng)], x, dy)


@pytest.mark.parametrize("units", [3, 50])
@pytest.mark.parametrize("relu", [False, True])
def test_dense_without_a_gradient_of_its_input(units: int, relu: bool) -> None:
    rng = np.random.default_rng(0)
    layer = dense(units, 7, True, rng)
    layers = [layer, ReLU()] if relu else [layer]
    x, dy = rng.normal(size=(5, 7)), rng.normal(size=(5, units))
    kernel = kernel_of(layers, needs_dx=False)
    for ctx in contexts():
        dx, grads = kernel.backward(dy, kernel.forward(x, ctx)[1], ctx)
        assert dx is None
        for name, expected in plain(layers, x, dy)[2].items():
            assert_same(grads[name], expected)


@pytest.mark.parametrize("seed", range(20))
def test_maximum_pooling_equals_its_layer(seed: int) -> None:
    """With rows and columns left over, and ties."""
    rng = np.random.default_rng(seed)
    size = 2 + seed % 2
    samples, channels = (int(n) for n in rng.integers(1, 6, 2))
    height, width = (int(n) for n in rng.integers(size, 4 * size, 2))
    layer = MaxPool2D(size)
    out_shape = layer.build((channels, height, width), rng)
    assert isinstance(kernel_of([layer]), MaxPoolKernel)
    x = few_values((samples, channels, height, width), rng)
    assert_kernel_equals([layer], x, normal((samples, *out_shape), rng))


@pytest.mark.parametrize("seed", range(6))
def test_maximum_pooling_in_prediction(seed: int) -> None:
    rng = np.random.default_rng(seed)
    layer, x = MaxPool2D(2 + seed % 2), few_values((3, 2, 7, 8), rng)
    layer.build((2, 7, 8), rng)
    kernel, workspace = kernel_of([layer]), Workspace(np.dtype(np.float64))
    for _ in range(3):
        assert_same(
            kernel.forward(x, TileContext(workspace, False, ()))[0], layer.forward(x, PlainContext(training=False))[0]
        )


def test_pooling_of_single_pixels_equals_its_layer() -> None:
    rng = np.random.default_rng(0)
    layer = AvgPool2D(1)
    layer.build((2, 3, 4), rng)
    assert_kernel_equals([layer], few_values((5, 2, 3, 4), rng), normal((5, 2, 3, 4), rng))


@pytest.mark.parametrize("seed", range(20))
def test_average_pooling_equals_its_layer(seed: int) -> None:
    rng = np.random.default_rng(seed)
    size = 2 + seed % 3
    samples, channels, rows, columns = (int(n) for n in rng.integers(1, 6, 4))
    in_shape = (channels, rows * size, columns * size)
    layer = AvgPool2D(size)
    out_shape = layer.build(in_shape, rng)
    assert isinstance(kernel_of([layer]), AvgPoolKernel)
    assert_kernel_equals([layer], normal((samples, *in_shape), rng), normal((samples, *out_shape), rng))


@pytest.mark.parametrize("size", [32, 33, 70])
def test_average_pooling_over_large_windows_equals_its_layer(size: int) -> None:
    rng = np.random.default_rng(size)
    layer = AvgPool2D(size)
    layer.build((2, size, 2 * size), rng)
    x, dy = normal((3, 2, size, 2 * size), rng), normal((3, 2, 1, 2), rng)
    assert isinstance(kernel_of([layer]), AvgPoolKernel)
    assert_kernel_equals([layer], x, dy)


def random_shape(rng: np.random.Generator, axes: int) -> Shape:
    """With axes of length 1, and enough numbers for several of the rectifier's runs."""
    largest = {2: 80, 4: 9}[axes]
    return tuple(int(n) for n in rng.choice([1, *range(2, largest)], axes))


@pytest.mark.parametrize("axes", [2, 4])
@pytest.mark.parametrize("seed", range(20))
def test_rectifier_equals_its_layer(seed: int, axes: int) -> None:
    rng = np.random.default_rng(seed)
    shape = random_shape(rng, axes)
    assert isinstance(kernel_of([ReLU()]), ActivationKernel)
    assert_kernel_equals([ReLU()], few_values(shape, rng), normal(shape, rng))


@pytest.mark.parametrize("axes", [2, 4])
@pytest.mark.parametrize("seed", range(20))
def test_residual_equals_its_layers(seed: int, axes: int) -> None:
    rng = np.random.default_rng(seed)
    shape = random_shape(rng, axes)
    xs, dy = [few_values(shape, rng) for _ in range(2)], normal(shape, rng)
    residual, plain_ctx = Residual(ReLU()), PlainContext()
    expected, dx_expected, _ = plain([ReLU()], residual.forward(xs, plain_ctx)[0], dy)
    kernel, used = kernel_for([residual, ReLU()], needs_dx=True) or pytest.fail("there is no kernel")
    assert isinstance(kernel, SumKernel)
    assert used == 2

    def check(ctx: Context) -> None:
        y, cache = kernel.forward(xs, ctx)
        assert_same(y, expected)
        for dx, end in zip(
            kernel.backward(dy, cache, ctx), residual.backward(dx_expected, len(xs), plain_ctx), strict=True
        ):
            assert_same(dx, end)

    for ctx in contexts():
        check(ctx)


@pytest.mark.parametrize("inputs", [2, 3, 5])
@pytest.mark.parametrize("axes", [2, 4])
def test_a_sum_of_any_number_equals_its_layers(inputs: int, axes: int) -> None:
    """In memory of different orders, too."""
    rng = np.random.default_rng(inputs)
    shape = random_shape(rng, axes)
    xs = [few_values(shape, rng) for _ in range(inputs)]
    xs[-1] = np.asfortranarray(xs[-1])
    dy, add, plain_ctx = normal(shape, rng), Add(), PlainContext()
    expected, dx_expected, _ = plain([ReLU()], add.forward(xs, plain_ctx)[0], dy)
    kernel, used = kernel_for([add, ReLU()], needs_dx=True) or pytest.fail("there is no kernel")
    assert used == 2
    for ctx in contexts():
        y, cache = kernel.forward(xs, ctx)  # type: ignore[arg-type]  # of a merge
        assert_same(y, expected)
        dxs = kernel.backward(dy, cache, ctx)
        assert len(dxs) == inputs
        for dx in dxs:
            assert_same(dx, dx_expected)  # type: ignore[arg-type]  # as needs_dx asks, there is one


@pytest.mark.parametrize(
    "layers",
    [
        [AvgPool2D(2)],  # leaves a row over
        [MaxPool2D(2, stride=1)],
        [MaxPool2D(2, padding=1)],
        [MaxPool2D((2, 3))],
        [AvgPool2D(3, stride=2)],
        [Residual(Conv2D(1, 1))],
    ],
    ids=repr,
)
def test_what_has_no_kernel(layers: list[Layer | Merge]) -> None:
    for layer in layers:
        if isinstance(layer, Layer):
            layer.build((1, 7, 6), np.random.default_rng(0))
    assert kernel_for(layers, needs_dx=True) is None
