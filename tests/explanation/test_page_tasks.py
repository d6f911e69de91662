"""The outcome on the page follows what the network is for."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from cnnkit.errors import ConfigError, ShapeError
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
        (Task("values"), None, "net gives 3 values: expected the true values, 3 of them; got none"),
        (Task("values"), 1, "net gives 3 values: expected the true values, 3 of them; got 1"),
        (LABELS, None, "net gives any of 3 labels: expected the true labels, zeros and ones, 3 of them; got none"),
    ],
)
def test_what_gives_no_classes_needs_the_true_ones(task: Task, target: Any, message: str) -> None:
    model = network("Flatten()", "Dense(3)", task=task)
    with pytest.raises(ConfigError) as error:
        explain(model, image(model.input_shape), target=target, title="net")
    assert str(error.value) == message


def test_outputs_of_pixels_are_refused() -> None:
    model = network("Conv2D(3, 1)")
    with pytest.raises(ShapeError, match="expected a network with one answer for each sample"):
        explain(model, image(model.input_shape))


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
