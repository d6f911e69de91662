"""The sections of the page on the layers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from cnnkit.explanation import figures
from cnnkit.explanation.explanation import Explanation
from cnnkit.explanation.formulas import MAX_DESCRIPTION, describe
from cnnkit.explanation.lessons import lesson_for
from cnnkit.explanation.markup import MAX_TEXT, Html, joined, milliseconds, tag
from cnnkit.explanation.script import HINT, geometry
from cnnkit.explanation.tracing import LayerTrace
from cnnkit.layers import Dense, Flatten
from cnnkit.layers.conv import CONVOLUTIONS
from cnnkit.network import INPUT
from cnnkit.types import Array, Shape
from cnnkit.wording import shorten, sizes

MAX_CHANNELS = 8
MAX_PICTURES = 400
"""Channels shown in all layers together: a network of hundreds of layers has fewer in each."""
MAX_PARAMETER_PICTURES, MAX_KERNELS = 16, 4
"""Pictures of a layer's parameters, and how many input channels of a filter are among them."""
MAX_ALONE = 512
"""Pictures of each kind on a page of a single layer."""
PASSED_BACK = "Backward: the gradient that it passes on, with respect to what it takes"


def channels_shown(layers: int) -> int:
    """How many channels of each layer are shown."""
    return max(1, min(MAX_CHANNELS, MAX_PICTURES // layers))


def layer_section(explanation: Explanation, trace: LayerTrace, *, alone: bool = False) -> Html:
    """All about one node; folded but for the first and the last one, which show what there is to unfold.

    alone: whether the page has no other, so that there is room for what it takes and passes back, and for all channels.
    """
    node, most = trace.node, MAX_ALONE if alone else channels_shown(len(explanation.trace.layers))
    lesson = lesson_for(trace, _unflattened(explanation, trace))
    said = describe(type(node.layer))
    arrays = {**node.layer.params, **node.layer.buffers}
    pictures = figures.gallery(trace.output, f"output of {node.name}", most, also=lesson.boxes, boxes=lesson.boxes)
    heading = tag("h2", f"{node.index + 1}. {node.name}", " ", tag("code", expression(trace)))
    parts: list[Any] = [
        tag("p", said.sentence) if said.sentence else None,
        tag("p", shorten(taught, MAX_DESCRIPTION)) if (taught := " ".join(node.layer.lesson).strip()) else None,
        *(tag("p", words) for words in lesson.words),
        tag("pre", said.formulas, class_="formula") if said.formulas else None,
        tag("p", said.source, class_="remark") if said.source else None,
        _facts(explanation, trace),
        *(_each_input(explanation, trace, trace.inputs, "Forward: what it takes") if alone else ()),
        tag("h3", "Forward: what it gives"),
        tag("div", pictures, class_="output"),
        tag("p", HINT, class_="remark", hidden="") if lesson.window else None,
        lesson.example,
        tag("h3", "What it has learned") if arrays else None,
        tag("div", *_parameters(trace, arrays, alone), class_="parameters") if arrays else None,
        tag("h3", "Backward: the gradient of the loss with respect to its output"),
        *_backward(trace, most),
        tag("p", lesson.back) if lesson.back and trace.gradient is not None else None,
        *(_each_input(explanation, trace, trace.input_gradients, PASSED_BACK) if alone else ()),
    ]
    layers = explanation.trace.layers
    opened = alone or trace is layers[0] or trace is layers[-1]
    folding = tag("details", tag("summary", heading), *parts, open="" if opened else None)
    return tag("section", folding, id=node.name, data_window=lesson.window and geometry(lesson.window))


def expression(trace: LayerTrace) -> str:
    """The layer's expression; of a merge its name, as its branches are listed before it."""
    layer = trace.node.layer
    return f"{layer.brief}(...)" if layer.branches else shorten(layer.brief, MAX_TEXT)


def parameter_count(trace: LayerTrace) -> int:
    """How many numbers of the layer are trained."""
    return sum(array.size for array in trace.node.layer.params.values())


def check_words(trace: LayerTrace) -> str:
    """The verdict of the gradient check, short."""
    if trace.check is None:
        return "not checked"
    return f"{'right' if trace.check.ok else 'WRONG'}, {trace.check.error:.1e}"


def _unflattened(explanation: Explanation, trace: LayerTrace) -> Shape | None:
    """The shape before the Flatten whose output, through layers that keep places, the layer takes; None without."""
    source = trace.node.inputs[0]
    while source != INPUT:
        node = explanation.trace.layers[source].node
        if type(node.layer) is Flatten:
            return node.in_shapes[0]
        if not node.layer.pointwise:
            return None
        source = node.inputs[0]
    return None


def _names(explanation: Explanation, trace: LayerTrace) -> list[str]:
    """Where the layer's inputs come from."""
    return ["the input" if i == INPUT else explanation.trace.layers[i].node.name for i in trace.node.inputs]


def _each_input(explanation: Explanation, trace: LayerTrace, arrays: Sequence[Array], heading: str) -> Iterator[Html]:
    """Pictures of what belongs to each input of the layer; nothing where nothing is known."""
    for name, array in zip(_names(explanation, trace), arrays, strict=False):
        yield tag("h3", f"{heading}, from {name}" if len(arrays) > 1 else heading)
        yield figures.gallery(array, f"{heading} of {trace.node.name}", MAX_ALONE)


def _facts(explanation: Explanation, trace: LayerTrace) -> Html:
    node, names = trace.node, _names(explanation, trace)
    takes = " and ".join(f"{sizes(size)} from {name}" for size, name in zip(node.in_shapes, names, strict=True))
    cost = node.cost
    operations = f"{cost.operations:,}: {shorten(cost.what, MAX_TEXT)}" if cost else "not known for this kind of layer"
    layer = node.layer
    told = ""
    if layer.params or layer.buffers:
        params, buffers = (
            ", ".join(f"{name} {sizes(array.shape)}" for name, array in arrays.items())
            for arrays in (layer.params, layer.buffers)
        )
        told = f" ({params})" if not buffers else f" ({params}); kept besides: {buffers}"
    back = "" if trace.backward_ms is None else f", {milliseconds(trace.backward_ms)} backward"
    facts = {
        "takes": takes,
        "gives": sizes(node.out_shape),
        "parameters": f"{parameter_count(trace):,}{told}",
        "operations": operations,
        "time": f"{milliseconds(trace.forward_ms)} forward{back}, measured",
        "gradient check": _check(trace),
    }
    pairs = [part for name, value in facts.items() for part in (tag("dt", name), tag("dd", value))]
    return tag("dl", *pairs)


def _check(trace: LayerTrace) -> Html | str:
    if trace.check is None:
        return f"not checked. {shorten(trace.remark, MAX_TEXT)}"
    errors = ", ".join(f"{name.removeprefix('params.')} {error:.1e}" for name, error in trace.check.errors.items())
    verdict = tag("strong", "right" if trace.check.ok else "WRONG", class_="ok" if trace.check.ok else "wrong")
    return joined([verdict, f": the largest relative error is {trace.check.error:.1e} (for {errors})"])


def _parameters(trace: LayerTrace, arrays: Mapping[str, Array], alone: bool) -> Iterator[Html]:
    for name, array in arrays.items():
        grad = trace.grads.get(name)
        rows = " (a row for each output)" if type(trace.node.layer) is Dense and array.ndim == 2 else ""
        parts = [tag("h4", tag("code", name), " ", sizes(array.shape), rows), _pictures(trace, name, array, alone)]
        if grad is not None:
            parts += [
                tag("h4", "its gradient: how the loss answers to it"),
                _pictures(trace, f"gradient of {name}", grad, alone),
            ]
        yield tag("div", *parts, class_="parameter")


def _pictures(trace: LayerTrace, name: str, array: Array, alone: bool) -> Html:
    """Of convolutions one picture for each filter and input channel."""
    alt = f"{name} of {trace.node.name}"
    most, of_a_filter = (MAX_ALONE, MAX_ALONE) if alone else (MAX_PARAMETER_PICTURES, MAX_KERNELS)
    if type(trace.node.layer) in CONVOLUTIONS and array.ndim == 4:
        filters, channels = array.shape[:2]
        # The same number of input channels of each filter, so that a picture's place says what it is.
        inner = min(channels, of_a_filter)
        outer = min(filters, max(1, most // inner))
        rows, limit = [], figures.reach(array)
        for index in range(outer):
            cells = [figures.signed_picture(array[index, c], limit, alt, f"{index}, {c}") for c in range(inner)]
            rows.append(tag("div", *cells, class_="filter"))
        remark = f"[filter, input channel]: {outer} of {filters} filters, {inner} of {channels} input channels shown"
        return tag("div", tag("div", *rows, class_="kernels"), figures.scale(limit, [remark]))
    return figures.gallery(array, alt, most, part="part")


def _backward(trace: LayerTrace, most: int) -> Iterator[Html]:
    if trace.gradient is None:
        yield tag("p", shorten(trace.remark, MAX_TEXT), class_="remark")
        return
    yield figures.gallery(trace.gradient, f"gradient at {trace.node.name}", most)
    if trace.remark:
        yield tag("p", shorten(trace.remark, MAX_TEXT), class_="remark")
