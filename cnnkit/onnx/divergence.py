"""Where a file leaves its model: the first layer whose values differ, and that layer alone."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import NamedTuple

import numpy as np

from cnnkit.components import Runtime
from cnnkit.errors import OnnxError
from cnnkit.network import INPUT, Network, Node
from cnnkit.onnx.difference import magnitude, relative, subtract
from cnnkit.onnx.executable_model import Program, as_declared, outputs_of
from cnnkit.onnx.expected_answers import ExpectedAnswers, allowed
from cnnkit.onnx.export import MAX_OPSET, MIN_OPSET, Lowered, lower
from cnnkit.onnx.load import Signature
from cnnkit.onnx.outputs import LABEL, compared_outputs, lower_outputs, probabilities_of
from cnnkit.onnx.parts import Part
from cnnkit.onnx.plain_values import PlainValues
from cnnkit.onnx.report import Divergence
from cnnkit.onnx.reproducer import Reproducer
from cnnkit.types import Array

MOST_FOLDED = 4
"""Layers that are named together where the file gives only the value of the last."""


class _Step(NamedTuple):
    """What to compare at one place."""

    where: str
    value: str
    """The ONNX value's name."""
    own: Array
    """The model's."""


def first_divergence(
    runtime: Runtime, program: Program, expected: ExpectedAnswers, number: int, tolerance: float
) -> tuple[Divergence | None, Reproducer | None]:
    """Follow a sample through the file and name the first layer that differs by more than is allowed.

    The runtime executes the file once more with all layers' values as outputs; they are compared with those of the
    model in float64, and what is allowed is taken from its rounding there, as for the logits. Then it executes the
    nodes of that layer alone, on the model's own values.
    Returns no divergence if no layer differs by more, as when almost equal logits change their order, and no reproducer
    if the layer cannot be run alone.
    Raises OnnxError if the runtime cannot execute the file with these outputs.
    """
    sample, double = expected.sample(number), expected.double
    lowered = _lowered(program.signature, expected.single, expected.names)
    further = [lowered.graph.value_info(value) for value in dict.fromkeys([lowered.preprocessed, *lowered.values])]
    outputs = outputs_of(program, runtime, sample, further)
    singly, doubly = (_steps(model, lowered, sample, expected.names, outputs) for model in (expected.single, double))
    for single, step in zip(singly, doubly, strict=True):
        if step.value not in outputs:
            continue
        theirs = outputs[step.value]
        if theirs.shape != step.own.shape:
            found = Divergence(step.where, np.inf, number)
        elif _differs(theirs, single.own, step.own, tolerance):
            found = Divergence(step.where, _distance(theirs, step.own), number)
        else:
            continue
        try:
            return found, _alone(runtime, program, expected, double, lowered, sample, step, tolerance, number)
        except OnnxError:
            return found, None
    return None, None


def _alone(
    runtime: Runtime,
    program: Program,
    expected: ExpectedAnswers,
    double: Network,
    lowered: Lowered,
    sample: Array,
    step: _Step,
    tolerance: float,
    number: int,
) -> Reproducer:
    """The nodes that give a value, executed on the model's own values.

    Raises OnnxError if the runtime cannot do so.
    """
    single = expected.single
    sample = np.repeat(sample, program.signature.batch or 1, axis=0)  # a file of a fixed batch takes no single one
    steps = list(_steps(single, lowered, sample, expected.names, ()))
    at = next(place for place, one in enumerate(steps) if one.value == step.value)
    own = {"input": as_declared(program.signature, sample)}
    own |= {one.value: one.own.astype(np.float32) for one in steps[:at]}
    inputs = tuple(lowered.graph.value_info(name) for name in own)
    part = program.run_part(runtime, Part(inputs, lowered.graph.value_info(step.value)), own)
    given = {name: own[name] for name in part.inputs}
    exact, rounded = (PlainValues(model, lowered, given).of(step.value, sample) for model in (double, single))
    shows = part.output.shape != exact.shape or _differs(part.output, rounded, exact, tolerance)
    return Reproducer(step.where, step.value, part.model, given, exact, rounded, part.output, number, shows)


def _differs(theirs: Array, single: Array, double: Array, tolerance: float) -> bool:
    """Whether the values for one sample are further from those in float64 than those in float32 let them be."""
    scale = magnitude(double)
    rounding = relative(magnitude(subtract(single, double)), scale)
    return bool(_distance(theirs, double) > allowed(rounding, tolerance)[0])


def _distance(theirs: Array, double: Array) -> float:
    """max|theirs - double| / max|double| of one sample."""
    return float(relative(magnitude(subtract(theirs, double)), magnitude(double))[0])


def _lowered(signature: Signature, model: Network, names: Sequence[str]) -> Lowered:
    input_dtype = as_declared(signature, np.zeros(0, model.input_dtype)).dtype.name
    opset = min(max(signature.opset or MAX_OPSET, MIN_OPSET), MAX_OPSET)
    lowered = lower(model, opset, input_dtype, signature.batch)
    lower_outputs(model, lowered.graph, lowered.preprocessed, lowered.values, names)
    return lowered


def _steps(
    model: Network, lowered: Lowered, x: Array, names: Sequence[str], present: Collection[str]
) -> Iterator[_Step]:
    """What to compare, in the order of execution.

    names: of the outputs; present: of the values that the file gives.
    """
    factor, offset = model.preprocessing.affine(np.dtype(model.dtype), len(model.input_shape))
    yield _Step(f"the preprocessing = {model.preprocessing}", lowered.preprocessed, x * factor + offset)
    for node, value, own in zip(model.nodes, lowered.values, model.trace(x), strict=True):
        yield _Step(_place(model, lowered, node, present), value, own)
    first, *second = [name for name in names if name != LABEL] or [""]
    compared = compared_outputs(model, x, names)
    yield _Step(f"the output {first}", first, compared)
    for name in second:
        yield _Step(f"the output {name}", name, probabilities_of(model, compared))


def _place(model: Network, lowered: Lowered, node: Node, present: Collection[str]) -> str:
    """A layer, with those before it whose values the file does not give by themselves, as after folding."""
    places = [str(node)]
    while len(node.inputs) == 1 and node.inputs[0] != INPUT and len(places) < MOST_FOLDED:
        node = model.nodes[node.inputs[0]]
        if lowered.values[node.index] in present:
            break
        places.append(str(node))
    return " with ".join(reversed(places))
