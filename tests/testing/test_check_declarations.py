"""What a layer says of itself is checked, too: what is not true or cannot be used is found and named."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
import pytest

from cnnkit.components import Layer
from cnnkit.errors import CheckError
from cnnkit.layers import BatchNorm2D, Residual
from cnnkit.testing import check_layer
from cnnkit.types import Array, Cache, Context, Example, Grads, LayerCost, Shape
from tests.testing.right_layers import IMAGE, Affine, Double


class Told(Double):
    pointwise = True
    lesson = ("It doubles.", "Twice as much is more!")
    examples: ClassVar[tuple[Example, ...]] = (Example("Told()", (3,)),)

    def cost(self, in_shapes: Sequence[Shape], out_shape: Shape) -> LayerCost:
        return LayerCost.each(out_shape, 1, "a multiplication for each number")


class PointwiseAffine(Affine):
    pointwise = True


@pytest.mark.parametrize("layer", [Told(), PointwiseAffine(), BatchNorm2D()], ids=repr)
def test_what_is_true_passes(layer: Layer) -> None:
    check_layer(layer, IMAGE)


class Unlike(Told):
    pass


def test_nothing_of_it_is_inherited() -> None:
    layer = Unlike()
    assert (layer.pointwise, layer.lesson, layer.examples) == (False, ("", ""), ())
    assert layer.cost([(3,)], (3,)) is None
    check_layer(layer, IMAGE)


class Countless(Double):
    def cost(self, in_shapes: Sequence[Shape], out_shape: Shape) -> Any:
        return 12


class Halves(Double):
    def cost(self, in_shapes: Sequence[Shape], out_shape: Shape) -> LayerCost:
        return LayerCost(12, "something", touched=0.5)  # type: ignore[arg-type]  # wrong on purpose


class Below(Double):
    def cost(self, in_shapes: Sequence[Shape], out_shape: Shape) -> LayerCost:
        return LayerCost(-1, "something")


class Wordless(Double):
    def cost(self, in_shapes: Sequence[Shape], out_shape: Shape) -> LayerCost:
        return LayerCost(1, "")


class OneSentence(Double):
    lesson = "It doubles."  # type: ignore[assignment]  # wrong on purpose


class HalfALesson(Double):
    lesson = ("It doubles.", "")


class OneExample(Double):
    examples = Example("OneExample()", (3,))  # type: ignore[assignment]  # wrong on purpose


class SomebodyElses(Double):
    examples = (Example("ReLU()", (3,)),)


class Centred(Layer):
    """Looks at the whole sample."""

    pointwise = True

    def forward(self, x: Array, ctx: Context) -> tuple[Array, Cache]:
        axes = tuple(range(1, x.ndim))
        return x - x.mean(axis=axes, keepdims=True), axes

    def backward(self, dy: Array, axes: Cache, ctx: Context) -> tuple[Array, Grads]:
        return dy - dy.mean(axis=axes, keepdims=True), {}


class Mirrored(Layer):
    """Takes each number from another place."""

    pointwise = True

    def forward(self, x: Array, ctx: Context) -> tuple[Array, Cache]:
        return x[..., ::-1], None

    def backward(self, dy: Array, cache: Cache, ctx: Context) -> tuple[Array, Grads]:
        return dy[..., ::-1], {}


class Summed(Layer):
    """Changes the shape."""

    pointwise = True

    def build(self, in_shape: Shape, rng: np.random.Generator) -> Shape:
        return in_shape[:1]

    def forward(self, x: Array, ctx: Context) -> tuple[Array, Cache]:
        return x.sum(axis=tuple(range(2, x.ndim))), x.shape

    def backward(self, dy: Array, shape: Cache, ctx: Context) -> tuple[Array, Grads]:
        return np.broadcast_to(dy.reshape(*dy.shape, *(1 for _ in shape[2:])), shape), {}


class Joining(Residual):
    pointwise = True


@pytest.mark.parametrize(
    ("layer", "check", "reason"),
    [
        (Countless(), "cost", "cost must return a LayerCost, such as .*, it returned 12; remove cost"),
        (Halves(), "cost", "touched of the cost must be a whole number, 0 or above, got 0.5"),
        (Below(), "cost", "operations of the cost must be a whole number, 0 or above, got -1"),
        (Wordless(), "cost", "the cost must describe what is counted, got what=''"),
        (OneSentence(), "lesson", "lesson must be two sentences, .*, got 'It doubles.'"),
        (HalfALesson(), "lesson", r"lesson must be two sentences, .*, got \('It doubles.', ''\)"),
        (OneExample(), "examples", "examples must be a tuple, such as "),
        (SomebodyElses(), "examples", r"class of the example 'ReLU\(\)': expected SomebodyElses, got ReLU"),
        (Centred(), "pointwise", r"y at \(\d, \d, \d\) for other numbers at all other places: expected the same"),
        (Mirrored(), "pointwise", r"y at \(\d, \d, \d\) for other numbers at all other places: expected the same"),
        (Summed(), "pointwise", r"shape of the output of a pointwise layer: expected \(3, 8, 7\), got \(3,\)"),
        (Joining(Double()), "pointwise", "a merge has several inputs and is not pointwise"),
    ],
    ids=lambda value: type(value).__name__ if not isinstance(value, str) else "",
)
def test_what_is_not_is_found(layer: Layer, check: str, reason: str) -> None:
    with pytest.raises(CheckError, match=f"(?s)fails the check {check!r}: {reason}"):
        check_layer(layer, IMAGE)
