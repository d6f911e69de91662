"""Measures: against values made by hand, and against scikit-learn."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn import metrics as sklearn
from sklearn.calibration import calibration_curve

from cnnkit.errors import ConfigError, ShapeError
from cnnkit.evaluation.calibration import calibration
from cnnkit.evaluation.confusion import class_report, confusion_matrix, confusion_pairs
from cnnkit.types import Array

TARGETS = np.array([0, 0, 0, 1, 1, 3])
PREDICTIONS = np.array([0, 1, 1, 1, 0, 1])
CONFUSION = np.array([[1, 2, 0, 0], [1, 1, 0, 0], [0, 0, 0, 0], [0, 1, 0, 0]])


def random_classes(seed: int, classes: int, count: int) -> tuple[Array, Array, Array]:
    """Probabilities that know something of the targets, the targets, and the predictions."""
    rng = np.random.default_rng(seed)
    targets = rng.integers(0, classes, count)
    scores = rng.standard_normal((count, classes)) + 2 * np.eye(classes)[targets]
    probabilities = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
    return probabilities, targets, probabilities.argmax(axis=1)


def test_the_confusion_matrix_has_true_classes_in_rows() -> None:
    matrix = confusion_matrix(TARGETS, PREDICTIONS, 4)
    assert matrix.dtype == np.int64
    assert_array_equal(matrix, CONFUSION)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint64])
def test_any_integers_will_do(dtype: type[np.integer[Any]]) -> None:
    targets = np.full(3, 200, dtype)
    matrix = confusion_matrix(targets, targets, 201)
    assert (matrix[200, 200], matrix.sum()) == (3, 3)


def test_the_report_has_no_value_where_a_share_is_one_of_nothing() -> None:
    report = class_report(CONFUSION)
    assert_array_equal(report.samples, [3, 2, 0, 1])
    assert_allclose(report.precision, [1 / 2, 1 / 4, math.nan, math.nan])
    assert_allclose(report.recall, [1 / 3, 1 / 2, math.nan, 0])
    assert_allclose(report.f1, [2 / 5, 1 / 3, math.nan, 0])
    assert_array_equal(report.confused_with, [1, 0, -1, 1])
    assert_allclose(report.iou, [1 / 4, 1 / 5, math.nan, 0])


@pytest.mark.parametrize(("seed", "classes", "count"), [(0, 2, 50), (1, 10, 1000), (2, 30, 40), (3, 3, 1)])
def test_they_are_those_of_scikit_learn(seed: int, classes: int, count: int) -> None:
    _, targets, predictions = random_classes(seed, classes, count)
    confusion, labels = confusion_matrix(targets, predictions, classes), np.arange(classes)
    assert_array_equal(confusion, sklearn.confusion_matrix(targets, predictions, labels=labels))
    expected = sklearn.precision_recall_fscore_support(
        targets, predictions, labels=labels, average=None, zero_division=math.nan
    )
    report = class_report(confusion)
    for ours, theirs in zip((report.precision, report.recall, report.f1, report.samples), expected, strict=True):
        assert_allclose(ours, theirs, rtol=1e-12)
    theirs = sklearn.jaccard_score(targets, predictions, labels=labels, average=None, zero_division=0)
    assert_allclose(np.nan_to_num(report.iou), theirs, rtol=1e-12)


def test_samples_without_a_predicted_class_are_missed_and_confused_with_none() -> None:
    pairs = confusion_pairs(TARGETS, np.array([0, -1, 1, -1, -1, 1]), 4)
    assert pairs.rows() == [(0, 0, 1), (0, 1, 1), (3, 1, 1)]
    assert_array_equal(pairs.unpredicted, [1, 2, 0, 0])
    report = pairs.report()
    assert_array_equal(report.samples, [3, 2, 0, 1])
    assert_allclose(report.recall, [1 / 3, 0, math.nan, 0])
    assert_allclose(report.precision, [1, 0, math.nan, math.nan])
    assert_array_equal(report.confused_with, [1, -1, -1, 1])
    assert pairs.matrix().sum() == 3


def test_no_samples_are_no_error() -> None:
    none = np.empty(0, np.int64)
    confusion = confusion_matrix(none, none, 3)
    assert_array_equal(confusion, np.zeros((3, 3)))
    assert np.isnan(class_report(confusion).f1).all()
    empty = calibration(np.empty((0, 3)), none, bins=4)
    assert math.isnan(empty.error)
    assert np.isnan(empty.accuracy).all()
    assert_array_equal(empty.count, np.zeros(4))


def test_calibration_by_hand() -> None:
    p = np.array([0.5, 0.6, 0.75, 0.75, 0.9, 1.0])
    probabilities = np.stack([p, 1 - p], axis=1)
    measured = calibration(probabilities, np.array([1, 0, 0, 1, 0, 0]), bins=4)
    assert_array_equal(measured.count, [0, 1, 3, 2])  # 0.5 and 0.75 belong to the bins that they close
    assert_allclose(measured.confidence, [math.nan, 0.5, 0.7, 0.95])
    assert_allclose(measured.accuracy, [math.nan, 0, 2 / 3, 1])
    assert measured.error == pytest.approx((1 * 0.5 + 3 * (0.7 - 2 / 3) + 2 * 0.05) / 6)


def test_calibration_by_the_definition() -> None:
    probabilities, targets, predictions = random_classes(4, 10, 2000)
    measured = calibration(probabilities, targets)
    total = 0.0
    for b in range(15):
        inside = [n for n in range(2000) if b / 15 < probabilities[n].max() <= (b + 1) / 15]
        assert measured.count[b] == len(inside)
        if inside:
            confidence = probabilities[inside].max(axis=1).mean()
            accuracy = sklearn.accuracy_score(targets[inside], predictions[inside])
            assert (measured.confidence[b], measured.accuracy[b]) == pytest.approx((confidence, accuracy))
            total += len(inside) / 2000 * abs(accuracy - confidence)
    assert measured.error == pytest.approx(total)


def test_calibration_is_that_of_scikit_learn() -> None:
    probabilities, targets, predictions = random_classes(5, 5, 3000)
    measured = calibration(probabilities, targets, bins=10)
    accuracy, confidence = calibration_curve(predictions == targets, probabilities.max(axis=1), n_bins=10)
    filled = measured.count > 0
    assert_allclose(measured.accuracy[filled], accuracy)
    assert_allclose(measured.confidence[filled], confidence)


def test_confidence_that_is_earned_has_no_error_and_the_sure_and_wrong_have_all() -> None:
    sure = np.eye(3)[[0, 1, 2]]
    assert calibration(sure, np.array([0, 1, 2])).error == 0
    assert calibration(sure, np.array([1, 2, 0])).error == 1


def test_float32_probabilities_a_little_above_one_are_probabilities() -> None:
    above = np.array([[np.nextafter(np.float32(1), np.float32(2)), 0]], np.float32)
    assert calibration(above, np.array([0])).count[-1] == 1


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: confusion_matrix(np.zeros(2, int), np.zeros(3, int), 2),
            "the targets must be class indices, integers",
        ),
        (lambda: confusion_matrix(np.zeros(2), np.zeros(2, int), 2), "of shape (2,), got float64 of shape (2,)"),
        (lambda: confusion_matrix(np.zeros(2, int), np.zeros((2, 1), int), 2), "the predictions must be class indices"),
        (
            lambda: confusion_matrix(np.array([0, 2]), np.zeros(2, int), 2),
            "the targets must be 0 to 1 for 2 classes, at 1 is 2",
        ),
        (
            lambda: confusion_matrix(np.zeros(2, int), np.array([-1, 0]), 2),
            "the predictions must be 0 to 1 for 2 classes, at 0 is -1",
        ),
        (lambda: class_report(np.zeros((2, 3))), "expected a confusion matrix of shape (K, K), got (2, 3)"),
        (lambda: class_report(np.zeros((0, 0))), "expected a confusion matrix of shape (K, K), got (0, 0)"),
        (lambda: calibration(np.zeros(3), np.zeros(3, int)), "expected probabilities of shape (N, K), got (3,)"),
        (lambda: calibration(np.zeros((3, 2)), np.zeros(2, int)), "integers of shape (3,), got int64 of shape (2,)"),
        (lambda: calibration(np.array([[3.0, 0.0]]), np.zeros(1, int)), "perhaps logits: use those of predict_proba"),
        (lambda: calibration(np.array([[0.5, -1.0]]), np.zeros(1, int)), "expected probabilities from 0 to 1"),
        (lambda: calibration(np.array([[math.nan, 0.0]]), np.zeros(1, int)), "expected probabilities from 0 to 1"),
    ],
)
def test_what_cannot_be_measured(call: Callable[[], object], message: str) -> None:
    with pytest.raises(ShapeError, match=re.escape(message)):
        call()


def test_counts_must_be_whole_numbers() -> None:
    with pytest.raises(ConfigError, match="classes must be a whole number"):
        confusion_matrix(TARGETS, PREDICTIONS, 0)
    with pytest.raises(ConfigError, match="bins must be a whole number"):
        calibration(np.ones((1, 1)), np.zeros(1, np.int64), bins=0)
