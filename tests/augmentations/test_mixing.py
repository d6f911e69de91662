"""Mixup and CutMix: shares of targets are shares of pixels, and come from the right distribution."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from cnnkit.augmentations import CutMix, Mixup
from cnnkit.components import Mixing
from cnnkit.types import Array
from tests.augmentations.scripted import draws

stats: Any = pytest.importorskip("scipy.stats", reason="scipy, which comes with scikit-learn, is not installed")
N = 3000


def mixed(one: Mixing, height: int = 8, width: int = 12) -> tuple[Array, Array]:
    """Black images of class 0 mixed with white ones of class 1, all values 1."""
    black = np.zeros((N, 2, height, width), np.float32)
    zero, other = np.eye(2, dtype=np.float32)
    return one.mix(black, np.tile(zero, (N, 1)), black + 1, np.tile(other, (N, 1)), draws(N))


@pytest.mark.parametrize("alpha", [0.001, 0.05, 0.2, 0.5, 1.0, 4.0, 100.0])
def test_shares_are_of_the_beta_distribution(alpha: float) -> None:
    _, y = mixed(Mixup(alpha), 1, 1)
    shares = y[:, 0].astype(np.float64)
    assert ((shares >= 0) & (shares <= 1)).all()
    if alpha < 0.01:  # rounding makes nearly all of them 0 or 1
        assert 0.45 < (shares > 0.5).mean() < 0.55
        return
    clipped = np.clip(shares, 2.0**-24, 1 - 2.0**-24) if alpha < 0.1 else shares
    statistic = stats.ks_1samp(clipped, lambda x: stats.beta.cdf(x, alpha, alpha)).statistic
    allowed = 1.95 / math.sqrt(N) + (stats.beta.cdf(2.0**-23, alpha, alpha) if alpha < 0.5 else 0)
    assert statistic < allowed
    assert stats.ks_1samp(shares, lambda x: stats.beta.cdf(x, 1.6 * alpha, 1.6 * alpha)).statistic > 1.95 / math.sqrt(N)


@pytest.mark.parametrize("one", [Mixup(0.5), CutMix(1.0), CutMix(0.5, p=0.5), Mixup(1.0, p=0.5)], ids=repr)
def test_targets_have_the_shares_of_the_pixels(one: Mixing) -> None:
    x, y = mixed(one)
    np.testing.assert_allclose(y[:, 1], x.mean(axis=(1, 2, 3)), atol=1e-6)
    np.testing.assert_allclose(y.sum(axis=1), 1, atol=1e-6)


@pytest.mark.parametrize("kind", [Mixup, CutMix])
def test_mixing_has_its_probability(kind: type[Mixup | CutMix]) -> None:
    _, y = mixed(kind(2.0, p=0.25), 20, 20)
    assert abs((y[:, 1] > 0).mean() - 0.25) < 5 * np.sqrt(0.25 * 0.75 / N) + 0.01


def test_mixup_blends_all_pixels_alike() -> None:
    x, _ = mixed(Mixup(1.0))
    assert (x == x[:, :1, :1, :1]).all()


def test_cutmix_puts_in_a_rectangle_with_the_sides_of_the_image() -> None:
    rng = np.random.default_rng(0)
    first, second = rng.uniform(0, 1, (2, N, 2, 16, 24)).astype(np.float32)
    targets = np.eye(2, dtype=np.float32)
    x, y = CutMix(1.0).mix(first.copy(), targets[[0] * N], second.copy(), targets[[1] * N], draws(N))
    pasted = x == second
    assert (x[~pasted] == first[~pasted]).all()
    assert (pasted == pasted[:, :1]).all()
    rows, columns = pasted[:, 0].any(axis=2), pasted[:, 0].any(axis=1)
    np.testing.assert_array_equal(pasted[:, 0], rows[:, :, np.newaxis] & columns[:, np.newaxis])
    whole = ~(rows[:, [0, -1]].any(axis=1) | columns[:, [0, -1]].any(axis=1))  # not cut by a border
    np.testing.assert_allclose(rows[whole].sum(axis=1) / 16, columns[whole].sum(axis=1) / 24, atol=1 / 16)
    np.testing.assert_allclose(y[:, 1], pasted[:, 0].mean(axis=(1, 2)), atol=1e-6)
    centres = rows[whole].argmax(axis=1) + rows[whole].sum(axis=1) / 2
    assert abs(centres.mean() - 8) < 0.5


def test_values_to_regress_are_blended_too() -> None:
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(2, N, 3))
    x = np.zeros((N, 1, 2, 2), np.float32)
    x, y = Mixup(1.0).mix(x, a, x + 1, b, draws(N))
    share = x[:, 0, 0, :1]
    np.testing.assert_allclose(y, a * (1 - share) + b * share, atol=1e-5)
