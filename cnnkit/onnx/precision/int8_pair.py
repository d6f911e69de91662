"""The golden pair of a file in int8: its own answers, which other runtimes have to give within a step of 8 bits."""

from __future__ import annotations

import numpy as np
from onnx import ModelProto

from cnnkit.network import Network
from cnnkit.onnx.golden_pair import MAX_PAIR_BYTES, TOLERANCE, GoldenPair
from cnnkit.onnx.outputs import output_names, probabilities_of
from cnnkit.onnx.precision.basis import Basis
from cnnkit.onnx.precision.running import Running
from cnnkit.types import Array

STEP = 0.004
"""One of 255 steps of a range, rounded up. Runtimes that round a value on a tie to either side are such a step of it
apart, and hence about one of the output; all others are as far apart as float32 rounds."""


def int8_pair(file: ModelProto, basis: Basis, x: Array, about: str) -> GoldenPair | None:
    """A sample x, (1, ...), with what ONNX Runtime gives for it, and the range of each output for scales.

    about: where the sample comes from. Ranges are those over training samples of `basis`, for probabilities what a step
    of the logits changes. None if the arrays take more than 1 MiB, or are not finite.
    """
    model = basis.model
    with Running(file, model) as running:
        if running.dtype == "float32":
            x = x.astype(np.float32)
        given = dict(zip(output_names(model), running.answers(x), strict=True))
        if x.nbytes + sum(array.nbytes for array in given.values()) > MAX_PAIR_BYTES:
            return None
        if not all(np.isfinite(array).all() for array in given.values()):
            return None
        usual = np.concatenate([running.answers(basis.compared)[0], next(iter(given.values()))])
    first, *others = given
    axes = (0, *range(2, usual.ndim))
    ranges = {first: usual.max(axis=axes).astype(np.float64) - usual.min(axis=axes)}
    for name in others:
        ranges[name] = _moved(model, given[first], STEP * ranges[first]) / STEP
    scales = {}
    for name, array in given.items():
        least = TOLERANCE / STEP * (float(np.abs(array).max()) or 1.0)
        scales[name] = tuple(float(f"{scale:.3g}") for scale in np.maximum(ranges[name], least))
    return GoldenPair(x, given, STEP, about, scales)


def _moved(model: Network, logits: Array, steps: Array) -> Array:
    """How far each probability may move, (K,), where each logit does by its step: exp(d) is the change of its odds."""
    by = steps if model.task.gives == "labels" else np.full_like(steps, 2 * steps.max())
    by = by.reshape(1, -1, *(1,) * (logits.ndim - 2))
    exact = probabilities_of(model, logits)
    moved = [np.abs(exact / (exact + (1 - exact) * np.exp(d)) - exact) for d in (by, -by)]
    return np.asarray(np.maximum(*moved).max(axis=(0, *range(2, logits.ndim))))
