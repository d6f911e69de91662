"""What the built-in layers promise beside values and gradients."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from cnnkit.components import Catalog, Layer, Merge, installed_catalog
from cnnkit.layers import (
    LAYERS,
    AvgPool2D,
    BatchNorm2D,
    Concat,
    Conv2D,
    Dense,
    DepthwiseConv2D,
    Dropout,
    Flatten,
    GlobalMaxPool2D,
    MaxPool2D,
    ReLU,
    Residual,
    SeparableConv2D,
    Softmax,
)
from cnnkit.layers.adaptive_pool import bins
from cnnkit.layers.batch_norm import statistics
from cnnkit.testing import PlainContext
from cnnkit.types import Array, Shape

RNG = np.random.default_rng


class Recorder:
    """A graph that keeps what is added to it."""

    opset = 17

    def __init__(self) -> None:
        self.added: list[tuple[str, list[str | Shape], dict[str, Any]]] = []

    def add(self, op_type: str, *inputs: str | Array, **attributes: Any) -> str:
        self.added.append((op_type, [i if isinstance(i, str) else i.shape for i in inputs], attributes))
        return f"{op_type.lower()}_out"

    def shape(self, value: str) -> Shape:
        raise AssertionError("no built-in layer asks for a shape, but a mean with padding")


@pytest.fixture
def catalog() -> Catalog:
    return installed_catalog()


@pytest.mark.parametrize("cls", LAYERS, ids=lambda cls: cls.__name__)
def test_every_layer_is_found_by_its_name(cls: type[Layer | Merge], catalog: Catalog) -> None:
    assert catalog.find("layer", cls.__name__) is cls


@pytest.mark.parametrize(
    ("layer", "text"),
    [
        (Conv2D(16, 3, padding="same"), 'Conv2D(16, 3, padding="same")'),
        (Conv2D(4, (3, 1), (2, 1), (1, 0), 2, 2, False),
         "Conv2D(4, (3, 1), stride=(2, 1), padding=(1, 0), dilation=2, groups=2, bias=False)"),
        (MaxPool2D(2), "MaxPool2D(2)"),
        (AvgPool2D(3, 2, 1), "AvgPool2D(3, stride=2, padding=1)"),
        (Dense(10, bias=False), "Dense(10, bias=False)"),
        (BatchNorm2D(epsilon=0.01), "BatchNorm2D(epsilon=0.01)"),
        (Dropout(0.5), "Dropout(0.5)"),
        (ReLU(), "ReLU()"),
        (Residual(Conv2D(8, 3), shortcut=Conv2D(8, 1)), "Residual(Conv2D(8, 3), shortcut=Conv2D(8, 1))"),
        (Residual(ReLU(), shortcut=[Flatten()]), "Residual(ReLU(), shortcut=[Flatten()])"),
        (Concat(ReLU(), [], [Softmax(), ReLU()]), "Concat([ReLU()], [], [Softmax(), ReLU()])"),
    ],
    ids=lambda value: "" if isinstance(value, str) else type(value).__name__,
)  # fmt: skip
def test_repr_is_the_expression_and_builds_an_equal_layer(layer: Layer, text: str, catalog: Catalog) -> None:
    assert repr(layer) == text
    assert catalog.build("layer", text) == layer


def test_branches_of_merges() -> None:
    conv, relu, flatten = Conv2D(8, 3), ReLU(), Flatten()
    assert Residual(conv, relu).branches == [[conv, relu], []]
    assert Residual(conv, shortcut=[relu, flatten]).branches == [[conv], [relu, flatten]]
    assert Concat(conv, [], [relu, flatten]).branches == [[conv], [], [relu, flatten]]


def test_merge_values() -> None:
    a, b, c = (RNG(0).normal(size=(3, channels, 4, 4)) for channels in (1, 1, 2))
    ctx = PlainContext()
    assert Residual(ReLU()).merge_shape([(1, 4, 4), (1, 4, 4)]) == (1, 4, 4)
    np.testing.assert_array_equal(Residual(ReLU()).forward([a, b], ctx)[0], a + b)
    assert Concat([], ReLU()).merge_shape([(1, 4, 4), (2, 4, 4)]) == (3, 4, 4)
    y, cache = Concat([], ReLU()).forward([a, c], ctx)
    np.testing.assert_array_equal(y, np.concatenate([a, c], axis=1))
    np.testing.assert_array_equal(Concat([], ReLU()).backward(y, cache, ctx)[1], c)


@pytest.mark.parametrize("order", [(0, 1, 2, 3), (2, 3, 1, 0)])
def test_a_concat_keeps_the_axis_order_of_its_branches(order: tuple[int, ...]) -> None:
    xs = [np.arange(120.0).reshape(2, 3, 4, 5).transpose(order).copy().transpose(np.argsort(order)) for _ in range(2)]
    y, _ = Concat([], []).forward(xs, PlainContext())
    joined = np.concatenate(xs, axis=1)
    np.testing.assert_array_equal(y, joined)
    assert y.strides == joined.strides


@pytest.mark.parametrize(
    ("layer", "in_shape", "out_shape"),
    [
        (Conv2D(4, 3), (1, 28, 28), (4, 26, 26)),
        (Conv2D(4, 3, stride=2, padding=1), (1, 28, 27), (4, 14, 14)),
        (Conv2D(4, (1, 5), stride=2, padding="same"), (1, 7, 8), (4, 4, 4)),
        (Conv2D(4, 3, padding="valid", dilation=2), (1, 7, 8), (4, 3, 4)),
        (MaxPool2D(2), (3, 7, 8), (3, 3, 4)),
        (MaxPool2D(3, 2, "same"), (3, 7, 8), (3, 4, 4)),
        (AvgPool2D((2, 3), 1), (3, 7, 8), (3, 6, 6)),
        (Flatten(), (3, 7, 8), (168,)),
    ],
)
def test_output_shapes(layer: Layer, in_shape: Shape, out_shape: Shape) -> None:
    assert layer.build(in_shape, RNG(0)) == out_shape


def test_same_padding_puts_the_odd_element_at_the_end() -> None:
    layer = Conv2D(1, 2, padding="same")
    layer.build((1, 3, 3), RNG(0))
    layer.params = {"weight": np.ones((1, 1, 2, 2)), "bias": np.zeros(1)}
    y, _ = layer.forward(np.arange(9.0).reshape(1, 1, 3, 3), PlainContext())
    assert y[0, 0].tolist() == [[8, 12, 7], [20, 24, 13], [13, 15, 8]]


def test_max_pool_gives_the_gradient_of_a_tie_to_the_first_element() -> None:
    layer = MaxPool2D(2)
    layer.build((1, 2, 4), RNG(0))
    x = np.array([[[[0.0, 0.0, 1.0, 2.0], [0.0, 0.0, 2.0, 2.0]]]])
    _, cache = layer.forward(x, PlainContext())
    dx, _ = layer.backward(np.array([[[[3.0, 5.0]]]]), cache, PlainContext())
    assert dx[0, 0].tolist() == [[3, 0, 0, 0], [0, 0, 5, 0]]  # down the columns


def test_a_global_maximum_gives_the_gradient_of_a_tie_to_the_first_element() -> None:
    layer = GlobalMaxPool2D()
    layer.build((1, 2, 3), RNG(0))
    y, cache = layer.forward(np.array([[[[0.0, 0.0, 2.0], [2.0, 1.0, 2.0]]]]), PlainContext())
    assert y.tolist() == [[2]]
    dx, _ = layer.backward(np.array([[5.0]]), cache, PlainContext())
    assert dx[0, 0].tolist() == [[0, 0, 5], [0, 0, 0]]


def test_windows_of_adaptive_pooling_cover_the_image() -> None:
    for length in range(1, 12):
        for count in range(1, 12):
            windows = bins(length, count)
            assert {k for one in windows for k in range(length)[one]} == set(range(length))
            assert all(one.start < one.stop <= length for one in windows)


def test_max_pool_and_relu_pass_nan_on() -> None:
    pools = MaxPool2D(2), GlobalMaxPool2D()
    for pool in pools:
        pool.build((1, 2, 2), RNG(0))
    for layer in (*pools, ReLU()):
        y, _ = layer.forward(np.array([[[[0.0, np.nan], [1.0, 2.0]]]]), PlainContext())
        assert np.isnan(y).any()


def test_softmax_of_huge_scores_is_finite() -> None:
    y, _ = Softmax().forward(np.array([[1e5, 0.0, -1e5]], "f4"), PlainContext(dtype="f4"))
    assert y.tolist() == [[1, 0, 0]]


def test_dropout() -> None:
    x = np.ones((50, 4, 5, 5), "f4")
    assert Dropout(0.3).forward(x, PlainContext(training=False, dtype="f4"))[0] is x
    y, _ = Dropout(0.3).forward(x, PlainContext(seed=1, dtype="f4"))
    kept = 1 - round(0.3 * 2**16) / 2**16
    assert set(np.unique(y)) == {np.float32(0), np.float32(1 / kept)}
    assert abs(y.mean() - 1) < 0.03
    np.testing.assert_array_equal(y, Dropout(0.3).forward(x, PlainContext(seed=1, dtype="f4"))[0])
    assert not np.array_equal(y, Dropout(0.3).forward(x, PlainContext(seed=2, dtype="f4"))[0])


def test_initial_weights_are_glorot_uniform_and_biases_zero() -> None:
    for layer, in_shape, fans in ((Conv2D(64, 3, groups=2), (32, 8, 8), 720), (Dense(100), (200,), 300)):
        layer.build(in_shape, RNG(0))
        assert abs(layer.params["weight"].std() / np.sqrt(2 / fans) - 1) < 0.03
        assert np.abs(layer.params["weight"]).max() <= np.sqrt(6 / fans)
        assert not layer.params["bias"].any()


def test_depthwise_weights_start_for_one_channel_each() -> None:
    layer = DepthwiseConv2D(3, multiplier=2)
    layer.build((400, 8, 8), RNG(0))
    assert layer.params["weight"].shape == (800, 1, 3, 3)
    assert abs(layer.params["weight"].std() / np.sqrt(2 / 27) - 1) < 0.03


def test_separable_is_a_depthwise_and_a_pointwise_convolution() -> None:
    layer = SeparableConv2D(8, 3, 2, "same", multiplier=2, bias=False)
    assert layer.branches == [[DepthwiseConv2D(3, 2, "same", 1, 2, False), Conv2D(8, 1, bias=False)]]


def batch_norm(channels: int) -> BatchNorm2D:
    layer = BatchNorm2D()
    layer.build((channels, 3, 3), RNG(0))
    return layer


@pytest.mark.parametrize("cuts", [[], [1], [5, 9], [3, 4, 11]])
def test_batch_norm_statistics_do_not_depend_on_the_tiles(cuts: list[int]) -> None:
    x = RNG(0).normal(3, 2, (16, 2, 3, 3))
    layer, ctx = batch_norm(2), PlainContext()
    ctx.total = layer.join([layer.partial(tile, ctx) for tile in np.split(x, cuts)])
    y = np.concatenate([layer.forward(tile, ctx)[0] for tile in np.split(x, cuts)])
    mean, var = x.mean((0, 2, 3), keepdims=True), x.var((0, 2, 3), keepdims=True)
    np.testing.assert_allclose(y, (x - mean) / np.sqrt(var + 1e-5), rtol=1e-12, atol=1e-12)


def test_batch_norm_survives_a_mean_far_above_the_deviation() -> None:
    x = RNG(0).normal(10_000, 1, (64, 1, 3, 3)).astype("f4")
    layer, ctx = batch_norm(1), PlainContext(dtype="f4")
    ctx.total = layer.join([layer.partial(tile, ctx) for tile in np.split(x, 4)])
    y, _ = layer.forward(x, ctx)
    assert y.std() == pytest.approx(1, abs=1e-5)
    assert y.mean() == pytest.approx(0, abs=1e-6)
    # The control: float32 numbers near 1e8 are 8 apart, so sums of squares about the origin lose a variance of 1.
    assert abs((x**2).mean() - x.mean() ** 2 - 1) >= 1


@pytest.mark.parametrize("mean", [0, 1e3, 1e6, 1e7])
@pytest.mark.parametrize("cuts", [[], [5, 9]], ids=["one tile", "three"])
def test_batch_norm_is_exact_whatever_the_mean(mean: float, cuts: list[int]) -> None:
    """float64, and deviations that the sum with the mean does not round."""
    deviations = RNG(0).integers(-(2**20), 2**20, (16, 2, 3, 3)) / 2**20
    deviations[5:] += 0.5  # the tiles have means of their own
    exact = deviations.mean(axis=(0, 2, 3)), deviations.var(axis=(0, 2, 3))
    layer, ctx = batch_norm(2), PlainContext()
    x = mean + deviations
    _, found_mean, found_var = statistics(layer.join([layer.partial(tile, ctx) for tile in np.split(x, cuts)]))
    np.testing.assert_allclose(found_var, exact[1], rtol=1e-14)
    np.testing.assert_allclose(found_mean, mean + exact[0], rtol=1e-15)
    if mean == 1e7:  # the control: about the origin
        assert np.abs((x**2).mean(axis=(0, 2, 3)) - found_mean**2 - exact[1]).max() > 1e-3


def test_batch_norm_of_constant_channels_has_no_variance() -> None:
    x = np.broadcast_to(np.array([0.1, -1e8], "f4")[:, None, None], (12, 2, 3, 3))
    layer, ctx = batch_norm(2), PlainContext(dtype="f4")
    ctx.total = layer.join([layer.partial(tile, ctx) for tile in np.split(x, 3)])
    assert statistics(ctx.total)[2].tolist() == [0, 0]
    assert not layer.forward(x, ctx)[0].any()


def test_batch_norm_of_one_number_keeps_running_statistics_finite() -> None:
    layer, ctx = BatchNorm2D(), PlainContext()
    layer.build((1, 1, 1), RNG(0))
    layer.absorb(layer.partial(np.full((1, 1, 1, 1), 5.0), ctx))
    assert layer.buffers["running_mean"] == pytest.approx(0.5)
    assert layer.buffers["running_var"] == pytest.approx(0.9)


@pytest.mark.parametrize(
    ("layer", "in_shape", "op", "inputs", "attributes"),
    [
        (Conv2D(4, 3, 2, "same", 1, 2), (2, 8, 8), "Conv", [(4, 1, 3, 3), (4,)],
         {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [0, 0, 1, 1], "dilations": [1, 1], "group": 2}),
        (MaxPool2D(3, 2, (1, 0)), (2, 8, 8), "MaxPool", [],
         {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [1, 0, 1, 0]}),
        (AvgPool2D(2), (2, 8, 8), "AveragePool", [],
         {"kernel_shape": [2, 2], "strides": [2, 2], "pads": [0, 0, 0, 0]}),
        (Dense(3), (5,), "Gemm", [(3, 5), (3,)], {"transB": 1}),
        (Dense(3, bias=False), (5,), "Gemm", [(3, 5)], {"transB": 1}),
        (BatchNorm2D(epsilon=0.5), (2, 8, 8), "BatchNormalization", [(2,)] * 4, {"epsilon": 0.5, "momentum": 1.0}),
        (ReLU(), (5,), "Relu", [], {}),
        (Softmax(), (5,), "Softmax", [], {"axis": 1}),
        (Flatten(), (2, 8, 8), "Flatten", [], {"axis": 1}),
    ],
)  # fmt: skip
def test_lowering(layer: Layer, in_shape: Shape, op: str, inputs: list[Shape], attributes: dict[str, Any]) -> None:
    graph = Recorder()
    layer.build(in_shape, RNG(0))
    assert layer.lower(graph, "x") == f"{op.lower()}_out"
    assert graph.added == [(op, ["x", *inputs], attributes)]


def test_lowering_of_padded_means_is_a_convolution_of_each_channel() -> None:
    kernels: list[Array] = []

    class Kernels(Recorder):
        def add(self, op_type: str, *inputs: str | Array, **attributes: Any) -> str:
            kernels.extend(value for value in inputs if not isinstance(value, str))
            return super().add(op_type, *inputs, **attributes)

        def shape(self, value: str) -> Shape:
            return 4, 3, 2

    graph, layer = Kernels(), AvgPool2D((2, 3), 1, "same")
    layer.build((4, 3, 2), RNG(0))
    assert layer.lower(graph, "x") == "conv_out"
    attributes = {"kernel_shape": [2, 3], "strides": [1, 1], "pads": [0, 1, 1, 1], "group": 4}
    assert graph.added == [("Conv", ["x", (4, 1, 2, 3)], attributes)]
    np.testing.assert_array_equal(kernels[0], 1 / 6)


def test_lowering_of_maxima_at_stride_1_writes_no_unequal_pads() -> None:
    graph, layer = Recorder(), MaxPool2D((2, 3), 1, "same")
    layer.build((2, 8, 8), RNG(0))
    layer.lower(graph, "x")
    attributes = {"kernel_shape": [2, 3], "strides": [1, 1]}
    assert graph.added == [("MaxPool", ["x"], {**attributes, "auto_pad": "SAME_UPPER"})]
    graph, layer = Recorder(), MaxPool2D((2, 3), 1, (1, 0))
    layer.build((2, 8, 8), RNG(0))
    layer.lower(graph, "x")
    assert graph.added == [("Pad", ["x", (8,)], {"mode": "edge"}), ("MaxPool", ["pad_out"], attributes)]
    graph, layer = Recorder(), MaxPool2D((2, 3), 1, 1)
    layer.build((2, 8, 8), RNG(0))
    layer.lower(graph, "x")
    assert graph.added == [("MaxPool", ["x"], {**attributes, "pads": [1, 1, 1, 1]})]


def test_lowering_of_a_1x1_convolution_pads_first() -> None:
    graph, layer = Recorder(), Conv2D(4, 1, padding=(0, 1), bias=False)
    layer.build((2, 8, 8), RNG(0))
    assert layer.lower(graph, "x") == "conv_out"
    attributes = {"kernel_shape": [1, 1], "strides": [1, 1], "dilations": [1, 1], "group": 1}
    assert graph.added == [("Pad", ["x", (8,)], {}), ("Conv", ["pad_out", (4, 2, 1, 1)], attributes)]
    np.testing.assert_array_equal(layer.window.onnx_pads, [0, 0, 0, 1, 0, 0, 0, 1])


def test_lowering_of_batch_norm_keeps_the_operator_s_order_of_inputs() -> None:
    layer = batch_norm(1)
    given: list[str | Array] = []
    layer.params = {"gamma": np.array([1.0]), "beta": np.array([2.0])}
    layer.buffers = {"running_mean": np.array([3.0]), "running_var": np.array([4.0])}

    class Inputs(Recorder):
        def add(self, op_type: str, *inputs: str | Array, **attributes: Any) -> str:
            given.extend(inputs)
            return op_type

    layer.lower(Inputs(), "x")
    assert given == ["x", 1, 2, 3, 4]


def test_lowering_of_merges_and_of_dropout() -> None:
    graph = Recorder()
    assert Dropout(0.5).lower(graph, "x") == "x"
    Residual(ReLU()).lower(graph, ["a", "b"])
    Concat(ReLU(), ReLU()).lower(graph, ["a", "b"])
    assert graph.added == [("Add", ["a", "b"], {}), ("Concat", ["a", "b"], {"axis": 1})]
