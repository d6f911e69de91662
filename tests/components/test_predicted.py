"""Predicted classes: the largest score, and none where that is not a number."""

from __future__ import annotations

import numpy as np
import pytest

from cnnkit.components.predicted_class import NO_CLASS, predicted_classes

NAN, INF = np.nan, np.inf


@pytest.mark.parametrize(
    ("scores", "expected"),
    [
        ([1, 3, 2], 1),
        ([3, 1, 3], 0),  # the lowest of equals
        ([-INF, -2, -3], 1),
        ([NAN, 1, 2], NO_CLASS),
        ([2, NAN, 1], NO_CLASS),
        ([1, INF, 2], NO_CLASS),  # its softmax is NaN
        ([-INF, -INF, -INF], NO_CLASS),
    ],
    ids=str,
)
def test_the_class_of_scores(scores: list[float], expected: int) -> None:
    others = np.array([[0, 1, 2], scores, [2, 1, 0]], np.float32)
    assert predicted_classes(others).tolist() == [2, expected, 0]
    assert predicted_classes(others.astype(np.float64)).dtype == np.int64


def test_each_pixel_has_a_class() -> None:
    scores = np.zeros((2, 3, 2, 2), np.float32)
    scores[0, 2, 0, 1], scores[1, 1, 1, 0] = 5, NAN
    assert predicted_classes(scores).tolist() == [[[0, 2], [0, 0]], [[0, 0], [NO_CLASS, 0]]]


def test_no_samples_have_no_classes() -> None:
    assert predicted_classes(np.zeros((0, 3))).shape == (0,)
