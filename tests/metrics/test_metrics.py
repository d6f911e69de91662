"""Metrics: values from sums, the same for any tiles."""

from __future__ import annotations

import math

import numpy as np
import pytest

from cnnkit.errors import ShapeError
from cnnkit.metrics import F1, METRICS, ROCAUC, Accuracy, Precision, Recall, TopKAccuracy
from cnnkit.types import Array


def test_accuracy_counts_the_largest_output() -> None:
    outputs = np.array([[0.1, 0.9], [5.0, -1.0], [0.2, 0.3], [2.0, 1.0]], np.float32)
    sums = Accuracy().sums(outputs, np.array([1, 0, 0, 0]))
    assert sums.tolist() == [3.0, 4.0]
    assert sums.dtype == np.float64
    assert Accuracy().value(sums) == 0.75


def test_accuracy_does_not_depend_on_tiles() -> None:
    rng = np.random.default_rng(0)
    outputs, targets = np.asfortranarray(rng.standard_normal((100, 10))), rng.integers(0, 10, 100)
    whole = Accuracy().sums(outputs, targets)
    parts = [Accuracy().sums(outputs[i : i + 32], targets[i : i + 32]) for i in range(0, 100, 32)]
    assert np.sum(parts, axis=0).tolist() == whole.tolist()
    assert Accuracy().value(whole) == np.mean(outputs.argmax(axis=1) == targets)


@pytest.mark.parametrize("bad", [math.nan, math.inf])
@pytest.mark.parametrize("target", [0, 1])
def test_outputs_that_are_not_finite_are_never_right(bad: float, target: int) -> None:
    outputs = np.array([[1.0, 0.0], [bad, bad], [bad, 0.0], [0.0, bad]])
    assert Accuracy().sums(outputs, np.array([0, target, target, target])).tolist() == [1, 4]


def test_pixels_that_are_nan_are_never_right() -> None:
    outputs = np.zeros((1, 2, 1, 2))
    outputs[0, 0, 0, 1] = math.nan
    assert Accuracy().sums(outputs, np.zeros((1, 1, 2), np.int64)).tolist() == [1, 2]


def test_accuracy_of_no_samples_is_not_a_number() -> None:
    assert math.isnan(Accuracy().value(Accuracy().sums(np.empty((0, 3)), np.empty(0, np.int64))))


def test_the_keys_are_the_names_of_the_field_with_their_options() -> None:
    assert [metric().key for metric in METRICS] == [
        "accuracy",
        "average_precision",
        "balanced_accuracy",
        "calibration_error",
        "f1",
        "mae",
        "matthews_correlation",
        "mean_iou",
        "psnr",
        "precision",
        "r2",
        "rmse",
        "roc_auc",
        "recall",
        "ssim",
        "top_5_accuracy",
    ]
    named = [TopKAccuracy(3), Precision("micro"), Recall(class_index=2), F1(threshold=0.25), ROCAUC(class_index=0)]
    assert [metric.key for metric in named] == [
        "top_3_accuracy",
        "precision_micro",
        "recall_class_2",
        "f1_at_0_25",
        "roc_auc_class_0",
    ]


@pytest.mark.parametrize(
    "targets", [np.zeros((2, 5)), np.zeros(2), np.zeros(3, np.int64)], ids=["2d", "dtype", "count"]
)
def test_accuracy_refuses_what_are_not_class_indices(targets: Array) -> None:
    with pytest.raises(ShapeError) as error:
        Accuracy().sums(np.zeros((2, 5)), targets)
    assert str(error.value) == (
        "Accuracy needs outputs of shape (N, K) and N class indices as integers, got outputs of shape (2, 5) and "
        f"{targets.dtype} targets of shape {targets.shape}; for values to regress, or several labels, remove "
        "Accuracy() from the metrics"
    )


def test_accuracy_counts_the_pixels_of_images() -> None:
    outputs = np.zeros((2, 3, 1, 2))
    outputs[0, 2] = outputs[1, 1, 0, 1] = 1
    sums = Accuracy().sums(outputs, np.array([[[2, 2]], [[1, 1]]]))
    assert sums.tolist() == [3, 4]
