"""Training curves: a picture that can be read, whatever a history holds, and none without matplotlib."""

from __future__ import annotations

import io
import math
import sys
from typing import Any

import numpy as np
import pytest

from cnnkit.errors import PlotError
from cnnkit.plotting.curves import MAX_PANELS, curves_png, draw_curves

pytest.importorskip("matplotlib")
SIGNATURE = b"\x89PNG\r\n\x1a\n"
TRAINED: dict[str, list[float]] = {
    "loss": [2.0, 1.0, 0.5],
    "accuracy": [0.3, 0.6, 0.8],
    "validation_loss": [2.1, 1.2, 0.7],
    "validation_accuracy": [0.3, 0.5, 0.7],
    "lr": [0.1, 0.1, 0.1],
    "seconds": [1.0, 1.0, 1.0],
}


@pytest.fixture
def figures(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Every figure that is made."""
    import matplotlib.figure

    made: list[Any] = []

    class Kept(matplotlib.figure.Figure):
        def __init__(self, *arguments: Any, **options: Any) -> None:
            super().__init__(*arguments, **options)
            made.append(self)

    monkeypatch.setattr(matplotlib.figure, "Figure", Kept)
    return made


def _pixels(data: bytes | None) -> np.ndarray[Any, Any]:
    from matplotlib.image import imread

    assert data
    assert data.startswith(SIGNATURE)
    return np.asarray(imread(io.BytesIO(data)))


def test_loss_and_metrics_have_a_panel_each_with_axes_and_a_legend(figures: list[Any]) -> None:
    pixels = _pixels(curves_png(TRAINED, "digits@3"))
    assert figures[0].get_suptitle() == "digits@3"
    assert pixels.shape[1] > 1000
    colours = {tuple(np.round(pixel[:3] * 255).astype(int)) for pixel in pixels.reshape(-1, pixels.shape[2])}
    assert {(0x00, 0x72, 0xB2), (0xD5, 0x5E, 0x00)} <= colours
    loss, accuracy = figures[0].axes
    assert (loss.get_ylabel(), accuracy.get_ylabel()) == ("loss (mean per sample)", "accuracy (share of samples)")
    for axes in (loss, accuracy):
        assert axes.get_xlabel() == "epoch"
        assert [text.get_text() for text in axes.get_legend().get_texts()] == ["training", "validation"]
        assert all(float(tick).is_integer() for tick in axes.get_xticks())
    training, validation = loss.get_lines()
    assert list(training.get_xdata()) == [1, 2, 3]
    assert list(validation.get_ydata()) == TRAINED["validation_loss"]
    assert training.get_linestyle() != validation.get_linestyle()  # told apart in black and white, too


def test_an_accuracy_close_to_one_is_stretched_and_not_cut(figures: list[Any]) -> None:
    draw_curves({"accuracy": [0.1, 0.9, 0.99, 1.0]}, "net@1")
    (axes,) = figures[0].axes
    assert axes.get_ylabel() == "accuracy (stretched towards 1)"
    low, high = axes.get_ylim()
    assert low < 0.1 < 1 <= high
    tail, head = (np.ptp(axes.transData.transform([(1, a), (1, b)])[:, 1]) for a, b in ((0.99, 1), (0.1, 0.3)))
    assert tail > head  # a hundredth at the end has more room than a fifth at the beginning
    ticks = axes.get_yticks()
    assert {0.2, 0.9, 0.99, 1} <= set(ticks)
    assert low <= min(ticks) < max(ticks) <= high
    draw_curves({"accuracy": [0.6, 0.7, 0.8]}, "net@1")
    assert figures[1].axes[0].get_ylabel() == "accuracy (share of samples)"


def test_a_loss_within_a_decade_has_ticks_enough(figures: list[Any]) -> None:
    draw_curves({"loss": [1.81, 0.56, 0.34, 0.27]}, "net@1")
    figures[0].canvas.draw()
    low, high = figures[0].axes[0].get_ylim()
    assert sum(low <= tick <= high for tick in figures[0].axes[0].get_yticks()) >= 4


def test_the_same_history_gives_the_same_bytes() -> None:
    assert curves_png(TRAINED, "digits@3") == curves_png(TRAINED, "digits@3")
    assert curves_png(TRAINED, "digits@3") != curves_png(TRAINED, "digits@4")


def test_without_matplotlib_there_is_no_picture(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    assert curves_png(TRAINED, "digits@3") is None


def test_three_quantities_make_two_rows(figures: list[Any]) -> None:
    draw_curves({name: [1.0, 2.0] for name in ("a", "b", "c")}, "net@1")
    shown = [axes.get_ylabel() for axes in figures[0].axes if axes.get_visible()]
    assert shown == ["a", "b", "c"]
    assert figures[0].axes[0].get_gridspec().get_geometry() == (2, 2)


@pytest.mark.parametrize(
    "history",
    [
        {},
        {"loss": []},
        {"loss": [math.nan, math.inf]},
        {"lr": [0.1], "seconds": [1.0]},
        {"$\\frac{$": [1.0], "a b": [1.0], "x\n": [1.0], "": [1.0], "a" * 99: [1.0]},
    ],
)
def test_there_may_be_nothing_to_draw(history: dict[str, list[float]]) -> None:
    with pytest.raises(PlotError, match="no training curves: the history has no finite value of a loss or metric"):
        draw_curves(history, "net@1")
    assert curves_png(history, "net@1") is None


@pytest.mark.parametrize(
    "history",
    [
        {"loss": [1.0]},
        {"loss": [1.0, math.nan, math.inf, 1e308, -1e308, 2.0]},
        {"loss": [1, 2**1023, -(2**1023)]},
        {"loss": [1.0] * 5, "validation_loss": [1.0]},
        {"loss": [1e-300, 1e-310]},
        {f"metric_{number}": [1.0, 2.0] for number in range(50)},
    ],
)
def test_whatever_a_file_says_can_be_drawn(history: dict[str, list[float]], figures: list[Any]) -> None:
    assert _pixels(curves_png(history, "net@1")).std() > 0
    assert len(figures[0].axes) <= MAX_PANELS


def test_a_long_history_is_thinned(figures: list[Any]) -> None:
    curves_png({"loss": [1.0 / (1 + i) for i in range(100_001)]}, "net@1")
    (line,) = figures[0].axes[0].get_lines()
    assert len(line.get_xdata()) <= 2001
    assert (line.get_xdata()[0], line.get_xdata()[-1]) == (1, 100_001)
    assert line.get_ydata()[-1] == 1 / 100_001


def test_errors_of_values_are_stretched_and_r_squared_begins_at_0() -> None:
    figure: Any = draw_curves({"loss": [9.0, 8.0], "mae": [20.0, 1.0, 0.5], "r2": [-30.0, 0.5, 0.9]}, "net@1")
    loss, mae, r2 = figure.axes[:3]
    assert (mae.get_yscale(), mae.get_ylabel()) == ("log", "mean absolute error (log)")
    assert (r2.get_ylim()[0], r2.get_ylabel()) == (0, "R² (from 0)")
    assert loss.get_yscale() == "linear"
