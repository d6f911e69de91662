"""Whole numbers in a file: they may move and become floating ones, and what computes with them is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from foreign_models import model, node, write  # type: ignore[import-not-found]  # beside this file
from onnx import TensorProto
from onnx.reference import ReferenceEvaluator

from cnnkit import Graph, Sequential, import_onnx
from cnnkit.errors import OnnxError
from cnnkit.onnx.export import to_onnx
from cnnkit.types import Preprocessing

RNG = np.random.default_rng
FLOATS = "FLOAT", "FLOAT16", "DOUBLE"
WHOLE = "BOOL", "INT8", "INT16", "INT32", "INT64", "UINT8", "UINT16", "UINT32", "UINT64"
CONSTANTS = {
    "w": RNG(0).normal(size=(12, 2)).astype("f4"),
    "b": np.full(2, 1e5, "f4"),
    "hundred": np.float32(100),
    "two": np.array(2, np.uint8),
}


def file(path: Path, nodes: list[Any], kind: int = TensorProto.FLOAT) -> Path:
    """The nodes from x to z, and a Gemm behind them, whose offset is large."""
    more = node("Flatten", ["z"], ["f"]), node("Gemm", ["f", "w", "b"], ["y"])
    proto = model([*nodes, *more], {"x": ["N", 3, 2, 2]}, ["y"], CONSTANTS)
    proto.graph.input[0].type.tensor_type.elem_type = kind
    return Path(write(path, proto))


def cast(value: str, kind: str, result: str) -> Any:
    return node("Cast", [value], [result], f"to {kind}", to=getattr(TensorProto, kind))


@pytest.mark.parametrize("kind", WHOLE)
def test_what_cuts_off_fractions_is_refused(kind: str, tmp_path: Path) -> None:
    nodes = [node("Sub", ["x", "hundred"], ["d"]), node("Relu", ["d"], ["r"]), cast("r", kind, "c"),
             cast("c", "FLOAT", "z")]  # fmt: skip
    with pytest.raises(OnnxError, match=rf"Cast, 1 x \(to {kind}\): it makes {kind.lower()} of float32, and layers"):
        import_onnx(file(tmp_path / "a.onnx", nodes))


@pytest.mark.parametrize("kind", FLOATS)
def test_floating_numbers_of_another_size_are_numbers(kind: str, tmp_path: Path) -> None:
    network = import_onnx(file(tmp_path / "a.onnx", [cast("x", kind, "c"), cast("c", "FLOAT", "z")]))
    assert network.expressions() == ["f = Flatten() of input", "y = Dense(2) of f"]


@pytest.mark.parametrize("operator", ["Add", "Sub", "Mul", "Div", "Max", "Min"])
def test_arithmetic_on_whole_numbers_is_refused(operator: str, tmp_path: Path) -> None:
    nodes = [node(operator, ["x", "two"], ["c"], "wraps"), cast("c", "FLOAT", "z")]
    with pytest.raises(OnnxError, match=rf"{operator}, 1 x \(wraps\): it computes with uint8, and layers in float32"):
        import_onnx(file(tmp_path / "a.onnx", nodes, TensorProto.UINT8))


@pytest.mark.parametrize("kind", WHOLE)
def test_bytes_may_become_what_holds_them(kind: str, tmp_path: Path) -> None:
    nodes = [cast("x", kind, "c"), node("Transpose", ["c"], ["t"], perm=[0, 1, 3, 2]), cast("t", "FLOAT", "z")]
    path = file(tmp_path / "a.onnx", nodes, TensorProto.UINT8)
    if not np.can_cast(np.uint8, kind.lower()):
        with pytest.raises(OnnxError, match=rf"it makes {kind.lower()} of uint8"):
            import_onnx(path)
        return
    network: Graph = import_onnx(path)
    x = RNG(1).integers(0, 256, (4, 3, 2, 2), np.uint8)
    run: Any = ReferenceEvaluator(str(path)).run
    (expected,) = run(None, {"x": x})
    np.testing.assert_allclose(network.outputs(x), expected, 1e-6)


def test_what_follows_a_preprocessing_of_cnnkit_has_floating_numbers(tmp_path: Path) -> None:
    network = Sequential(["ReLU()", "Dense(2)"], (3,), preprocessing=Preprocessing(0.5), input_dtype="uint8")
    again = import_onnx(write(tmp_path / "a.onnx", to_onnx(network)))
    assert [repr(layer) for layer in again.layers] == ["ReLU()", "Dense(2)"]
