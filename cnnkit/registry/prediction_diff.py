"""What differs between the predictions of two models on the same samples."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from cnnkit.class_indices import are_indices, check_labels, indices_of
from cnnkit.components.predicted_class import NO_CLASS, predicted_classes
from cnnkit.errors import ShapeError
from cnnkit.network import Network
from cnnkit.registry.version_diff import MetricPair, metric_pairs
from cnnkit.types import Array, Samples

MAX_EXAMPLES = 10


@dataclass(frozen=True)
class Example:
    """A sample whose predicted class changed; probabilities are of each model's own prediction, NaN if it has none."""

    index: int
    target: int
    a: int | None
    """None where the model gives NaN."""
    a_probability: float
    b: int | None
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
    """Where the outputs of two models, or their probabilities, are furthest apart."""

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


def diff_predictions(a: Network, b: Network, samples: Samples) -> ClassDifference | OutputDifference:
    """Compare the predicted classes of two models, the probabilities of labels, or else the outputs.

    samples: at least one, of a shape that both take. Raises ShapeError for models that give different things, that mean
    different classes by one index, and for outputs (N, ...) of two shapes.
    """
    if a.task.gives != b.task.gives:
        raise ShapeError(
            f"predictions can be compared if both models give the same, got {a.gives} and {b.gives}: leave the "
            "dataset out"
        )
    named = (a.labels, "model a"), (b.labels, "model b")
    (known, knows), (given, gives) = sorted(named, key=lambda one: len(one[0]), reverse=True)
    check_labels(known, given, knows, gives, "choose two models of the same classes")
    y = indices_of(samples.y)
    if a.task.gives == "classes" and are_indices(y) and y.ndim == 1:
        return _classes(a, b, Samples(samples.x, y))
    if a.output_shape != b.output_shape:
        raise ShapeError(
            f"outputs can be compared if they have one shape, got {a.output_shape} and {b.output_shape}: "
            "choose two models with the same outputs"
        )
    if a.task.gives == "labels":
        return _outputs(a.predict_proba(samples.x), b.predict_proba(samples.x))
    return _outputs(a.outputs(samples.x), b.outputs(samples.x))


def _classes(model_a: Network, model_b: Network, samples: Samples) -> ClassDifference:
    """The number of classes may differ."""
    a, b = (model.logits(samples.x) for model in (model_a, model_b))
    targets, old, new = samples.y, predicted_classes(a), predicted_classes(b)
    changed = np.flatnonzero(old != new)
    a_right, b_right = old == targets, new == targets
    shown = changed[:MAX_EXAMPLES]
    a_sure, b_sure = (_probabilities(model, samples.x[shown]) for model in (model_a, model_b))
    examples = tuple(
        Example(i, int(targets[i]), *_told(p, int(old[i])), *_told(q, int(new[i])))
        for i, p, q in zip(shown.tolist(), a_sure, b_sure, strict=True)
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


def _probabilities(model: Network, x: Array) -> Array:
    """Of each class; NaN for a model that has none."""
    return model.predict_proba(x) if model.has_probabilities else np.full((len(x), *model.output_shape), np.nan)


def _told(probabilities: Array, predicted: int) -> tuple[int | None, float]:
    """The predicted class and its probability; probabilities: (K,)."""
    return (None, math.nan) if predicted == NO_CLASS else (predicted, float(probabilities[predicted]))


def _outputs(a: Array, b: Array) -> OutputDifference:
    """a, b: (N, ...) of one shape."""
    a, b = a.reshape(len(a), -1).astype(np.float64), b.reshape(len(b), -1).astype(np.float64)
    with np.errstate(invalid="ignore"):  # infinity - infinity is NaN, which `argmax` finds
        apart = np.abs(b - a)
    index, output = divmod(int(apart.argmax()), apart.shape[1])
    largest, old, new = (float(values[index, output]) for values in (apart, a, b))
    return OutputDifference(len(a), largest, index, output, old, new)
