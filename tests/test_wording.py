"""Pieces of texts for people."""

from __future__ import annotations

import pytest

from cnnkit.wording import counted, did_you_mean, first_of, percent, shorten, sizes, thinned


def test_a_noun_agrees_with_its_number() -> None:
    assert [counted(count, "epoch") for count in (0, 1, 2, 1000)] == ["0 epochs", "1 epoch", "2 epochs", "1,000 epochs"]


def test_a_shape_has_a_size_for_each_axis() -> None:
    assert (sizes((1, 28, 28)), sizes([10]), sizes(())) == ("1 x 28 x 28", "10", "")


@pytest.mark.parametrize(
    ("name", "most", "cutoff", "question"),
    [
        ("dens", 3, 0.6, "did you mean Dense?"),
        ("DENSE", 3, 0.6, "did you mean Dense?"),
        ("Pool2D", 3, 0.6, "did you mean MaxPool2D or AvgPool2D?"),
        ("Pool2D", 1, 0.6, "did you mean MaxPool2D?"),
        ("dens", 3, 0.95, ""),
        ("xyz", 3, 0.6, ""),
    ],
)
def test_names_that_are_close(name: str, most: int, cutoff: float, question: str) -> None:
    assert did_you_mean(name, ["Dense", "MaxPool2D", "AvgPool2D"], most, cutoff) == question


def test_what_stands_before_the_names() -> None:
    assert did_you_mean("digit", ["digits"], what="the recipe ") == "did you mean the recipe digits?"


def test_a_list_that_is_cut_says_so() -> None:
    assert [first_of("abcd"[:count], 3) for count in range(5)] == ["", "a", "a, b", "a, b, c", "a, b, c, …"]


def test_only_certainty_is_100_percent() -> None:
    shares = (0.5, 0.99, 0.9949, 0.99949, 0.9996, 0.9999999, 1.0)
    assert list(map(percent, shares)) == ["50%", "99%", "99.5%", "99.9%", ">99.9%", ">99.9%", "100%"]


def test_a_long_text_keeps_its_beginning() -> None:
    assert [shorten("x" * count, 10) for count in (9, 10, 11)] == ["x" * 9, "x" * 10, "xxxxxx ..."]
    assert [shorten("Relu, Reshape, Sub", most) for most in (18, 17, 16)] == [
        "Relu, Reshape, Sub",
        "Relu, ...",
        "Relu, ...",
    ]
    assert shorten("one two three", 12) == "one two ..."
    assert shorten("a " + "b" * 90, 50) == f"a {'b' * 44} ..."


@pytest.mark.parametrize(("count", "most", "positions"), [(3, 4, [0, 1, 2]), (5, 3, [0, 2, 4]), (0, 3, [])])
def test_positions_are_thinned_evenly(count: int, most: int, positions: list[int]) -> None:
    assert thinned(count, most) == positions
