"""Lessons on all other layers, and which lesson belongs to which layer.

A class that is derived from a layer may compute something else, so that only cnnkit's own classes have lessons; for
any other layer its docstring, its numbers and its gradient check speak.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np

from cnnkit.explanation import windows
from cnnkit.explanation.examples import LARGEST, dense_example, largest, norm_example
from cnnkit.explanation.figures import Box
from cnnkit.explanation.lesson import Lesson
from cnnkit.explanation.markup import Html, joined, number, shape, table, tag, term
from cnnkit.explanation.tracing import LayerTrace
from cnnkit.layers import (
    AvgPool2D,
    BatchNorm2D,
    Concat,
    Conv2D,
    Dense,
    Dropout,
    Flatten,
    MaxPool2D,
    ReLU,
    Residual,
    Softmax,
)
from cnnkit.types import Shape


def lesson_for(trace: LayerTrace, unflattened: Shape | None) -> Lesson:
    """The lesson on a node; unflattened: the shape of the maps that its input was, if a Flatten made it from them."""
    layer: Any = trace.node.layer
    if type(layer) is Dense:
        return _dense(layer, trace, unflattened)
    teach = _LESSONS.get(type(layer))
    return (
        teach(layer, trace) if teach else Lesson(["This layer comes from a plugin; what it says of itself is above."])
    )


def _dense(layer: Dense, trace: LayerTrace, maps: Shape | None) -> Lesson:
    example = dense_example(layer, trace.inputs[0], trace.output)
    rows = []
    for place, x, weight, product in list(
        zip(example.inputs.tolist(), example.x, example.weights, example.products, strict=True)
    )[:LARGEST]:
        origin = ""
        if maps and len(maps) == 3:
            channel, row, column = (int(i) for i in np.unravel_index(place, maps))
            origin = f" (channel {channel}, row {row}, column {column})"
        rows.append((f"x[{place}]{origin}", number(x), number(weight), number(product)))
    others, products = len(example.inputs) - len(rows), example.products
    if others > 0:
        rows.append((f"the other {others:,}", "", "", number(float(products[len(rows) :].sum()))))
    rows.append(("bias", "", "", number(example.bias)))
    total = float(products.sum()) + example.bias
    rows.append((f"y[{example.unit}], the sum", "", "", number(total)))
    words = [
        f"Every one of the {layer.units} outputs is a weighted sum of all {len(example.inputs):,} inputs, plus a bias: "
        "one row of the weight matrix, multiplied with the input number by number and added up."
    ]
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


def _relu(_layer: ReLU, trace: LayerTrace) -> Lesson:
    x = trace.inputs[0]
    negative = int((x < 0).sum())
    words = [
        f"Every number below 0 becomes 0, every other stays. Here {negative:,} of {x.size:,} numbers were below 0: in "
        "the pictures, all blue turns white."
    ]
    low, high = float(x.min()), float(x.max())
    example = tag(
        "p",
        "In detail: the smallest input ",
        tag("strong", number(low)),
        f" becomes max({number(low)}, 0) = ",
        tag("strong", number(max(low, 0.0))),
        "; the largest ",
        tag("strong", number(high)),
        f" becomes max({number(high)}, 0) = ",
        tag("strong", number(max(high, 0.0))),
        ".",
    )
    back = f"The gradient passes where the input was above 0 ({int((x > 0).sum()):,} numbers), and stops elsewhere."
    return Lesson(words, example, back)


def _softmax(_layer: Softmax, trace: LayerTrace) -> Lesson:
    words = ["Scores become probabilities: e to the power of each score, divided by the sum of all these powers."]
    x, y = trace.inputs[0].astype(np.float64), trace.output
    if x.ndim != 1:
        return Lesson(words)
    powers = np.exp(x - x.max())
    order = np.argsort(-x, kind="stable")[:LARGEST]
    rows = [(str(k), number(x[k]), number(powers[k]), number(float(y[k]))) for k in order.tolist()]
    after = tag("p", f"The sum of all {len(x)} powers is {number(float(powers.sum()))}.")
    return Lesson(
        words, joined([table(("class", "score x", "exp(x - max x)", "probability y"), rows, "numbers"), after])
    )


def _norm(layer: BatchNorm2D, trace: LayerTrace) -> Lesson:
    one = norm_example(layer, trace.inputs[0], trace.output)
    words = [
        "From every number the mean of its channel is subtracted, and the rest is divided by the channel's spread (the "
        "root of its variance). Then a learned factor gamma stretches it, and a learned offset beta moves it. In "
        "prediction, as here, mean and variance are those that were collected in training.",
    ]
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


def _dropout(layer: Dropout, _trace: LayerTrace) -> Lesson:
    return Lesson(
        [
            f"In training, a random share of {layer.rate:g} of the numbers is set to 0, so that the network does not "
            "rely on single ones. In prediction, as here, nothing happens: the output is the input."
        ],
        back="The gradient passes as it is.",
    )


def _flatten(_layer: Flatten, trace: LayerTrace) -> Lesson:
    x = trace.inputs[0]
    words = [f"The {shape(x.shape)} numbers are written one after the other, as one vector. Nothing is computed."]
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
    words = [
        "What the layers of the body computed is added to the shortcut, which is the value from before the body, or a "
        "shortcut's own layers applied to it. The body only has to learn what to change."
    ]
    back = "Both get the same gradient: the shortcut carries it past the body undiminished."
    return Lesson(words, example, back, {place[0]: Box(place[1], place[2], 1, 1)} if len(place) == 3 else {})


def _concat(_layer: Concat, trace: LayerTrace) -> Lesson:
    ends = np.cumsum([0, *(len(x) for x in trace.inputs)]).tolist()
    rows = [
        (f"branch {number}", f"{shape(x.shape)}", f"{first} to {last - 1}")
        for number, (x, (first, last)) in enumerate(zip(trace.inputs, pairwise(ends), strict=True))
    ]
    words = ["The outputs of the branches are put one behind the other, along the channels. Nothing is computed."]
    example: Html = table(("branch", "its output", "channels here"), rows, "numbers")
    return Lesson(words, example, "Each branch gets back the gradient of its own channels.")


_LESSONS: dict[type, Callable[[Any, LayerTrace], Lesson]] = {
    AvgPool2D: windows.pool,
    BatchNorm2D: _norm,
    Concat: _concat,
    Conv2D: windows.conv,
    Dropout: _dropout,
    Flatten: _flatten,
    MaxPool2D: windows.pool,
    ReLU: _relu,
    Residual: _residual,
    Softmax: _softmax,
}
