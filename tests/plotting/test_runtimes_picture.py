"""The picture of runtimes: a row each, with its verdict, its error beside the allowed one, and latencies."""

from __future__ import annotations

import math
from typing import Any

import pytest

pytest.importorskip("matplotlib", reason="matplotlib is not installed")

from cnnkit.errors import PlotError
from cnnkit.plotting.runtimes import MAX_RUNTIMES, RuntimeRow, draw_runtimes

ROWS = [
    RuntimeRow("ReferenceEvaluator()", "1.23.2", "pass", 1e-6, 0.1, 0, 6e-3, 2e-3),
    RuntimeRow('OnnxRuntime(python="/somewhere/far/away/bin/python")', "1.20.1", "FAIL", 0.4, 4e4, 35, 1e-4, 3e-5),
    RuntimeRow("Chosen(2)", "", "cannot", math.nan, math.nan, 0),
    RuntimeRow("Infinite()", "1", "FAIL", math.inf, math.inf, 1),
]


def texts(rows: list[RuntimeRow]) -> list[list[str]]:
    """The words in each panel, and the names at the first."""
    figure = draw_runtimes(rows, "title")
    names = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    return [names, *([text.get_text() for text in axes.texts] for axes in figure.axes)]


def test_each_runtime_has_its_verdict_error_and_version() -> None:
    names, errors, latencies = texts(ROWS)
    expected = [
        "ReferenceEvaluator 1.23.2",
        "OnnxRuntime 1.20.1",
        "Chosen(2)",
        "Infinite 1",
    ]
    assert [name.strip() for name in names] == expected
    assert errors == ["1.0e-06  pass", "4.0e-01  FAIL, 35 label flips", "cannot", "inf  FAIL, 1 label flip"]
    assert latencies == []


def test_bars_are_shares_of_the_allowed_error_which_is_marked() -> None:
    (axes,) = draw_runtimes([RuntimeRow("A()", "1", "pass", 2e-6, 0.2, 0)], "title").axes
    ((bar,),) = [lines.get_segments() for lines in axes.collections]  # type: ignore[attr-defined]  # of lines
    assert bar[1][0] == pytest.approx(0.2)
    assert [line.get_xdata()[0] for line in axes.lines] == [1]  # type: ignore[index]  # of an array


def test_words_stand_in_their_row_and_no_bar_reaches_them() -> None:
    figure = draw_runtimes(ROWS, "title")
    axes = figure.axes[0]
    figure.draw_without_rendering()
    left = min(text.get_window_extent().x0 for text in axes.texts)
    bars: list[Any] = [*axes.collections]
    ends = [segment[1][0] for lines in bars for segment in lines.get_segments()]
    assert len(ends) == 3
    assert max(axes.transData.transform((end, 0))[0] for end in ends) < left
    assert [text.xy[1] for text in axes.texts] == [0, 1, 2, 3]  # type: ignore[attr-defined]  # of annotations


@pytest.mark.parametrize("milliseconds", [0.025, 0.05, 0.1, 3.0])
def test_latencies_that_are_alike_have_plain_numbers_beside_them(milliseconds: float) -> None:
    row = RuntimeRow("A()", "1", "pass", 2e-6, 0.2, 0, milliseconds / 1000, 1.001 * milliseconds / 1000)
    figure = draw_runtimes([row], "title")
    figure.draw_without_rendering()
    low, high = figure.axes[1].get_xlim()
    assert low <= milliseconds < high
    shown = [label.get_text() for label in figure.axes[1].get_xticklabels(which="both") if label.get_text()]
    assert {f"{low:g}", f"{high:g}"} <= set(shown)
    assert all(float(text) for text in shown)  # none is 3x10^-2


@pytest.mark.parametrize("count", [0, MAX_RUNTIMES + 1])
def test_a_number_of_runtimes_that_has_no_place_is_refused(count: int) -> None:
    with pytest.raises(PlotError, match=rf"^1 to {MAX_RUNTIMES} runtimes can be shown in one picture, got {count}$"):
        draw_runtimes(ROWS[:1] * count, "title")
