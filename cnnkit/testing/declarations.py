"""Checks of what a layer says of itself: its cost, its lesson, its examples, and whether it is pointwise."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from cnnkit.components import Layer, Merge
from cnnkit.components.declared import Declared
from cnnkit.components.expressions import parse
from cnnkit.errors import CheckError
from cnnkit.testing.comparing import close, equal
from cnnkit.testing.layer_trial import Trial
from cnnkit.testing.tiled_passes import build
from cnnkit.types import Example, LayerCost, Shape

PLACES = 20
"""Numbers of an output that are looked at."""
COUNTS = ("operations", "products", "seen", "scratch", "rounds", "touched")


def check_cost(layer: Layer | Merge, in_shape: Shape) -> None:
    """`cost` gives a `LayerCost` of whole numbers, 0 or above, with words for what is counted; or None throughout."""
    built = build(layer, in_shape, np.random.default_rng(0))
    found: object = built.layer.cost(tuple(built.in_shapes), built.out_shape)
    if found is None and type(layer).cost is Declared.cost:
        return
    if not isinstance(found, LayerCost):
        raise CheckError(
            f"cost must return a LayerCost, such as LayerCost.each(out_shape, 1, "
            f'"a comparison for each number"), it returned {found!r}; remove cost if it is not known'
        )
    for name in COUNTS:
        count = getattr(found, name)
        if not isinstance(count, int) or count < 0:
            raise CheckError(f"{name} of the cost must be a whole number, 0 or above, got {count!r}")
    if not isinstance(found.what, str) or not found.what:
        raise CheckError(f"the cost must describe what is counted, got what={found.what!r}")


def check_lesson(layer: Layer | Merge) -> None:
    """`lesson` is two sentences, or nothing."""
    lesson: object = layer.lesson
    two = isinstance(lesson, tuple) and len(lesson) == 2 and all(isinstance(sentence, str) for sentence in lesson)
    if lesson != ("", "") and not (two and all(sentence.endswith((".", "!", "?")) for sentence in layer.lesson)):
        raise CheckError(f"lesson must be two sentences, what the layer does and why a network has it, got {lesson!r}")


def check_examples(layer: Layer | Merge) -> None:
    """`examples` are `Example`s with expressions of this class."""
    examples: object = layer.examples
    if not isinstance(examples, tuple) or not all(isinstance(example, Example) for example in examples):
        raise CheckError(f'examples must be a tuple, such as (Example("ReLU()", (13,)),), got {examples!r}')
    for example in layer.examples:
        equal(f"class of the example {example.expression!r}", parse(example.expression).name, type(layer).__name__)


def check_pointwise(layer: Layer | Merge, in_shape: Shape) -> None:
    """A layer that calls itself pointwise gives the same number in prediction, whatever stands at other places."""
    if not layer.pointwise:
        return
    one, other = Trial.make(layer, in_shape, seed=0), Trial.make(layer, in_shape, seed=1)
    if len(one.xs) > 1:
        raise CheckError("a merge has several inputs and is not pointwise: remove pointwise")
    equal("shape of the output of a pointwise layer", one.built.out_shape, in_shape)
    expected, (x,), (others,) = one.forward(training=False), one.xs, other.xs
    for index in np.random.default_rng(0).permutation(math.prod(in_shape))[:PLACES]:
        place = tuple(int(i) for i in np.unravel_index(index, in_shape))
        at: tuple[Any, ...] = (slice(None), *place)
        changed = others.copy()
        changed[at] = x[at]
        other.xs = [changed]
        close(f"y at {place} for other numbers at all other places", other.forward(training=False)[at], expected[at])
