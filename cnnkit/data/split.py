"""Cutting samples into two parts: evenly over the classes, or as scikit-learn does."""

from __future__ import annotations

import math

import numpy as np

from cnnkit.class_indices import are_indices, indices_of
from cnnkit.components.checks import in_range, positive, whole
from cnnkit.errors import DataError
from cnnkit.types import Samples


def proper_fraction(name: str, value: float) -> float:
    """A number with 0 < value < 1; raises ConfigError otherwise."""
    return in_range(name, positive(name, value), 0.0, 1.0)


def legacy_seed(name: str, value: int) -> int:
    """A seed that `np.random.RandomState` takes, 0 <= value < 2**32; raises ConfigError otherwise."""
    in_range(name, whole(name, value, at_least=0), 0, 2**32)
    return value


def split_test(samples: Samples, test: float, seed: int) -> tuple[Samples, Samples]:
    """Training and test samples, exactly those of scikit-learn's `train_test_split(test_size=test, random_state=seed)`.

    A permutation p of N samples is drawn; the first ceil(test * N) of it are the test samples, the others follow.
    Raises DataError if no sample would be left for training.
    """
    count = _count(samples, test)
    order = np.random.RandomState(seed).permutation(len(samples))
    return samples.take(order[count:]), samples.take(order[:count])


def split_validation(samples: Samples, fraction: float, seed: int) -> tuple[Samples, Samples]:
    """Training samples and those to validate or test on, in their old order; class targets keep their proportions.

    With the samples ordered by class, and at random inside a class, every (N / K)-th one is set aside,
    K = ceil(fraction * N); so each class gives its share of K, rounded up or down.
    Raises ConfigError unless 0 < fraction < 1, DataError if no sample would be left for training.
    """
    proper_fraction("fraction", fraction)
    whole("seed", seed, at_least=0)
    count = _count(samples, fraction)
    order = np.random.default_rng(seed).permutation(len(samples))
    y = indices_of(samples.y)
    if are_indices(y) and y.ndim == 1:
        order = order[np.argsort(y[order], kind="stable")]
    chosen = np.zeros(len(samples), bool)
    chosen[order[(2 * np.arange(count) + 1) * len(samples) // (2 * count)]] = True
    return samples.take(~chosen), samples.take(chosen)


def _count(samples: Samples, fraction: float) -> int:
    count = math.ceil(fraction * len(samples))
    if count >= len(samples):
        raise DataError(
            f"setting aside {fraction:g} of {len(samples)} samples leaves none for training: "
            "expected more samples or a smaller fraction"
        )
    return count
