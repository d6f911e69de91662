"""Pictures of attributions."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from cnnkit.errors import PlotError
from cnnkit.plotting.attribution_maps import draw_attribution
from cnnkit.plotting.style import BLUE, VERMILION


def over(image: Any, values: Any) -> Any:
    """The pixels of the map over the image, and its scale."""
    figure = draw_attribution(image, values, "a title", caption="$1 image", method="a method", scale="a scale")
    titles = [axes.get_title() for axes in figure.axes if axes.get_title()]
    assert titles == [r"\$1 image", "a method"]
    bar = figure.axes[-1]
    assert bar.get_ylabel() == "a scale"
    return figure.axes[1].images[0].get_array(), bar.get_ylim()


def rgb(colour: str) -> Any:
    return np.array([int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)])


def test_for_against_and_neither() -> None:
    image = np.zeros((1, 2, 3), np.uint8)
    image[0, 1, 2] = 255
    values = np.array([[2.0, -2, 0], [1, np.nan, 0]])
    shown, limits = over(image, values)
    assert limits == (-2, 2)
    np.testing.assert_allclose(shown[0, 0], rgb(VERMILION), atol=0.01)
    np.testing.assert_allclose(shown[0, 1], rgb(BLUE), atol=0.01)
    np.testing.assert_allclose(shown[0, 2], 1, atol=0.01)
    np.testing.assert_allclose(shown[1, 1], 1, atol=0.01)
    np.testing.assert_allclose(shown[1, 2], 1, atol=0.01)  # the colour of the bar's 0, whatever is in the image
    np.testing.assert_allclose(shown[1, 0], (rgb(VERMILION) + 1) / 2, atol=0.01)


def test_channels_are_added_up_and_what_is_never_negative_begins_at_0() -> None:
    values = np.zeros((3, 2, 3))
    values[:, 0, 0] = 1, 2, 3
    image = np.zeros((3, 2, 3), np.uint8)
    shown, limits = over(image, values)
    assert limits == (0, 6)
    np.testing.assert_allclose(shown[0, 0], rgb(VERMILION), atol=0.01)
    np.testing.assert_allclose(shown[1, 1], 1, atol=0.01)
    assert over(image, np.zeros((2, 3)))[1] == (0, 1)


def test_the_map_has_the_outline_of_the_image() -> None:
    image = np.zeros((1, 4, 5), np.uint8)
    image[0, :, 2:] = 200  # light from the middle of pixels 1 and 2 to the frame
    axes = draw_attribution(image, np.zeros((4, 5)), "a title").axes[1]
    (outline,) = axes.collections
    (line,) = [np.asarray(path.vertices) for path in outline.get_paths()]
    np.testing.assert_allclose(line[:, 0], 1.5)
    assert (axes.get_xlim(), axes.get_ylim()) == ((-0.5, 4.5), (3.5, -0.5))
    assert (line[:, 1].min(), line[:, 1].max()) == (-1, 4)
    assert not draw_attribution(0 * image, np.zeros((4, 5)), "a blank image").axes[1].collections


def test_a_signal_has_its_curves_before_the_map() -> None:
    signal = np.array([[0.0, 4, 2], [1, 1, 1]])
    axes, bar = draw_attribution(signal, np.array([1.0, -1, 0]), "a title", caption="one", method="two").axes
    assert axes.get_title() == "one: two"
    np.testing.assert_allclose(
        np.asarray(axes.images[0].get_array())[0], [rgb(VERMILION), rgb(BLUE), [1] * 3], atol=0.01
    )
    assert [np.asarray(line.get_ydata()).tolist() for line in axes.lines] == signal.tolist()
    assert bar.get_ylim() == (-1, 1)
    one = draw_attribution(signal[:1], np.array([[1.0, 2, 0]]), "a title").axes
    assert one[1].get_ylim() == (0, 2)
    with pytest.raises(PlotError, match=r"expected a map of shape \(3,\) or \(2, 3\), got \(2,\)"):
        draw_attribution(signal, np.zeros(2), "")


def test_what_cannot_be_drawn() -> None:
    image = np.zeros((1, 2, 3))
    with pytest.raises(PlotError, match=r"expected a map of shape \(2, 3\) or \(1, 2, 3\), got \(3, 2\)"):
        draw_attribution(image, np.zeros((3, 2)), "")
    with pytest.raises(PlotError, match="none of its values is finite"):
        draw_attribution(image, np.full((2, 3), np.nan), "")
    with pytest.raises(PlotError, match="images of 1 or 3 channels can be shown"):
        draw_attribution(np.zeros((2, 2, 3)), np.zeros((2, 3)), "")
