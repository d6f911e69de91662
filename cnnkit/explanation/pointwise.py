"""The lesson on layers that make each number of the output from the input's number at the same place alone."""

from __future__ import annotations

import numpy as np

from cnnkit.explanation.examples import largest
from cnnkit.explanation.lesson import Lesson
from cnnkit.explanation.markup import Html, number, table
from cnnkit.explanation.tracing import LayerTrace
from cnnkit.wording import counted


def pointwise(trace: LayerTrace) -> Lesson:
    """Some numbers before and after it, and how many it changes."""
    x, y = trace.inputs[0], trace.output
    changed = int((x != y).sum())
    words = f"Here {changed:,} of {counted(x.size, 'number')} {'is' if changed == 1 else 'are'} changed."
    return Lesson([words], _rows(trace), _back(trace))


def _rows(trace: LayerTrace) -> Html:
    """The smallest input, the one nearest to 0 and the largest, with what comes of them, forward and backward."""
    x, y, dy = trace.inputs[0], trace.output, trace.gradient
    chosen = {"the smallest": -x, "the nearest to 0": -np.abs(x), "the largest": x}
    dx = trace.input_gradients[0] if trace.input_gradients else None
    headings = ["input", "place", "x", "y", *(["dy", "dx"] if dx is not None else [])]
    rows = []
    for name, order in chosen.items():
        place = largest(order)
        values = [x[place], y[place]] if dx is None or dy is None else [x[place], y[place], dy[place], dx[place]]
        rows.append((name, f"[{', '.join(map(str, place))}]", *(number(float(value)) for value in values)))
    return table(headings, rows, "numbers")


def _back(trace: LayerTrace) -> str:
    alone = "The gradient of a number depends on the number at its own place alone."
    if trace.gradient is None or not trace.input_gradients:
        return alone
    dy, dx = trace.gradient, trace.input_gradients[0]
    arrives = dy != 0
    passed, stopped = int(((dx == dy) & arrives).sum()), int(((dx == 0) & arrives).sum())
    return (
        f"{alone} Of {int(arrives.sum()):,} that are not 0, {passed:,} pass unchanged here, and {stopped:,} become 0."
    )
