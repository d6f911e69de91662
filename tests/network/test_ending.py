"""The end of a network is found by what its layers compute, in training and prediction alike."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cnnkit import Sequential, Trainer, explain, export_onnx, validate_onnx
from cnnkit.components import Layer
from cnnkit.errors import ConfigError, ShapeError
from cnnkit.layers import Flatten, Sigmoid, Softmax
from cnnkit.layers.special_functions import sigmoid
from cnnkit.losses import MSE, BinaryCrossEntropy, CrossEntropy
from cnnkit.network.graph.final_layers import SMALLEST, Log, softmax, softmax_at_end, softmax_inside
from cnnkit.onnx.runtimes import ReferenceEvaluator
from cnnkit.testing.plain_context import PlainContext
from cnnkit.types import Array, Cache, Context, Grads, Task

SHAPE = (2, 6, 6)
SCORES = ["Conv2D(3, 3)", "ReLU()", "Conv2D(5, 4)"]
"""Gives (5, 1, 1)."""


class Cool(Softmax):
    """softmax(x / 10)."""

    def forward(self, x: Array, ctx: Context) -> tuple[Array, Cache]:
        return super().forward(x / np.asarray(10, x.dtype), ctx)

    def backward(self, dy: Array, y: Cache, ctx: Context) -> tuple[Array, Grads]:
        dx, grads = super().backward(dy, y, ctx)
        return dx / np.asarray(10, dx.dtype), grads


class Tenth(Layer):
    """x / 10."""

    def forward(self, x: Array, ctx: Context) -> tuple[Array, Cache]:
        return x / np.asarray(10, x.dtype), None

    def backward(self, dy: Array, cache: Cache, ctx: Context) -> tuple[Array, Grads]:
        return dy / np.asarray(10, dy.dtype), {}


def network(tail: Sequence[str | Layer], **options: object) -> Sequential:
    return Sequential([*SCORES, *tail], SHAPE, **options)  # type: ignore[arg-type]  # options of any type


def samples(count: int = 70) -> tuple[Array, Array]:
    rng = np.random.default_rng(1)
    return rng.normal(size=(count, *SHAPE)).astype(np.float32), rng.integers(0, 5, count)


def trained(tail: Sequence[str | Layer], workers: int = 1, optimizer: str = "SGD(0.1)") -> Sequential:
    model = network(tail, dtype="float64")
    Trainer(optimizer=optimizer, epochs=3, batch_size=32, workers=workers).fit(model, samples())
    return model


@pytest.mark.parametrize(
    "tail",
    [
        ["Flatten()", "Softmax()"],
        ["Softmax()", "Flatten()"],
        ["Flatten()", "Softmax()", "Dropout(0.0)"],
        ["Softmax()", "Dropout(0.0)", "Flatten()", "Dropout(0.0)"],
    ],
    ids=" ".join,
)
@pytest.mark.parametrize("workers", [1, 2])
def test_a_softmax_that_ends_the_network_changes_nothing(tail: list[str], workers: int) -> None:
    plain, model = trained(["Flatten()"]), trained(tail, workers)
    x, _ = samples()
    np.testing.assert_allclose(model.logits(x), plain.logits(x), rtol=1e-12)
    np.testing.assert_allclose(model.predict_proba(x), plain.predict_proba(x), rtol=1e-12)
    np.testing.assert_allclose(model.predict_proba(x), model.outputs(x), rtol=1e-12)
    np.testing.assert_array_equal(model.predict(x), plain.predict(x))


def test_a_derived_softmax_is_trained_as_it_computes() -> None:
    model, twin = (
        trained(["Flatten()", Cool()], optimizer="SGD(1.0)"),
        trained(["Flatten()", Tenth()], optimizer="SGD(1.0)"),
    )
    x, _ = samples()
    np.testing.assert_allclose(model.outputs(x), softmax(twin.logits(x)), rtol=1e-9)
    np.testing.assert_allclose(model.predict_proba(x), model.outputs(x), rtol=1e-12)


def test_a_softmax_alone_gives_its_probabilities() -> None:
    p = np.random.default_rng(0).dirichlet(np.ones(5), 3).astype(np.float32)
    model = Sequential(["Softmax()"], (5,))
    np.testing.assert_allclose(model.predict_proba(np.log(p)), p, rtol=1e-6)
    np.testing.assert_allclose(model.logits(np.log(p)), np.log(p), rtol=1e-6)


@pytest.mark.parametrize("tail", [["Softmax()", "ReLU()"], ["Softmax()", "Conv2D(5, 1)"]], ids=" ".join)
def test_a_softmax_further_inside_is_said_aloud(tail: list[str]) -> None:
    model = network([*tail, "Flatten()"])
    assert softmax_at_end(model.nodes) is None
    with pytest.warns(RuntimeWarning, match=r"layer softmax_1 = Softmax\(\) is not the end of the network: CrossEnt"):
        Trainer(epochs=1).fit(model, samples())
    Trainer(epochs=1, loss="MSE()").fit(model, samples())  # takes probabilities, or anything


def test_a_softmax_of_pixels_is_no_end_before_they_are_flattened() -> None:
    model = Sequential(["Conv2D(5, 1)", "Softmax()", "Flatten()"], SHAPE)
    assert softmax_at_end(model.nodes) is None
    inside = softmax_inside(model.nodes)
    assert inside is not None
    assert inside.name == "softmax_1"


def test_classes_for_each_pixel() -> None:
    model = Sequential(["Conv2D(5, 1)"], SHAPE, labels="abcde")
    x, y = samples()[0], np.random.default_rng(2).integers(0, 5, (70, 6, 6))
    Trainer(epochs=2).fit(model, (x, y))
    assert model.gives == "5 classes for each pixel"
    assert model.predict(x).shape == (70, 6, 6)
    np.testing.assert_allclose(model.predict_proba(x).sum(axis=1), 1, rtol=1e-6)


def test_labels() -> None:
    x, y = samples()[0], np.random.default_rng(2).integers(0, 2, (70, 5))
    model = network(["Flatten()"])
    Trainer(loss=BinaryCrossEntropy(), metrics=[], epochs=2).fit(model, (x, y))
    assert model.gives == "any of 5 labels"
    np.testing.assert_allclose(model.predict_proba(x), sigmoid(model.outputs(x)))
    np.testing.assert_array_equal(model.predict(x), model.predict_proba(x) >= 0.5)
    assert model.predict(x).dtype == bool


def trained_labels(
    tail: Sequence[str | Layer], workers: int = 1, loss: str = "BinaryCrossEntropy()"
) -> tuple[Sequential, Array, Array]:
    x, y = samples()[0], np.random.default_rng(2).integers(0, 2, (70, 5))
    model = network(["Flatten()", *tail], dtype="float64")
    Trainer(loss=loss, metrics=[], optimizer="SGD(0.5)", epochs=3, batch_size=32, workers=workers).fit(model, (x, y))
    return model, x, y


@pytest.mark.parametrize("tail", [["Sigmoid()"], ["Sigmoid()", "Dropout(0.0)"]], ids=" ".join)
@pytest.mark.parametrize("workers", [1, 2])
def test_a_sigmoid_that_ends_a_network_for_labels_changes_nothing(tail: list[str], workers: int) -> None:
    (plain, x, y), (model, _, _) = trained_labels([]), trained_labels(tail, workers)
    assert model.gives == "any of 5 labels"
    assert model.task == Task("labels", from_logits=True)
    np.testing.assert_allclose(model.logits(x), plain.logits(x), rtol=1e-12)
    np.testing.assert_allclose(model.outputs(x), sigmoid(plain.outputs(x)), rtol=1e-12)
    np.testing.assert_allclose(model.predict_proba(x), plain.predict_proba(x), rtol=1e-12)
    np.testing.assert_array_equal(model.predict(x), plain.predict(x))
    assert model.evaluate(x, y) == pytest.approx(plain.evaluate(x, y), rel=1e-12)


def test_a_sigmoid_that_ends_a_network_for_labels_is_explained_and_exported(tmp_path: Path) -> None:
    (plain, x, y), (model, _, _) = trained_labels([]), trained_labels(["Sigmoid()"])
    ours, theirs = (explain(one, x[0], target=y[0]) for one in (model, plain))
    assert ours.trace.loss == pytest.approx(theirs.trace.loss, rel=1e-12)
    np.testing.assert_allclose(ours.scores, theirs.scores, rtol=1e-12)
    assert "before this layer" in ours.trace.layers[-1].remark
    assert ours.trace.layers[0].gradient is not None
    report = validate_onnx(export_onnx(model, tmp_path / "labels.onnx"), model, x.astype("f4"))
    assert report.ok
    given = ReferenceEvaluator().run((tmp_path / "labels.onnx").read_bytes(), {"input": x[:3].astype("f4")})
    np.testing.assert_allclose(given["logits"], model.logits(x[:3]), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(given["probabilities"], model.outputs(x[:3]), rtol=1e-4, atol=1e-5)


class OneHalfMore(Sigmoid):
    """Other mathematics: what it gives is taken as it is."""

    def value(self, x: Array) -> Any:
        return super().value(x) + np.asarray(0.5, x.dtype)


class MySigmoid(Sigmoid):
    """The same mathematics."""


def test_a_derived_sigmoid_is_left_out_if_it_has_no_mathematics_of_its_own() -> None:
    model, x, _ = trained_labels([MySigmoid()])
    with pytest.warns(RuntimeWarning, match=r"ends in layer one_half_more_1 .* also needs values below 0"):
        other, _, _ = trained_labels([OneHalfMore()])
    np.testing.assert_allclose(model.outputs(x), sigmoid(model.logits(x)))
    np.testing.assert_array_equal(other.outputs(x), other.logits(x))


def test_a_sigmoid_is_no_end_for_classes_or_values() -> None:
    assert "Sigmoid" in network(["Sigmoid()", "Flatten()"]).engine(logits=True).nodes[-2].layer.brief
    with pytest.warns(RuntimeWarning, match=r"ends in layer sigmoid_1 .* CrossEntropy\(\) also needs values below 0"):
        Trainer(epochs=1).fit(network(["Flatten()", "Sigmoid()"]), samples())
    model, x, _ = trained_labels(["Sigmoid()"], loss="MSE()")  # takes probabilities, or anything
    np.testing.assert_array_equal(model.predict(x), model.outputs(x))


def test_logarithms_of_probabilities_at_the_end_are_logits() -> None:
    x, _ = samples()
    plain, model = trained(["Flatten()"]), trained(["Flatten()", "LogSoftmax()"])
    np.testing.assert_allclose(model.predict_proba(x), plain.predict_proba(x), rtol=1e-9)
    np.testing.assert_allclose(np.exp(model.outputs(x)), model.predict_proba(x), rtol=1e-12)
    np.testing.assert_array_equal(model.logits(x), model.outputs(x))
    scores = network(["Flatten()", "LogSoftmax()"], task=Task("classes"))
    assert scores.has_probabilities
    assert not network(["LogSoftmax()", "ReLU()", "Flatten()"], task=Task("classes")).has_probabilities


def test_values() -> None:
    x, y = samples()[0], np.random.default_rng(2).normal(size=(70, 5))
    model = network(["Flatten()"])
    Trainer(loss=MSE(), metrics=[], epochs=2).fit(model, (x, y))
    np.testing.assert_array_equal(model.predict(x), model.outputs(x))
    with pytest.raises(ShapeError) as error:
        model.predict_proba(x)
    assert str(error.value) == "the network gives 5 values, and has no probabilities: use predict(x)"


def test_scores_of_classes_are_no_probabilities_unless_they_come_from_a_softmax() -> None:
    model = network(["Flatten()"])
    Trainer(loss=MSE(), epochs=2).fit(model, samples())
    x, _ = samples()
    np.testing.assert_array_equal(model.predict(x), model.outputs(x).argmax(axis=1))
    with pytest.raises(ShapeError, match="the network gives scores of 5 classes, and has no probabilities"):
        model.predict_proba(x)
    model = network(["Flatten()", "Softmax()"])
    Trainer(loss=MSE(), epochs=2).fit(model, samples())
    np.testing.assert_allclose(model.predict_proba(x), model.outputs(x), rtol=1e-6)


def test_a_network_is_for_classes_until_it_is_trained() -> None:
    assert network([]).task == Task("classes", from_logits=True)
    assert network([], task=CrossEntropy().task(samples()[1], (5,))).gives == "5 classes for each pixel"


def test_the_functions_of_logits_do_not_overflow() -> None:
    z = np.array([[1e4, -1e4, 0]], np.float32)
    np.testing.assert_array_equal(sigmoid(z), [[1, 0, 0.5]])
    np.testing.assert_array_equal(softmax(z), [[1, 0, 0]])


class Mine(Softmax):
    """The same mathematics."""


def test_a_derived_softmax_without_mathematics_of_its_own_is_left_out() -> None:
    plain, model = (
        trained(["Flatten()", Softmax()], optimizer="SGD(1.0)"),
        trained(["Flatten()", Mine()], optimizer="SGD(1.0)"),
    )
    x, _ = samples()
    np.testing.assert_array_equal(model.logits(x), plain.logits(x))


def test_the_logarithm_of_no_probability_is_finite() -> None:
    x = np.array([[0.0, 1.0]], np.float32)
    y, cache = Log().forward(x, PlainContext(True, 0, np.dtype("float32")))
    assert y[0, 0] == pytest.approx(np.log(SMALLEST))
    dx, _ = Log().backward(np.ones_like(x), cache, PlainContext(True, 0, np.dtype("float32")))
    assert np.isfinite(dx).all()


class Sharpen(Flatten):
    """Passes nothing on as it is."""

    def forward(self, x: Array, ctx: Context) -> tuple[Array, Cache]:
        return super().forward(x**3, ctx)


def test_a_class_derived_from_one_that_passes_values_on_is_no_such_class() -> None:
    assert softmax_at_end(network(["Softmax()", Sharpen()]).nodes) is None


def test_a_softmax_or_rectifier_before_labels_is_told() -> None:
    x, y = samples()[0], np.random.default_rng(2).integers(0, 2, (70, 5))
    trainer = Trainer(loss=BinaryCrossEntropy(), metrics=[], epochs=1)
    with pytest.raises(ConfigError, match=r"the network ends in layer softmax_1 .*; remove the Softmax"):
        trainer.fit(network(["Flatten()", "Softmax()"]), (x, y))
    with pytest.warns(
        RuntimeWarning,
        match=r"the network ends in layer relu_2 = ReLU\(\), and BinaryCrossEntropy\(\) also needs values",
    ):
        trainer.fit(network(["Flatten()", "ReLU()", "Dropout(0.1)"]), (x, y))


def test_labels_from_probabilities() -> None:
    model = Sequential(["Flatten()"], (2,), task=Task("labels"))
    x = np.array([[0.4, 0.5]], np.float32)
    np.testing.assert_array_equal(model.predict_proba(x), x)
    np.testing.assert_array_equal(model.predict(x), [[False, True]])


def test_all_ways_agree_about_a_label_at_its_limit() -> None:
    model = Sequential(["Flatten()"], (1,), task=Task("labels", from_logits=True))
    x = np.array([[-1e-9]], np.float32)
    np.testing.assert_array_equal(model.predict(x), model.predict_proba(x) >= 0.5)


def test_a_fit_that_is_refused_leaves_what_the_model_says() -> None:
    model = network(["Flatten()"])
    Trainer(epochs=1).fit(model, samples())
    before = model.task, model.input_range, model.labels
    x, _ = samples()
    with pytest.raises(ConfigError, match="is not recorded in this training"):
        Trainer(loss=MSE(), metrics=[], callbacks=["StopAt(0.9)"]).fit(model, (x, np.ones((70, 5))))
    assert (model.task, model.input_range, model.labels) == before
