"""Classes: which targets are indices, and which labels an index can be one of."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from cnnkit.class_indices import are_indices, check_labels, first_outside, indices_of, listed
from cnnkit.errors import ShapeError
from cnnkit.types import Array

Y = np.arange(12) % 3
PIXELS = np.arange(48).reshape(3, 4, 4) % 3


@pytest.mark.parametrize("dtype", [int, np.uint8, bool, np.float32])
def test_one_hot_rows_are_indices(dtype: type, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cnnkit.types.BLOCK_BYTES", 16)
    assert_array_equal(indices_of(np.eye(3)[Y].astype(dtype)), Y)
    assert_array_equal(indices_of(np.moveaxis(np.eye(3)[PIXELS], -1, 1).astype(dtype)), PIXELS)


@pytest.mark.parametrize(
    "y",
    [
        Y,
        PIXELS,
        Y[:, None],
        np.ones((12, 1), int),
        np.eye(3)[Y] * 2,
        np.eye(3)[Y] * -1,
        np.eye(3)[Y] * np.nan,
        np.array([[1, 0], [1, 1]]),
        np.array([[1, 0], [0, 0]]),
        np.array([[0.5, 0.5], [1, 0]]),
        np.array([["1", "0"]]),
    ],
)
def test_all_others_stay_as_they_are(y: Array) -> None:
    assert indices_of(y) is y
    assert are_indices(y) == (y is Y or y is PIXELS)


def test_labels() -> None:
    for known, given in (("abc", "abc"), ("abc", "a"), ("abc", ""), ("", "abc"), ("", "")):
        check_labels(tuple(known), list(given))
    for known, given, at in (("abc", "abd", 2), ("abc", "bca", 0), ("abc", "bc", 0), ("abc", "abcd", 3)):
        with pytest.raises(ShapeError, match=rf"^class {at} is '{given[at]}' in the data, and "):
            check_labels(known, given)


def test_a_message_names_the_class_that_differs_though_it_lists_only_the_first() -> None:
    known = [str(i) for i in range(100)]
    with pytest.raises(ShapeError) as caught:
        check_labels(known, [*known[:57], "cow" * 1000, *known[58:]], "net@1")
    assert str(caught.value) == (
        f"class 57 is '{('cow' * 34)[:99]} in the data, and '57' in net@1; the data has the labels 0, 1, 2, 3, 4, 5, "
        "6, 7, 8, 9, ..., net@1 has 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, ...: expected the same labels in the same order, or "
        "the first of them; reorder the data's targets and labels to match"
    )
    assert listed(known[:10]) == "0, 1, 2, 3, 4, 5, 6, 7, 8, 9"


def test_the_first_index_that_is_no_class() -> None:
    assert first_outside(np.array([0, 2, 1]), 3) is None
    assert first_outside(np.empty(0, int), 3) is None
    assert first_outside(np.array([0, 3, -1]), 3) == (1,)
    assert first_outside(np.array([0, -1]), 3) == (1,)
    assert first_outside(np.array([[[0, 1], [4, 0]]]), 3) == (0, 1, 0)
