from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from foreign_models import model, node, write  # type: ignore[import-not-found]  # beside this file
from onnx.reference import ReferenceEvaluator

from cnnkit import import_onnx
from cnnkit.onnx.importing.batch_axis import free_batch
from cnnkit.onnx.importing.constant_folding import fold_constants
from cnnkit.onnx.importing.foreign_file import read_graph
from cnnkit.onnx.importing.foreign_graph import ForeignGraph
from cnnkit.onnx.importing.image_layout import channels_first
from cnnkit.onnx.importing.imported import import_file

LAST = {"perm": [0, 3, 1, 2]}


def changed(folder: Path, nodes: list[Any], shape: tuple[Any, ...] = ("N", 4, 5, 3), opset: int = 17) -> ForeignGraph:
    proto = model(nodes, {"x": shape}, ["y"], {"c": np.ones(3, np.float32)}, opset)
    return channels_first(fold_constants(free_batch(read_graph(write(folder / "model.onnx", proto)))))


@pytest.mark.parametrize(
    "between", [[], ["Mul"], ["Sub", "Div"]], ids=["at once", "behind a factor", "behind mean and deviation"]
)
def test_an_input_with_channels_last_gets_them_first_and_all_values_stay(tmp_path: Path, between: list[str]) -> None:
    values = ["x", *(f"p{at}" for at in range(len(between)))]
    nodes = [node(operator, [values[at], "c"], [values[at + 1]]) for at, operator in enumerate(between)]
    nodes += [node("Transpose", [values[-1]], ["t"], **LAST), node("GlobalAveragePool", ["t"], ["y"])]
    graph = changed(tmp_path, nodes)
    assert graph.transposed_inputs == ["x"]
    assert graph.inputs[0].sizes == graph.sizes["x"] == ("N", 3, 4, 5)
    first, second, *_ = graph.nodes
    assert (first.operator, first.attributes, first.inputs) == ("Transpose", {"perm": [0, 2, 3, 1]}, ["x"])
    assert second.inputs[0] == first.outputs[0] == "x.channels_last"
    assert graph.sizes["x.channels_last"] == ("N", 4, 5, 3)
    assert graph.sizes["t"] == ("N", 3, 4, 5)


def test_a_signal_that_becomes_an_image_gets_its_channels_first(tmp_path: Path) -> None:
    nodes = [node("Unsqueeze", ["x"], ["u"], axes=[1]), node("Transpose", ["u"], ["t"], **LAST),
             node("GlobalAveragePool", ["t"], ["y"])]  # fmt: skip
    graph = changed(tmp_path, nodes, ("N", 7, 3), 11)
    assert graph.inputs[0].sizes == ("N", 3, 7)
    assert graph.nodes[0].attributes == {"perm": [0, 2, 1]}


def test_a_sequence_stays_as_the_file_has_it(tmp_path: Path) -> None:
    weights = {"k": np.random.default_rng(0).normal(size=(4, 8, 3)).astype("f4")}
    nodes = [node("Transpose", ["x"], ["t"], perm=[0, 2, 1]), node("Conv", ["t", "k"], ["y"])]
    proto = model(nodes, {"x": ["N", 8, 8]}, ["y"], weights)
    network = import_onnx(write(tmp_path / "a.onnx", proto))
    x = np.random.default_rng(1).normal(size=(3, 8, 8)).astype("f4")
    run: Any = ReferenceEvaluator(proto).run
    np.testing.assert_allclose(network.outputs(x), run(None, {"x": x})[0], 1e-4, 1e-5)


@pytest.mark.parametrize("side", [3, 5])
def test_who_imports_images_with_channels_last_is_told(side: int, tmp_path: Path) -> None:
    nodes = [node("Transpose", ["x"], ["t"], **LAST), node("GlobalAveragePool", ["t"], ["y"])]
    path = write(tmp_path / "a.onnx", model(nodes, {"x": ["N", side, side, 3]}, ["y"]))
    told = import_file(path).layout
    assert told == (
        f"(N, 3, {side}, {side}), channels first, where the file takes (N, {side}, {side}, 3): "
        "give it x.transpose(0, 3, 1, 2)"
    )
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        network = import_onnx(path)
    assert network.origin is not None
    assert network.origin["channels_last"] is True
    assert [str(one.message) for one in caught] == ([f"the network of {path} takes {told}"] if side == 3 else [])


@pytest.mark.parametrize(
    "nodes",
    [
        [node("Relu", ["x"], ["y"])],
        [node("Transpose", ["x"], ["y"], perm=[0, 2, 3, 1])],
        [node("Transpose", ["x"], ["t"], **LAST), node("Relu", ["x"], ["r"]), node("MatMul", ["r", "t"], ["y"])],
        [node("Transpose", ["x"], ["t"], **LAST), node("Softmax", ["t"], ["y"])],
        [node("Flatten", ["x"], ["f"]), node("Relu", ["f"], ["y"])],
    ],
)
def test_other_inputs_stay(tmp_path: Path, nodes: list[Any]) -> None:
    graph = changed(tmp_path, nodes)
    assert graph.transposed_inputs == []
    assert graph.inputs[0].sizes == ("N", 4, 5, 3)
    assert [one.operator for one in graph.nodes] == [one.op_type for one in nodes]
