"""A folded file has fewer nodes and the same answers; what cannot be folded stays as it is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import ModelProto, numpy_helper

from cnnkit.components import Layer
from cnnkit.layers import BatchNorm2D, Conv2D
from cnnkit.network import Graph, Network, Sequential
from cnnkit.onnx.export import to_onnx
from cnnkit.onnx.file_content import digest
from cnnkit.onnx.runtimes import ReferenceEvaluator
from cnnkit.onnx.validate import validate_onnx, validate_proto
from cnnkit.types import Array, Cache, Context, OnnxGraph

SHAPE = (4, 6, 5)


def spread(model: Network) -> Network:
    """The model with parameters and running statistics that are neither 0 nor 1."""
    rng = np.random.default_rng(1)
    model.load_state({name: array + rng.uniform(0.1, 0.5, array.shape) for name, array in model.state().items()})
    return model


def chain(*layers: str | Layer, shape: tuple[int, ...] = SHAPE) -> Network:
    return spread(Sequential(layers, shape))


def operators(proto: ModelProto) -> list[str]:
    """Those of the layers, without the outputs."""
    return [node.op_type for node in proto.graph.node][:-2]


def samples(model: Network, count: int = 5) -> Array:
    return np.random.default_rng(2).normal(-0.5, 1, (count, *model.input_shape)).astype(np.float32)


def assert_right(model: Network, **form: Any) -> ModelProto:
    """The folded file, of which every runtime gives the model's answers."""
    proto = to_onnx(model, **form)
    report = validate_proto(proto, Path("m.onnx"), model, samples(model))
    assert [result.ok for result in report.results] == [True] * len(report.results), str(report)
    return proto


FOLDED = {
    "with bias": (["Conv2D(6, 3, padding=1)", "BatchNorm2D()"], ["Conv"]),
    "without": (["Conv2D(6, 3, bias=False)", "BatchNorm2D(epsilon=0.01)", "ReLU()"], ["Conv", "Relu"]),
    "groups": (["Conv2D(6, 3, groups=2)", "BatchNorm2D()"], ["Conv"]),
    "depthwise": (["DepthwiseConv2D(3, multiplier=2)", "BatchNorm2D()"], ["Conv"]),
    "separable": (["SeparableConv2D(3, 3)", "BatchNorm2D()"], ["Conv", "Conv"]),
    "weight norm": (["WeightNorm(Conv2D(3, 3))", "BatchNorm2D()"], ["Conv"]),
    "transposed": (["ConvTranspose2D(3, 3, 2)", "BatchNorm2D()"], ["ConvTranspose"]),
    "a mean": (["AvgPool2D(3, 1, 1)", "BatchNorm2D()"], ["Conv"]),
    "dense": (["Flatten()", "Dense(7)", "BatchNorm1D()"], ["Flatten", "Gemm"]),
    "dense without bias": (["Flatten()", "Dense(7, bias=False)", "BatchNorm1D()"], ["Flatten", "Gemm"]),
    "signals": (["Reshape((4, -1))", "Conv1D(3, 3)", "BatchNorm1D()"], ["Reshape", "Conv"]),
    "dropout between": (["Conv2D(6, 3)", "Dropout(0.5)", "BatchNorm2D()"], ["Conv"]),
    "two": (["Conv2D(6, 3)", "BatchNorm2D()", "BatchNorm2D()"], ["Conv"]),
    "neutral": (["Conv2D(6, 3)", "CELU()", "ReLU()"], ["Conv", "Elu", "Relu"]),
}


@pytest.mark.parametrize("case", FOLDED)
@pytest.mark.parametrize("opset", [13, 21])
def test_what_is_folded_gives_the_same_answers(case: str, opset: int) -> None:
    layers, written = FOLDED[case]
    model = chain(*layers)
    assert operators(assert_right(model, opset=opset)) == written
    assert len(operators(assert_right(model, opset=opset, fold=False))) > len(written)


KEPT = {
    "nothing before": ["BatchNorm2D()"],
    "an activation between": ["Conv2D(6, 3)", "ReLU()", "BatchNorm2D()"],
    "transposed in groups": ["ConvTranspose2D(6, 3, 2, groups=2)", "BatchNorm2D()"],
    "pooling": ["MaxPool2D(2)", "BatchNorm2D()"],
}


@pytest.mark.parametrize("case", KEPT)
def test_what_cannot_be_folded_stays(case: str) -> None:
    model = chain(*KEPT[case])
    assert "BatchNormalization" in operators(assert_right(model))
    assert to_onnx(model) == to_onnx(model, fold=False)


def test_a_value_that_something_else_reads_stays() -> None:
    model = spread(
        Graph({"conv": "Conv2D(4, 3, padding=1)", "norm": "BatchNorm2D()", "add": ("Add()", ["norm", "conv"])}, SHAPE)
    )
    assert operators(assert_right(model)) == ["Conv", "BatchNormalization", "Add"]


def test_shared_weights_are_folded_for_each_place() -> None:
    conv = Conv2D(4, 3, padding=1)
    nodes = {"a": conv, "a_norm": BatchNorm2D(), "b": conv, "b_norm": BatchNorm2D(), "c": (conv, ["b_norm"])}
    model = spread(Graph(nodes, SHAPE))
    proto = assert_right(model)
    assert operators(proto) == ["Conv", "Conv", "Conv"]
    names = [tensor.name for tensor in proto.graph.initializer]
    own = ["a.bias", "a.weight"]  # of the third place, which nothing normalises
    assert sorted(names) == sorted([*own, *(f"{at}.folded_{part}" for at in "ab" for part in ("bias", "weight"))])


def test_a_folded_layer_keeps_its_names_and_says_what_it_is() -> None:
    proto = to_onnx(chain("Conv2D(6, 3)", "BatchNorm2D()", "ReLU()"))
    conv = proto.graph.node[0]
    assert (conv.name, list(conv.output)) == ("conv2d_1", ["batch_norm2d_1"])
    assert list(conv.input) == ["input", "conv2d_1.folded_weight", "conv2d_1.folded_bias"]
    assert conv.doc_string == "Conv2D(6, 3), then BatchNorm2D()"


def test_the_arithmetic_is_that_of_the_formula() -> None:
    model = chain("Conv2D(6, 3)", "BatchNorm2D(epsilon=0.01)")
    state = {name: array.astype(np.float64) for name, array in model.state().items()}
    norm = {name.partition(".")[2]: array for name, array in state.items() if name.startswith("batch")}
    scale = norm["gamma"] / np.sqrt(norm["running_var"] + 0.01)
    tensors = {tensor.name: numpy_helper.to_array(tensor) for tensor in to_onnx(model).graph.initializer}
    weight = state["conv2d_1.weight"] * scale[:, None, None, None]
    bias = scale * (state["conv2d_1.bias"] - norm["running_mean"]) + norm["beta"]
    np.testing.assert_array_equal(tensors["conv2d_1.folded_weight"], weight.astype(np.float32))
    np.testing.assert_allclose(tensors["conv2d_1.folded_bias"], bias, rtol=1e-6)


@pytest.mark.parametrize(("weight", "gamma"), [(1e-30, 1e-5), (1e30, 1e12)])
def test_weights_that_float32_cannot_hold_are_not_folded(weight: float, gamma: float) -> None:
    model = chain("Flatten()", "Dense(3)", "BatchNorm1D()")
    state = model.state()
    state["dense_1.weight"][:] = weight
    state["batch_norm1d_1.gamma"][:] = gamma
    model.load_state(state)
    assert operators(to_onnx(model)) == ["Flatten", "Gemm", "BatchNormalization"]


def test_channels_that_are_nothing_do_not_prevent_it() -> None:
    model = chain("Conv2D(3, 1)", "BatchNorm2D()")
    state = model.state()
    state["conv2d_1.weight"][1] = 0
    model.load_state(state)
    assert operators(assert_right(model)) == ["Conv"]


class Scaled(Layer):
    """A layer whose lowering computes something of constants, and changes nothing in the end."""

    def forward(self, x: Array, ctx: Context) -> tuple[Array, Cache]:
        return x * np.float32(3), None

    def lower(self, graph: OnnxGraph, x: str) -> str:
        factor = graph.add("Add", np.array([1.0], np.float32), np.array(2.0, np.float32))
        return graph.add("Sub", graph.add("Mul", x, factor), np.zeros((1, 1, 1, 1), np.float32))


def test_what_is_constant_is_computed() -> None:
    model = chain("Conv2D(3, 1)", Scaled())
    assert operators(to_onnx(model, fold=False)) == ["Conv", "Add", "Mul", "Sub"]
    proto = assert_right(model)
    assert operators(proto) == ["Conv", "Mul"]
    assert proto.graph.node[1].output[0] == "scaled_1.2"  # the value keeps its name
    assert [float(numpy_helper.to_array(t).sum()) for t in proto.graph.initializer if t.name == "scaled_1"] == [3.0]


@pytest.mark.parametrize("fold", [True, False])
def test_both_forms_are_known_as_exports(fold: bool, tmp_path: Path) -> None:
    model, path = chain("Conv2D(6, 3)", "BatchNorm2D()", "Flatten()", "Dense(3)"), tmp_path / "m.onnx"
    proto = to_onnx(model, fold=fold)
    path.write_bytes(proto.SerializeToString(deterministic=True))
    report = validate_onnx(path, model, samples(model), [ReferenceEvaluator()])
    assert (report.ok, report.exported) == (True, True)
    assert digest(path.read_bytes()) != digest(to_onnx(model, fold=not fold).SerializeToString(deterministic=True))


def test_a_wrong_folded_weight_names_both_layers() -> None:
    model = chain("Conv2D(6, 3)", "Dropout(0.5)", "BatchNorm2D()", "ReLU()", "Conv2D(3, 1)")
    for name, where in (
        ("conv2d_1.folded_weight", "layer conv2d_1 = Conv2D(6, 3) with layer dropout_1 = Dropout(0.5) with layer "),
        ("conv2d_2.weight", "layer conv2d_2 = Conv2D(3, 1)"),
    ):
        proto = to_onnx(model)
        (tensor,) = (tensor for tensor in proto.graph.initializer if tensor.name == name)
        tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor) * np.float32(1.01), name))
        for result in validate_proto(proto, Path("m.onnx"), model, samples(model)).results:
            assert result.divergence is not None
            assert result.divergence.where.startswith(where)


def test_the_newest_opset_is_right_too() -> None:
    model = chain("Conv2D(6, 3)", "BatchNorm2D()", "CELU()", "AvgPool2D(3, 1, 1)", "Flatten()", "Dense(3)")
    proto = to_onnx(model, opset=23, outputs=["logits", "probabilities", "label"])
    assert validate_proto(proto, Path("m.onnx"), model, samples(model), [ReferenceEvaluator()]).ok
