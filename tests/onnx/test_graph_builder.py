from __future__ import annotations

import numpy as np
import pytest
from onnx import numpy_helper

from cnnkit.errors import OnnxError
from cnnkit.onnx.graph_builder import GraphBuilder


def builder(opset: int = 17) -> GraphBuilder:
    graph = GraphBuilder(opset)
    graph.input("x", "float32", (2, 4, 4))
    graph.begin("layer_1", "Layer()")
    return graph


def initializers(graph: GraphBuilder) -> dict[str, np.ndarray]:
    return {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializers}


def test_values_are_named_after_their_layer_and_described_by_its_expression() -> None:
    graph = builder()
    first = graph.add("Relu", "x")
    second = graph.add("Relu", first)
    graph.begin("layer_2", "Other()")
    assert [first, second, graph.add("Relu", second)] == ["layer_1", "layer_1.1", "layer_2"]
    assert [node.name for node in graph.nodes] == ["layer_1", "layer_1.1", "layer_2"]
    assert [node.doc_string for node in graph.nodes] == ["Layer()", "Layer()", "Other()"]


def test_parameters_are_known_by_identity_and_other_arrays_are_numbered() -> None:
    graph = builder()
    weight, bias = np.ones((2, 1, 1), np.float32), np.ones((2, 1, 1), np.float32)
    graph.begin("scale_1", "Scale()", {"weight": weight, "bias": bias})
    y = graph.add("Mul", "x", weight)
    y = graph.add("Add", y, bias)
    y = graph.add("Mul", y, np.full((1,), 2.0, np.float32))
    graph.add("Mul", y, np.full((1,), 3.0, np.float32))
    assert list(initializers(graph)) == ["scale_1.weight", "scale_1.bias", "scale_1.constant_1", "scale_1.constant_2"]


def test_equal_arrays_are_written_once_in_a_layer() -> None:
    graph = builder()
    weight = np.ones((2, 1, 1), np.float32)
    graph.begin("scale_1", "", {"weight": weight})
    y = graph.add("Mul", graph.add("Mul", "x", weight), weight)
    y = graph.add("Mul", graph.add("Mul", y, np.zeros(1, np.float32)), np.zeros(1, np.float32))
    graph.add("Mul", y, np.zeros((1, 1), np.float32))  # another shape is another array
    assert list(initializers(graph)) == ["scale_1.weight", "scale_1.constant_1", "scale_1.constant_2"]


def test_float64_is_written_as_float32_and_whole_numbers_as_they_are() -> None:
    graph = builder()
    y = graph.add("Mul", "x", np.array([0.5]))
    graph.add("Reshape", y, np.array([-1, 32]))
    assert [array.dtype for array in initializers(graph).values()] == [np.float32, np.int64]


def test_strided_arrays_are_written_in_their_logical_order() -> None:
    graph = builder()
    array = np.arange(32, dtype=np.float32).reshape(4, 4, 2).transpose(2, 0, 1)
    graph.add("Add", "x", array)
    np.testing.assert_array_equal(initializers(graph)["layer_1.constant_1"], array)


def test_shape_leaves_out_the_batch_axis() -> None:
    graph = builder()
    assert graph.shape("x") == (2, 4, 4)
    y = graph.add("Conv", "x", np.zeros((3, 2, 3, 3), np.float32))
    assert graph.shape(y) == (3, 2, 2)
    assert graph.shape(graph.add("Flatten", y)) == (12,)
    assert graph.shape(graph.add("Reshape", y, np.array([-1, 6, 2]))) == (6, 2)
    dynamic = graph.add("Shape", y)
    with pytest.raises(OnnxError, match=r"does not know the shape of 'layer_1\.4': expected fixed sizes"):
        graph.shape(graph.add("Reshape", y, dynamic))


def test_shapes_may_depend_on_scales() -> None:
    graph = builder()
    scales = np.array([1, 1, 2, 1.5], np.float32)
    assert graph.shape(graph.add("Resize", "x", "", scales, mode="nearest")) == (2, 8, 6)


@pytest.mark.parametrize(
    ("op_type", "inputs", "attributes", "message"),
    [
        ("Relu", ["y"], {}, "there is no value 'y' in the graph"),
        ("Relu", ["x"], {"alpha": 1.0}, "Relu does not take these inputs or attributes: Unrecognized attribute: alpha"),
        ("Relu", ["x", "x"], {}, "Relu does not take these inputs or attributes"),
        ("Add", ["x", np.zeros(3)], {}, r"Add does not take .*Incompatible dimensions.*'x': \('N', 2, 4, 4\).*\(3,\)"),
        ("Relu", [np.array(["text"])], {}, "expected an array of numbers or the name of a value"),
        ("Rectify", ["x"], {}, "has no operator 'Rectify'"),
        ("Gelu", ["x"], {}, "Gelu is not in opset 17: export with opset=20 or newer"),
    ],
)
def test_what_does_not_fit_an_operator_is_said(
    op_type: str, inputs: list[str | np.ndarray], attributes: dict[str, float], message: str
) -> None:
    graph = builder()
    with pytest.raises(OnnxError, match=message):
        graph.add(op_type, *inputs, **attributes)
    assert graph.nodes == []


def test_an_optional_input_can_be_left_out() -> None:
    graph = builder()
    y = graph.add("Clip", "x", "", np.array(6.0))
    assert graph.nodes[0].input == ["x", "", "layer_1.constant_1"]
    assert graph.shape(y) == (2, 4, 4)


@pytest.mark.parametrize(("opset", "ir_version"), [(13, 7), (17, 8), (21, 10)])
def test_the_lowest_ir_version_that_knows_the_opset(opset: int, ir_version: int) -> None:
    graph = GraphBuilder(opset)
    assert (graph.opset, graph.ir_version) == (opset, ir_version)
