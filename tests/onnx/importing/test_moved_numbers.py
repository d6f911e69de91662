"""Operators that move numbers, with constants that say little: steps from far before the first, no axes, one size."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from foreign_models import model, node, write  # type: ignore[import-not-found]  # beside this file

from cnnkit import import_onnx
from cnnkit.types import Array


def whole(*numbers: int) -> Array:
    return np.array(numbers, np.int64)


def layers_of(path: Path, nodes: list[Any], shape: tuple[int, ...], weights: dict[str, Array]) -> list[str]:
    network = import_onnx(write(path, model(nodes, {"x": ["N", *shape]}, ["y"], weights)))
    return [repr(layer) for layer in network.layers]


@pytest.mark.parametrize("start", [-100, -4, -3, 0])
def test_a_constant_that_is_taken_backwards_begins_inside(start: int, tmp_path: Path) -> None:
    nodes = [node("Slice", ["c", "start", "end", "axis", "step"], ["w"]), node("Add", ["x", "w"], ["y"])]
    places = {"start": whole(start), "end": whole(-(2**31)), "axis": whole(0), "step": whole(-1)}
    layers = layers_of(tmp_path / "a.onnx", nodes, (1,), places | {"c": np.array([5, 6, 7], "f4")})
    assert layers == ["Rescale(offset=5.0)"]


def test_an_expand_that_names_fewer_axes_begins_at_the_last_one(tmp_path: Path) -> None:
    nodes = [node("Expand", ["x", "s"], ["e"]), node("Relu", ["e"], ["y"])]
    assert layers_of(tmp_path / "a.onnx", nodes, (3, 6, 6), {"s": whole(1)}) == ["ReLU()"]
    assert layers_of(tmp_path / "b.onnx", nodes, (3, 1, 1), {"s": whole(4, 5)}) == ["Upsample2D((4, 5))", "ReLU()"]


def test_no_axes_are_none_and_axes_that_are_left_out_are_all(tmp_path: Path) -> None:
    shapes = []
    for inputs in (["x", "none"], ["x"]):
        nodes = [node("Squeeze", inputs, ["s"]), node("Relu", ["s"], ["y"])]
        proto = model(nodes, {"x": ["N", 3, 1, 1]}, ["y"], {"none": whole()})
        shapes.append(import_onnx(write(tmp_path / "a.onnx", proto)).output_shape)
    assert shapes == [(3, 1, 1), (3,)]
