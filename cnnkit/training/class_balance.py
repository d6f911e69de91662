"""Classes of which there are few samples: weights in the loss, and an order of the samples in which all are as many."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from cnnkit.class_indices import are_indices, listed
from cnnkit.components import Loss
from cnnkit.errors import ConfigError
from cnnkit.losses import CrossEntropy, WeightedCrossEntropy
from cnnkit.network import keyed_rng
from cnnkit.training_options import TrainingOptions
from cnnkit.types import Array, blocks

UNBALANCED = 3
"""A class is rare if the most frequent one has so many times its training samples."""


def rare_classes(counts: Array) -> Array:
    """Which classes are rare among these, of which there are so many samples, (K,) bool; those without any are not."""
    return np.asarray((counts > 0) & (counts * UNBALANCED <= counts.max(initial=0)))


def check_balance(options: TrainingOptions, y: Array, labels: Sequence[str], classes: int) -> None:
    """Raises ConfigError where weights or a balanced order are asked for, and cannot be had of these targets."""
    class_weights(options, y, labels, classes)
    if options.sampling is not None and not (are_indices(y) and y.ndim == 1):
        raise ConfigError(
            f'sampling = "balanced" draws all classes equally often, and the training targets are {y.dtype} of shape '
            f"{y.shape}: expected one class for each sample, integers of shape {y.shape[:1]}; train without it"
        )


def class_weights(options: TrainingOptions, y: Array, labels: Sequence[str], classes: int) -> tuple[float, ...] | None:
    """The weight of each class in the loss of a training; None if all count alike.

    "balanced": w_k = n / (K n_k), with n_k of the n training samples in class k, and K classes that have samples; a
    class without samples has the weight 0. So the weights of all samples add up to n. Of masks, pixels are counted, of
    shares their sums.
    y: the training targets, which fit the loss; classes: of the network's outputs.
    Raises ConfigError for another loss than CrossEntropy, and for weights that are not those of these classes.
    """
    given = options.class_weight
    if given is None:
        return None
    if type(options.loss) is not CrossEntropy:
        raise ConfigError(
            f"class_weight gives each class its weight in the loss CrossEntropy, and the loss is {options.loss!r}: "
            "remove class_weight, or change the loss"
        )
    if isinstance(given, str):
        counts = _counts(y, classes, options.loss.ignore_index)
        present = counts > 0
        return tuple(np.where(present, counts.sum() / (present.sum() * np.maximum(counts, 1e-300)), 0.0).tolist())
    if isinstance(given, dict):
        return _named(given, labels, classes)
    if len(given) != classes:
        raise ConfigError(f"class_weight needs one weight for each of the {classes} classes, got {len(given)}: {given}")
    return tuple(given)


def weighted(loss: Loss, weights: Sequence[float] | None) -> Loss:
    """The loss that a training with these weights minimizes."""
    if weights is None or not isinstance(loss, CrossEntropy):
        return loss
    return WeightedCrossEntropy(weights, loss.label_smoothing, loss.ignore_index)


def balanced_order(seed: int, epoch: int, y: Array) -> Array:
    """As many positions as there are targets, each class with its equal share of them, in an order by seed and epoch.

    Of n positions each of K classes has n / K, rounded up or down by lot. A class gives its samples in rounds, in each
    of which all come once; of a class that is larger, an epoch has a part.
    """
    rng = keyed_rng("order", seed, epoch)
    classes, place = np.unique(y, return_inverse=True)
    of_class = np.split(np.argsort(place, kind="stable"), np.cumsum(np.bincount(place))[:-1])
    shares = np.full(len(classes), len(y) // len(classes))
    shares[rng.permutation(len(classes))[: len(y) % len(classes)]] += 1
    drawn = [
        np.concatenate([rng.permutation(some) for _ in range(-(-share // len(some)))] or [some[:0]])[:share]
        for some, share in zip(of_class, shares.tolist(), strict=True)
    ]
    return rng.permutation(np.concatenate(drawn))


def _counts(y: Array, classes: int, ignored: int | None) -> Array:
    """What counts of each class, (K,): samples or pixels or, where targets are shares of the classes, their sums."""
    counts = np.zeros(classes)
    for block in blocks(y):
        part = y[block]
        if are_indices(y):
            part = part if ignored is None else part[part != ignored]
            counts += np.bincount(part.ravel().astype(np.intp, copy=False), minlength=classes)
        else:
            counts += part.sum(axis=(0, *range(2, part.ndim)), dtype=np.float64)
    return counts


def _named(given: dict[str, float], labels: Sequence[str], classes: int) -> tuple[float, ...]:
    """Weights by the names or the numbers of classes; the others count 1."""
    weights = [1.0] * classes
    numbers = {str(number): number for number in range(classes)} | {name: at for at, name in enumerate(labels)}
    for name, weight in given.items():
        if name not in numbers:
            known = listed(labels) if labels else f"the numbers 0 to {classes - 1}"
            raise ConfigError(f"class_weight has a weight for the class {name!r}, which there is not: expected {known}")
        weights[numbers[name]] = weight
    return tuple(weights)
