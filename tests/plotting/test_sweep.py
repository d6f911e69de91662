"""The curve over the values of a hyperparameter."""

from __future__ import annotations

import itertools
import math
from typing import Any

import pytest

from cnnkit.errors import PlotError
from cnnkit.plotting.sweep import draw_by_value


def drawn(values: Any, ranked: Any, best: Any = None) -> Any:
    return draw_by_value(values, ranked, "train.key", "accuracy", "a title", best).axes[0]


def test_a_curve_in_the_order_of_the_numbers_on_a_log_scale() -> None:
    axes = drawn([0.1, 0.001, 0.01], [{0: 3.0, 1: 5.0}, {0: 1.0, 1: 1.0}, {0: 2.0, 1: math.nan}], 0.1)
    assert axes.lines[0].get_xydata().tolist() == [[0.001, 1], [0.01, 2], [0.1, 4]]
    assert (axes.get_xscale(), axes.get_xlabel()) == ("log", "train.key (log scale)")
    band = axes.collections[0].get_paths()[0].vertices
    assert band[:, 1].max() == pytest.approx(4 + math.sqrt(2))  # n - 1
    assert axes.lines[1].get_xydata().tolist() == [[0.1, 4]]
    labels = [text.get_text() for text in axes.get_legend().get_texts()]
    assert labels == ["mean ± standard deviation of 2 seeds", "each seed", "best: 0.1"]


def test_numbers_close_together_and_those_that_are_none() -> None:
    close = drawn([32, 64, 0], [{0: 1.0}, {0: 2.0}, {}])
    assert close.get_xscale() == "linear"
    assert close.lines[0].get_xydata().tolist() == [[32, 1], [64, 2]]
    names = drawn(["Adam($1)", True], [{0: 1.0}, {0: 2.0}])
    assert [label.get_text() for label in names.get_xticklabels()] == [r"Adam(\$1)", "True"]
    assert names.lines[0].get_linestyle() == "None"


def test_values_that_are_no_numbers_have_the_room_that_there_is() -> None:
    long = "CrossEntropy(label_smoothing=0.1)"
    for count in (2, 3, 4, 8):
        axes = drawn([long, *(f"{long}{at}" for at in range(1, count))], [{0: 1.0}] * count)
        axes.figure.draw_without_rendering()
        boxes = [label.get_window_extent() for label in axes.get_xticklabels()]
        assert all(one.x1 < other.x0 for one, other in itertools.pairwise(boxes))
        assert (axes.get_xticklabels()[0].get_text() == long) == (count <= 4)


def test_only_several_seeds_have_a_deviation() -> None:
    assert drawn(["a", "b"], [{0: 1.0}, {0: 2.0}]).containers == []
    (bars,) = drawn(["a", "b", "c"], [{0: 1.0, 1: 2.0}, {0: 2.0}, {0: 4.0, 1: 5.0}]).containers
    assert bars.lines[0].get_xdata().tolist() == [0, 2]


def test_nothing_to_draw() -> None:
    with pytest.raises(PlotError, match=r"there is nothing to show: no value of train.key has a finite accuracy"):
        drawn([1, 2], [{0: math.nan}, {}])
