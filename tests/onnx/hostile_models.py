"""ONNX files that mean harm, each a change of a right export; by what they do, with what becomes of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from onnx import AttributeProto, ModelProto, TensorProto, helper, numpy_helper

from cnnkit.network import Sequential
from cnnkit.onnx.export import to_onnx
from cnnkit.types import Array

MODEL = Sequential(["Conv2D(2, 3)", "ReLU()", "MaxPool2D(2)", "Flatten()", "Dense(10)"], (1, 8, 8))
"""What all of them claim to be."""
Change = Callable[[ModelProto], None]


def _before(model: ModelProto, op_type: str, inputs: list[str], output: str, **attributes: Any) -> None:
    model.graph.node.insert(0, helper.make_node(op_type, inputs, [output], f"evil_{output}", **attributes))


def _weights(model: ModelProto, name: str, array: Array) -> None:
    model.graph.initializer.append(numpy_helper.from_array(array, name))


def _text(model: ModelProto, text: bytes) -> None:
    model.graph.initializer.append(TensorProto(name="text", data_type=TensorProto.STRING, dims=[1], string_data=[text]))


def _give(model: ModelProto, value: str, rank: int) -> None:
    """Let a value be an output, so that it cannot be left out."""
    model.graph.output.append(helper.make_tensor_value_info(value, TensorProto.FLOAT, [None] * rank))


def _attribute(model: ModelProto, op_type: str, name: str, value: list[int] | int) -> None:
    node = next(node for node in model.graph.node if node.op_type == op_type)
    for at, attribute in enumerate(node.attribute):
        if attribute.name == name:
            del node.attribute[at]
            break
    node.attribute.append(helper.make_attribute(name, value))


def image_decoder(model: ModelProto) -> None:
    """A PostScript file inside, which Pillow hands to Ghostscript."""
    _weights(model, "eps", np.frombuffer(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n(id) run\n", np.uint8))
    _before(model, "ImageDecoder", ["eps"], "picture", pixel_format="RGB")


def integer_division(model: ModelProto) -> None:
    """The one division of integers that processors trap."""
    _weights(model, "a", np.array([-(2**31)], np.int32))
    _weights(model, "b", np.array([-1], np.int32))
    _before(model, "Div", ["a", "b"], "quotient")


def integer_remainder(model: ModelProto) -> None:
    _weights(model, "a", np.array([-(2**63)], np.int64))
    _weights(model, "b", np.array([-1], np.int64))
    _before(model, "Mod", ["a", "b"], "rest")


def regular_expression(model: ModelProto) -> None:
    """A pattern that takes exponential time."""
    _text(model, b"a" * 40 + b"!")
    _before(model, "RegexFullMatch", ["text"], "matches", pattern="(a+)+$")


def large_product(model: ModelProto) -> None:
    _weights(model, "factor", np.ones((2000, 2000), np.float32))
    _before(model, "MatMul", ["factor", "factor"], "product")


def gather_elements(model: ModelProto) -> None:
    _weights(model, "values", np.zeros((1,) * 12, np.float32))
    _weights(model, "places", np.zeros((3,) * 12, np.int64))
    _before(model, "GatherElements", ["values", "places"], "gathered", axis=0)


def locale(model: ModelProto) -> None:
    """A locale of the process that is set."""
    _text(model, b"a")
    _before(model, "StringNormalizer", ["text"], "lower", case_change_action="LOWER", locale="tr_TR")


def range_of_numbers(model: ModelProto) -> None:
    for name, value in (("start", 0), ("limit", 2**40), ("step", 1)):
        _weights(model, name, np.array(value, np.int64))
    _before(model, "Range", ["start", "limit", "step"], "range")


def constant_of_shape(model: ModelProto) -> None:
    _weights(model, "shape", np.array([2**40], np.int64))
    _before(model, "ConstantOfShape", ["shape"], "constant")


def unroll_by_einsum(model: ModelProto) -> None:
    _before(model, "Einsum", ["input"] * 2, "sums", equation="abcd,efgh->abcdefgh")


def outer_product(model: ModelProto) -> None:
    """A product of 4 TB."""
    _weights(model, "column", np.ones((10**6, 1), np.float32))
    _weights(model, "row", np.ones((1, 10**6), np.float32))
    _before(model, "Gemm", ["column", "row"], "outer")
    _give(model, "outer", 2)


def outer_sum(model: ModelProto) -> None:
    _weights(model, "column", np.ones((10**5, 1), np.float32))
    _weights(model, "row", np.ones((1, 10**5), np.float32))
    _before(model, "Add", ["column", "row"], "outer")
    _give(model, "outer", 2)


def products_without_end(model: ModelProto) -> None:
    """Ten thousand products of 16 GFLOP each, of one weight of 16 MB."""
    _weights(model, "factor", np.full((2000, 2000), 1e-3, np.float32))
    for i in reversed(range(10_000)):
        _before(model, "Gemm", ["factor", f"product{i - 1}" if i else "factor"], f"product{i}")
    _give(model, "product9999", 2)


def doubled_again_and_again(model: ModelProto) -> None:
    for i in reversed(range(50)):
        _before(model, "Concat", [f"twice{i - 1}" if i else "input"] * 2, f"twice{i}", axis=1)
    _give(model, "twice49", 4)


def padding_of_terabytes(model: ModelProto) -> None:
    _weights(model, "pads", np.array([0, 0, 0, 0, 0, 0, 0, 2**40], np.int64))
    _before(model, "Pad", ["input", "pads"], "padded")
    _give(model, "padded", 4)


def pooling_without_end(model: ModelProto) -> None:
    """Windows of 400 x 400 around each of 400 x 400 pixels, of an image that is nearly all padding."""
    _weights(model, "pads", np.array([0, 0, 196, 196] * 2, np.int64))
    _before(model, "MaxPool", ["large"], "largest", kernel_shape=[399, 399], pads=[199] * 4)
    _before(model, "Pad", ["input", "pads"], "large")
    _give(model, "largest", 4)


def means_without_end(model: ModelProto) -> None:
    _weights(model, "pads", np.array([0, 0, 196, 196] * 2, np.int64))
    _before(model, "AveragePool", ["large"], "mean", kernel_shape=[399, 399], pads=[199] * 4)
    _before(model, "Pad", ["input", "pads"], "large")
    _give(model, "mean", 4)


def transposed_without_end(model: ModelProto) -> None:
    """Each of 400 x 400 pixels lays 399 x 399 numbers on a larger image."""
    _weights(model, "pads", np.array([0, 0, 196, 196] * 2, np.int64))
    _weights(model, "kernel", np.ones((1, 1, 399, 399), np.float32))
    _before(model, "ConvTranspose", ["large", "kernel"], "laid", pads=[199] * 4)
    _before(model, "Pad", ["input", "pads"], "large")
    _give(model, "laid", 4)


def transposed_with_no_groups(model: ModelProto) -> None:
    _weights(model, "kernel", np.ones((1, 1, 2, 2), np.float32))
    _before(model, "ConvTranspose", ["input", "kernel"], "laid", group=0)
    _give(model, "laid", 4)


def transposed_with_stride_of_zero(model: ModelProto) -> None:
    _weights(model, "kernel", np.ones((1, 1, 2, 2), np.float32))
    _before(model, "ConvTranspose", ["input", "kernel"], "laid", strides=[0, 0])
    _give(model, "laid", 4)


def blocks_of_nothing(model: ModelProto) -> None:
    _before(model, "DepthToSpace", ["input"], "blocks", blocksize=0)
    _give(model, "blocks", 4)


def slices_in_steps_of_zero(model: ModelProto) -> None:
    for name in ("start", "axis", "step"):
        _weights(model, name, np.array([0], np.int64))
    _weights(model, "end", np.array([2**62], np.int64))
    _before(model, "Slice", ["input", "start", "end", "axis", "step"], "part")
    _give(model, "part", 4)


def indices_beyond_everything(model: ModelProto) -> None:
    _weights(model, "indices", np.array([2**62, -(2**62)], np.int64))
    _before(model, "Gather", ["input", "indices"], "gathered", axis=3)
    _give(model, "gathered", 4)


def windows_of_terabytes(model: ModelProto) -> None:
    """A convolution whose unrolled windows do not fit in any memory."""
    _weights(model, "pads", np.array([0, 0, 496, 496] * 2, np.int64))
    _weights(model, "kernel", np.ones((1, 1, 999, 999), np.float32))
    _before(model, "Conv", ["large", "kernel"], "product", pads=[499] * 4)
    _before(model, "Pad", ["input", "pads"], "large")
    _give(model, "product", 4)


def sums_over_many_axes(model: ModelProto) -> None:
    """An output of 2**40 numbers, which broadcasting makes of two small arrays."""
    _weights(model, "even", np.ones([4, 1] * 10, np.float32))
    _weights(model, "odd", np.ones([1, 4] * 10, np.float32))
    _before(model, "Mul", ["even", "odd"], "all")
    _give(model, "all", 20)


def padding_that_overflows(model: ModelProto) -> None:
    _weights(model, "pads", np.array([2**62, 2**62, 2**62, 2**62] * 2, np.int64))
    _before(model, "Pad", ["input", "pads"], "padded")
    _give(model, "padded", 4)


def pads_that_are_computed(model: ModelProto) -> None:
    """How large the image gets, only the input says."""
    _before(model, "Pad", ["input", "pads"], "padded")
    _before(model, "Cast", ["flat"], "pads", to=TensorProto.INT64)
    _before(model, "Flatten", ["input"], "flat")
    _give(model, "padded", 4)


def nodes_without_end(model: ModelProto) -> None:
    for i in reversed(range(20_000)):
        _before(model, "Relu", [f"same{i - 1}" if i else "input"], f"same{i}")
    _give(model, "same19999", 4)


def inputs_without_end(model: ModelProto) -> None:
    for i in range(30):
        _before(model, "Max", ["input"] * 50_000, f"largest{i}")


def stride_of_zero(model: ModelProto) -> None:
    _attribute(model, "Conv", "strides", [0, 0])


def pooling_with_stride_of_zero(model: ModelProto) -> None:
    _attribute(model, "MaxPool", "strides", [0, 0])


def dilation_beyond_everything(model: ModelProto) -> None:
    del model.graph.value_info[:]  # a stranger need not say which shapes to expect
    _attribute(model, "MaxPool", "dilations", [2**62, 2**62])


def kernel_beyond_everything(model: ModelProto) -> None:
    del model.graph.value_info[:]
    _attribute(model, "MaxPool", "kernel_shape", [2**31, 2**31])
    _attribute(model, "MaxPool", "pads", [2**31] * 4)


def no_groups(model: ModelProto) -> None:
    _attribute(model, "Conv", "group", 0)


def axis_beyond_everything(model: ModelProto) -> None:
    _attribute(model, "Flatten", "axis", -(2**62))


def pads_of_another_rank(model: ModelProto) -> None:
    _attribute(model, "Conv", "pads", [1] * 500)


def text_for_numbers(model: ModelProto) -> None:
    """Every output is text."""
    model.graph.node[-1].op_type = "Cast"
    del model.graph.node[-1].attribute[:]
    model.graph.node[-1].attribute.append(helper.make_attribute("to", TensorProto.STRING))


def shape_without_data(model: ModelProto) -> None:
    model.graph.initializer[0].dims[0] = 2**40
    model.graph.initializer[0].ClearField("raw_data")


def shape_that_overflows(model: ModelProto) -> None:
    """2**32 by 2**32 numbers, whose count is 0 in 64 bits; and no data."""
    del model.graph.initializer[0].dims[:]
    model.graph.initializer[0].dims.extend([2**32, 2**32])
    model.graph.initializer[0].raw_data = b""


def circle(model: ModelProto) -> None:
    _before(model, "Relu", ["there"], "back")
    _before(model, "Relu", ["back"], "there")


def millions_of_nodes(model: ModelProto) -> None:
    """Nodes of two bytes, each of which becomes hundreds."""
    empty = b"\x0a\x00" * 5_000_000
    model.MergeFromString(b"\x3a" + _varint(len(empty)) + empty)


def graphs_in_graphs(model: ModelProto) -> None:
    graph = helper.make_graph([], "g", [], [])
    for _ in range(20):
        node = helper.make_node("If", ["c"], ["y"], then_branch=graph)
        graph = helper.make_graph([node], "g", [], [])
    model.graph.node.append(helper.make_node("If", ["c"], ["y"], then_branch=graph))


def loop_without_end(model: ModelProto) -> None:
    body = helper.make_graph([], "body", [], [])
    _before(model, "Loop", [], "endless", body=body)


def operators_of_its_own(model: ModelProto) -> None:
    node = helper.make_node("Identity", ["x"], ["y"])
    model.functions.append(helper.make_function("local", "F", ["x"], ["y"], [node], [helper.make_opsetid("", 17)]))


def operators_of_others(model: ModelProto) -> None:
    model.opset_import.append(helper.make_opsetid("com.microsoft", 1))
    _before(model, "Attention", ["input"], "attention")
    model.graph.node[0].domain = "com.microsoft"


def data_elsewhere(model: ModelProto) -> None:
    model.graph.initializer[0].ClearField("raw_data")
    model.graph.initializer[0].data_location = TensorProto.EXTERNAL
    model.graph.initializer[0].external_data.add(key="location", value="/etc/passwd")


def sparse_data(model: ModelProto) -> None:
    model.graph.sparse_initializer.add().dims.append(2**40)


def opset_of_the_future(model: ModelProto) -> None:
    model.opset_import[0].version = 2**40


def name_that_steers_the_terminal(model: ModelProto) -> None:
    model.graph.node[0].op_type = "\x1b[2J" + "x" * 10_000 + "\n"


def outputs_of_any_name(model: ModelProto) -> None:
    """A hundred outputs with long names, and none that is asked for."""
    del model.graph.node[-1], model.graph.output[:]
    for i in range(100):
        model.graph.node.append(helper.make_node("Relu", ["input"], [f"{i}" + "x" * 1000]))
        _give(model, f"{i}" + "x" * 1000, 4)


def attribute_of_nothing(model: ModelProto) -> None:
    model.graph.node[0].attribute.append(AttributeProto(name="kernel_shape", type=AttributeProto.INTS))


CHANGES: dict[str, Change] = {
    name: value
    for name, value in list(globals().items())
    if callable(value) and not name.startswith("_") and getattr(value, "__module__", "") == __name__
}


def build(change: Change) -> bytes:
    """The file with a change, and all of its other content in place."""
    proto = to_onnx(MODEL)
    change(proto)
    return bytes(proto.SerializeToString())


def _varint(number: int) -> bytes:
    parts = []
    while number > 0x7F:
        parts.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*parts, number])
