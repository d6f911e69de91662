"""Every built-in metric says all of itself; its value does not depend on the tiles, or on what is ignored."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import cast

import numpy as np
import pytest

from cnnkit import metrics
from cnnkit.components import Metric, installed_catalog
from cnnkit.errors import ConfigError, ShapeError
from cnnkit.explanation.formulas import describe
from cnnkit.metrics import METRICS, PSNR, ROCAUC, SSIM, Accuracy, CalibrationError, Precision
from cnnkit.testing.example_outputs import ANY, PROBABILITIES, outputs_of_all_kinds
from cnnkit.testing.example_targets import targets_of_all_kinds
from cnnkit.types import Array, Example

CASES = [(cls, example) for cls in METRICS for example in cls.examples]
CHANGELOG = Path(__file__).parents[2] / "CHANGELOG.md"


def lacking(cls: type[Metric]) -> Iterable[str]:
    if not cls.examples:
        yield "examples"
    if not describe(cls).source:
        yield "source"
    if "value" not in (cls.__doc__ or ""):
        yield "formula"
    if cls.__name__ not in metrics.__all__:
        yield "place in __all__"
    if cls.__name__ not in re.findall(r"\w+", CHANGELOG.read_text("utf-8")):
        yield "word in CHANGELOG.md"


def faults(classes: Iterable[type[Metric]]) -> list[str]:
    return [f"{cls.__name__} has no {part}" for cls in classes for part in lacking(cls)]


def test_every_metric_says_all_of_itself() -> None:
    assert faults(METRICS) == []
    parts = ("examples", "source", "formula", "place in __all__", "word in CHANGELOG.md")
    assert faults([type("Bare", (Metric,), {})]) == [f"Bare has no {part}" for part in parts]


def drawn(metric: Metric, example: Example, n: int = 50) -> tuple[Array, Array]:
    rng = np.random.default_rng(4)
    kind = PROBABILITIES if metric.of_probabilities else ANY
    outputs = outputs_of_all_kinds((n, *example.in_shape), rng)[kind]
    return outputs.astype(np.float32), targets_of_all_kinds(example.in_shape, n, rng)[example.targets]


@pytest.mark.parametrize(("cls", "example"), CASES, ids=lambda one: getattr(one, "expression", ""))
def test_the_value_is_that_of_all_samples_however_they_are_cut(cls: type[Metric], example: Example) -> None:
    metric = cast(Metric, installed_catalog().build("metric", example.expression))
    outputs, targets = drawn(metric, example)
    before = outputs.copy(), targets.copy()
    whole = metric.value(metric.sums(outputs, targets))
    assert np.isfinite(whole)
    for cut in ([1], [7, 9, 40], [0, 25]):
        parts = zip(np.split(outputs, cut), np.split(targets, cut), strict=True)
        joined = metric.join([metric.sums(*part) for part in parts])
        assert abs(metric.value(joined) - whole) <= 1e-12 * max(1.0, abs(whole))
    assert np.array_equal(outputs, before[0])
    assert np.array_equal(targets, before[1])
    assert installed_catalog().build("metric", repr(metric)) == metric


@pytest.mark.parametrize(("cls", "example"), CASES, ids=lambda one: getattr(one, "expression", ""))
def test_no_samples_have_no_value(cls: type[Metric], example: Example) -> None:
    metric = cast(Metric, installed_catalog().build("metric", example.expression))
    outputs, targets = drawn(metric, example)
    assert np.isnan(metric.value(metric.sums(outputs[:0], targets[:0])))


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("TopKAccuracy(0)", "k must be a whole number, 1 or above, got 0"),
        ('Precision("mean")', "average must be one of 'macro', 'micro', got 'mean'"),
        ("Recall(class_index=-1)", "class_index must be a whole number, 0 or above, got -1"),
        ("F1(threshold=2)", "threshold must be a number from 0 to 1, got 2"),
        ('F1("micro", class_index=1)', "average must be left out for one class, class_index=1, got 'micro'"),
        (
            "F1(threshold=0.5, ignore_index=1)",
            "ignore_index must be left out for labels, threshold=0.5, got 1",
        ),
        ("CalibrationError(0)", "bins must be a whole number, 1 or above, got 0"),
        ("MeanIoU(0.5)", "ignore_index must be a whole number, or None for none, got 0.5"),
        ("PSNR(0)", "data_range must be a number above 0, got 0"),
        ("ROCAUC(1.5)", "class_index must be a whole number, 0 or above, got 1.5"),
    ],
)
def test_wrong_arguments_are_named(expression: str, expected: str) -> None:
    with pytest.raises(ConfigError) as caught:
        installed_catalog().build("metric", expression)
    assert str(caught.value).endswith(expected)


CLASSES, IMAGES = np.array([0, 2]), np.zeros((2, 3, 4, 5))


@pytest.mark.parametrize(
    ("metric", "outputs", "targets", "expected"),
    [
        (
            Precision(),
            np.zeros((2, 3)),
            np.array([0, 255]),
            "Precision needs class indices from 0 to 2, as the outputs have 3 classes, and one is 255: correct the "
            "targets, or write Precision(ignore_index=255) so that it is not counted",
        ),
        (
            Precision(class_index=5),
            np.zeros((2, 3)),
            CLASSES,
            "Precision(class_index=5) is of class 5, and the outputs have the classes 0 to 2",
        ),
        (
            Precision(threshold=0.5),
            np.zeros((2, 3)),
            CLASSES,
            "Precision(threshold=0.5) is of labels, each with a probability: it needs targets of 0 and 1 of the "
            "outputs' shape (2, 3), got int64 of shape (2,); for one class of several, remove threshold",
        ),
        (
            ROCAUC(),
            np.zeros((2, 3)),
            np.full((2, 3), 0.4),
            "ROCAUC() needs targets that say of each class, or label, whether it is there, 0 or 1; remove it from the "
            "metrics",
        ),
        (
            ROCAUC(class_index=3),
            np.zeros((2, 3)),
            CLASSES,
            "ROCAUC(class_index=3) is of class 3, and the outputs have the classes 0 to 2",
        ),
        (
            CalibrationError(),
            np.full((2, 3), 2.0),
            CLASSES,
            "CalibrationError() needs probabilities, from 0 to 1, and the loss takes other outputs: use a loss from "
            "logits, such as CrossEntropy(), or remove it from the metrics",
        ),
        (
            PSNR(),
            np.zeros((2, 3)),
            np.zeros((2, 3)),
            "PSNR compares images: it needs outputs of shape (N, C, H, W) and targets of the same shape, got (2, 3) "
            "and float64 of shape (2, 3): remove PSNR() from the metrics",
        ),
        (
            SSIM(),
            IMAGES,
            IMAGES,
            "SSIM looks at windows of 11 x 11 pixels, and the images have 4 x 5: remove SSIM() from the metrics",
        ),
        (
            metrics.MAE(),
            np.zeros((2, 3)),
            CLASSES,
            "MAE needs targets of the outputs' shape (2, 3), got int64 of shape (2,): for classes, use a metric such "
            "as Accuracy()",
        ),
    ],
)
def test_what_does_not_fit_is_refused(metric: Metric, outputs: Array, targets: Array, expected: str) -> None:
    with pytest.raises(ShapeError) as caught:
        metric.sums(outputs, targets)
    assert str(caught.value) == expected


def test_what_is_ignored_is_not_counted() -> None:
    rng = np.random.default_rng(0)
    outputs, masks = rng.random((4, 3, 5, 2)).astype(np.float32), rng.integers(0, 3, (4, 5, 2))
    masks[:, 2:] = 255
    for cls in METRICS:
        if "ignore_index" not in vars(cls()):
            continue
        metric, plain = cls(ignore_index=255), cls()  # type: ignore[call-arg]  # those that have it
        outputs = outputs / outputs.sum(axis=1, keepdims=True)
        found = metric.value(metric.sums(outputs, masks))
        assert found == pytest.approx(plain.value(plain.sums(outputs[:, :, :2], masks[:, :2])), rel=1e-12), cls
    assert Accuracy(ignore_index=255).sums(outputs, masks).tolist()[1] == 16
