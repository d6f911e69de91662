"""How far a file with less precision is from the float32 file that it was made of, by ONNX Runtime."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from onnx import ModelProto

from cnnkit.class_indices import indices_of
from cnnkit.components import Metric
from cnnkit.data.targets import as_targets
from cnnkit.errors import DataError
from cnnkit.metrics import F1, R2, Accuracy
from cnnkit.network import Network
from cnnkit.onnx.difference import distance, relative
from cnnkit.onnx.executable_model import block_of
from cnnkit.onnx.expected_answers import KEPT_BYTES, Floors, raised
from cnnkit.onnx.label_flips import flipped
from cnnkit.onnx.outputs import output_names
from cnnkit.onnx.precision.running import Running
from cnnkit.types import Array, Inputs, Samples

ALIKE = 1e-6
"""Targets that differ by less, relative to the largest, are equal but for how float32 rounds them. So are
probabilities, which are computed in float32 of the logits: whether these are a tie, they say themselves."""


@dataclass(frozen=True)
class Loss:
    """What a file loses."""

    before: float
    """The score of the float32 file."""
    after: float
    """That of the other one."""
    flips: int
    """Answers that are different ones, ties aside."""
    answers: int
    """How many there are: classes of samples or pixels, or labels; 0 of values."""
    largest: float
    """max|a - b| / s over all outputs, s as of `validate_onnx`."""


def score_of(model: Network, ignore_index: int | None = None) -> Metric:
    """What a model's task is measured by: the accuracy of classes, the F1 score of labels, the R2 of values."""
    match model.task.gives:
        case "classes":
            return Accuracy(ignore_index)
        case "labels":
            return F1(threshold=0.5)
    return R2()


def loss_of(
    file: ModelProto, original: ModelProto, model: Network, samples: Samples, score: Metric, tolerance: float
) -> Loss:
    """Run both files on samples and compare their answers, block by block.

    Values to regress are scored where they vary. tolerance: relative difference of outputs that may turn a tie; see
    `validate_onnx`. Raises DataError if all samples have the same values for targets.
    """
    y = as_targets(samples.y, model.labels, model.output_shape, gives_labels=model.task.gives == "labels").y
    if model.task.gives == "classes":
        y = indices_of(y)
    scored = _varying(y) if model.task.gives == "values" else slice(None)
    names, block = output_names(model), block_of(model)
    floors = Floors(len(y), model.output_shape[0], names[0])
    sums: tuple[list[Array], list[Array]] = [], []
    flips, count, largest = 0, 0, 0.0
    with Running(original, model) as exactly, Running(file, model) as reduced:

        def own() -> Iterator[list[Array]]:
            return (exactly.answers(samples.x[start : start + block]) for start in range(0, len(y), block))

        kept = list(own()) if 4 * len(names) * len(y) * math.prod(model.output_shape) <= KEPT_BYTES else None
        for ours in own() if kept is None else kept:
            floors.add(np.abs(ours[0].astype(np.float64)))
        floor = floors.value()
        for start, ours in zip(range(0, len(y), block), own() if kept is None else kept, strict=True):
            theirs, targets = reduced.answers(samples.x[start : start + block]), y[start : start + block]
            for total, outputs in zip(sums, (ours, theirs), strict=True):
                given = outputs[-1 if score.of_probabilities else 0]
                total.append(score.sums(given[:, scored], targets[:, scored] if targets.ndim > 1 else targets))
            expected = ours[0].astype(np.float64)
            size = np.abs(expected)
            scale = raised(size, floor)
            largest = max(largest, float(relative(distance(theirs[0], expected), scale).max()))
            # What other samples have says nothing of which is the highest here.
            error = tolerance * np.minimum(scale, size.max(axis=1, keepdims=True))
            turned = flipped(model, names, theirs, expected, None, error, min(tolerance, ALIKE))
            flips, count = flips + int(turned.sum()), count + turned.size
    before, after = (score.value(score.join(total)) for total in sums)
    return Loss(before, after, flips, 0 if model.task.gives == "values" else count, largest)


def _varying(y: Array) -> Array:
    """The outputs whose targets, (N, K, ...), differ by more than rounding: of others, R2 only says right or wrong."""
    axes = (0, *range(2, y.ndim))
    low, high = y.min(axis=axes).astype(np.float64), y.max(axis=axes).astype(np.float64)
    varies = high - low > ALIKE * np.maximum(np.abs(low), np.abs(high))
    if not varies.any():
        raise DataError(
            "expected test samples with different targets, got the same values for all: R2, by which the loss is "
            "measured, says nothing of them"
        )
    return np.flatnonzero(varies)


def error_of(file: ModelProto, model: Network, x: Inputs, expected: Array) -> float:
    """sqrt(mean (a - b)^2 / mean b^2) over the first output of samples x; expected: b."""
    with Running(file, model) as running:
        apart = running.answers(x)[0].astype(np.float64) - expected
    return float(np.sqrt(np.square(apart).mean() / max(np.square(expected, dtype=np.float64).mean(), 1e-300)))
