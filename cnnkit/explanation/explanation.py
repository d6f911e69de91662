"""Everything about a network and one image: all numbers, before a page is made of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

import numpy as np

from cnnkit.components import Loss, installed_catalog
from cnnkit.components.predicted import NO_CLASS, not_finite, predicted_classes
from cnnkit.errors import ConfigError, CostError, ShapeError
from cnnkit.explanation.markup import cut
from cnnkit.explanation.tracing import Trace, trace
from cnnkit.network import Network
from cnnkit.types import Array, as_array

MOST_LAYERS = 1_500
"""More sections nobody reads, and a page of them takes many megabytes."""


@dataclass(frozen=True)
class Explanation:
    """A network, an image, and everything that the network computed from it."""

    model: Network
    title: str
    """The name of the network."""
    source: str
    """Where the image is from."""
    image: Array
    """(C, H, W) or (F,), in the dataset's own units."""
    loss: Loss
    target: Array
    """(1,) index of the class, or (1, F): labels that are there, or values."""
    target_known: bool
    """False if the target is what the network itself predicts."""
    scores: Array
    """(F,): what the last layer gives, of classes before a Softmax at the end."""
    probabilities: Array | None
    """(F,), of classes or labels; None for a network that has none."""
    trace: Trace

    @property
    def predicted(self) -> int | None:
        """The class with the highest score; None where it gives no classes, and for scores that are NaN."""
        found = int(predicted_classes(self.scores[None])[0])
        return None if self.model.task.gives != "classes" or found == NO_CLASS else found

    @property
    def labels(self) -> list[int]:
        """The labels with a probability of 1/2 or more; none where the network gives no labels."""
        if self.model.task.gives != "labels" or self.probabilities is None:
            return []
        return [int(index) for index in np.flatnonzero(self.probabilities >= 0.5)]

    @property
    def target_class(self) -> int | None:
        """The index of the class, None for labels and values."""
        return int(self.target[0]) if self.target.ndim == 1 else None

    def label(self, index: int) -> str:
        """The name of a class."""
        return cut(self.model.labels[index]) if self.model.labels else str(index)


def explain(
    model: Network,
    image: Array,
    *,
    target: int | Array | None = None,
    loss: Loss | str | None = None,
    title: str = "this network",
    source: str = "",
) -> Explanation:
    """Take one image through a network and back.

    image: (*input_shape), or (1, *input_shape), in the dataset's own units; target: index of the true class, or (F,)
    labels that are there, zeros and ones, or values; None for the predicted class; loss: what the gradients are of,
    None for the usual one of the model's task.
    Raises ShapeError if image, network and loss do not fit, ConfigError for a class that the network does not have, and
    without a target for a network that predicts no class, and CostError for a network of more than 1,500 layers.
    """
    if len(model.nodes) > MOST_LAYERS:
        raise CostError(
            f"{model.nodes[-1]} is the last of {len(model.nodes):,} layers, and a page may show {MOST_LAYERS:,}: "
            "explain a network with fewer layers"
        )
    x = as_array(image, "the image")
    x = x[None] if x.shape == model.input_shape else x
    if model.check_input(x).shape[0] != 1:
        raise ShapeError(f"expected one image, got {len(x)}: explain them one after the other")
    if len(model.output_shape) != 1:
        raise ShapeError(
            f"{title} gives {model.gives}; expected a network with one answer for each sample, with outputs of shape "
            f"(F,), got {model.output_shape}"
        )
    component = cast(Loss, installed_catalog().build("loss", loss or _usual_loss(model)))
    with np.errstate(over="ignore", invalid="ignore"):
        scores = (model.logits(x) if model.task.gives == "classes" else model.outputs(x))[0]
        probabilities = model.predict_proba(x)[0] if model.has_probabilities else None
    targets = _targets(model, target, scores, title)
    found = trace(model, x, component, targets)
    return Explanation(model, title, source, x[0], component, targets, target is not None, scores, probabilities, found)


def _usual_loss(model: Network) -> str:
    match model.task.gives:
        case "classes":
            return "CrossEntropy()" if model.has_probabilities else "MSE()"
        case "labels":
            return "BinaryCrossEntropy()"
    return "MSE()"


def _targets(model: Network, given: Any, scores: Array, title: str) -> Array:
    """What the loss compares with: (1,) the index of a class, or (1, F)."""
    count = len(scores)
    if model.task.gives != "classes":
        what = "values" if model.task.gives == "values" else "labels, zeros and ones"
        if np.shape(given) != (count,):
            came = "none" if given is None else repr(given)
            raise ConfigError(f"{title} gives {model.gives}: expected the true {what}, {count} of them; got {came}")
        return as_array(given, "the target")[None]
    predicted = int(predicted_classes(scores[None])[0])
    if given is None and predicted == NO_CLASS:
        raise ConfigError(f"{not_finite(title, 'the image')}. So it predicts no class: give the true one")
    wanted: Any = predicted if given is None else given
    if not isinstance(wanted, int | np.integer):
        return as_array(wanted, "the target")[None]  # shares of the classes
    if not 0 <= wanted < count:
        raise ConfigError(f"expected a class from 0 to {count - 1}, got {wanted}")
    return np.array([wanted], np.int64)
