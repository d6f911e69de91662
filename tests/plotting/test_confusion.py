"""Confusion matrices of few, many and very many classes, and the reliability diagram."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest

from cnnkit.errors import PlotError
from cnnkit.evaluation.calibration import calibration
from cnnkit.plotting.calibration import draw_calibration
from cnnkit.plotting.confusion import MAX_NAMED, draw_confusion

pytest.importorskip("matplotlib")


@pytest.mark.parametrize("classes", [2, 10, 26])
def test_every_count_stands_in_its_cell(classes: int) -> None:
    matrix = np.random.default_rng(0).integers(0, 3, (classes, classes)) * 50
    np.fill_diagonal(matrix, 800)
    figure: Any = draw_confusion(matrix, [f"c{i}" for i in range(classes)], "net@1")
    axes = figure.axes[0]
    written = np.zeros_like(matrix)
    for text in axes.texts:
        column, row = map(int, text.get_position())
        written[row, column] = int(text.get_text())
        assert text.get_fontweight() == ("normal" if row == column else "bold")
        assert text.get_fontsize() >= 10
    assert (written == matrix).all()
    assert np.allclose(np.asarray(axes.images[0].get_array()).sum(axis=1), 1)
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("predicted class", "true class")
    assert [tick.get_text() for tick in axes.get_yticklabels()] == [f"c{i}" for i in range(classes)]
    assert figure.axes[1].get_ylabel() == "share of the true class"
    assert f"{800 * classes:,} of {matrix.sum():,} test samples right" in figure.get_suptitle()


@pytest.mark.parametrize("classes", [100, 1000])
def test_with_many_classes_the_most_frequent_confusions_stand_beside(classes: int) -> None:
    matrix = np.eye(classes, dtype=np.int64) * 90
    matrix[7, 3], matrix[4, 5] = 12, 30
    figure: Any = draw_confusion(matrix, [], "net@1")
    axes, beside = figure.axes[:2]
    assert not axes.texts
    assert beside.texts[0].get_text() == "30  4 → 5\n12  7 → 3"
    assert len(axes.get_xticks()) <= MAX_NAMED
    figure.savefig(io.BytesIO())


def test_each_count_among_many_classes_is_to_be_seen_in_its_place() -> None:
    matrix = np.zeros((990, 990), np.int64)
    places = [(21 * k + 5, 970 - 20 * k) for k in range(46)]
    matrix[tuple(np.transpose(places))] = 1
    figure: Any = draw_confusion(matrix, [], "net@1")
    figure.canvas.draw()
    pixels = np.asarray(figure.canvas.buffer_rgba())[::-1, :, :3].sum(axis=2)
    transform = figure.axes[0].transData.transform
    for row, column in places:
        x, y = transform((column, row)).astype(int)
        assert pixels[y - 5 : y + 6, x - 5 : x + 6].min() < 300, (row, column)


@pytest.mark.parametrize(("classes", "rotation"), [(3, 0), (12, 90)])
def test_a_square_matrix_stands_in_the_middle(classes: int, rotation: int) -> None:
    figure: Any = draw_confusion(np.eye(classes, dtype=np.int64), ["triangle"] * classes, "net@1")
    figure.canvas.draw()
    box = figure.axes[0].get_window_extent()
    assert box.width == pytest.approx(box.height, rel=0.01)
    assert abs((box.x0 + box.x1) / 2 - 800) < 80
    assert {tick.get_rotation() for tick in figure.axes[0].get_xticklabels()} == {rotation}


def test_too_many_classes_are_refused() -> None:
    with pytest.raises(PlotError, match="the confusion of up to 1,000 classes can be shown, the model has 1,001"):
        draw_confusion(np.ones((1001, 1001), np.int8), [], "net@1")


def test_names_of_anybody_and_classes_without_samples_are_drawn() -> None:
    figure: Any = draw_confusion(np.array([[0, 0], [1, 0]]), ["$\\frac{$", "x" * 500], "net@1")
    assert np.isfinite(np.asarray(figure.axes[0].images[0].get_array())).all()
    assert all(len(tick.get_text()) <= 16 for tick in figure.axes[0].get_xticklabels())
    figure.savefig(io.BytesIO())


def test_without_samples_there_is_nothing_to_draw() -> None:
    with pytest.raises(PlotError, match="there are no test samples"):
        draw_confusion(np.zeros((3, 3), np.int64), [], "net@1")
    with pytest.raises(PlotError, match="there are no test samples"):
        draw_calibration(calibration(np.zeros((0, 3)), np.zeros(0, np.int64)), "net@1")


def test_the_reliability_diagram_shows_the_bins() -> None:
    probabilities = np.array([[0.95, 0.05], [0.95, 0.05], [0.6, 0.4], [0.4, 0.6]])
    measured = calibration(probabilities, np.array([0, 1, 0, 1]), bins=10)
    figure: Any = draw_calibration(measured, "net@1")
    accuracy, samples = figure.axes
    assert figure.get_suptitle() == f"net@1: expected calibration error {measured.error:.2%}"
    heights = {round(bar.get_x(), 1): bar.get_height() for bar in accuracy.containers[0]}
    assert heights == {0.5: 1.0, 0.9: 0.5}  # 0.6 belongs to the bin below it
    assert {bar.get_height() for bar in samples.containers[0]} == {2}
    gaps = [bar.get_height() for bar in accuracy.containers[1]]
    assert gaps == pytest.approx([-0.4, 0.45])
    assert [bar.get_y() for bar in accuracy.containers[1]] == [1.0, 0.5]  # each begins at the accuracy
    assert (accuracy.get_ylabel(), samples.get_ylabel()) == ("accuracy (share of samples)", "samples")
    assert samples.get_xlabel() == "confidence (probability of the predicted class)"
    labels = {text.get_text() for text in accuracy.get_legend().get_texts()}
    assert labels == {"accuracy in the bin", "gap to confidence", "right as often as sure"}
