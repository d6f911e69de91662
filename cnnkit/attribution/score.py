"""The score that is attributed to an input: one number for each sample, before a Softmax makes probabilities."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from cnnkit.class_indices import NAMED, is_background, listed
from cnnkit.components.predicted_class import require_told
from cnnkit.errors import ConfigError, ShapeError
from cnnkit.layers import LogSoftmax
from cnnkit.network import Network, Node
from cnnkit.network.graph.final_layers import Identity, layer_at_end, with_logits
from cnnkit.types import Array

Target = int | str | Sequence[int] | Array
"""An index or a name for all samples, or an index for each of them."""
NOUNS = {"classes": "class", "labels": "label", "values": "value"}


@dataclass(frozen=True)
class Score:
    """A weighted sum of the outputs of these nodes: score_n = sum of weights_n * outputs_n."""

    nodes: tuple[Node, ...]
    weights: Array
    """(N, *output_shape)."""
    targets: Array
    """(N,) the index of the class, label or value."""
    pixels: Array | None
    """(N,) of a network that answers for each pixel: how many the score is the mean over, or 0 where none is predicted
    to be of the class, and it is the mean over all."""


def score_of(model: Network, x: Array, target: Target | None) -> Score:
    """What is asked of each sample: the logit of a class or label, or a value.

    Of a network that answers for each pixel, it is the mean over the pixels of x that are predicted to be of that class
    or label, or over all pixels if none is; of values, over all. target: None for what the network itself predicts.
    Raises ConfigError for a class that it does not have, and without a target for one of several values, and DataError
    where it gives NaN.
    """
    outputs = model.logits(x) if model.task.gives != "values" else model.outputs(x)
    pixels = tuple(range(2, outputs.ndim))
    require_told(np.asarray(np.isfinite(outputs).all(axis=(1, *pixels))), NOUNS[model.task.gives])
    match model.task.gives:
        case "classes":
            there = np.arange(outputs.shape[1]).reshape(-1, *(1,) * len(pixels)) == outputs.argmax(axis=1)[:, None]
        case "labels":
            there = (outputs if model.task.from_logits else outputs - 0.5) >= 0
        case _:
            there = np.ones(outputs.shape, bool)
    targets = _predicted(model, outputs, there) if target is None else _given(model, target, len(x))
    chosen = np.arange(len(x)), targets
    weights = np.zeros(outputs.shape, model.dtype)
    counted = there[chosen] if pixels else np.ones(len(x), bool)
    found = None
    if pixels:
        places = tuple(axis - 1 for axis in pixels)
        found = counted.sum(axis=places)
        counted |= ~counted.any(axis=places, keepdims=True)
    weights[chosen] = counted
    weights /= weights.sum(axis=(1, *pixels), keepdims=True)
    return Score(_scored(model), weights, targets, found)


def _scored(model: Network) -> tuple[Node, ...]:
    """The nodes without what makes probabilities at the end, or logarithms of them."""
    if model.task.gives == "values":
        return tuple(model.nodes)
    nodes = with_logits(model.nodes, model.task)
    end = layer_at_end(nodes, LogSoftmax)
    return tuple(dataclasses.replace(node, layer=Identity()) if node is end else node for node in nodes)


def _predicted(model: Network, outputs: Array, there: Array) -> Array:
    """For each sample: the class or label with the largest logit, or that of most pixels; of one value, that.

    Background is most of many images, and not what is asked for: it is only where all pixels are.
    """
    if model.task.gives == "values" and outputs.shape[1] > 1:
        raise ConfigError(
            f"the model gives {model.gives}: say of which one, as target=0 to {outputs.shape[1] - 1}, or --class 0"
        )
    ranks: Array = outputs if outputs.ndim == 2 else there.sum(axis=tuple(range(2, there.ndim)), dtype=float)
    if outputs.ndim > 2:
        ground = [index for index, label in enumerate(model.labels) if is_background(label)]
        ranks[:, ground] = np.minimum(ranks[:, ground], 0.5)
    found: Array = ranks.argmax(axis=1)
    return found


def _given(model: Network, target: Target, samples: int) -> Array:
    count, noun = model.output_shape[0], NOUNS[model.task.gives]
    names = listed(model.labels or [*map(str, range(min(count, NAMED + 1)))])
    if isinstance(target, str):
        if target not in model.labels:
            known = f"one of: {names}" if model.labels else f"an index from 0 to {count - 1}, as its {noun} has no name"
            raise ConfigError(f"the model has no {noun} {target!r}: expected {known}")
        target = model.labels.index(target)
    indices = np.asarray(target)
    if indices.dtype.kind not in "iu" or indices.ndim > 1:
        raise ConfigError(
            f"target must be the index or the name of a {noun}, or an index for each sample, got {target!r}"
        )
    if indices.ndim == 1 and len(indices) != samples:
        raise ShapeError(f"expected one target, or one for each of the {samples} samples, got {len(indices)}")
    if indices.size and not 0 <= int(indices.min()) <= int(indices.max()) < count:
        raise ConfigError(f"expected a {noun} from 0 to {count - 1}, got {target!r}; the model knows {names}")
    return np.broadcast_to(indices, (samples,)).astype(np.int64)
