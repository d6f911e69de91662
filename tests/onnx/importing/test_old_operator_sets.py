"""What operators of set 6 say in other words: whether they train, and along which axis a constant lies."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from foreign_models import model, node, write  # type: ignore[import-not-found]  # beside this file

from cnnkit import import_onnx
from cnnkit.errors import OnnxError
from cnnkit.types import Array

STATISTICS: dict[str, Array] = {
    "gamma": np.array([1, 2, 3], "f4"), "beta": np.array([3, 2, 1], "f4"), "mean": np.array([0, 1, 2], "f4"),
    "var": np.array([1, 4, 9], "f4"),
}  # fmt: skip


def layers_of(path: Path, operator: str, weights: dict[str, Array], **attributes: Any) -> list[str]:
    nodes = [node(operator, ["x", *weights], ["a"], "first", **attributes), node("Relu", ["a"], ["y"])]
    network = import_onnx(write(path, model(nodes, {"x": ["N", 3, 3, 3]}, ["y"], weights, 6)))
    return [repr(layer) for layer in network.layers]


def test_a_normalisation_by_the_batch_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.onnx"
    for attributes in ({"is_test": 0}, {}):  # 0 is what it is if the file does not say
        with pytest.raises(OnnxError, match="it normalises by the batch"):
            layers_of(path, "BatchNormalization", STATISTICS, **attributes)
    assert layers_of(path, "BatchNormalization", STATISTICS, is_test=1) == ["BatchNorm2D()", "ReLU()"]


def test_a_dropout_that_drops_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.onnx"
    for attributes in ({"is_test": 0}, {}):
        with pytest.raises(OnnxError, match=r"\(Dropout\) drops numbers, as is_test=0 says"):
            layers_of(path, "Dropout", {}, ratio=0.5, **attributes)
    assert layers_of(path, "Dropout", {}, ratio=0.5, is_test=1) == ["Dropout(0.5)", "ReLU()"]
    assert layers_of(path, "Dropout", {}, ratio=0.0) == ["ReLU()"]


@pytest.mark.parametrize("axis", [-2, -3, -4, 3, 4])
def test_an_axis_that_no_operator_has_is_refused(axis: int, tmp_path: Path) -> None:
    with pytest.raises(OnnxError, match=rf"\(Add\) aligns its inputs at axis {axis}; expected a constant that fits"):
        layers_of(tmp_path / "a.onnx", "Add", {"c": np.ones((3, 3), "f4")}, broadcast=1, axis=axis)
