from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from foreign_models import model, node, write  # type: ignore[import-not-found]  # beside this file

from cnnkit.onnx.importing.batch_axis import free_batch
from cnnkit.onnx.importing.constant_folding import fold_constants
from cnnkit.onnx.importing.foreign_file import read_graph
from cnnkit.onnx.importing.foreign_graph import ForeignGraph
from cnnkit.onnx.importing.image_layout import channels_first

LAST = {"perm": [0, 3, 1, 2]}


def changed(folder: Path, nodes: list[Any], shape: tuple[Any, ...] = ("N", 4, 5, 3)) -> ForeignGraph:
    proto = model(nodes, {"x": shape}, ["y"], {"c": np.ones(3, np.float32)})
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


def test_a_signal_with_channels_last_gets_them_first(tmp_path: Path) -> None:
    nodes = [node("Transpose", ["x"], ["t"], perm=[0, 2, 1]), node("GlobalAveragePool", ["t"], ["y"])]
    graph = changed(tmp_path, nodes, ("N", 7, 3))
    assert graph.inputs[0].sizes == ("N", 3, 7)
    assert graph.nodes[0].attributes == {"perm": [0, 2, 1]}


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
