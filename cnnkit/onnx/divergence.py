"""Where a file leaves its model: the first layer whose values differ."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence

import numpy as np

from cnnkit.components import Runtime
from cnnkit.network import INPUT, Network, Node
from cnnkit.onnx.difference import magnitude, relative, subtract
from cnnkit.onnx.executable_model import Program, as_declared, outputs_of
from cnnkit.onnx.expected_answers import Answers, allowed
from cnnkit.onnx.export import MAX_OPSET, MIN_OPSET, Lowered, lower
from cnnkit.onnx.load import Signature
from cnnkit.onnx.outputs import LABEL, compared_outputs, probabilities_of
from cnnkit.onnx.report import Divergence
from cnnkit.types import Array

MOST_FOLDED = 4
"""Layers that are named together where the file gives only the value of the last."""


def first_divergence(
    runtime: Runtime, program: Program, answers: Answers, index: int, tolerance: float
) -> Divergence | None:
    """Follow sample `index` through the file and name the first layer that differs by more than is allowed.

    The runtime executes the file once more with all layers' values as outputs; they are compared with those of the
    model in float64, and what is allowed is taken from its rounding there, as for the logits.
    Returns None if no layer differs by more, as when almost equal logits change their order.
    Raises OnnxError if the runtime cannot execute that.
    """
    sample = answers.x[index : index + 1]
    lowered = _lowered(program.signature, answers.single)
    further = [lowered.graph.value_info(value) for value in dict.fromkeys([lowered.preprocessed, *lowered.values])]
    outputs = outputs_of(program, runtime, sample, further)
    singly = _steps(answers.single, lowered, sample, answers.names, outputs)
    doubly = _steps(answers.double, lowered, sample, answers.names, outputs)
    for (where, value, single), (_, _, double) in zip(singly, doubly, strict=True):
        if value not in outputs:
            continue
        theirs = outputs[value]
        if theirs.shape != double.shape:
            return Divergence(where, np.inf, index)
        scale = magnitude(double)
        difference = relative(magnitude(subtract(theirs, double)), scale)
        if difference[0] > allowed(relative(magnitude(subtract(single, double)), scale), tolerance)[0]:
            return Divergence(where, float(difference[0]), index)
    return None


def _lowered(signature: Signature, model: Network) -> Lowered:
    input_dtype = as_declared(signature, np.zeros(0, model.input_dtype)).dtype.name
    opset = min(max(signature.opset or MAX_OPSET, MIN_OPSET), MAX_OPSET)
    return lower(model, opset, input_dtype, signature.batch)


def _steps(
    model: Network, lowered: Lowered, x: Array, names: Sequence[str], present: Collection[str]
) -> Iterator[tuple[str, str, Array]]:
    """What to compare, in the order of execution: where it is, the ONNX value's name, and the model's own array.

    names: of the outputs; present: of the values that the file gives.
    """
    factor, offset = model.preprocessing.affine(np.dtype(model.dtype), len(model.input_shape))
    yield f"the preprocessing = {model.preprocessing}", lowered.preprocessed, x * factor + offset
    for node, value, own in zip(model.nodes, lowered.values, model.trace(x), strict=True):
        yield _place(model, lowered, node, present), value, own
    first, *second = [name for name in names if name != LABEL] or [""]
    compared = compared_outputs(model, x, names)
    yield f"the output {first}", first, compared
    for name in second:
        yield f"the output {name}", name, probabilities_of(model, compared)


def _place(model: Network, lowered: Lowered, node: Node, present: Collection[str]) -> str:
    """A layer, with those before it whose values the file does not give by themselves, as after folding."""
    places = [str(node)]
    while len(node.inputs) == 1 and node.inputs[0] != INPUT and len(places) < MOST_FOLDED:
        node = model.nodes[node.inputs[0]]
        if lowered.values[node.index] in present:
            break
        places.append(str(node))
    return " with ".join(reversed(places))
