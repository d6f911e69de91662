"""Axes: what has its channels last, or lacks an axis, is refused at every way in, and the advice is right."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from cnnkit.axes import conversion, seems_channels_last
from cnnkit.data import Arrays
from cnnkit.errors import CnnkitError, ShapeError
from cnnkit.network import Sequential
from cnnkit.training import Trainer
from cnnkit.types import Array, Shape

LAYERS = ['Conv2D(4, 3, padding="same")', "Flatten()", "Dense(3)"]


@pytest.mark.parametrize("shape", [(24, 12, 3), (12, 12, 2), (32, 32, 3), (28, 28, 1), (5, 7, 4), (64, 100, 1)])
def test_what_seems_to_have_its_channels_last(shape: Shape) -> None:
    assert seems_channels_last(shape)
    height, width, channels = shape
    for right in ((channels, height, width), (height, channels, width)):  # what the message offers
        assert not seems_channels_last(right)


@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 24, 12), (2, 12, 4), (64, 4, 4), (512, 1, 1), (64, 5), (64,)])
def test_what_has_not(shape: Shape) -> None:
    assert not seems_channels_last(shape)


@pytest.mark.parametrize("shape", [(12, 1000, 1), (8, 128, 1), (31, 496, 1)])
def test_signals_of_several_leads_are_no_images(shape: Shape) -> None:
    assert not seems_channels_last(shape)
    assert Sequential(["Flatten()", "Dense(3)"], shape).input_shape == shape


@pytest.mark.parametrize("shape", [(12, 1000, 3), (32, 1000, 1), (31, 495, 1), (28, 280, 1), (1000, 12, 1)])
def test_low_and_wide_images_are_no_signals(shape: Shape) -> None:
    assert seems_channels_last(shape)


def fit(x: Array, shape: Shape) -> None:
    Trainer(epochs=1, workers=1).fit(Sequential(LAYERS, shape), (x, np.arange(len(x)) % 3))


def predict(x: Array, shape: Shape) -> None:
    Sequential(LAYERS, shape).predict(x)


def trace(x: Array, shape: Shape) -> None:
    Sequential(LAYERS, shape).trace(x)


@pytest.mark.parametrize("ask", [fit, predict, trace], ids=lambda ask: ask.__name__)
@pytest.mark.parametrize(
    ("shape", "given", "way", "follow"),
    [
        ((3, 24, 12), (9, 24, 12, 3), "x.transpose(0, 3, 1, 2)", lambda x: x.transpose(0, 3, 1, 2)),
        ((2, 8, 8), (9, 8, 8, 2), "x.transpose(0, 3, 1, 2)", lambda x: x.transpose(0, 3, 1, 2)),
        ((1, 8, 6), (9, 8, 6, 1), "x.transpose(0, 3, 1, 2)", lambda x: x.transpose(0, 3, 1, 2)),
        ((1, 8, 6), (9, 8, 6), "x[:, None]", lambda x: x[:, None]),
        ((1, 8, 6), (9, 48), "x.reshape(-1, 1, 8, 6)", lambda x: x.reshape(-1, 1, 8, 6)),
        ((1, 8, 6), (1, 8, 6), "x[None]", lambda x: x[None]),
        ((1, 8, 6), (8, 6), "x[None, None]", lambda x: x[None, None]),
        ((3, 8, 6), (8, 6, 3), "x.transpose(2, 0, 1)[None]", lambda x: x.transpose(2, 0, 1)[None]),
    ],
)
def test_the_advice_can_be_followed(
    ask: Callable[[Array, Shape], None], shape: Shape, given: Shape, way: str, follow: Callable[[Array], Array]
) -> None:
    x = np.arange(np.prod(given), dtype=np.float32).reshape(given) / 100
    with pytest.raises(ShapeError) as caught:
        ask(x, shape)
    assert str(caught.value).endswith(f": write {way}")
    ask(follow(x), shape)


def test_colours_in_a_row_can_be_in_two_orders() -> None:
    assert conversion((9, 144), (3, 8, 6)) == (
        "x.reshape(-1, 3, 8, 6) where each channel is in one piece, and "
        "x.reshape(-1, 8, 6, 3).transpose(0, 3, 1, 2) where each pixel is"
    )


def test_where_nothing_is_known_to_fit_nothing_is_advised() -> None:
    assert conversion((9, 8, 7), (1, 8, 6)) == ""
    assert conversion((9, 7), (6,)) == ""
    assert conversion((9, 2, 3), (6,)) == "x.reshape(len(x), -1)"
    assert conversion((9, 1, 2, 3), (6,)) == conversion((9, 2, 3, 1), (6,)) == "x.reshape(len(x), -1)"


@pytest.mark.parametrize(
    ("given", "channels", "pixels"),
    [
        ((9, 8, 6, 3), "x.transpose(0, 3, 1, 2).reshape(len(x), -1)", "x.reshape(len(x), -1)"),
        ((9, 8, 2, 3), "x.transpose(0, 3, 1, 2).reshape(len(x), -1)", "x.reshape(len(x), -1)"),
        ((9, 3, 8, 6), "x.reshape(len(x), -1)", "x.transpose(0, 2, 3, 1).reshape(len(x), -1)"),
    ],
)
def test_rows_of_colours_can_be_in_two_orders(given: Shape, channels: str, pixels: str) -> None:
    size = int(np.prod(given[1:]))
    way = f"{channels} where each channel is in one piece, and {pixels} where each pixel is"
    assert conversion(given, (size,)) == way
    with pytest.raises(ShapeError) as caught:
        Trainer().fit(Sequential(["Dense(3)"], (size,)), (np.zeros(given), np.arange(9) % 3))
    assert str(caught.value).endswith(f": write {way}")
    x = np.arange(9 * size).reshape(given)
    planes, whole = (eval(one, {"x": x, "len": len}) for one in (channels, pixels))
    colours = given[1] if given[1] == 3 else given[3]
    np.testing.assert_array_equal(planes.reshape(9, colours, -1), whole.reshape(9, -1, colours).swapaxes(1, 2))


def message(x: Array, shape: Shape) -> str:
    with pytest.raises(ShapeError) as caught:
        fit(x, shape)
    return str(caught.value)


def test_no_advice_leads_into_a_network_for_rows_of_pixels() -> None:
    about = (
        "(24, 12, 3) seems to be (height, width, channels), and channels come first: write x.transpose(0, 3, 1, 2), "
        "which gives (3, 24, 12); if these really are 24 channels of 12 x 3 pixels, turn the images with "
        "x.swapaxes(2, 3), which gives (24, 3, 12)"
    )
    x = np.zeros((9, 24, 12, 3), np.uint8)
    assert message(x, (3, 8, 8)) == f"the model takes inputs of shape (3, 8, 8), the data has (24, 12, 3): {about}"
    assert message(x, (24, 12, 3)) == f"input_shape {about}"
    assert message(x[..., 0], (1, 8, 8)) == (
        "the model takes inputs of shape (1, 8, 8), the data has (24, 12): write x[:, None] if these are grey images, "
        "and build the model for (1, 24, 12)"
    )
    assert message(np.zeros((9, 1, 8, 7)), (1, 8, 8)).endswith(": build the model with the data's input_shape")


def test_files_are_looked_at_in_the_same_way(tmp_path: Path) -> None:
    np.savez(tmp_path / "last.npz", x=np.zeros((9, 24, 12, 3), np.uint8), y=np.arange(9) % 3)
    with pytest.raises(CnnkitError, match=r"last\.npz: expected x of shape \(N, C, H, W\); \(24, 12, 3\) seems to be"):
        Arrays("last.npz").load(tmp_path)


def test_a_network_for_images_without_a_channel_axis() -> None:
    with pytest.raises(ShapeError) as caught:
        Sequential(LAYERS, (8, 6))
    assert str(caught.value).endswith(
        "If the inputs are grey images of 8 x 6 pixels, write input_shape=(1, 8, 6), and give them as x[:, None]"
    )
