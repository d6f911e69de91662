"""Lessons on all other layers, and which lesson belongs to which layer.

What a layer does and why one has it says its class; a lesson adds one number that is worked out. A class that is
derived from a layer may compute something else, so that the lessons of families are for cnnkit's own classes alone.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np

from cnnkit.explanation import windows
from cnnkit.explanation.examples import MAX_CONTRIBUTIONS, dense_example, largest, norm_example
from cnnkit.explanation.figures import Box
from cnnkit.explanation.lesson import Lesson
from cnnkit.explanation.markup import Html, joined, number, table, tag, term
from cnnkit.explanation.pointwise import pointwise
from cnnkit.explanation.tracing import LayerTrace
from cnnkit.layers import BatchNorm2D, Concat, Dense, Flatten, Residual, Softmax
from cnnkit.layers.reparametrised import as_computed
from cnnkit.types import Shape
from cnnkit.wording import counted, sizes


def lesson_for(trace: LayerTrace, unflattened: Shape | None) -> Lesson:
    """The lesson on a node; unflattened: the shape of the maps that its input was, if a Flatten made it from them."""
    layer: Any = as_computed(trace.node.layer)
    if type(layer) is Dense:
        return _dense(layer, trace, unflattened)
    if teach := _LESSONS.get(type(layer)):
        return teach(layer, trace)
    if layer.pointwise:
        return pointwise(trace)
    return Lesson([] if any(layer.lesson) else ["This layer comes from a plugin; what it says of itself is above."])


def _dense(layer: Dense, trace: LayerTrace, maps: Shape | None) -> Lesson:
    example = dense_example(layer, trace.inputs[0], trace.output)
    rows, products = [], example.products
    columns = (column[:MAX_CONTRIBUTIONS].tolist() for column in (example.inputs, example.x, example.weights, products))
    for place, x, weight, product in zip(*columns, strict=True):
        origin = ""
        if maps and len(maps) == 3:
            channel, row, column = (int(i) for i in np.unravel_index(place, maps))
            origin = f" (channel {channel}, row {row}, column {column})"
        rows.append((f"x[{place}]{origin}", number(x), number(weight), number(product)))
    others = len(example.inputs) - len(rows)
    if others > 0:
        rows.append((f"the other {others:,}", "", "", number(float(products[len(rows) :].sum()))))
    rows.append(("bias", "", "", number(example.bias)))
    total = float(products.sum()) + example.bias
    rows.append((f"y[{example.unit}], the sum", "", "", number(total)))
    words = [f"Here {counted(layer.units, 'output')} take {counted(len(example.inputs), 'input')} each."]
    detail = joined(
        [
            tag(
                "p",
                "One number in detail, ",
                tag("code", f"y[{example.unit}]"),
                ", the largest output, and the inputs that contribute most to it.",
            ),
            table(("input", "its value", "its weight", "value * weight"), rows, "numbers"),
            tag("p", f"The layer itself gave {number(example.value)}.", class_="remark"),
        ]
    )
    back = (
        "A weight's gradient is (its input) * (gradient of its output); an input's is the sum of (weight) * (gradient "
        "of the output) over all outputs."
    )
    return Lesson(words, detail, back)


def _softmax(_layer: Softmax, trace: LayerTrace) -> Lesson:
    x, y = trace.inputs[0].astype(np.float64), trace.output
    if x.ndim != 1:
        return Lesson([])
    powers = np.exp(x - x.max())
    order = np.argsort(-x, kind="stable")[:MAX_CONTRIBUTIONS]
    rows = [(str(k), number(x[k]), number(powers[k]), number(float(y[k]))) for k in order.tolist()]
    after = tag("p", f"The sum of all {len(x)} powers is {number(float(powers.sum()))}.")
    return Lesson([], joined([table(("class", "score x", "exp(x - max x)", "probability y"), rows, "numbers"), after]))


def _norm(layer: BatchNorm2D, trace: LayerTrace) -> Lesson:
    one = norm_example(layer, trace.inputs[0], trace.output)
    words = ["In prediction, as here, mean and variance are those that were collected in training."]
    normal = (one.x - one.mean) / np.sqrt(one.var + layer.epsilon)
    total = normal * one.gamma + one.beta
    place = f"y[{one.channel}, {one.row}, {one.column}]"
    steps = [
        f"({number(one.x)} - {term(one.mean)}) / sqrt({number(one.var)} + {layer.epsilon:g}) = {number(normal)}",
        f"{number(one.gamma)} * {term(normal)} + {term(one.beta)} = ",
    ]
    example = joined(
        [
            tag("p", "One number in detail, ", tag("code", place), ", the largest output:"),
            tag("p", steps[0]),
            tag(
                "p",
                steps[1],
                tag("strong", number(total)),
                tag("span", f" (the layer itself gave {number(one.value)})", class_="remark"),
            ),
        ]
    )
    back = "In prediction this is one factor for each channel: dx = gamma / sqrt(variance + epsilon) * dy."
    return Lesson(words, example, back, {one.channel: Box(one.row, one.column, 1, 1)})


def _flatten(_layer: Flatten, trace: LayerTrace) -> Lesson:
    x = trace.inputs[0]
    words = [f"Here it writes {sizes(x.shape)} numbers."]
    example = None
    if x.ndim == 3:
        channel, row, column = largest(x)
        index = (channel * x.shape[1] + row) * x.shape[2] + column
        text = (
            f"In detail: the largest number, x[{channel}, {row}, {column}] = {number(float(x[channel, row, column]))}, "
            f"goes to place ({channel} * {x.shape[1]} + {row}) * {x.shape[2]} + {column} = {index}."
        )
        example = tag("p", text)
    return Lesson(words, example, "The gradient goes back to where each number came from.")


def _residual(_layer: Residual, trace: LayerTrace) -> Lesson:
    body, shortcut = trace.inputs
    place = largest(trace.output)
    at = ", ".join(map(str, place))
    text = (
        f"One number in detail, y[{at}], the largest output: {number(float(body[place]))} (body) + "
        f"{term(float(shortcut[place]))} (shortcut) = "
    )
    example = tag("p", text, tag("strong", number(float(body[place]) + float(shortcut[place]))))
    back = "Both get the same gradient: the shortcut carries it past the body undiminished."
    return Lesson([], example, back, {place[0]: Box(place[1], place[2], 1, 1)} if len(place) == 3 else {})


def _concat(_layer: Concat, trace: LayerTrace) -> Lesson:
    ends = np.cumsum([0, *(len(x) for x in trace.inputs)]).tolist()
    rows = [
        (f"branch {number}", f"{sizes(x.shape)}", f"{first} to {last - 1}")
        for number, (x, (first, last)) in enumerate(zip(trace.inputs, pairwise(ends), strict=True))
    ]
    example: Html = table(("branch", "its output", "channels here"), rows, "numbers")
    return Lesson([], example, "Each branch gets back the gradient of its own channels.")


_LESSONS: dict[type, Callable[[Any, LayerTrace], Lesson]] = {
    **windows.LESSONS,
    BatchNorm2D: _norm,
    Concat: _concat,
    Flatten: _flatten,
    Residual: _residual,
    Softmax: _softmax,
}
