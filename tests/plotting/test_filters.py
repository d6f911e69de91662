"""Kernels and feature maps: every weight in its place, on a scale that is even around 0."""

from __future__ import annotations

import io
import itertools
from typing import Any

import numpy as np
import pytest

from cnnkit.errors import PlotError
from cnnkit.plotting.feature_maps import MAX_MAPS, draw_feature_maps
from cnnkit.plotting.filters import MAX_COLUMNS, MAX_FILTERS, MAX_ROWS, SMALLEST, draw_filter_history, draw_filters
from cnnkit.plotting.style import DPI, SLIDE
from cnnkit.types import Array

pytest.importorskip("matplotlib")
RNG = np.random.default_rng(0)


def _within_the_slide(figure: Any) -> None:
    figure.canvas.draw()
    box = figure.get_tightbbox()
    assert min(box.x0, box.y0) >= 0
    assert (box.x1 <= SLIDE[0]) & (box.y1 <= SLIDE[1])


def _shown(axes: object) -> Array:
    return np.ma.getdata(axes.images[0].get_array())  # type: ignore[attr-defined]  # of an image


def test_one_channel_makes_an_image_for_each_filter() -> None:
    weight = RNG.normal(size=(8, 1, 3, 5)).astype(np.float32)
    figure: Any = draw_filters(weight, "net@1: filters")
    *images, bar = figure.axes
    assert [axes.title.get_text() for axes in images] == [str(i) for i in range(8)]
    for axes, kernel in zip(images, weight, strict=True):
        assert (_shown(axes) == kernel[0]).all()
        low, high = axes.images[0].get_clim()
        assert -low == high == pytest.approx(np.abs(weight).max())
        assert axes.images[0].cmap(0.5)[:3] == pytest.approx((1, 1, 1), abs=0.02)
    assert bar.get_ylabel() == "weight"


def test_three_channels_of_the_input_are_one_colour_image() -> None:
    weight = np.zeros((2, 3, 2, 2), np.float32)
    weight[1, 0], weight[1, 2] = 0.5, -0.5
    figure: Any = draw_filters(weight, "net@1: filters", rgb=True)
    assert (_shown(figure.axes[0]) == 0.5).all()
    assert (_shown(figure.axes[1])[0, 0] == [1, 0.5, 0]).all()
    assert figure.get_supxlabel() == "red, green and blue: grey is 0, full colour is ±0.5"


@pytest.mark.parametrize("shape", [(4, 3, 2, 2), (5, 7, 3, 3), (6, 4, 1, 1)])
def test_more_channels_make_a_grid(shape: tuple[int, ...]) -> None:
    weight = RNG.normal(size=shape)
    axes, _ = draw_filters(weight, "net@1").axes
    image = _shown(axes)
    filters, channels, height, width = shape
    for out in range(filters):
        for channel in range(channels):
            part = image[channel * height : (channel + 1) * height, out * width : (out + 1) * width]
            assert (part == weight[out, channel]).all()
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("filter (output channel)", "input channel")
    assert [tick.get_text() for tick in axes.get_xticklabels()] == [str(i) for i in range(filters)]
    assert [tick.get_text() for tick in axes.get_yticklabels()] == [str(i) for i in range(channels)]


def test_a_grid_of_few_filters_stands_in_the_middle() -> None:
    figure: Any = draw_filters(RNG.normal(size=(2, 6, 3, 3)), "net@1")
    figure.canvas.draw()
    box = figure.axes[0].get_position()
    assert 0.35 < (box.x0 + box.x1) / 2 < 0.55


def test_large_layers_are_cut_and_the_title_says_so() -> None:
    figure: Any = draw_filters(np.ones((512, 256, 3, 3), np.float32), "net@1")
    title = figure.get_suptitle().replace("\n", " ")
    assert f"the first {MAX_COLUMNS} of 512 filters, the first {MAX_ROWS} of 256 input channels" in title
    assert _shown(figure.axes[0]).shape == (MAX_ROWS * 3, MAX_COLUMNS * 3)
    figure = draw_filters(np.ones((100, 1, 3, 3), np.float32), "net@1")
    assert len(figure.axes) == MAX_FILTERS + 1


@pytest.mark.parametrize("channels", [1, 2])
def test_weights_that_are_not_finite_are_grey(channels: int) -> None:
    weight = np.ones((2, channels, 3, 3), np.float32)
    weight[0, 0, 0, 0] = np.nan
    figure: Any = draw_filters(weight, "net@1")
    image = figure.axes[0].images[0]
    assert image.cmap(image.norm(np.ma.masked_invalid([np.nan])))[0][:3] == pytest.approx((0x9A / 255,) * 3)
    assert image.get_clim() == (-1, 1)
    figure.savefig(io.BytesIO())


@pytest.mark.parametrize("weight", [np.full((2, 1, 3, 3), np.nan), np.ones((3, 3)), np.ones((0, 1, 3, 3))])
def test_what_has_no_filters_is_refused(weight: Array) -> None:
    with pytest.raises(PlotError, match=r"none of the weights is finite|expected weights of shape"):
        draw_filters(weight, "net@1")


def test_a_history_has_filters_in_rows_and_epochs_in_columns() -> None:
    weights = RNG.normal(size=(3, 2, 4, 3, 3))
    figure: Any = draw_filter_history(weights, "Filters", epochs=[0, 5, 10], channel=1)
    grid = np.array(figure.axes[:6]).reshape(2, 3)
    for row in range(2):
        for column in range(3):
            assert (_shown(grid[row, column]) == weights[column, row, 1]).all()
    assert [axes.title.get_text() for axes in grid[0]] == ["0", "5", "10"]
    assert [axes.get_ylabel() for axes in grid[:, 0]] == ["filter 0", "filter 1"]
    assert {text.get_text() for text in figure.texts} == {"Filters", "epoch"}


@pytest.mark.parametrize(("epochs", "filters", "shown"), [(1, 1, 1), (3, 4, 4), (6, 40, 16), (12, 40, 8)])
def test_the_kernels_of_a_history_can_be_read(epochs: int, filters: int, shown: int) -> None:
    figure: Any = draw_filter_history(RNG.normal(size=(epochs, filters, 1, 3, 3)), "Filters")
    kernels = [axes for axes in figure.axes if axes.images]
    assert len(kernels) == epochs * shown
    for axes in kernels:
        assert axes.get_window_extent().height >= SMALLEST * DPI
    _within_the_slide(figure)
    boxes = [axes.get_window_extent() for axes in kernels]
    assert not any(a.overlaps(b) for a, b in itertools.combinations(boxes, 2))


def test_a_long_history_keeps_its_first_and_last_epoch() -> None:
    figure: Any = draw_filter_history(RNG.normal(size=(40, 1, 1, 2, 2)), "Filters")
    titles = [axes.title.get_text() for axes in figure.axes if axes.images]
    assert (len(titles), titles[0], titles[-1]) == (12, "1", "40")


@pytest.mark.parametrize(
    ("channels", "height", "width"), [(1, 26, 26), (8, 26, 26), (16, 8, 8), (40, 5, 60), (3, 30, 4)]
)
@pytest.mark.parametrize("colours", [1, 3])
def test_feature_maps_leave_no_holes(channels: int, height: int, width: int, colours: int) -> None:
    maps = RNG.normal(size=(channels, height, width))
    caption = "test sample 0\ntrue a long name\npredicted another one (>99.9%)"
    figure: Any = draw_feature_maps(np.zeros((colours, 28, 28), np.uint8), maps, "net@1: outputs of relu_1", caption)
    _within_the_slide(figure)
    sample, *rest = [axes.get_window_extent() for axes in figure.axes if axes.images]
    for box in rest:
        assert box.width / box.height == pytest.approx(width / height, rel=0.01)  # the map fills its place
    rows = itertools.groupby(rest, key=lambda box: round(box.y0))
    for _, row in rows:
        assert all(0 < b.x0 - a.x1 < 0.15 * DPI for a, b in itertools.pairwise(row))
    assert 0 < min(box.x0 for box in rest) - sample.x1 < 1.5 * DPI


@pytest.mark.parametrize(("low", "limits"), [(-2.0, (-3, 3)), (0.0, (0, 3))])
def test_feature_maps_stand_beside_their_sample(low: float, limits: tuple[float, float]) -> None:
    maps = np.linspace(low, 3, 5 * 4).reshape(5, 2, 2)
    image = np.array([[[0, 16], [8, 4]]], np.uint8)
    figure: Any = draw_feature_maps(image, maps, "net@1: outputs of relu_1", "test sample 0\ntrue $, predicted $")
    sample, *rest = [axes for axes in figure.axes if axes.images]
    assert (_shown(sample) == image[0]).all()
    assert sample.title.get_text() == "test sample 0\ntrue \\$, predicted \\$"
    assert [axes.title.get_text() for axes in rest] == ["0", "1", "2", "3", "4"]
    for axes, values in zip(rest, maps, strict=True):
        assert (_shown(axes) == values).all()
        assert axes.images[0].get_clim() == limits
    labels = {axes.get_ylabel() or axes.get_xlabel() for axes in figure.axes}
    assert {"output of the layer", "pixel value (units of the dataset)"} <= labels


def test_many_maps_are_cut_and_broken_ones_refused() -> None:
    figure: Any = draw_feature_maps(np.zeros((3, 4, 4), np.uint8), np.ones((200, 2, 2)), "net@1", "s")
    assert sum(bool(axes.images) for axes in figure.axes) == MAX_MAPS + 1
    assert f"the first {MAX_MAPS} of 200 channels" in figure.get_suptitle()
    with pytest.raises(PlotError, match="none of their values is finite"):
        draw_feature_maps(np.zeros((1, 4, 4)), np.full((2, 2, 2), np.nan), "net@1", "s")
    with pytest.raises(PlotError, match=r"expected feature maps of shape \(channels, h, w\), got \(5,\)"):
        draw_feature_maps(np.zeros((1, 4, 4)), np.ones(5), "net@1", "s")
