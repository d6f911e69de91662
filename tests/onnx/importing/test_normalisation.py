"""Normalisations along one axis, with the scale and the offset along that axis or another one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from foreign_models import model, node, write  # type: ignore[import-not-found]  # beside this file
from onnx import ModelProto
from onnx.reference import ReferenceEvaluator

from cnnkit import import_onnx
from cnnkit.errors import OnnxError
from cnnkit.types import Array

RNG = np.random.default_rng
SHAPES = (), (1,), (4,), (1, 4), (4, 1), (1, 4, 1), (1, 1, 4), (4, 4)
"""Of scales and offsets for samples of shape (4, 4): which axis they are along cannot be seen from the lengths."""


def layers_of(path: Path, proto: ModelProto) -> list[str]:
    """The layers of a network that gives the answers of the file."""
    network = import_onnx(write(path, proto))
    x = RNG(0).normal(size=(3, *network.input_shape)).astype("f4")
    run: Any = ReferenceEvaluator(proto).run
    np.testing.assert_allclose(network.outputs(x), run(None, {"x": x})[0], 1e-4, 1e-5)
    return [repr(layer).partition("(")[0] for layer in network.layers]


def written_out(axis: int, scale: Array | None) -> ModelProto:
    nodes = [node("ReduceMean", ["x"], ["m"], axes=[axis]), node("Sub", ["x", "m"], ["d"]),
             node("Pow", ["d", "two"], ["q"]), node("ReduceMean", ["q"], ["v"], axes=[axis]),
             node("Add", ["v", "epsilon"], ["e"]), node("Sqrt", ["e"], ["s"]), node("Div", ["d", "s"], ["n"]),
             *([node("Relu", ["n"], ["y"])] if scale is None else
               [node("Mul", ["n", "gamma"], ["g"]), node("Add", ["g", "beta"], ["y"])])]  # fmt: skip
    numbers = {"two": np.float32(2), "epsilon": np.float32(1e-5)}
    return model(  # type: ignore[no-any-return]  # its module is none of mypy's
        nodes, {"x": ["N", 4, 4]}, ["y"], numbers if scale is None else numbers | {"gamma": scale, "beta": -scale}
    )


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("axis", [1, 2, -1, -2])
def test_a_scale_belongs_to_the_normalisation_if_it_is_along_its_axis(
    axis: int, shape: tuple[int, ...], tmp_path: Path
) -> None:
    scale = RNG(1).normal(size=shape).astype("f4")
    layers = layers_of(tmp_path / "a.onnx", written_out(axis, scale))
    long = {place % 3 for place, n in enumerate(shape, -len(shape)) if n > 1}
    assert "LayerNorm" in layers
    assert ("ScaleShift" in layers) == (not long <= {axis % 3})


def test_a_normalisation_needs_no_scale(tmp_path: Path) -> None:
    assert layers_of(tmp_path / "a.onnx", written_out(1, None)) == ["LayerNorm", "ReLU"]


@pytest.mark.parametrize("shape", SHAPES[1:])
def test_the_operator_has_its_scale_along_the_last_axis(shape: tuple[int, ...], tmp_path: Path) -> None:
    numbers = {"g": RNG(1).normal(size=shape).astype("f4"), "b": RNG(2).normal(size=shape).astype("f4")}
    proto = model([node("LayerNormalization", ["x", "g", "b"], ["y"])], {"x": ["N", 4, 4]}, ["y"], numbers)
    if np.prod(shape) == shape[-1]:
        assert "LayerNorm" in layers_of(tmp_path / "a.onnx", proto)
        return
    with pytest.raises(OnnxError, match=r"has numbers along other axes than the 4 channels"):
        layers_of(tmp_path / "a.onnx", proto)
