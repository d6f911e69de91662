"""Which nodes of a file become one layer: those of one weight, and no others."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from foreign_models import model, node, write  # type: ignore[import-not-found]  # beside this file
from onnx.reference import ReferenceEvaluator

from cnnkit import Graph, export_onnx, import_onnx
from cnnkit.layers import BatchNorm2D
from cnnkit.types import Array

RNG = np.random.default_rng
SQUARE = RNG(0).normal(size=(5, 5)).astype("f4")
CHANNELS = RNG(1).normal(size=(3, 1, 1)).astype("f4")


def imported(path: Path, nodes: list[Any], shape: tuple[int, ...], **weights: Array) -> Graph:
    """The network of a file, which gives the answers of the reference evaluator."""
    proto = model(nodes, {"x": ["N", *shape]}, ["y"], weights)
    network = import_onnx(write(path, proto))
    x = 30 * RNG(2).normal(size=(4, *shape)).astype("f4")
    run: Any = ReferenceEvaluator(proto).run
    (expected,) = run(None, {"x": x})
    np.testing.assert_allclose(network.outputs(x), expected, 1e-4, 1e-4)
    return network


def numbers_of(network: Graph) -> int:
    return sum(array.size for array in network.state().values())


@pytest.mark.parametrize(
    "operators", [("Sub", "Add"), ("Mul", "Add"), ("Div", "Mul")], ids=["mean", "factor and offset", "deviation"]
)
def test_a_constant_that_is_used_in_two_ways_is_two_layers(operators: tuple[str, str], tmp_path: Path) -> None:
    first, second = operators
    nodes = [node(first, ["x", "c"], ["a"]), node("Relu", ["a"], ["b"]), node(second, ["b", "c"], ["y"])]
    assert len({id(layer) for layer in imported(tmp_path / "a.onnx", nodes, (3, 6, 6), c=CHANNELS).layers}) == 3


@pytest.mark.parametrize("other", [{"transB": 0}, {"transB": 1, "alpha": 2.0}], ids=["transposed", "twice as large"])
def test_a_matrix_that_is_used_in_two_ways_is_two_layers(other: dict[str, Any], tmp_path: Path) -> None:
    nodes = [node("Gemm", ["x", "w"], ["a"], transB=1), node("Relu", ["a"], ["b"]),
             node("Gemm", ["b", "w"], ["y"], **other)]  # fmt: skip
    assert numbers_of(imported(tmp_path / "a.onnx", nodes, (5,), w=SQUARE)) == 50


def test_a_matrix_that_is_used_twice_is_one_layer(tmp_path: Path) -> None:
    nodes = [node("Gemm", ["x", "w"], ["a"]), node("Relu", ["a"], ["b"]), node("Gemm", ["b", "w"], ["y"])]
    assert numbers_of(imported(tmp_path / "a.onnx", nodes, (5,), w=SQUARE)) == 25


@pytest.mark.parametrize("operator", ["PRelu", "LayerNormalization", "Mul"])
def test_other_constants_than_weights_are_learned_for_each_node(operator: str, tmp_path: Path) -> None:
    numbers = np.array([0.5, 2, 3, 4], "f4")
    nodes = [node(operator, ["x", "c"], ["a"]), node("Relu", ["a"], ["b"]), node(operator, ["b", "c"], ["y"])]
    network = imported(tmp_path / "a.onnx", nodes, (4,), c=numbers)
    assert len({id(layer) for layer in network.layers}) == 3


def test_a_weight_that_is_a_copy_of_another_is_learned_for_itself(tmp_path: Path) -> None:
    nodes = [node("Identity", ["1.weight"], ["2.weight"]), node("Gemm", ["x", "1.weight"], ["a"]),
             node("Relu", ["a"], ["b"]), node("Gemm", ["b", "2.weight"], ["y"])]  # fmt: skip
    network = imported(tmp_path / "a.onnx", nodes, (5,), **{"1.weight": SQUARE})
    assert numbers_of(network) == 50


@pytest.mark.filterwarnings("ignore")  # PyTorch's exporter warns of itself
def test_equal_parameters_of_pytorch_stay_as_many(tmp_path: Path) -> None:
    torch: Any = pytest.importorskip("torch", reason="torch is not installed")
    nn = torch.nn
    halves = [nn.Linear(8, 8), nn.LayerNorm(8), nn.PReLU(8), nn.Linear(8, 8), nn.LayerNorm(8), nn.PReLU(8)]
    net = nn.Sequential(*halves, nn.Linear(8, 3)).eval()
    path = tmp_path / "a.onnx"
    torch.onnx.export(net, (torch.randn(2, 8),), path, input_names=["x"], dynamo=False, dynamic_axes={"x": {0: "n"}})
    assert numbers_of(import_onnx(path)) == sum(parameter.numel() for parameter in net.parameters())


def test_a_scale_that_many_nodes_take_is_as_many_layers(tmp_path: Path) -> None:
    values = ["x", *(f"v{at}" for at in range(1, 100)), "y"]
    nodes = [node("LayerNormalization", [before, "g", "g"], [after]) for before, after in pairwise(values)]
    assert numbers_of(imported(tmp_path / "a.onnx", nodes, (768,), g=np.linspace(0.5, 2, 768, dtype="f4"))) == 153_600


def test_a_mean_image_is_subtracted(tmp_path: Path) -> None:
    nodes = [node("Sub", ["x", "mean"], ["a"]), node("Relu", ["a"], ["b"]), node("Add", ["b", "mean"], ["y"])]
    mean = RNG(0).normal(size=(3, 224, 224)).astype("f4")
    assert len(imported(tmp_path / "a.onnx", nodes, (3, 224, 224), mean=mean).layers) == 3


def test_a_layer_that_cnnkit_uses_twice_comes_back_as_one(tmp_path: Path) -> None:
    norm = BatchNorm2D()
    first = Graph({"norm": norm, "curve": "Tanh()", "again": (norm, "curve")}, (4, 3, 3))
    again = import_onnx(export_onnx(first, tmp_path / "own.onnx"))
    assert numbers_of(again) == numbers_of(first) == 16
