"""Lessons on layers that look through a window: convolution and pooling."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from cnnkit.explanation import figures
from cnnkit.explanation.examples import WindowExample, conv_example, pool_example
from cnnkit.explanation.figures import Box
from cnnkit.explanation.lesson import Lesson
from cnnkit.explanation.markup import Html, joined, number, tag, term
from cnnkit.explanation.tracing import LayerTrace
from cnnkit.layers import AvgPool2D, Conv2D, MaxPool2D
from cnnkit.layers.conv import CONVOLUTIONS
from cnnkit.layers.window import Window
from cnnkit.types import Array
from cnnkit.wording import counted

SHOWN = 3
"""Input channels whose numbers are written out."""


def conv(layer: Conv2D, trace: LayerTrace) -> Lesson:
    """The patch under one output, times the kernel, plus the bias."""
    example = conv_example(layer, trace.inputs[0], trace.output)
    channels = len(example.patch)
    rows, columns = layer.window.rows.size, layer.window.columns.size
    stack = f"each has {counted(channels, 'grid')} of {rows} x {columns} weights, one for each channel that it reads"
    bias = "" if layer.bias else ", and no bias"
    words = [
        f"Here it has {counted(layer.filters, 'filter')}: {stack}{bias}. The sums of one filter make one channel of "
        f"the output.{_padding(layer.window, 'zeros')}"
    ]
    back = (
        "Every weight collects (number under it) * (gradient of the output) over all places where it was used; every "
        "input number collects (weight on it) * (gradient of the output) over all filters and places that read it."
    )
    box = Box(example.row, example.column, 1, 1)
    return Lesson(words, _conv_steps(example, trace, layer.window), back, {example.channel: box}, layer.window)


def pool(layer: MaxPool2D | AvgPool2D, trace: LayerTrace) -> Lesson:
    """The window under one output, and its maximum or mean."""
    example = pool_example(layer, trace.inputs[0], trace.output)
    rows, columns = layer.window.rows.size, layer.window.columns.size
    is_max = isinstance(layer, MaxPool2D)
    back = (
        "The gradient of an output goes to the number that was the largest, alone: of equal ones to the first, column "
        "by column."
        if is_max
        else "The gradient of an output is shared evenly by all numbers in its window."
    )
    padding = _padding(layer.window, "places that can never be the largest" if is_max else "zeros")
    words = [f"Here a window has {rows} x {columns} numbers.{padding}"]
    box = Box(example.row, example.column, 1, 1)
    return Lesson(words, _pool_steps(example, trace, layer.window, is_max), back, {example.channel: box}, layer.window)


LESSONS: Mapping[type, Callable[[Any, LayerTrace], Lesson]] = {
    AvgPool2D: pool,
    MaxPool2D: pool,
    **dict.fromkeys(CONVOLUTIONS, conv),
}


def _padding(window: Window, filling: str) -> str:
    return f" Beyond the edges of the input, {filling} are added." if any(window.onnx["pads"]) else ""


def _conv_steps(example: WindowExample, trace: LayerTrace, window: Window) -> Html:
    kernel = example.kernel if example.kernel is not None else np.ones_like(example.patch)
    sums = example.sums
    order = np.argsort(-np.abs(np.nan_to_num(sums)), kind="stable")
    shown = sorted(order[:SHOWN].tolist())
    rows = []
    for index in shown:
        channel, patch = example.first_channel + index, example.patch[index]
        rows.append(
            tag(
                "div",
                _where(example, trace, window, channel),
                _titled(f"the input there, x[{channel}]", figures.grid(patch, inside=example.inside, alt="patch")),
                tag("span", "*", class_="sign"),
                _titled(f"weights[{example.channel}, {index}]", figures.grid(kernel[index], alt="weights")),
                tag("span", "=", class_="sign"),
                _titled("products", figures.grid(patch * kernel[index], inside=example.inside, alt="products")),
                tag("span", f"sum {number(float(sums[index]))}", class_="sign"),
                class_="steps",
            )
        )
    terms = [term(float(sums[index])) for index in shown]
    if len(shown) < len(sums):
        terms.append(f"{term(float(sums.sum() - sums[shown].sum()))} (the other {len(sums) - len(shown)} channels)")
    if example.bias is not None:
        terms.append(f"{term(example.bias)} (bias)")
    total = float(sums.sum()) + (example.bias or 0.0)
    return joined([_place(example), *rows, _total(" + ".join(terms), total, example)])


def _pool_steps(example: WindowExample, trace: LayerTrace, window: Window, is_max: bool) -> Html:
    patch = example.patch[0]
    grid = figures.grid(patch, inside=example.inside, mark=example.winner if is_max else None, alt="window")
    row = tag(
        "div",
        _where(example, trace, window.without_idle(), example.channel),
        _titled(f"the input there, x[{example.channel}]", grid),
        class_="steps",
    )
    layer: MaxPool2D | AvgPool2D = trace.node.layer  # type: ignore[assignment]  # the lesson is for these alone
    count = 1 if isinstance(layer, MaxPool2D) else int(layer.counts()[example.row, example.column])
    total = float(patch.max()) if is_max else float(patch.sum()) / count
    said = "The largest of them" if is_max else f"The sum {number(float(patch.sum()))} / {count}"
    return joined([_place(example), row, _total(said, total, example)])


def _place(example: WindowExample) -> Html:
    place = f"y[{example.channel}, {example.row}, {example.column}]"
    where = f"the largest output: channel {example.channel}, row {example.row}, column {example.column}"
    return tag("p", "One number in detail, ", tag("code", place), f", {where} (all counted from 0).")


def _where(example: WindowExample, trace: LayerTrace, window: Window, channel: int) -> Html:
    """The input channel with a frame around what the window looks at."""
    x: Array = trace.inputs[0]
    box = Box(example.top, example.left, window.rows.reach, window.columns.reach)
    return figures.signed_picture(x[channel], figures.reach(x), "where the window is", f"input {channel}", box)


def _titled(title: str, content: Html) -> Html:
    return tag("figure", tag("figcaption", title), content, class_="titled")


def _total(terms: str, total: float, example: WindowExample) -> Html:
    gave = f"the layer itself gave {number(example.value)}"
    return tag("p", f"{terms} = ", tag("strong", number(total)), tag("span", f" ({gave})", class_="remark"))
