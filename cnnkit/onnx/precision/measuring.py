"""How far a file with less precision is from the float32 file that it was made of, by ONNX Runtime."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from onnx import ModelProto

from cnnkit.class_indices import indices_of
from cnnkit.components import Metric
from cnnkit.data.targets import as_targets
from cnnkit.metrics import F1, R2, Accuracy
from cnnkit.network import Network
from cnnkit.onnx.difference import distance, relative
from cnnkit.onnx.executable_model import CHUNK_BYTES, TrustedProgram, as_declared, block_of, samples_of
from cnnkit.onnx.expected_answers import typical
from cnnkit.onnx.label_flips import flipped
from cnnkit.onnx.outputs import output_names
from cnnkit.onnx.runtimes import OnnxRuntime
from cnnkit.types import Array, Samples


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
    """Run both files on samples and compare their answers.

    tolerance: relative difference of outputs that may turn a tie; see `validate_onnx`.
    """
    y = as_targets(samples.y, model.labels, model.output_shape, gives_labels=model.task.gives == "labels").y
    if model.task.gives == "classes":
        y = indices_of(y)
    sums: tuple[list[Array], list[Array]] = [], []
    flips, count, largest = 0, 0, 0.0
    names = output_names(model)
    block = block_of(model)
    for start in range(0, len(y), block):
        x = np.asarray(samples.x[start : start + block])
        ours, theirs = answers(original, model, x), answers(file, model, x)
        for total, outputs in zip(sums, (ours, theirs), strict=True):
            total.append(score.sums(outputs[-1 if score.of_probabilities else 0], y[start : start + block]))
        expected = ours[0].astype(np.float64)
        scale = typical(np.abs(expected), names[0])
        largest = max(largest, float(relative(distance(theirs[0], expected), scale).max()))
        turned = flipped(model, names, theirs, expected, None, tolerance * scale, tolerance)
        flips, count = flips + int(turned.sum()), count + turned.size
    before, after = (score.value(score.join(total)) for total in sums)
    return Loss(before, after, flips, 0 if model.task.gives == "values" else count, largest)


def error_of(file: ModelProto, model: Network, x: Array, expected: Array) -> float:
    """sqrt(mean (a - b)^2 / mean b^2) over the first output of samples x; expected: b."""
    apart = answers(file, model, x)[0].astype(np.float64) - expected
    return float(np.sqrt(np.square(apart).mean() / max(np.square(expected, dtype=np.float64).mean(), 1e-300)))


def answers(file: ModelProto, model: Network, x: Array) -> list[Array]:
    """The outputs of a file for samples, in the order of `output_names`."""
    parts = list(_parts(file, model, x))
    return [np.concatenate(part) for part in zip(*parts, strict=True)]


def _parts(file: ModelProto, model: Network, x: Array) -> Iterator[list[Array]]:
    runtime, chunk = OnnxRuntime(), samples_of(CHUNK_BYTES, model, len(x))
    with TrustedProgram(file) as program:
        for start in range(0, len(x), chunk):
            outputs = program.run(runtime, as_declared(program.signature, x[start : start + chunk]))
            yield [outputs[name] for name in output_names(model)]
