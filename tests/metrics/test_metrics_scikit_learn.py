"""Metrics against scikit-learn's on 300 random cases, with ties, classes that are missing, and a single one."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from sklearn import metrics as theirs

from cnnkit.components import Metric
from cnnkit.evaluation.calibration import calibration
from cnnkit.metrics import (
    F1,
    MAE,
    R2,
    RMSE,
    ROCAUC,
    Accuracy,
    AveragePrecision,
    BalancedAccuracy,
    CalibrationError,
    Matthews,
    MeanIoU,
    Precision,
    Recall,
    TopKAccuracy,
)
from cnnkit.network.graph.final_layers import softmax
from cnnkit.types import Array

CASES = 300


def in_tiles(metric: Metric, outputs: Array, targets: Array, tile: int) -> float:
    """As the engine measures it."""
    starts = range(0, len(outputs), tile)
    return metric.value(metric.join([metric.sums(outputs[i : i + tile], targets[i : i + tile]) for i in starts]))


def drawn(seed: int) -> tuple[Array, Array, int]:
    """Probabilities, class indices and a tile; many have ties, missing classes, or only one class."""
    rng = np.random.default_rng(seed)
    n, k = int(rng.integers(1, 80)), int(rng.integers(2, 8))
    logits = rng.normal(size=(n, k)) * 3
    if seed % 3 == 0:
        logits = np.round(logits)  # ties
    present = rng.permutation(k)[: 1 if seed % 7 == 0 else int(rng.integers(1, k + 1))]
    return softmax(logits), rng.choice(present, n), int(rng.integers(1, n + 1))


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """scikit-learn warns of each class that is missing."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def top_2(t: Array, p: Array) -> Any:
    if p.shape[1] == 2:
        return 1.0
    return theirs.top_k_accuracy_score(t, p, k=2, labels=range(p.shape[1]))


def rates(score: Callable[..., Any], average: str) -> Callable[[Array, Array], Any]:
    return lambda t, p: score(t, p.argmax(axis=1), average=average, zero_division=0)


def one_class(score: Callable[..., Any]) -> Callable[[Array, Array], Any]:
    """Of class 1; scikit-learn says 0 where it is neither there nor predicted, which has no value here."""

    def value(t: Array, p: Array) -> Any:
        predicted = p.argmax(axis=1)
        if not (1 in t or 1 in predicted):
            return math.nan
        return score(t, predicted, labels=[1], average="macro", zero_division=0)

    return value


OF_CLASSES: list[tuple[Metric, Callable[[Array, Array], Any]]] = [
    (Accuracy(), lambda t, p: theirs.accuracy_score(t, p.argmax(axis=1))),
    (TopKAccuracy(2), top_2),
    (Precision(), rates(theirs.precision_score, "macro")),
    (Precision("micro"), rates(theirs.precision_score, "micro")),
    (Precision(class_index=1), one_class(theirs.precision_score)),
    (Recall(), rates(theirs.recall_score, "macro")),
    (Recall("micro"), rates(theirs.recall_score, "micro")),
    (Recall(class_index=1), one_class(theirs.recall_score)),
    (F1(), rates(theirs.f1_score, "macro")),
    (F1("micro"), rates(theirs.f1_score, "micro")),
    (F1(class_index=1), one_class(theirs.f1_score)),
    (BalancedAccuracy(), lambda t, p: theirs.balanced_accuracy_score(t, p.argmax(axis=1))),
    (Matthews(), lambda t, p: theirs.matthews_corrcoef(t, p.argmax(axis=1))),
    (MeanIoU(), rates(theirs.jaccard_score, "macro")),
]


@pytest.mark.parametrize(("metric", "expected"), OF_CLASSES, ids=[repr(metric) for metric, _ in OF_CLASSES])
def test_metrics_of_classes(metric: Metric, expected: Callable[[Array, Array], Any]) -> None:
    for seed in range(CASES):
        p, t, tile = drawn(seed)
        np.testing.assert_allclose(
            in_tiles(metric, p, t, tile), expected(t, p), rtol=0, atol=1e-12, err_msg=f"seed {seed}"
        )


RANKINGS: list[tuple[type[ROCAUC | AveragePrecision], Callable[..., Any]]] = [
    (ROCAUC, theirs.roc_auc_score),
    (AveragePrecision, theirs.average_precision_score),
]


@pytest.mark.parametrize(("cls", "score"), RANKINGS, ids=lambda one: one.__name__)
def test_metrics_of_ranks(cls: type[ROCAUC | AveragePrecision], score: Callable[..., Any]) -> None:
    """Of the classes that have both samples and others, or for average precision samples; each alone, and the mean."""
    compared = 0
    for seed in range(CASES):
        p, t, tile = drawn(seed)
        there = t[:, None] == np.arange(p.shape[1])
        known = there.any(axis=0) & (~there.all(axis=0) if cls is ROCAUC else True)
        each = {k: score(there[:, k], p[:, k]) for k in np.flatnonzero(known).tolist()}
        for k in range(p.shape[1]):
            alone = in_tiles(cls(class_index=k), p, t, tile)
            np.testing.assert_allclose(alone, each.get(k, math.nan), rtol=0, atol=1e-12, err_msg=f"seed {seed}")
        expected = np.mean([*each.values()]) if each else math.nan
        np.testing.assert_allclose(in_tiles(cls(), p, t, tile), expected, rtol=0, atol=1e-12, err_msg=f"seed {seed}")
        if known.all():
            whole = score(there, p, average="macro")
            np.testing.assert_allclose(in_tiles(cls(), p, there, tile), whole, rtol=0, atol=1e-12)
            compared += 1
    assert compared > 40


def test_the_area_under_the_curve_is_one_of_pairs() -> None:
    """The definition, over all pairs of a sample of the class and another one."""
    for seed in range(20):
        p, t, tile = drawn(seed)
        inside, outside = p[t == 0, 0], p[t != 0, 0]
        if not (len(inside) and len(outside)):
            continue
        pairs = (inside[:, None] > outside) + 0.5 * (inside[:, None] == outside)
        assert in_tiles(ROCAUC(class_index=0), p, t, tile) == pytest.approx(pairs.mean(), abs=1e-14)


def test_metrics_of_labels() -> None:
    scores = {Precision: theirs.precision_score, Recall: theirs.recall_score, F1: theirs.f1_score}
    for seed in range(CASES):
        rng = np.random.default_rng(seed)
        n, k = int(rng.integers(1, 60)), int(rng.integers(2, 6))
        p, t = rng.random((n, k)).round(1 if seed % 2 else 8), rng.integers(0, 2, (n, k))
        tile = int(rng.integers(1, n + 1))
        for cls, score in scores.items():
            micro = in_tiles(cls("micro", threshold=0.5), p, t, tile)
            if not (t.any() or (p >= 0.5).any()):
                assert math.isnan(micro)
                continue
            assert micro == pytest.approx(score(t, p >= 0.5, average="micro", zero_division=0), abs=1e-12)
            there = [at for at in range(k) if t[:, at].any() or (p[:, at] >= 0.5).any()]
            expected = score(t, p >= 0.5, labels=there, average="macro", zero_division=0)
            assert in_tiles(cls(threshold=0.5), p, t, tile) == pytest.approx(expected, abs=1e-12)


def test_metrics_of_values() -> None:
    for seed in range(CASES):
        rng = np.random.default_rng(seed)
        n, f = int(rng.integers(2, 80)), int(rng.integers(1, 5))
        t = rng.normal(100 * (seed % 5), 1, (n, f))
        y = t + rng.normal(size=(n, f)) * 10.0 ** rng.uniform(-2, 1)
        if seed % 10 == 0:
            t[:, 0] = t[0, 0].round()  # without variance, and with a mean that scikit-learn has exactly
        if seed % 20 == 0:
            y[:, 0] = t[:, 0]
        tile = int(rng.integers(1, n + 1))
        np.testing.assert_allclose(in_tiles(MAE(), y, t, tile), theirs.mean_absolute_error(t, y), 1e-12)
        np.testing.assert_allclose(in_tiles(RMSE(), y, t, tile), theirs.root_mean_squared_error(t, y), 1e-12)
        np.testing.assert_allclose(in_tiles(R2(), y, t, tile), theirs.r2_score(t, y), 1e-11, 1e-12)


def test_a_large_mean_costs_no_digits() -> None:
    rng = np.random.default_rng(0)
    t = 1e6 + rng.normal(size=(1000, 2))
    y = t + rng.normal(0, 0.1, t.shape)
    assert in_tiles(R2(), y, t, 7) == pytest.approx(theirs.r2_score(t, y), abs=1e-9)


def test_the_calibration_error_is_that_of_an_evaluation() -> None:
    for seed in range(CASES):
        p, t, tile = drawn(seed)
        expected = calibration(p, t, 1 + seed % 20).error
        assert in_tiles(CalibrationError(1 + seed % 20), p, t, tile) == pytest.approx(expected, abs=1e-12)


def test_probabilities_that_are_not_finite_are_never_right() -> None:
    p, t = np.array([[0.2, 0.8], [math.nan, 0.5]]), np.array([1, 1])
    assert Accuracy().value(Accuracy().sums(p, t)) == 0.5
    assert TopKAccuracy(2).value(TopKAccuracy(2).sums(p, t)) == 0.5
    assert Recall().value(Recall().sums(p, t)) == 0.5
    assert Matthews().value(Matthews().sums(p, t)) == 0.0
    assert math.isnan(ROCAUC().value(ROCAUC().sums(p, t)))
    assert math.isnan(CalibrationError().value(CalibrationError().sums(p, t)))
