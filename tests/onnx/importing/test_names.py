"""Names of values: outputs without one, and those that the import itself could choose."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from foreign_models import model, node, write  # type: ignore[import-not-found]  # beside this file
from onnx.reference import ReferenceEvaluator

from cnnkit import import_onnx
from cnnkit.types import Array

RNG = np.random.default_rng


def check(path: Path, nodes: list[Any], shape: tuple[int, ...], weights: dict[str, Array]) -> None:
    """Import a file, and compare the network with the reference evaluator."""
    proto = model(nodes, {"x": ["N", *shape]}, ["y"], weights)
    network = import_onnx(write(path, proto))
    x = RNG(0).normal(size=(3, *shape)).astype("f4")
    run: Any = ReferenceEvaluator(proto).run
    np.testing.assert_allclose(network.outputs(x), run(None, {"x": x})[0], 1e-4, 1e-5)


def test_an_output_without_a_name_is_no_value(tmp_path: Path) -> None:
    nodes = [node("Split", ["c"], ["", "w"], axis=0), node("Clip", ["x", "", "one"], ["k"]),
             node("Add", ["k", "w"], ["y"])]  # fmt: skip
    weights: dict[str, Array] = {"c": np.arange(6, dtype="f4"), "one": np.array(1, "f4")}
    network = import_onnx(write(tmp_path / "a.onnx", model(nodes, {"x": ["N", 3]}, ["y"], weights)))
    x = RNG(0).normal(size=(3, 3)).astype("f4")  # the reference evaluator takes the first half for the lower bound
    np.testing.assert_allclose(network.outputs(x), np.add(np.minimum(x, 1), [3, 4, 5]), 1e-6)


def test_a_constant_of_the_file_keeps_its_name(tmp_path: Path) -> None:
    nodes = [node("Conv", ["x", "w"], ["c"]), node("Add", ["c", "b"], ["d"]),
             node("Add", ["d", "b as a vector"], ["y"])]  # fmt: skip
    weights = {name: RNG(at).normal(size=(4, 1, 1)).astype("f4") for at, name in enumerate(("b", "b as a vector"))}
    check(tmp_path / "a.onnx", nodes, (2, 3, 3), weights | {"w": RNG(5).normal(size=(4, 2, 1, 1)).astype("f4")})


def test_a_value_of_the_file_keeps_its_name(tmp_path: Path) -> None:
    nodes = [node("Conv", ["x", "w"], ["c"]), node("Add", ["c", "b"], ["b as a vector"]),
             node("Relu", ["b as a vector"], ["y"])]  # fmt: skip
    weights = {"b": RNG(0).normal(size=(4, 1, 1)).astype("f4"), "w": RNG(5).normal(size=(4, 2, 1, 1)).astype("f4")}
    check(tmp_path / "a.onnx", nodes, (2, 3, 3), weights)


def test_a_shape_that_is_made_constant_takes_no_name_of_a_later_value(tmp_path: Path) -> None:
    nodes = [node("Shape", ["x"], ["s"]), node("Gather", ["s", "zero"], ["n"]), node("Unsqueeze", ["n", "axes"], ["m"]),
             node("Concat", ["m", "rest"], ["t"], axis=0), node("Reshape", ["x", "t"], ["r"]),
             node("Relu", ["r"], ["r.constant0"]), node("Mul", ["r.constant0", "r"], ["y"])]  # fmt: skip
    weights = {"zero": np.array(0, "i8"), "axes": np.array([0], "i8"), "rest": np.array([-1], "i8")}
    check(tmp_path / "a.onnx", nodes, (2, 3), weights)
