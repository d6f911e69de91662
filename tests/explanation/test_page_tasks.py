"""The outcome on the page follows what the network is for."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from cnnkit.errors import ConfigError
from cnnkit.explanation import explain
from cnnkit.layers import Softmax
from cnnkit.losses import MSE
from cnnkit.network import INPUT
from cnnkit.types import Array, Cache, Context, Task
from tests.explanation.networks import image, network
from tests.explanation.test_page import Reader, read

LABELS = Task("labels", from_logits=True)


def outcome(*layers: Any, target: Any = None, **options: Any) -> str:
    model = network(*layers, **options)
    return read(explain(model, image(model.input_shape), target=target)).sections["outcome"]


def test_labels_have_probabilities_of_their_own() -> None:
    model = network("Flatten()", "Dense(3)", task=LABELS, labels=["cat", "dog", "owl"])
    model.load_state(model.state() | {"dense_1.weight": np.zeros((3, 126)), "dense_1.bias": np.array([2.0, -1, 0.5])})
    explanation = explain(model, image(model.input_shape), target=np.array([1, 0, 0]))
    found = read(explanation)
    assert "The network says cat, owl. True are cat. The loss is" in text(found, explanation)
    assert "independently: 1 / (1 + exp(-z))" in found.sections["outcome"]
    assert f"cat (target){2:.0f}{1 / (1 + np.exp(-2)):.4f}" in found.sections["outcome"].replace("2.000", "2")
    assert "BinaryCrossEntropy()" in found.sections["outcome"]


def text(found: Reader, explanation: Any) -> str:
    from cnnkit.explanation import page

    plain = page(explanation)
    for tag in ("<strong>", "</strong>"):
        plain = plain.replace(tag, "")
    return plain


def test_scores_of_classes_have_no_probabilities() -> None:
    found = outcome("Flatten()", "Dense(3)", task=Task("classes"))
    assert "The network predicts the class with the highest score" in found
    assert "probability" not in found.split("The loss:")[0]


def test_values_stand_beside_the_true_ones() -> None:
    found = outcome("Flatten()", "Dense(2)", task=Task("values"), target=np.array([0.5, 2]))
    assert "outputvaluetargetdifference" in found
    assert "MSE()" in found


@pytest.mark.parametrize(
    ("task", "target", "message"),
    [
        (Task("values"), 1, "net gives 3 values: expected the true values, 3 of them; got 1"),
        (LABELS, 1, "net gives any of 3 labels: expected the true labels, zeros and ones, 3 of them; got 1"),
    ],
)
def test_targets_of_what_gives_no_classes_must_fit(task: Task, target: Any, message: str) -> None:
    model = network("Flatten()", "Dense(3)", task=task)
    with pytest.raises(ConfigError) as error:
        explain(model, image(model.input_shape), target=target, title="net")
    assert str(error.value) == message


CLASSES = Task("classes", from_logits=True)
MAP = np.arange(63).reshape(9, 7) % 3


def pixels(task: Task) -> Any:
    """A network that says something of each pixel, with names for it."""
    return network("Conv2D(3, 1)", task=task, labels=["sky", "sea", "land"])


def test_classes_of_pixels_stand_beside_the_true_ones() -> None:
    model = pixels(CLASSES)
    x = image(model.input_shape)
    explanation = explain(model, x, target=MAP)
    found, predicted = read(explanation), model.predict(x[None])[0]
    right = (predicted == MAP).sum()
    assert f"The network is right for {right} of 63 pixels, {100 * right / 63:.1f} %." in text(found, explanation)
    counts = [str(((predicted == 1) & chosen).sum()) for chosen in (predicted == 1, MAP == MAP, MAP == 1)]
    assert f"sea{counts[0]}21{counts[2]}" in found.sections["outcome"]
    assert "This is so for each pixel." in found.sections["outcome"]
    assert all(found.sections["outcome"].count(f"{name} ") >= 3 for name in model.labels)  # of each kind of picture
    assert "class 0" not in found.sections["outcome"]
    unnamed = network("Conv2D(3, 1)", task=CLASSES)
    assert "class 2" in read(explain(unnamed, image(unnamed.input_shape), target=MAP)).sections["outcome"]
    assert explanation.predicted is None
    assert explanation.trace.loss == pytest.approx(-np.log(np.take_along_axis(_p(model, x), MAP[None], 0)).mean())
    assert all(layer.check.ok for layer in explanation.trace.layers if layer.check)


def _p(model: Any, x: Array) -> Array:
    return np.asarray(model.predict_proba(x[None])[0])


def test_classes_of_pixels_need_not_be_known() -> None:
    model = pixels(CLASSES)
    explanation = explain(model, image(model.input_shape))
    assert np.array_equal(explanation.target, model.predict(image(model.input_shape)[None]))
    assert "No true classes were given: the loss takes the predicted ones for them." in text(
        read(explanation), explanation
    )


@pytest.mark.parametrize("task", [LABELS, Task("values")])
@pytest.mark.parametrize("layers", [("Flatten()", "Dense(3)"), ("Conv2D(3, 1)",)])
def test_without_the_true_labels_or_values_the_loss_takes_the_predicted_ones(task: Task, layers: Any) -> None:
    model = network(*layers, task=task)
    explanation = explain(model, image(model.input_shape))
    x = explanation.image[None]
    expected = model.predict_proba(x) >= 0.5 if task.gives == "labels" else model.outputs(x)
    assert np.array_equal(explanation.target, expected)
    assert not explanation.target_known
    assert f"No true {task.gives} were given: the loss takes the predicted ones for them. The loss is" in text(
        read(explanation), explanation
    )
    assert all(layer.check.ok for layer in explanation.trace.layers if layer.check)
    model.load_state({name: np.full_like(value, np.nan) for name, value in model.state().items()})
    with pytest.raises(ConfigError, match=r"gives NaN for the image: .* predicts nothing: give what is true"):
        explain(model, image(model.input_shape))


def test_a_loss_that_compares_samples_has_none_to_compare() -> None:
    model = network("Flatten()", "Dense(3)", task=Task("values"))
    with pytest.raises(ConfigError, match=r"SupCon\(.*\) compares samples .* choose another loss, such as MSE\(\)"):
        explain(model, image(model.input_shape), loss="SupCon()")
    assert explain(model, image(model.input_shape), loss="MSE()").trace.loss == 0


def test_shares_of_the_classes_of_pixels_are_a_target() -> None:
    model, one_hot = pixels(CLASSES), (np.arange(3)[:, None, None] == MAP).astype(np.float32)
    shares = explain(model, image(model.input_shape), target=one_hot)
    assert shares.trace.loss == pytest.approx(explain(model, image(model.input_shape), target=MAP).trace.loss)
    assert read(shares).sections["outcome"] == read(explain(model, shares.image, target=MAP)).sections["outcome"]


def test_labels_and_values_of_pixels_are_pictures() -> None:
    model, target = pixels(LABELS), np.ones((3, 9, 7))
    explanation = explain(model, image(model.input_shape), target=target)
    right = (_p(model, explanation.image) >= 0.5).sum()
    assert f"The network is right for {right} of 189 labels of pixels" in text(read(explanation), explanation)
    assert "labelpixels in the predictionin the targetin both" in read(explanation).sections["outcome"]
    model = pixels(Task("values"))
    found = read(explain(model, image(model.input_shape), target=target)).sections["outcome"]
    assert "The values" in found
    assert "The difference" in found
    assert "land " in found


@pytest.mark.parametrize(
    ("task", "target", "message"),
    [
        (CLASSES, 1, "net gives 3 classes for each pixel: expected the true class indices, of shape (9, 7); got 1"),
        (CLASSES, MAP[1:], "expected the true class indices, of shape (9, 7); got an array of shape (8, 7)"),
        (CLASSES, MAP / 1.0, "expected the true class indices, of shape (9, 7); got an array of shape (9, 7)"),
        (CLASSES, MAP + 1, "expected a class from 0 to 2, got 1 to 3"),
        (LABELS, MAP, "expected the true labels, zeros and ones, of shape (3, 9, 7); got an array of shape (9, 7)"),
        (Task("values"), MAP, "expected the true values, of shape (3, 9, 7); got an array of shape (9, 7)"),
    ],
)
def test_targets_of_pixels_that_do_not_fit_are_refused(task: Task, target: Any, message: str) -> None:
    model = pixels(task)
    with pytest.raises(ConfigError) as error:
        explain(model, image(model.input_shape), target=target, title="net")
    assert str(error.value).endswith(message)


class Derived(Softmax):
    """The same, in mathematics of its own."""

    def forward(self, x: Array, ctx: Context) -> tuple[Array, Cache]:
        return super().forward(x, ctx)


@pytest.mark.parametrize(
    ("tail", "scored"),
    [
        (["Flatten()", Softmax()], "flatten_1"),
        ([Softmax(), "Flatten()"], "conv2d_1"),
        (["Flatten()", Derived()], "derived_1"),
    ],
    ids=["last", "before flatten", "derived"],
)
def test_the_gradient_passes_a_softmax_that_ends_the_network(tail: list[Any], scored: str) -> None:
    plain = gradients(network("Conv2D(3, (9, 7))", "Flatten()", dtype="float64"))
    model = network("Conv2D(3, (9, 7))", *tail, dtype="float64")
    explanation = explain(model, image(model.input_shape), target=1)
    assert model.nodes[explanation.trace.scored].name == scored
    np.testing.assert_allclose(explanation.trace.layers[0].grads["weight"], plain, rtol=1e-9)


def gradients(model: Any) -> Array:
    return explain(model, image(model.input_shape), target=1).trace.layers[0].grads["weight"]


def test_a_softmax_alone_scores_the_input() -> None:
    model = network("Softmax()", input_shape=(5,))
    explanation = explain(model, np.arange(5, dtype=np.float32), target=1, loss="CrossEntropy()")
    assert explanation.trace.scored == INPUT
    assert (
        explanation.trace.layers[0].remark
        == "The loss takes the values before this layer: no gradient comes back through it."
    )
    assert explain(model, np.arange(5, dtype=np.float32), target=1, loss=MSE()).trace.layers[0].remark == ""
