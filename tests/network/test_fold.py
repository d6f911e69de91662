"""Batch normalisation folded into convolutions for prediction: the same outputs, with the present parameters."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from cnnkit.components import Layer, Merge
from cnnkit.layers import BatchNorm2D, Conv2D, ReLU, Residual
from cnnkit.losses import CrossEntropy
from cnnkit.metrics import Accuracy
from cnnkit.network import Objective, Sequential, Session
from cnnkit.network.execution.plan import plan
from cnnkit.network.kernels.norm_kernel import BatchNormKernel
from cnnkit.optimizers import Adam
from cnnkit.types import Array, Cache, Context, Samples

IN_SHAPE = (4, 9, 8)
OBJECTIVE = Objective(CrossEntropy(), (Accuracy(),))
TAIL = ["Flatten()", "Dense(3)"]


class TwiceConv2D(Conv2D):
    """Not what a kernel for Conv2D computes."""

    def forward(self, x: Array, ctx: Context) -> tuple[Array, Cache]:
        y, cache = super().forward(x, ctx)
        return 2 * y, cache


class TwiceBatchNorm2D(BatchNorm2D):
    def forward(self, x: Array, ctx: Context) -> tuple[Array, Cache]:
        y, cache = super().forward(x, ctx)
        return 2 * y, cache


def random_state(model: Sequential, rng: np.random.Generator) -> dict[str, Array]:
    """Parameters and statistics as training could leave them."""
    return {
        name: rng.uniform(0.3, 3, value.shape)
        if name.endswith("running_var")
        else value + rng.normal(0, 0.5, value.shape)
        for name, value in model.state().items()
    }


def network(layers: Sequence[Layer | Merge | str], seed: int = 0) -> Sequential:
    model = Sequential([*layers, *TAIL], IN_SHAPE)
    model.load_state(random_state(model, np.random.default_rng(seed)))
    return model


def images(count: int = 7) -> Array:
    return np.random.default_rng(1).normal(size=(count, *IN_SHAPE)).astype(np.float32)


def assert_predicts_as_plain_layers(model: Sequential) -> Array:
    """The logits."""
    logits, expected = model.logits(images()), model.trace(images())[-1]
    assert logits.dtype == expected.dtype
    assert np.abs(logits - expected).max() <= 1e-5 * np.abs(expected).max()
    return logits


def normalisations(model: Sequential, prediction: bool) -> int:
    """How many steps of the plan are batch normalisations of their own."""
    steps = plan(model.nodes, prediction=prediction).steps
    return sum(isinstance(step.run, BatchNormKernel | BatchNorm2D) for step in steps)


FOLDED = [
    ["Conv2D(6, 3)", "BatchNorm2D()"],
    ["Conv2D(6, 3, bias=False)", "BatchNorm2D()"],
    ["Conv2D(6, 3, padding=1)", "BatchNorm2D()", "ReLU()"],
    ["Conv2D(6, 3, bias=False)", "BatchNorm2D()", "ReLU()", "MaxPool2D(2)"],
    ["Conv2D(6, 3, stride=2)", "BatchNorm2D(epsilon=0.1)", "MaxPool2D(2)", "ReLU()"],
    ["Conv2D(6, 3, groups=2)", "BatchNorm2D()", "ReLU()"],
    ["Conv2D(8, 3, groups=4, bias=False)", "BatchNorm2D()"],
    ["Conv2D(6, 2, dilation=2)", "BatchNorm2D()", "ReLU()"],
    ["DepthwiseConv2D(3, bias=False)", "BatchNorm2D()", "ReLU()", "Conv2D(6, 1)", "BatchNorm2D()"],
    ["Conv2D(32, 3, padding=1, bias=False)", "BatchNorm2D()", "ReLU()"] * 2,
    ["Residual(Conv2D(4, 3, padding=1), BatchNorm2D(), ReLU(), Conv2D(4, 3, padding=1), BatchNorm2D())", "ReLU()"],
    [
        "Conv2D(4, 1, bias=False)",
        "BatchNorm2D()",
        "Residual(Conv2D(6, 3, stride=2, padding=1, bias=False), BatchNorm2D(), "
        "shortcut=[Conv2D(6, 1, stride=2), BatchNorm2D()])",
        "ReLU()",
    ],
]  # fmt: skip


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("layers", FOLDED, ids=str)
def test_folded_layers_predict_as_plain_ones(layers: list[str], seed: int) -> None:
    assert_predicts_as_plain_layers(network(layers, seed))


@pytest.mark.parametrize("layers", FOLDED, ids=str)
def test_normalisations_are_folded_in_prediction_alone(layers: list[str]) -> None:
    model = network(layers)
    count = sum(isinstance(node.layer, BatchNorm2D) for node in model.nodes)
    assert normalisations(model, prediction=False) == count
    assert normalisations(model, prediction=True) == 0
    assert len(plan(model.nodes, prediction=True).folds) == count


def test_what_follows_is_in_the_same_step() -> None:
    model = network(["Conv2D(6, 3)", "BatchNorm2D()", "ReLU()", "MaxPool2D(2)"])
    assert [step.output for step in plan(model.nodes, prediction=True).steps] == [3, 4, 5]
    assert [step.output for step in plan(model.nodes).steps] == [0, 2, 3, 4, 5]


@pytest.mark.parametrize("layers", FOLDED, ids=str)
def test_evaluation_equals_prediction(layers: list[str]) -> None:
    model = network(layers)
    samples = Samples(images(), np.arange(7) % 3)
    losses, _ = OBJECTIVE.loss.forward(model.trace(samples.x)[-1], samples.y)
    sums = model.engine().evaluate(samples, OBJECTIVE, 1)
    assert sums.loss == pytest.approx(losses.sum(dtype=np.float64), rel=1e-4)


def train(model: Sequential, steps: int) -> None:
    samples = Samples(images(40), np.arange(40) % 3)
    session = Session(model.engine(logits=True), samples, OBJECTIVE, Adam(), 40)
    for number in range(steps):
        session.step(np.arange(40), (0, 0, number))
        session.update(0.05, number + 1)


@pytest.mark.parametrize("layers", [FOLDED[3], FOLDED[5], FOLDED[-1]], ids=str)
def test_predictions_follow_the_training(layers: list[str]) -> None:
    model = network(layers)
    before = assert_predicts_as_plain_layers(model)
    for _ in range(3):
        train(model, 2)
        after = assert_predicts_as_plain_layers(model)
        assert not np.allclose(before, after, rtol=1e-2)
        before = after


@pytest.mark.parametrize("layers", [FOLDED[3], FOLDED[5], FOLDED[-1]], ids=str)
def test_predictions_follow_a_loaded_state(layers: list[str]) -> None:
    model = network(layers)
    before, state = assert_predicts_as_plain_layers(model), model.state()
    model.load_state(random_state(model, np.random.default_rng(5)))
    assert not np.allclose(before, assert_predicts_as_plain_layers(model), rtol=1e-2)
    model.load_state(state)
    assert np.array_equal(before, assert_predicts_as_plain_layers(model))


@pytest.mark.parametrize("name", ["weight", "bias", "gamma", "beta", "running_mean", "running_var"])
def test_predictions_follow_each_of_the_arrays(name: str) -> None:
    model = network(["Conv2D(6, 3)", "BatchNorm2D()", "ReLU()"])
    before = assert_predicts_as_plain_layers(model)
    conv, norm = model.nodes[0].layer, model.nodes[1].layer
    assert isinstance(conv, Conv2D)
    assert isinstance(norm, BatchNorm2D)
    arrays = {**conv.params, **norm.params, **norm.buffers}
    arrays[name] *= 1.5
    assert not np.allclose(before, assert_predicts_as_plain_layers(model), rtol=1e-3)


def test_predictions_follow_parameters_that_moved() -> None:
    """As they do into memory that processes share."""
    model = network(["Conv2D(6, 3)", "BatchNorm2D()"])
    before = assert_predicts_as_plain_layers(model)
    model.parameters.move_to(np.empty_like(model.parameters.vector))
    model.parameters.vector *= 1.5
    assert not np.allclose(before, assert_predicts_as_plain_layers(model), rtol=1e-2)


@pytest.mark.parametrize(
    "layers",
    [
        ["Conv2D(6, 3)", Residual(BatchNorm2D())],
        ["Conv2D(6, 3)", "Concat(BatchNorm2D(), ReLU())"],
        ["BatchNorm2D()", "Conv2D(6, 3)"],
        ["Conv2D(6, 3)", "ReLU()", "BatchNorm2D()"],
        ["Conv2D(6, 3)", "MaxPool2D(2)", "BatchNorm2D()"],
        ["Residual(Conv2D(4, 3, padding=1))", "BatchNorm2D()"],
        [TwiceConv2D(6, 3), "BatchNorm2D()"],
        [Conv2D(6, 3), TwiceBatchNorm2D(), ReLU()],
    ],
    ids=str,
)
def test_what_is_not_folded(layers: list[Layer | Merge | str]) -> None:
    """Another value between, before or beside the two, or a class that computes something else."""
    model = network(layers)
    assert_predicts_as_plain_layers(model)
    assert plan(model.nodes, prediction=True).folds == []
    assert normalisations(model, prediction=True) == normalisations(model, prediction=False) == 1


def test_of_two_normalisations_the_first_is_folded() -> None:
    model = network(["Conv2D(6, 3)", "BatchNorm2D()", "BatchNorm2D()"])
    assert_predicts_as_plain_layers(model)
    assert normalisations(model, prediction=True) == 1
