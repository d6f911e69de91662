"""Comparisons of models and configurations, and the learning rate test."""

from __future__ import annotations

import io
import math
from typing import Any

import numpy as np
import pytest

from cnnkit.errors import PlotError
from cnnkit.plotting.comparison import (
    MAX_CONFIGURATIONS,
    MAX_ENTRIES,
    Entry,
    draw_comparison,
    draw_quantity_by_configuration,
)
from cnnkit.plotting.learning_rate import draw_learning_rates
from cnnkit.plotting.style import CYCLE, VERMILION

pytest.importorskip("matplotlib")
A = Entry("a@1", {"loss": [2.0, 1.0], "validation_loss": [2.5, 1.5], "seconds": [1.5, 2.0]}, {"accuracy": 0.9}, 1200)
B = Entry("b@2", {"loss": [3.0]}, {}, 7)


def test_models_share_panels_and_have_bars() -> None:
    figure: Any = draw_comparison([A, B])
    loss, accuracy, parameters, time = figure.axes
    assert figure.get_suptitle() == "a@1, b@2"
    assert [list(line.get_ydata()) for line in loss.get_lines()] == [[2, 1], [2.5, 1.5], [3]]
    assert [line.get_color() for line in loss.get_lines()] == [CYCLE[0], CYCLE[0], CYCLE[1]]
    assert [line.get_linestyle() for line in loss.get_lines()] == ["-", "--", "-"]
    assert (loss.get_xlabel(), loss.get_ylabel()) == ("epoch", "loss (mean per sample)")
    labels = [axes.get_xlabel() for axes in (accuracy, parameters, time)]
    assert labels == ["test accuracy", "parameters", "training time (s)"]
    assert [bar.get_width() for bar in time.containers[0]] == [3.5, 0]
    assert [text.get_text() for text in accuracy.texts] == ["0.9", "unknown"]
    assert [text.get_text() for text in parameters.texts] == ["1,200", "7"]
    assert parameters.xaxis.get_major_formatter().format_data(10_000) == "10,000"
    assert [tick.get_text() for tick in accuracy.get_yticklabels()] == ["a@1", "b@2"]


def test_models_without_a_history_have_bars_alone() -> None:
    figure: Any = draw_comparison([Entry("a$@1", {"loss": [math.nan]}, {"loss": math.nan}, 1), Entry("b@1", {}, {}, 2)])
    assert [axes.get_xlabel() for axes in figure.axes] == ["parameters"]
    figure.savefig(io.BytesIO())


@pytest.mark.parametrize("count", [0, 1, MAX_ENTRIES + 1])
def test_one_model_or_too_many_are_refused(count: int) -> None:
    with pytest.raises(PlotError, match=f"2 to {MAX_ENTRIES} models can be compared in one picture, got {count}"):
        draw_comparison([A] * count)


def test_configurations_show_mean_and_deviation_over_their_seeds() -> None:
    runs = [[[0.1, 0.5], [0.3, 0.9]], [[0.2, 0.4, 0.6]]]
    ranked = [{0: 0.5, 7: 0.875}, {0: 0.25, 7: 0.75, 9: 0.6}]  # seed 9 has failed in the best one
    figure: Any = draw_quantity_by_configuration(["small", "large"], runs, ranked, "accuracy", "Two sizes")
    curves, beside = figure.axes
    assert figure.get_suptitle() == "Two sizes"
    assert [list(line.get_ydata()) for line in curves.get_lines()] == [pytest.approx([0.2, 0.7]), [0.2, 0.4, 0.6]]
    band = curves.collections[0].get_paths()[0].vertices
    deviation = math.sqrt(2 * 0.2**2)  # n - 1
    assert (band[:, 1].max(), band[:, 1].min()) == pytest.approx((0.7 + deviation, 0.2 - math.sqrt(2 * 0.1**2)))
    assert (curves.get_xlabel(), curves.get_ylabel()) == ("epoch", "accuracy (share of samples)")
    assert [tick.get_text() for tick in beside.get_yticklabels()] == ["small\n0.6875", "large\n0.5333"]
    assert beside.get_xlabel() == "accuracy minus that of small"
    seeds = [points.get_offsets()[:, 0].tolist() for points in beside.collections if hasattr(points, "get_sizes")]
    assert [values for values in seeds if values] == [[0, 0], [-0.25, -0.125]]
    assert [list(one.lines[0].get_xdata()) for one in beside.containers] == [[0], [-0.1875]]


def test_seeds_of_different_length_and_without_a_number_are_drawn() -> None:
    runs = [[[1.0, math.nan], [2.0, 3.0, 4.0], []], [[math.inf]], []]
    ranked = [{0: math.nan, 1: 4.0}, {0: math.inf}, {}]
    figure: Any = draw_quantity_by_configuration(["a", "b", "c"], runs, ranked, "loss", "Broken")
    curves, beside = figure.axes
    assert list(curves.get_lines()[0].get_ydata()) == pytest.approx([1.5, 3.0, 4.0])
    assert [text.get_text() for text in beside.texts] == ["not finite", "not finite"]
    figure.savefig(io.BytesIO())


def test_many_configurations_are_cut_and_none_refused() -> None:
    names = [f"c{i}" for i in range(50)]
    figure: Any = draw_quantity_by_configuration(names, [[[1.0]]] * 50, [{0: 1.0}] * 50, "loss", "Fifty")
    assert figure.get_suptitle() == f"Fifty (the first {MAX_CONFIGURATIONS} of 50)"
    assert len(figure.axes[1].get_yticks()) == MAX_CONFIGURATIONS
    styles = {(line.get_color(), line.get_linestyle()) for line in figure.axes[0].get_lines()}
    assert len(styles) == MAX_CONFIGURATIONS
    nothing: list[list[list[list[float]]]] = [[], [[[math.nan]]], [[]]]
    for runs in nothing:
        with pytest.raises(PlotError, match="no configuration has a finite value of loss"):
            draw_quantity_by_configuration(["a"], runs, [{}], "loss", "None")


def test_the_learning_rate_test_marks_the_suggestion() -> None:
    rates = np.geomspace(1e-5, 1, 50)
    losses = np.where(rates < 0.1, 2 - rates * 10, 1e9)
    given = losses[0] + rates  # whatever the test itself has
    axes: Any = draw_learning_rates(rates.tolist(), losses.tolist(), given.tolist(), 0.03).axes[0]
    raw, smooth, mark = axes.get_lines()
    assert list(raw.get_ydata()) == losses.tolist()
    assert np.asarray(smooth.get_ydata()) == pytest.approx(given)
    assert (list(mark.get_xdata()), mark.get_color()) == ([0.03, 0.03], VERMILION)
    assert [text.get_text() for text in axes.get_legend().get_texts()][2] == "suggested: 0.03"
    assert (axes.get_xscale(), axes.get_xlabel()) == ("log", "learning rate (log scale)")
    assert axes.get_ylim()[1] < 5  # the loss that ran away does not flatten the rest


def test_broken_learning_rate_tests() -> None:
    with pytest.raises(PlotError, match="as it is and smoothed, got 1 rates, 2 losses and 1 smoothed ones"):
        draw_learning_rates([0.1], [1.0, 2.0], [1.0], None)
    with pytest.raises(PlotError, match="no loss is finite"):
        draw_learning_rates([0.1, 0.2], [math.nan, math.inf], [1.0, 1.0], None)
    figure: Any = draw_learning_rates([0.1, 0.2, 0.3], [1.0, math.nan, 1.0], [1.0, 1.0, math.nan], None)
    assert len(figure.axes[0].get_lines()) == 2
    figure.savefig(io.BytesIO())
