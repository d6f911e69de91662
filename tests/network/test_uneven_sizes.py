"""Sides that leave a remainder where a network makes images smaller and larger again: which sizes would fit."""

from __future__ import annotations

import re

import pytest

from cnnkit import Graph, Sequential
from cnnkit.architectures.images import UNet
from cnnkit.errors import ShapeError
from cnnkit.layers import Crop2D, Pad2D

FITTING = re.compile(r"must be multiples of (\d+), such as (?:\d+ x (\d+) or )?\d+ x (\d+);")


@pytest.mark.parametrize("depth", [1, 2, 3])
def test_a_unet_says_which_sizes_it_takes(depth: int) -> None:
    multiple = 2**depth
    for side in range(multiple, 30):
        if side % multiple == 0:
            assert Sequential(UNet(1, 1, depth).layers(), (1, side, side)).output_shape == (1, side, side)
            continue
        with pytest.raises(ShapeError) as error:
            Sequential(UNet(1, 1, depth).layers(), (1, side, side))
        told = FITTING.search(str(error.value))
        assert told is not None
        assert f"because {side} x {side} is made smaller by {multiple} in all" in str(error.value)
        assert int(told[1]) == multiple
        assert [int(told[2]), int(told[3])] == [side // multiple * multiple, (side // multiple + 1) * multiple]


def test_the_whole_message() -> None:
    with pytest.raises(ShapeError) as error:
        Sequential(UNet(1, 2, 3).layers(), (1, 28, 28))
    assert str(error.value).startswith("layer concat_1 = Concat([], [MaxPool2D(2), ")
    assert str(error.value).endswith(
        ", after relu_6 of shape (8, 7, 7): it joins sizes of 7 x 7 and 6 x 6, because 28 x 28 is made smaller by 8 in "
        "all and then larger again: height and width must be multiples of 8, such as 24 x 24 or 32 x 32; bring the "
        "inputs to such a size, also with Pad2D at the beginning and Crop2D at the end, or make them smaller less "
        "often, as by a smaller depth of UNet"
    )
    padded = Sequential([Pad2D(2), *UNet(1, 2, 3).layers(), Crop2D(2)], (1, 28, 28))
    assert padded.output_shape == (1, 28, 28)


@pytest.mark.parametrize(
    ("layers", "shape", "message"),
    [
        (
            ["Residual(Conv2D(4, 3, 2), Upsample2D(2))"],
            (4, 27, 26),
            "must be multiples of 2, such as 26 x 26 or 28 x 26;",
        ),
        (["Pad2D(1)", "Residual(MaxPool2D(4), Upsample2D(4))"], (1, 4, 5), "because 6 x 7 is made smaller by 4 in all"),
        (
            ["Concat([], [MaxPool2D((3, 1)), Upsample2D((3, 1))])"],
            (1, 8, 5),
            "multiples of 3 and 1, such as 6 x 5 or 9 x 5",
        ),
        (["Residual(MaxPool2D(4), Upsample2D(4))"], (1, 5, 3), "MaxPool2D has a window of 4 x 4, larger than its inpu"),
    ],
)
def test_other_layers_that_move_in_strides(layers: list[str], shape: tuple[int, ...], message: str) -> None:
    with pytest.raises(ShapeError, match=re.escape(message)):
        Sequential(layers, shape)


def test_a_join_of_a_graph() -> None:
    nodes = {
        "half": ("MaxPool2D(2)", "input"),
        "up": ("ConvTranspose2D(1, 2, 2)", "half"),
        "both": ("Concat()", ["up", "input"]),
    }
    with pytest.raises(ShapeError, match="it joins sizes of 7 x 7 and 6 x 6, because 7 x 7 is made smaller by 2"):
        Graph(nodes, (1, 7, 7))


@pytest.mark.parametrize(
    "layer",
    [
        "Concat(Conv2D(4, 3, 2), Conv2D(4, 3))",  # nothing is made larger
        "Residual(Conv2D(1, 3), Upsample2D(1))",  # nothing moves in strides
        "Concat([], [MaxPool2D(3), Upsample2D(2)])",  # 27 is a multiple of 3
        "Concat([], [MaxPool2D(2), Conv2D(1, 3), Upsample2D(2)])",  # a border is lost
    ],
)
def test_other_reasons_keep_their_own_advice(layer: str) -> None:
    with pytest.raises(ShapeError, match=r"keep the size in the body|use padding="):
        Sequential([layer], (1, 27, 27))
