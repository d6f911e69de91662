"""Predictions and errors: the right samples, in the right order, told apart by more than colour."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest

from cnnkit.errors import PlotError
from cnnkit.plotting.predictions import RIGHT, WRONG, draw_misclassified, draw_predictions
from cnnkit.types import Array

pytest.importorskip("matplotlib")
LABELS = ["cat", "dog"]
TARGETS = np.array([0, 1, 0, 1])
PROBABILITIES = np.array([[0.9, 0.1], [0.6, 0.4], [0.2, 0.8], [0.0, 1.0]])
IMAGES = np.arange(4 * 6, dtype=np.uint8).reshape(4, 1, 2, 3)


def test_right_and_wrong_samples_differ_in_colour_weight_and_words() -> None:
    figure: Any = draw_predictions(IMAGES, TARGETS, PROBABILITIES, LABELS, "net@1")
    assert figure.get_suptitle() == "net@1: 2 of the first 4 test samples right"
    right, wrong = figure.axes[0].title, figure.axes[1].title
    assert (right.get_text(), right.get_color(), right.get_fontweight()) == ("✓ cat  90%", RIGHT, "normal")
    assert (wrong.get_text(), wrong.get_color()) == ("✗ cat  60%\ntrue: dog", WRONG)
    assert wrong.get_fontweight() == "bold"
    assert right.get_fontsize() >= 11


def test_the_pixels_are_those_of_the_samples_in_the_units_of_the_dataset() -> None:
    figure: Any = draw_predictions(IMAGES, TARGETS, PROBABILITIES, LABELS, "net@1")
    for axes, image in zip(figure.axes, IMAGES, strict=False):
        assert (np.asarray(axes.images[0].get_array()) == image[0]).all()
        assert axes.images[0].get_clim() == (0, 23)
    assert figure.axes[-1].get_ylabel() == "pixel value (units of the dataset)"


def test_errors_come_with_the_most_confident_first() -> None:
    figure: Any = draw_misclassified(IMAGES, TARGETS, PROBABILITIES, LABELS, "net@1")
    assert figure.get_suptitle() == "net@1: 2 of 4 test samples wrong (50.00%), the most confident first"
    titles = [axes.title.get_text() for axes in figure.axes if axes.images]
    assert titles == ["✗ dog  80%\ntrue: cat", "✗ cat  60%\ntrue: dog"]
    assert (np.asarray(figure.axes[0].images[0].get_array()) == IMAGES[2, 0]).all()


def test_one_error_alone_has_no_order_and_larger_letters() -> None:
    figure: Any = draw_misclassified(IMAGES[:2], TARGETS[:2], PROBABILITIES[:2], LABELS, "net@1")
    assert figure.get_suptitle() == "net@1: 1 of 2 test samples wrong (50.00%)"
    assert figure.axes[0].title.get_fontsize() == 14


def test_a_model_without_errors_has_no_picture_of_them() -> None:
    with pytest.raises(PlotError, match="net@1 has none of the 4 test samples wrong: there is nothing to show"):
        draw_misclassified(IMAGES, PROBABILITIES.argmax(axis=1), PROBABILITIES, LABELS, "net@1")


@pytest.mark.parametrize("draw", [draw_predictions, draw_misclassified])
def test_probabilities_that_are_nan_are_not_drawn(draw: Any) -> None:
    probabilities = np.where(PROBABILITIES == 0.9, np.nan, PROBABILITIES)
    with pytest.raises(PlotError, match="net@1 gives NaN for samples: its weights are not finite, or an input is not"):
        draw(IMAGES, TARGETS, probabilities, LABELS, "net@1")


@pytest.mark.parametrize(("labels", "most"), [(LABELS, 21), (["triangle", "b"], 18), (["a$\n" * 9, "b"], 15), ([], 21)])
def test_many_samples_are_cut_to_what_can_be_read(labels: list[str], most: int) -> None:
    many = np.zeros((100, 1, 2, 2), np.float32)
    probabilities = np.tile([[0.7, 0.3]], (100, 1))
    figure: Any = draw_misclassified(many, np.ones(100, np.int64), probabilities, labels, "net@1")
    assert sum(bool(axes.images) for axes in figure.axes) == most
    assert f"the {most} most confident of them" in figure.get_suptitle().replace("\n", " ")
    assert all(len(line) < 30 for axes in figure.axes for line in axes.title.get_text().split("\n"))


@pytest.mark.parametrize(
    ("label", "columns"), [("cat", 7), ("bird", 7), ("Horse", 6), ("triangle", 6), ("HAWKMOTH", 5), ("WIDE NUMBER", 5)]
)
def test_long_labels_do_not_run_into_each_other(label: str, columns: int) -> None:
    count = 3 * columns
    images = np.zeros((count, 1, 8, 8), np.uint8)
    probabilities = np.tile([[0.9999, 0.0001]], (count, 1))
    figure: Any = draw_predictions(images, np.ones(count, np.int64), probabilities, [label, label], "net@1")
    figure.canvas.draw()
    boxes = [axes.title.get_window_extent() for axes in figure.axes if axes.title.get_text()]
    assert len(boxes) == count
    for left, right in itertools.pairwise(boxes):
        assert left.x1 < right.x0 or left.y0 > right.y1


@pytest.mark.parametrize(("p", "shown"), [(0.9, "90%"), (0.994, "99.4%"), (0.9999, ">99.9%"), (1.0, "100%")])
def test_almost_sure_is_not_shown_as_sure(p: float, shown: str) -> None:
    figure: Any = draw_predictions(IMAGES[:1], TARGETS[:1], np.array([[p, 1 - p]]), LABELS, "net@1")
    assert figure.axes[0].title.get_text() == f"✓ cat  {shown}"


@pytest.mark.parametrize(
    ("images", "white"),
    [
        (np.full((2, 3, 2, 2), 255, np.uint8), 1.0),
        (np.full((2, 3, 2, 2), 0.5, np.float32), 0.5),
        (np.full((2, 3, 2, 2), np.nan, np.float32), None),
    ],
)
def test_three_channels_are_shown_in_colour(images: Array, white: float | None) -> None:
    figure: Any = draw_predictions(images, TARGETS[:2], PROBABILITIES[:2], LABELS, "net@1")
    shown = np.ma.getdata(figure.axes[0].images[0].get_array())
    assert shown.shape == (2, 2, 3)
    assert white is None or (shown == white).all()


@pytest.mark.parametrize("shape", [(2, 5), (2, 2, 4, 4), (2, 4, 4, 4)])
def test_what_is_no_image_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(PlotError, match="images of 1 or 3 channels can be shown, inputs of shape"):
        draw_predictions(np.zeros(shape), TARGETS[:2], PROBABILITIES[:2], LABELS, "net@1")
    with pytest.raises(PlotError, match="the test set is empty"):
        draw_predictions(np.zeros((0, 1, 2, 2)), TARGETS[:0], PROBABILITIES[:0], LABELS, "net@1")


@pytest.mark.parametrize("count", [1, 2, 3, 4, 9])
def test_the_numbers_of_samples_are_not_cut_off(count: int) -> None:
    images, wrong = np.zeros((count, 3, 96, 96), np.uint8), np.tile([0.1, 0.9], (count, 1))
    figure: Any = draw_misclassified(images, np.zeros(count, int), wrong, LABELS, "net@1")
    figure.canvas.draw()
    assert all(axes.xaxis.label.get_window_extent().y0 >= 0 for axes in figure.axes)
