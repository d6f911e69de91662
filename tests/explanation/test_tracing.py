"""Traces: what is told of a network is what the network computes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from cnnkit.components import Layer
from cnnkit.errors import CostError, ShapeError
from cnnkit.explanation import tracing
from cnnkit.explanation.explanation import MOST_LAYERS, explain
from cnnkit.explanation.tracing import Trace, _Network, trace
from cnnkit.layers import Concat, Dense, ReLU
from cnnkit.losses import MSE, CrossEntropy
from cnnkit.network import Graph, Objective, Sequential
from cnnkit.network.execution.tile_pass import to_end
from cnnkit.types import Array, Cache, Context, Grads, Samples
from tests.explanation.networks import image, network

TARGET = np.array([3])


def traced(model: Sequential, loss: Any = None, target: Array = TARGET) -> Trace:
    return trace(model, image(model.input_shape)[None], loss or CrossEntropy(), target)


def test_outputs_are_those_of_the_network() -> None:
    model = network()
    found = traced(model)
    expected = model.trace(image()[None])
    assert [one.node for one in found.layers] == model.nodes
    for one, value in zip(found.layers, expected, strict=True):
        np.testing.assert_allclose(one.output, value[0], rtol=1e-5, atol=1e-6)
        assert one.output.dtype == np.float32
        for source, taken in zip(one.node.inputs, one.inputs, strict=True):
            assert np.array_equal(taken, found.prepared if source < 0 else found.layers[source].output)


def test_parameter_gradients_are_those_of_training() -> None:
    model = network("Conv2D(4, 3)", "ReLU()", "MaxPool2D(2)", "Residual(ReLU())", "Flatten()", "Dense(5)")
    engine = model.engine(logits=True)
    gradient = np.zeros_like(model.parameters.vector)
    tile = engine.training_pass(
        Samples(image()[None], TARGET), np.array([0]), Objective(CrossEntropy()), (0, 0, 0, 0), 1.0, gradient
    )
    sums = to_end(tile, None)
    found = traced(model)
    assert found.loss == pytest.approx(sums.loss, rel=1e-5)
    for entry in model.parameters:
        grads = found.layers[entry.node].grads
        np.testing.assert_allclose(grads[entry.name], model.parameters.view(gradient, entry), rtol=1e-3, atol=1e-6)


def test_gradients_are_those_of_the_loss_in_prediction_mode() -> None:
    model = network(dtype="float64")
    found = traced(model)
    rng = np.random.default_rng(0)
    for entry in model.parameters:  # batch normalisation with its running statistics, dropout without effect
        place = model.parameters.view(model.parameters.vector, entry)
        direction = rng.normal(size=place.shape)
        losses = []
        for step in (1e-6, -2e-6):
            place += step * direction
            losses.append(float(CrossEntropy().forward(model.trace(image()[None])[-1], TARGET)[0][0]))
        place += 1e-6 * direction
        analytic = float(np.vdot(found.layers[entry.node].grads[entry.name], direction))
        assert analytic == pytest.approx((losses[0] - losses[1]) / 2e-6, rel=1e-4, abs=1e-8), entry


def test_gradients_of_outputs_flow_from_node_to_node() -> None:
    found = traced(network())
    for one in found.layers[:-1]:
        takers = [
            (other, place)
            for other in found.layers
            for place, source in enumerate(other.node.inputs)
            if source == one.node.index
        ]
        total = sum(other.input_gradients[place] for other, place in takers)
        assert one.gradient is not None
        np.testing.assert_allclose(one.gradient, total, rtol=1e-5, atol=1e-7)


def test_every_node_is_timed_and_checked() -> None:
    for one in traced(network()).layers:
        assert one.forward_ms > 0
        assert one.backward_ms is not None
        assert one.check is not None
        assert one.check.ok, one.check


def test_a_final_softmax_is_left_out_by_a_loss_from_logits_alone() -> None:
    model = network("Flatten()", "Dense(5)", "Softmax()")
    found = traced(model)
    assert found.scored == 1
    assert found.layers[2].gradient is None
    assert found.layers[2].remark == "The loss takes the values before this layer: no gradient comes back through it."
    assert found.loss == pytest.approx(-np.log(model.predict_proba(image()[None])[0, 3]), rel=1e-5)
    whole = traced(model, MSE())
    assert whole.scored == 2
    assert whole.layers[2].check is not None


def test_values_are_targets_too() -> None:
    target = np.arange(5.0)[None]
    found = traced(network("Flatten()", "Dense(5)"), MSE(), target)
    assert found.loss == pytest.approx(float(np.square(found.layers[1].output - target).mean()), rel=1e-5)


class Wrong(ReLU):
    """Its gradient is wrong by a thousandth."""

    def backward(self, dy: Array, y: Cache, ctx: Context) -> tuple[Array, Grads]:
        dx, grads = super().backward(dy, y, ctx)
        return dx * 1.001, grads


def test_a_wrong_layer_fails_its_check_and_no_other_does() -> None:
    found = traced(network("Conv2D(3, 3)", Wrong(), "Flatten()", "Dense(5)"))
    assert [one.check is not None and one.check.ok for one in found.layers] == [True, False, True, True]


class OneWay(Layer):
    """A layer of a plugin that can only go back after a forward pass in training."""

    def forward(self, x: Array, ctx: Context) -> tuple[Array, Cache]:
        return x * 2, (x if ctx.training else None)

    def backward(self, dy: Array, x: Cache, ctx: Context) -> tuple[Array, Grads]:
        return dy * 2 * np.ones(x.shape), {}


def test_a_backward_pass_that_fails_is_told_and_loses_what_comes_before() -> None:
    first, one_way, _, last = traced(network("ReLU()", OneWay(), "Flatten()", "Dense(5)")).layers
    assert last.check is not None
    assert one_way.gradient is not None
    assert (one_way.check, one_way.backward_ms) == (None, None)
    assert one_way.remark.startswith("Its backward pass failed in prediction mode: AttributeError: 'NoneType'")
    assert first.gradient is None
    assert first.remark == "The gradient was lost in one_way_1, on the way back."


class Careless(ReLU):
    """It has a parameter, and forgets its gradient; or it gives one of a wrong shape for its input."""

    def __init__(self, flat: bool = False) -> None:
        self.flat = flat

    def build(self, in_shape: Any, rng: np.random.Generator) -> Any:
        self.params = {"unused": np.ones(2)}
        return in_shape

    def backward(self, dy: Array, y: Cache, ctx: Context) -> tuple[Array, Grads]:
        return dy.reshape(len(dy), -1) if self.flat else dy, {}


def test_gradients_that_are_missing_or_misshapen_are_told() -> None:
    forgotten = traced(network(Careless(), "Flatten()", "Dense(5)")).layers[0]
    assert forgotten.check is None
    assert "backward must give gradients of the shapes" in forgotten.remark
    flat = traced(network(Careless(True), "Flatten()", "Dense(5)")).layers[0]
    assert "with dx of shape (1, 2, 9, 7); it returned an array of shape (1, 126) as dx" in flat.remark


def test_what_does_not_fit_the_loss() -> None:
    with pytest.raises(ShapeError, match="class indices must be 0 to 4"):
        traced(network(), target=np.array([5]))
    with pytest.raises(ShapeError, match=r"expected inputs of shape \(N, 2, 9, 7\)"):
        trace(network(), np.zeros((1, 3, 3)), CrossEntropy(), TARGET)


def test_a_page_has_a_limit_of_layers() -> None:
    model = Sequential(["ReLU()"] * (MOST_LAYERS + 1), (4,))
    with pytest.raises(
        CostError, match=r"layer relu_1501 = ReLU\(\) is the last of 1,501 layers, and a page may show 1"
    ):
        explain(model, np.ones(4, np.float32))


def test_nodes_that_share_a_layer_share_it_in_float64_and_no_gradients_of_it_are_kept() -> None:
    shared = Dense(12)
    nodes = {"x": ("Flatten()", "input"), **{name: (shared, before) for name, before in zip("abc", "xab", strict=True)}}
    model = Graph(nodes, (3, 2, 2))
    exact = _Network(model, "float64", keeps_grads=False)
    assert len({id(layer) for layer in exact.layers}) == 2
    assert exact.layers[1].params["weight"].dtype == np.float64
    x, target = image((3, 2, 2))[None], np.array([3])
    *_, ways = exact.there_and_back(x, CrossEntropy(), target, 3, None)
    assert all(way.passed and not way.grads for way in ways.values())
    *_, ways = _Network(model, "float32").there_and_back(x, CrossEntropy(), target, 3, None)
    assert [list(way.grads) for way in ways.values()] == [[], *[["weight", "bias"]] * 3]


def test_a_layer_of_millions_of_parameters_is_explained_but_not_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    model = network("Conv2D(4, 3)", "Flatten()", "Dense(5)")
    monkeypatch.setattr(tracing, "MOST_CHECKED", 200)
    exact = _Network(model, "float64", keeps_grads=False)
    kinds = [{str(value.dtype) for value in layer.params.values()} for layer in exact.layers]
    assert kinds == [{"float64"}, set(), {"float32"}]  # it is not run in float64 either
    convolution, flatten, dense = traced(model).layers
    assert convolution.check
    assert convolution.check.ok
    assert flatten.check
    assert dense.check is None
    assert dense.grads.keys() == {"weight", "bias"}
    count = f"{sum(array.size for array in dense.node.layer.params.values()):,}"
    assert dense.remark == (
        f"A check of its {count} parameters would take many copies of them; layers with up to 200 are checked."
    )


def test_a_layer_of_millions_of_values_is_explained_but_not_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    layers = ["Conv2D(4, 3)", "Tanh()", "Concat([], [])", "GlobalAvgPool2D()", "Dense(5)"]
    model = network(*layers)
    checked = traced(model).layers
    sizes = [sum(array.size for array in (*one.inputs, one.output)) for one in checked]
    assert all(one.check for one in checked)
    assert sizes.index(max(sizes)) == 2
    monkeypatch.setattr(tracing, "MOST_VALUES", max(sizes) - 1)
    found = traced(model).layers
    assert [one.check is None for one in found] == [False, False, True, False, False]
    assert all(one.check.ok for one in found if one.check)
    assert found[2].remark == (
        f"A check of its {max(sizes):,} inputs and outputs would take many copies of them; layers with up to "
        f"{max(sizes) - 1:,} are checked."
    )
    for one, other in zip(found, checked, strict=True):  # all else is told as before
        assert np.array_equal(one.output, other.output)
        assert one.gradient is not None
        assert other.gradient is not None
        assert np.array_equal(one.gradient, other.gradient)


def test_what_is_not_checked_is_not_run_in_float64(monkeypatch: pytest.MonkeyPatch) -> None:
    model, dtypes, run = network("Tanh()", "Concat([], [])", "Flatten()", "Dense(5)"), set(), Concat.forward

    def forward(concat: Concat, xs: Sequence[Array], ctx: Context) -> tuple[Array, Cache]:
        dtypes.add(str(xs[0].dtype))
        return run(concat, xs, ctx)

    monkeypatch.setattr(Concat, "forward", forward)
    traced(model)
    assert dtypes == {"float32", "float64"}
    dtypes.clear()
    monkeypatch.setattr(tracing, "MOST_VALUES", 3)
    traced(model)
    assert dtypes == {"float32"}
