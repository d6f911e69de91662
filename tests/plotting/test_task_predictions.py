"""Predictions of tasks beyond one class of a sample: the numbers of the model are what is drawn."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from cnnkit.errors import PlotError
from cnnkit.plotting.pixel_predictions import as_segments, draw_image_outputs, draw_segments, shown_columns
from cnnkit.plotting.predictions import RIGHT, WRONG, draw_labels, draw_misclassified, draw_predictions
from cnnkit.plotting.style import GROUND, SEGMENTS, class_colours
from cnnkit.plotting.value_predictions import draw_values

pytest.importorskip("matplotlib")
RNG = np.random.default_rng(0)
IMAGES = RNG.integers(0, 256, (3, 1, 6, 8), dtype=np.uint8)
NAMES = ["background", "cat", "dog"]


def shown(axes: Any) -> Any:
    return np.ma.asarray(axes.images[0].get_array())


def test_segments_are_colours_of_their_classes_under_the_input() -> None:
    truth = RNG.integers(0, 3, (3, 6, 8))
    said = truth.copy()
    said[1, :3] = (truth[1, :3] + 1) % 3
    truth[2, 0, 0] = -1
    figure: Any = draw_segments(IMAGES, truth, said, NAMES, "net@1")
    assert figure.get_suptitle() == "net@1: classes of the pixels in the first 3 test samples"
    rows = np.array(figure.axes).reshape(3, 3)
    assert [row[0].get_ylabel() for row in rows] == ["input", "truth", "prediction"]
    for n in range(3):
        assert_array_equal(shown(rows[0, n]), IMAGES[n, 0])
        assert_array_equal(shown(rows[2, n]), said[n])
    assert_array_equal(shown(rows[1, 1]), truth[1])
    assert np.argwhere(shown(rows[1, 2]).mask).tolist() == [[0, 0]]
    assert [axes.get_xlabel() for axes in rows[2]] == ["100.0% right", "50.0% right", "100.0% right"]
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == NAMES
    image = rows[2, 0].images[0]
    colours = image.cmap(image.norm(np.arange(3)))
    assert_array_equal(np.rint(colours[0, :3] * 255), [int(GROUND[i : i + 2], 16) for i in (1, 3, 5)])
    assert_array_equal(np.rint(colours[1, :3] * 255), [int(SEGMENTS[0][i : i + 2], 16) for i in (1, 3, 5)])


def test_many_classes_have_a_colour_each() -> None:
    colours = class_colours((), 40)
    assert len(set(colours)) == 40
    assert all(len(colour) == 7 for colour in colours)
    assert class_colours(["Background", "a"], 2) == [GROUND, SEGMENTS[0]]


def test_images_that_a_model_gives_are_between_input_and_target() -> None:
    t = RNG.random((3, 1, 6, 8)).astype(np.float32)
    y = t + np.float32(0.25)
    figure: Any = draw_image_outputs(IMAGES, t, y, "net@1")
    rows = np.array(figure.axes).reshape(3, 3)
    assert [row[0].get_ylabel() for row in rows] == ["input", "output", "target"]
    assert_array_equal(shown(rows[2, 1]), t[1, 0])
    assert_array_equal(shown(rows[1, 1]), y[1, 0].clip(0, 1))
    assert rows[1, 1].get_xlabel() == "RMSE 0.25"
    assert rows[1, 0].images[0].get_clim() == rows[2, 0].images[0].get_clim() == (0, 1)


def test_where_inputs_are_targets_the_difference_is_shown() -> None:
    t = IMAGES / np.float32(255)
    y = t.copy()
    y[0, 0, 2, 3] += 0.5
    figure: Any = draw_image_outputs(IMAGES, t, y, "net@1")
    rows = np.array(figure.axes[:9]).reshape(3, 3)
    assert rows[2, 0].get_ylabel() == "difference"
    difference = shown(rows[2, 0])
    assert difference[2, 3] == pytest.approx(0.5)
    assert np.count_nonzero(difference) == 1
    assert rows[2, 0].images[0].get_clim() == pytest.approx((-0.5, 0.5))
    assert figure.axes[-1].get_ylabel() == "output - input"


def test_labels_are_named_and_so_are_the_true_ones_where_some_are_wrong() -> None:
    there = np.array([[1, 1, 0], [0, 1, 1], [0, 0, 0]], np.float32)
    said = np.array([[0.9, 0.5, 0.1], [0.9, 0.8, 0.2], [0.1, 0.2, 0.3]])
    figure: Any = draw_labels(IMAGES, there, said, ["a", "b", "c"], "net@1")
    titles = [axes.title for axes in figure.axes if axes.images]
    assert [title.get_text() for title in titles] == ["✓ a, b", "✗ a, b\ntrue: b, c", "✓ none"]
    assert [title.get_color() for title in titles] == [RIGHT, WRONG, RIGHT]
    assert figure.get_suptitle() == "net@1: all labels right in 2 of the first 3 test samples"
    many: Any = draw_labels(IMAGES, np.ones((3, 5)), np.ones((3, 5)), (), "net@1")
    assert many.axes[0].title.get_text() == "✓ 0, 1, 2 +2"


def test_signals_are_drawn_as_lines_with_their_class() -> None:
    signals = RNG.normal(size=(4, 2, 30)).astype(np.float32)
    probabilities = np.array([[0.9, 0.1], [0.2, 0.8], [0.4, 0.6], [0.7, 0.3]])
    figure: Any = draw_predictions(signals, np.array([0, 0, 1, 0]), probabilities, ["sine", "square"], "net@1")
    first = figure.axes[0]
    assert_array_equal(np.array([line.get_ydata() for line in first.lines]), signals[0])
    assert figure.axes[1].title.get_text() == "✗ square  80%\ntrue: sine"
    assert len({axes.get_ylim() for axes in figure.axes[:4]}) == 1
    wrong: Any = draw_misclassified(signals, np.array([0, 0, 1, 0]), probabilities, ["sine", "square"], "net@1")
    assert_array_equal(wrong.axes[0].lines[1].get_ydata(), signals[1, 1])


def test_values_lie_by_the_true_ones_with_their_errors() -> None:
    t = np.arange(10.0)[:, None] * [1, 2]
    y = t + np.array([0.5, 0])
    figure: Any = draw_values(t, y, ["height", "width"], "net@1")
    left, right = figure.axes
    assert_array_equal(left.collections[0].get_offsets(), np.column_stack([t[:, 0], y[:, 0]]))
    assert (left.get_xlabel(), left.get_ylabel()) == ("true height", "predicted height")
    assert left.get_title() == f"mean absolute error 0.5,  R² = {1 - 2.5 / 82.5:.3f}"
    assert right.get_title() == "mean absolute error 0,  R² = 1.000"
    alike: Any = draw_values(np.ones((3, 1)), np.ones((3, 1)), (), "net@1")
    assert alike.axes[0].get_title() == "mean absolute error 0"
    assert alike.axes[0].get_xlabel() == "true value"


def test_many_values_are_thinned_and_the_numbers_are_of_all() -> None:
    t = np.linspace(0, 1, 9001)[:, None].repeat(8, axis=1)
    figure: Any = draw_values(t, t, (), "net@1")
    assert figure.get_suptitle().endswith("of 9,001 test samples, 6 of its 8 outputs")
    assert len(figure.axes[0].collections[0].get_offsets()) == 3000
    assert figure.axes[1].get_xlabel() == "true output 1"


def test_what_cannot_be_drawn_is_refused() -> None:
    with pytest.raises(PlotError, match="net@1 has no finite values to show"):
        draw_values(np.ones((2, 1)), np.full((2, 1), np.nan), (), "net@1")
    with pytest.raises(PlotError, match="5 labels for each pixel, several at once: a picture shows one of them"):
        as_segments(np.zeros((2, 5, 4, 4)))
    with pytest.raises(PlotError, match=r"inputs of shape \(2, 6, 8\) cannot"):
        draw_segments(IMAGES.repeat(2, axis=1), np.zeros((3, 6, 8), int), np.zeros((3, 6, 8), int), NAMES, "net@1")
    with pytest.raises(PlotError, match=r"inputs of shape \(2, 6, 8\) cannot"):
        draw_image_outputs(IMAGES, np.zeros((3, 2, 6, 8)), np.zeros((3, 2, 6, 8)), "net@1")
    assert_array_equal(as_segments(np.array([[[[0.2, 0.5]]]])), [[[0, 1]]])


@pytest.mark.parametrize(("shape", "columns"), [((1, 28, 28), 7), ((1, 100, 20), 10), ((3, 20, 400), 1)])
def test_tall_images_leave_room_for_more(shape: tuple[int, ...], columns: int) -> None:
    assert shown_columns(shape) == columns
