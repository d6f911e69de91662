"""Everything about a network and one image: all numbers, before a page is made of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

import numpy as np

from cnnkit.class_indices import first_outside, listed
from cnnkit.components import BatchCoupledLoss, Loss, installed_catalog
from cnnkit.components.predicted_class import NO_CLASS, not_finite, predicted_classes
from cnnkit.errors import ConfigError, CostError, ShapeError
from cnnkit.explanation.markup import MAX_TEXT
from cnnkit.explanation.tracing import LayerTrace, Trace, trace
from cnnkit.losses.class_loss import ignored_by
from cnnkit.network import Network
from cnnkit.types import Array, as_array
from cnnkit.wording import shorten

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
    """(1,) index of the class, (1, H, W) those of the pixels, or as `scores`: shares of classes, labels, or values."""
    target_known: bool
    """False if the target is what the network itself predicts."""
    scores: Array
    """(F,), or (F, H, W) for each pixel: what the last layer gives, or what a Softmax of classes or a Sigmoid of labels
    at the end takes."""
    probabilities: Array | None
    """Of classes or labels, as `scores`; None for a network that has none."""
    trace: Trace
    picture: Array | None = None
    """(1 or 3, H, W) uint8: the image as it was in a file, before it became an input."""

    @property
    def is_of_pixels(self) -> bool:
        """Whether the network says something of each pixel, not of the image."""
        return self.scores.ndim > 1

    @property
    def predicted(self) -> int | None:
        """The class with the highest score; None where it gives no class of the image, and for scores that are NaN."""
        if self.model.task.gives != "classes" or self.is_of_pixels:
            return None
        found = int(predicted_classes(self.scores[None])[0])
        return None if found == NO_CLASS else found

    @property
    def labels(self) -> list[int]:
        """The labels with a probability of 1/2 or more; none where the network gives no labels of the image."""
        if self.model.task.gives != "labels" or self.probabilities is None or self.is_of_pixels:
            return []
        return [int(index) for index in np.flatnonzero(self.probabilities >= 0.5)]

    @property
    def target_class(self) -> int | None:
        """The index of the class, None for classes of pixels, labels and values."""
        return int(self.target[0]) if self.target.ndim == 1 else None

    def layer(self, name: str) -> LayerTrace:
        """What the layer of this name did. Raises ConfigError, naming the layers, if there is none."""
        named = {trace.node.name: trace for trace in self.trace.layers}
        if name not in named:
            raise ConfigError(f"{self.title} has no layer {name!r}: expected one of {listed(list(named))}")
        return named[name]

    def label(self, index: int) -> str:
        """The name of a class."""
        return shorten(self.model.labels[index], MAX_TEXT) if self.model.labels else str(index)


def explain(
    model: Network,
    image: Array,
    *,
    target: int | Array | None = None,
    loss: Loss | str | None = None,
    title: str = "this network",
    source: str = "",
    picture: Array | None = None,
) -> Explanation:
    """Take one image through a network and back.

    image: (*input_shape), or (1, *input_shape), in the dataset's own units; target: index of the true class, (H, W)
    those of the pixels, or of the shape of the outputs labels that are there, zeros and ones, or values; None for what
    is predicted; loss: what the gradients are of, None for the usual one of the model's task; picture: (1 or 3, H, W)
    uint8, the file that the image was made of, to be shown beside it.
    Raises ShapeError if image, network and loss do not fit, ConfigError for a class that the network does not have, for
    a loss that compares samples, and without a target where outputs are NaN, and CostError for a network of more than
    1,500 layers.
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
    component = cast(Loss, installed_catalog().build("loss", loss or _usual_loss(model)))
    if isinstance(component, BatchCoupledLoss):
        raise ConfigError(
            f"{component!r} compares samples with each other, and one image has no others: choose another loss, such "
            f"as {_usual_loss(model)}"
        )
    with np.errstate(over="ignore", invalid="ignore"):
        scores = (model.outputs(x) if model.task.gives == "values" else model.logits(x))[0]
        probabilities = model.predict_proba(x)[0] if model.has_probabilities else None
    known = target is not None
    given = target if known else _predicted(model, scores, probabilities, title)
    targets = _targets(model, given, scores, title, ignored_by(component))
    found = trace(model, x, component, targets)
    return Explanation(model, title, source, x[0], component, targets, known, scores, probabilities, found, picture)


def _usual_loss(model: Network) -> str:
    match model.task.gives:
        case "classes":
            return "CrossEntropy()" if model.has_probabilities else "MSE()"
        case "labels":
            return "BinaryCrossEntropy()"
    return "MSE()"


def _predicted(model: Network, scores: Array, probabilities: Array | None, title: str) -> Array:
    """What the network itself predicts, as the target of its loss. Raises ConfigError where it predicts nothing."""
    if model.task.gives == "classes":
        said = predicted_classes(scores[None])[0]
        nothing = (said == NO_CLASS).any()
    else:
        is_there = (scores if probabilities is None else probabilities) >= 0.5
        said = is_there.astype(model.dtype) if model.task.gives == "labels" else scores
        nothing = np.isnan(scores).any()
    if nothing:
        raise ConfigError(f"{not_finite(title, 'the image')}. So it predicts nothing: give what is true")
    return np.asarray(said)


def _targets(model: Network, given: Any, scores: Array, title: str, ignored: int | None) -> Array:
    """What the loss compares with: (1,) the index of a class, (1, H, W) those of the pixels, or (1, *output_shape).

    ignored: of pixels that the loss does not count.
    """
    if model.task.gives != "classes":
        what = "values" if model.task.gives == "values" else "labels, zeros and ones"
        if np.shape(given) != scores.shape:
            raise ConfigError(_expected(title, model, f"{what}, {_size(scores.shape)}", given))
        return as_array(given, "the target")[None]
    wanted = as_array(given, "the target")
    if wanted.shape == scores.shape or (scores.ndim == 1 and wanted.ndim):
        return wanted[None]  # shares of the classes
    if wanted.shape != scores.shape[1:] or wanted.dtype.kind not in "iu":
        raise ConfigError(_expected(title, model, f"class indices, {_size(scores.shape[1:])}", given))
    counted = wanted if wanted.ndim == 0 or ignored is None else wanted[wanted != ignored]
    if first_outside(counted[None], len(scores)):
        found = wanted if wanted.ndim == 0 else f"{counted.min()} to {counted.max()}"
        raise ConfigError(f"expected a class from 0 to {len(scores) - 1}, got {found}")
    return wanted[None].astype(np.int64)


def _size(shape: tuple[int, ...]) -> str:
    return f"{shape[0]} of them" if len(shape) == 1 else f"of shape {shape}" if shape else "one for the image"


def _expected(title: str, model: Network, what: str, given: Any) -> str:
    came = "none" if given is None else repr(given) if np.ndim(given) == 0 else f"an array of shape {np.shape(given)}"
    return f"{title} gives {model.gives}: expected the true {what}; got {came}"
