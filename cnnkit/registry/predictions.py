"""What differs between the predictions of two models on the same samples."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

import numpy as np

from cnnkit.errors import ShapeError
from cnnkit.network import Sequential
from cnnkit.registry.difference import MetricPair, metric_pairs
from cnnkit.types import Array, Samples

MAX_EXAMPLES = 10


@dataclass(frozen=True)
class Example:
    """A sample whose predicted class changed; probabilities are of each model's own prediction."""

    index: int
    target: int
    a: int
    a_probability: float
    b: int
    b_probability: float


@dataclass(frozen=True)
class ClassDifference:
    """How the predicted classes changed from model a to model b."""

    samples: int
    changed: int
    """Samples that get another class."""
    corrected: int
    """Of these, those that a had wrong and b has right."""
    spoiled: int
    """Of these, those that a had right and b has wrong."""
    accuracy: MetricPair
    examples: tuple[Example, ...]
    """The first of the changed samples."""

    def to_dict(self) -> dict[str, Any]:
        """The difference as JSON values."""
        return {key: value for key, value in dataclasses.asdict(self).items() if key != "accuracy"}


@dataclass(frozen=True)
class OutputDifference:
    """Where the outputs of two models for regression are furthest apart."""

    samples: int
    largest: float
    """max|b - a| over samples and outputs, in the targets' unit."""
    index: int
    """The sample where that is."""
    output: int
    a: float
    b: float

    def to_dict(self) -> dict[str, Any]:
        """The difference as JSON values."""
        return dataclasses.asdict(self)


def diff_predictions(a: Sequential, b: Sequential, samples: Samples) -> ClassDifference | OutputDifference:
    """Compare classes if the targets are class indices, else outputs.

    samples: at least one, of a shape that both take. Raises ShapeError for outputs (N, ...) of two shapes.
    """
    if np.issubdtype(samples.y.dtype, np.integer):
        return _classes(a.predict_proba(samples.x), b.predict_proba(samples.x), samples.y)
    if a.output_shape != b.output_shape:
        raise ShapeError(
            f"outputs can be compared if they have one shape, got {a.output_shape} and {b.output_shape}: "
            "choose two models with the same outputs"
        )
    return _outputs(a.logits(samples.x), b.logits(samples.x))


def _classes(a: Array, b: Array, targets: Array) -> ClassDifference:
    """a, b: probabilities (N, K), the number of classes may differ; targets (N,)."""
    old, new = a.argmax(axis=1), b.argmax(axis=1)
    changed = np.flatnonzero(old != new)
    a_right, b_right = old == targets, new == targets
    examples = tuple(
        Example(i, int(targets[i]), int(old[i]), float(a[i, old[i]]), int(new[i]), float(b[i, new[i]]))
        for i in changed[:MAX_EXAMPLES].tolist()
    )
    (accuracy,) = metric_pairs({"accuracy": a_right.mean()}, {"accuracy": b_right.mean()})
    return ClassDifference(
        len(targets),
        len(changed),
        int(np.count_nonzero(b_right & ~a_right)),
        int(np.count_nonzero(a_right & ~b_right)),
        accuracy,
        examples,
    )


def _outputs(a: Array, b: Array) -> OutputDifference:
    """a, b: (N, ...) of one shape."""
    a, b = a.reshape(len(a), -1).astype(np.float64), b.reshape(len(b), -1).astype(np.float64)
    with np.errstate(invalid="ignore"):  # infinity - infinity is NaN, which `argmax` finds
        apart = np.abs(b - a)
    index, output = divmod(int(apart.argmax()), apart.shape[1])
    largest, old, new = (float(values[index, output]) for values in (apart, a, b))
    return OutputDifference(len(a), largest, index, output, old, new)
