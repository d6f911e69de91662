"""Differences between a runtime's values and the model's, and the first layer where they begin."""

from __future__ import annotations

from collections.abc import Iterator
from typing import cast

import numpy as np
from onnx import ModelProto

from cnnkit.components import Runtime
from cnnkit.network import Sequential
from cnnkit.onnx.export import MAX_OPSET, MIN_OPSET, Lowered, lower
from cnnkit.onnx.report import Divergence
from cnnkit.types import Array


def magnitude(values: Array) -> Array:
    """max|values| of each sample, float64; infinite where one of them is NaN. values: (N, ...) -> (N,)."""
    largest = np.abs(values.reshape(len(values), -1).astype(np.float64)).max(axis=1)
    return np.where(np.isnan(largest), np.inf, largest)


def relative(difference: Array, scale: Array) -> Array:
    """difference / scale where they differ at all; infinite where that is no number. Both (N,)."""
    with np.errstate(divide="ignore", invalid="ignore"):
        quotient = np.where(difference > 0, difference / scale, 0.0)
    return np.where(np.isnan(quotient), np.inf, quotient)


def subtract(theirs: Array, ours: Array) -> Array:
    """theirs - ours in float64, NaN where both are the same infinity."""
    with np.errstate(invalid="ignore"):
        return np.subtract(theirs, ours, dtype=np.float64)


def softmax(logits: Array) -> Array:
    """exp(logits) / sum(exp(logits)) over axis 1, in float64; NaN in samples with a logit that is NaN or +infinity."""
    with np.errstate(invalid="ignore"):
        shifted = np.exp(logits - logits.max(axis=1, keepdims=True).astype(np.float64))
        return cast(Array, shifted / shifted.sum(axis=1, keepdims=True))


def first_divergence(
    runtime: Runtime, proto: ModelProto, model: Sequential, x: Array, index: int, tolerance: float
) -> Divergence | None:
    """Follow sample `index` of x through the file and name the first layer that differs by more than the tolerance.

    The runtime executes the file once more with all layers' values as outputs; they are compared with `model.trace`.
    Returns None if no layer differs by more, as when almost equal logits change their order.
    Raises OnnxError if the runtime cannot execute that.
    """
    sample = x[index : index + 1]
    lowered = _lowered(proto, model)
    outputs = runtime.run(_with_outputs(proto, lowered), {"input": sample})
    for where, value, ours in _steps(model, lowered, sample):
        if value not in outputs:
            continue
        theirs = outputs[value]
        if theirs.shape != ours.shape:
            return Divergence(where, np.inf, index)
        difference = relative(magnitude(subtract(theirs, ours)), magnitude(ours))
        if difference[0] > tolerance:
            return Divergence(where, float(difference[0]), index)
    return None


def _lowered(proto: ModelProto, model: Sequential) -> Lowered:
    opset = next((entry.version for entry in proto.opset_import if entry.domain == ""), MAX_OPSET)
    return lower(model, min(max(opset, MIN_OPSET), MAX_OPSET))


def _steps(model: Sequential, lowered: Lowered, x: Array) -> Iterator[tuple[str, str, Array]]:
    """What to compare, in the order of execution: where it is, the ONNX value's name, and our array."""
    factor, offset = model.preprocessing.affine(np.dtype(np.float32), len(model.input_shape))
    yield f"the preprocessing = {model.preprocessing}", lowered.preprocessed, x * factor + offset
    for node, value, ours in zip(model.nodes, lowered.values, model.trace(x), strict=True):
        yield str(node), value, ours
    yield "the output logits", "logits", model.logits(x)
    yield "the output probabilities", "probabilities", softmax(model.logits(x))


def _with_outputs(proto: ModelProto, lowered: Lowered) -> bytes:
    """The file's model with every layer's value as a further output."""
    extended = ModelProto()
    extended.CopyFrom(proto)
    present = {name for node in proto.graph.node for name in node.output} - {out.name for out in proto.graph.output}
    wanted = dict.fromkeys([lowered.preprocessed, *lowered.values])
    extended.graph.output.extend(lowered.graph.value_info(value) for value in wanted if value in present)
    return cast(bytes, extended.SerializeToString())
