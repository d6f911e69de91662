"""The golden pair of a file in int8: its own answers, which other runtimes have to give within a step of 8 bits."""

from __future__ import annotations

import numpy as np
from onnx import ModelProto

from cnnkit.network import Network
from cnnkit.onnx.golden_pair import MAX_PAIR_BYTES, TOLERANCE, GoldenPair, clear_label
from cnnkit.onnx.load import signature_of
from cnnkit.onnx.outputs import LABEL, output_names, probabilities_of
from cnnkit.onnx.precision.basis import Basis
from cnnkit.onnx.precision.running import Running
from cnnkit.types import Array

STEP = 0.004
"""One of 255 steps of a range, rounded up. Runtimes that round a value on a tie to either side are such a step of it
apart, and hence about one of the output; all others are as far apart as float32 rounds."""


def int8_pair(file: ModelProto, measured: ModelProto, basis: Basis, x: Array, about: str) -> GoldenPair | None:
    """A sample x, (1, ...), with what ONNX Runtime gives for it, and the range of each output for scales.

    file: the one that gets the pair, with some of the outputs; measured: with its usual ones, and any batch, or the
    same; about: where the sample comes from. Ranges are those over the samples that layers are compared on, for
    probabilities what a step of the logits changes. None if the arrays take more than 1 MiB or are not finite, or a
    label, if that is all, may turn within a step.
    """
    model, signature = basis.model, signature_of(file)
    x = x.astype(np.float32) if signature.dtype == "float32" else x
    with Running(measured, model) as running:
        given = dict(zip(output_names(model), running.answers(x), strict=True))
        usual = np.concatenate([running.answers(basis.compared)[0], next(iter(given.values()))])
    if x.nbytes + sum(array.nbytes for array in given.values()) > MAX_PAIR_BYTES:
        return None
    if not all(np.isfinite(array).all() for array in given.values()):
        return None
    first, *others = given
    axes = (0, *range(2, usual.ndim))
    ranges = {first: usual.max(axis=axes).astype(np.float64) - usual.min(axis=axes)}
    for name in others:
        ranges[name] = _moved(model, given[first], STEP * ranges[first]) / STEP
    outputs, scales = {}, {}
    for name in signature.outputs:
        if name != LABEL:
            outputs[name] = given[name]
            least = TOLERANCE / STEP * (float(np.abs(given[name]).max()) or 1.0)
            scales[name] = tuple(float(f"{scale:.3g}") for scale in np.maximum(ranges[name], least))
        elif (label := clear_label(model, given[first], 2 * STEP * float(ranges[first].max()))) is not None:
            outputs[name] = label
    return GoldenPair(x, outputs, STEP, about, scales) if outputs else None


def _moved(model: Network, logits: Array, steps: Array) -> Array:
    """How far each probability may move, (K,), where each logit does by its step: exp(d) is the change of its odds."""
    by = steps if model.task.gives == "labels" else np.full_like(steps, 2 * steps.max())
    by = by.reshape(1, -1, *(1,) * (logits.ndim - 2))
    exact = probabilities_of(model, logits)
    moved = [np.abs(exact / (exact + (1 - exact) * np.exp(d)) - exact) for d in (by, -by)]
    return np.asarray(np.maximum(*moved).max(axis=(0, *range(2, logits.ndim))))
