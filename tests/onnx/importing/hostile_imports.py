"""ONNX files that mean harm to who imports them, each a change of a right one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from foreign_models import plain_export  # type: ignore[import-not-found]  # beside this file
from onnx import AttributeProto, ModelProto, NodeProto, TensorProto, helper, numpy_helper

Change = Callable[[ModelProto], None]


def _node(operator: str, inputs: Sequence[str], output: str, **attributes: Any) -> NodeProto:
    return helper.make_node(operator, inputs, [output], f"node_{output}", **attributes)


def _before(model: ModelProto, operator: str, inputs: list[str], **attributes: Any) -> None:
    """Let the first convolution take what a new node gives."""
    model.graph.node[0].input[0] = "evil"
    model.graph.node.insert(0, helper.make_node(operator, inputs, ["evil"], "evil", **attributes))


def _give(model: ModelProto, operator: str, inputs: list[str], **attributes: Any) -> None:
    """Let the file give what a new node gives, at once."""
    del model.graph.node[:]
    model.graph.node.append(helper.make_node(operator, inputs, ["y"], "evil", **attributes))


def _weight(model: ModelProto, name: str, values: Any) -> None:
    model.graph.initializer.append(numpy_helper.from_array(np.asarray(values), name))


def _attribute(model: ModelProto, at: int, name: str, value: Any) -> None:
    node = model.graph.node[at]
    kept = [attribute for attribute in node.attribute if attribute.name != name]
    del node.attribute[:]
    node.attribute.extend([*kept, helper.make_attribute(name, value)])


def padding_of_terabytes(model: ModelProto) -> None:
    _weight(model, "pads", np.array([0, 0, 0, 0, 0, 0, 0, 2**40]))
    _before(model, "Pad", ["x", "pads"])


def padding_that_overflows(model: ModelProto) -> None:
    _weight(model, "pads", np.array([2**62] * 8))
    _before(model, "Pad", ["x", "pads"])


def resized_to_terabytes(model: ModelProto) -> None:
    _weight(model, "scales", np.array([1, 1, 2**20, 2**20], np.float32))
    _before(model, "Resize", ["x", "", "scales"], mode="nearest", coordinate_transformation_mode="asymmetric")


def resized_to_infinity(model: ModelProto) -> None:
    _weight(model, "scales", np.array([1, 1, np.inf, np.nan], np.float32))
    _before(model, "Resize", ["x", "", "scales"], mode="nearest")


def resized_to_sizes(model: ModelProto) -> None:
    _weight(model, "sizes", np.array([1, 1, 2**62, -5]))
    _before(model, "Resize", ["x", "", "", "sizes"], mode="nearest")


def expanded_to_terabytes(model: ModelProto) -> None:
    _weight(model, "shape", np.array([1, 2**40, 8, 8]))
    _before(model, "Expand", ["x", "shape"])


def constant_of_terabytes(model: ModelProto) -> None:
    _weight(model, "shape", np.array([2**20, 2**20]))
    _before(model, "Add", ["x", "large"])
    model.graph.node.insert(0, _node("ConstantOfShape", ["shape"], "large"))


def tiled_to_terabytes(model: ModelProto) -> None:
    _weight(model, "repeats", np.array([2**30, 2**30]))
    _before(model, "Add", ["x", "large"])
    model.graph.node.insert(0, _node("Tile", ["matrix", "repeats"], "large"))


def range_of_terabytes(model: ModelProto) -> None:
    for name, value in (("start", 0), ("limit", 2**40), ("step", 1)):
        _weight(model, name, np.array(value))
    _before(model, "Add", ["x", "large"])
    model.graph.node.insert(0, _node("Range", ["start", "limit", "step"], "large"))


def padded_constant_of_terabytes(model: ModelProto) -> None:
    _weight(model, "pads", np.array([0, 0, 2**40, 0]))
    _before(model, "Add", ["x", "large"])
    model.graph.node.insert(0, _node("Pad", ["matrix", "pads"], "large"))


def sum_of_terabytes(model: ModelProto) -> None:
    _weight(model, "even", np.ones([4, 1] * 10, np.float32))
    _weight(model, "odd", np.ones([1, 4] * 10, np.float32))
    _before(model, "Add", ["x", "large"])
    model.graph.node.insert(0, _node("Mul", ["even", "odd"], "large"))


def division_by_zero(model: ModelProto) -> None:
    _before(model, "Reshape", ["x", "quotient"])
    model.graph.node.insert(0, _node("Div", ["first", "zero"], "quotient"))


def constant_division_by_zero(model: ModelProto) -> None:
    _weight(model, "nothing", np.zeros(1, np.float32))
    _before(model, "Div", ["x", "nothing"])


def stride_of_zero(model: ModelProto) -> None:
    _attribute(model, 0, "strides", [0, 0])


def negative_stride(model: ModelProto) -> None:
    _attribute(model, 2, "strides", [-1, -(2**63)])


def no_groups(model: ModelProto) -> None:
    _attribute(model, 0, "group", 0)


def groups_beyond_everything(model: ModelProto) -> None:
    _attribute(model, 0, "group", 2**62)


def groups_in_a_list(model: ModelProto) -> None:
    """Twenty thousand of them, as many times as the kernel has channels: 400 million numbers in a list."""
    _weight(model, "wide", np.zeros((1, 20_000, 1, 1), np.float32))
    _weight(model, "offsets", np.zeros((2, 1, 1), np.float32))
    del model.graph.node[:]
    model.graph.node.append(_node("Unknown", ["x"], "u"))  # of which no size is known
    model.graph.node.append(_node("ConvTranspose", ["u", "wide"], "t", group=[1] * 20_000))
    model.graph.node.append(_node("Add", ["t", "offsets"], "y"))


def pads_beyond_everything(model: ModelProto) -> None:
    _attribute(model, 0, "pads", [2**62] * 4)


def pads_of_gigabytes(model: ModelProto) -> None:
    _attribute(model, 0, "pads", [10**5] * 4)


def dilations_beyond_everything(model: ModelProto) -> None:
    _attribute(model, 0, "dilations", [2**62, 2**62])


def kernel_of_zero(model: ModelProto) -> None:
    _attribute(model, 2, "kernel_shape", [0, 0])


def kernel_beyond_everything(model: ModelProto) -> None:
    _attribute(model, 2, "kernel_shape", [2**31, 2**31])
    _attribute(model, 2, "pads", [2**31 - 1] * 4)


def kernel_without_numbers(model: ModelProto) -> None:
    model.graph.initializer[0].CopyFrom(numpy_helper.from_array(np.zeros((0, 1, 3, 3), np.float32), "kernel"))


def weights_without_data(model: ModelProto) -> None:
    model.graph.initializer[2].dims[0] = 2**40


def input_of_terabytes(model: ModelProto) -> None:
    model.graph.input[0].type.tensor_type.shape.dim[2].dim_value = 2**40


def input_without_sizes(model: ModelProto) -> None:
    model.graph.input[0].type.tensor_type.ClearField("shape")


def input_of_a_million_axes(model: ModelProto) -> None:
    for _ in range(100_000):
        model.graph.input[0].type.tensor_type.shape.dim.add(dim_value=1)


def output_that_is_the_input(model: ModelProto) -> None:
    model.graph.output[0].name = "x"


def output_that_is_a_weight(model: ModelProto) -> None:
    model.graph.output[0].name = "kernel"


def doubled_again_and_again(model: ModelProto) -> None:
    names = ["x", *(f"twice{at}" for at in range(60)), "y"]
    del model.graph.node[:]
    model.graph.node.extend(_node("Concat", [before] * 2, after, axis=1) for before, after in pairwise(names))


def squared_again_and_again(model: ModelProto) -> None:
    names = ["x", *(f"square{at}" for at in range(1000)), "y"]
    del model.graph.node[:]
    model.graph.node.extend(_node("Mul", [before] * 2, after) for before, after in pairwise(names))


def nodes_without_end(model: ModelProto) -> None:
    names = ["x", *(f"same{at}" for at in range(30_000)), "y"]
    del model.graph.node[:]
    model.graph.node.extend(_node("Relu", [before], after) for before, after in pairwise(names))


def operators_without_end(model: ModelProto) -> None:
    for at in range(5000):
        model.graph.node.append(_node(f"Unknown{at}", ["x"], f"u{at}"))
    model.graph.node.append(_node("Sum", [f"u{at}" for at in range(5000)], "all"))
    model.graph.output[0].name = "all"


def inputs_without_end(model: ModelProto) -> None:
    _give(model, "Max", ["x"] * 100_000)


def weights_folded_without_end(model: ModelProto) -> None:
    """Ten thousand sums of one weight of 4 MB, which the file does not hold either."""
    _weight(model, "shape", np.array([1000, 1000]))
    model.graph.node.append(_node("ConstantOfShape", ["shape"], "w"))
    for at in range(10_000):
        model.graph.node.append(_node("ReduceSum", ["w"], f"s{at}"))
    model.graph.node.append(_node("Sum", ["x", *(f"s{at}" for at in range(10_000))], "all"))
    model.graph.output[0].name = "all"


def weights_made_of_one(model: ModelProto) -> None:
    """Three hundred weights of 1 MiB, each a sum of the only one in the file."""
    names = ["x", *(f"v{at}" for at in range(300)), "y"]
    del model.graph.node[:]
    _weight(model, "square", np.zeros((512, 512), np.float32))
    for at, (before, after) in enumerate(pairwise(names)):
        _weight(model, f"c{at}", np.array(at, np.float32))
        model.graph.node.append(_node("Add", ["square", f"c{at}"], f"w{at}"))
        model.graph.node.append(_node("MatMul", [before, f"w{at}"], after))
    del model.graph.input[0].type.tensor_type.shape.dim[2:]
    model.graph.input[0].type.tensor_type.shape.dim[1].dim_value = 512


def channels_beyond_everything_behind_an_obstacle(model: ModelProto) -> None:
    _before(model, "Sin", ["x"])
    model.graph.input[0].type.tensor_type.shape.dim[1].dim_value = 2**30


def millions_of_nodes(model: ModelProto) -> None:
    """Nodes of two bytes, each of which becomes hundreds."""
    empty = b"\x0a\x00" * 5_000_000
    model.MergeFromString(b"\x3a" + _varint(len(empty)) + empty)


def outputs_without_end(model: ModelProto) -> None:
    names = [f"o{at}" for at in range(60_000)]
    _give(model, "Split", ["x"])
    model.graph.node[0].output[:] = names
    del model.graph.output[:]
    model.graph.output.extend(helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in names)


def circle_without_end(model: ModelProto) -> None:
    for at in range(60_000):
        model.graph.node.append(_node("Relu", [f"v{(at or 60_000) - 1}"], f"v{at}"))


def dropouts_without_end(model: ModelProto) -> None:
    """Each with a mask that something could need."""
    names = ["x", *(f"d{at}" for at in range(30_000)), "y"]
    del model.graph.node[:]
    for before, after in pairwise(names):
        model.graph.node.append(_node("Dropout", [before], after))
        model.graph.node[-1].output.append(f"mask_{after}")


def attributes_to_the_limit_of_fields(model: ModelProto) -> None:
    node = model.graph.node[0]
    node.attribute.extend(AttributeProto(name=f"a{at}", type=AttributeProto.INT, i=1) for at in range(240_000))


def nodes_to_the_limit_of_fields(model: ModelProto) -> None:
    """As many as there can be with a name, an input and an output, each of which hangs on the one before it."""
    names = ["x", *(f"{at:x}" for at in range(190_000)), "y"]
    del model.graph.node[:]
    model.graph.node.extend(
        NodeProto(op_type="Neg", name=after, input=[before], output=[after]) for before, after in pairwise(names)
    )


def nodes_to_their_own_limit(model: ModelProto) -> None:
    nodes_to_the_limit_of_fields(model)
    del model.graph.node[:-100_000]
    model.graph.node[0].input[0] = "x"


def weights_to_the_limit_of_fields(model: ModelProto) -> None:
    for at in range(240_000):
        model.graph.initializer.append(TensorProto(name=f"w{at}", data_type=TensorProto.FLOAT, dims=[0]))


def axes_beyond_everything(model: ModelProto) -> None:
    _give(model, "ReduceMean", ["x"], axes=[2**62, -(2**62)])


def axes_twice(model: ModelProto) -> None:
    _give(model, "Transpose", ["x"], perm=[0, 1, 1, 1])


def slice_in_steps_of_zero(model: ModelProto) -> None:
    for name in ("start", "axis", "step"):
        _weight(model, name, np.array([0]))
    _weight(model, "end", np.array([2**62]))
    _before(model, "Slice", ["x", "start", "end", "axis", "step"])


def slice_without_ends(model: ModelProto) -> None:
    _before(model, "Slice", ["x", "first"])


def split_into_thousands(model: ModelProto) -> None:
    _give(model, "Split", ["x"], axis=3, num_outputs=10**9)


def split_of_negative_sizes(model: ModelProto) -> None:
    _weight(model, "sizes", np.array([-5, 13]))
    _give(model, "Split", ["x", "sizes"], axis=3)
    model.graph.node[0].output.append("z")


def places_beyond_everything(model: ModelProto) -> None:
    _weight(model, "places", np.array([2**62, -(2**62)]))
    _give(model, "Gather", ["x", "places"], axis=3)


def places_without_end(model: ModelProto) -> None:
    _weight(model, "places", np.zeros(10**6, np.int64))
    _give(model, "Gather", ["x", "places"], axis=3)


def reshaped_to_nothing(model: ModelProto) -> None:
    _weight(model, "shape", np.array([0, -(2**62), 2**62, -1]))
    _before(model, "Reshape", ["x", "shape"])


def reshaped_to_a_hundred_axes(model: ModelProto) -> None:
    _weight(model, "shape", np.array([0, *[1] * 100, 64]))
    _before(model, "Reshape", ["x", "shape"])


def blocks_of_nothing(model: ModelProto) -> None:
    _before(model, "DepthToSpace", ["x"], blocksize=0)


def blocks_beyond_everything(model: ModelProto) -> None:
    _before(model, "SpaceToDepth", ["x"], blocksize=2**62)


def normalised_by_nothing(model: ModelProto) -> None:
    _before(model, "BatchNormalization", ["x", "first", "first", "first", "first"], epsilon=float("nan"))


def local_normalisation_beyond_everything(model: ModelProto) -> None:
    _before(model, "LRN", ["x"], size=2**62)


def transposed_beyond_everything(model: ModelProto) -> None:
    _weight(model, "k", np.ones((1, 1, 3, 3), np.float32))
    _before(model, "ConvTranspose", ["x", "k"], strides=[2**40, 2**40], output_padding=[2**39, 2**39])


def output_shape_beyond_everything(model: ModelProto) -> None:
    _weight(model, "k", np.ones((1, 1, 3, 3), np.float32))
    _before(model, "ConvTranspose", ["x", "k"], output_shape=[2**40, -(2**40)])


def exponent_of_nothing(model: ModelProto) -> None:
    _weight(model, "nan", np.array(np.nan, np.float32))
    _before(model, "Pow", ["x", "nan"])


def bounds_that_are_no_numbers(model: ModelProto) -> None:
    _weight(model, "nan", np.array(np.nan, np.float32))
    _before(model, "Clip", ["x", "nan", "nan"])


def bounds_without_numbers(model: ModelProto) -> None:
    _weight(model, "empty", np.zeros(0, np.float32))
    _before(model, "Clip", ["x", "empty"])


def samples_without_end(model: ModelProto) -> None:
    """A batch of two thousand million, which is baked in."""
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 2**31


def sequence_attribute(model: ModelProto) -> None:
    model.graph.node[0].attribute.append(AttributeProto(name="tp", type=AttributeProto.TYPE_PROTO))


def name_that_steers_the_terminal(model: ModelProto) -> None:
    model.graph.node[1].op_type = "\x1b[2J" + "x" * 10_000 + "\n"


def labels_that_steer_the_terminal(model: ModelProto) -> None:
    model.metadata_props.add(key="labels", value='["\\u001b[2J", "b", "' + "c" * 100_000 + '"]')


def image_decoder(model: ModelProto) -> None:
    """A PostScript file inside, which Pillow hands to Ghostscript."""
    _weight(model, "eps", np.frombuffer(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n(id) run\n", np.uint8))
    _before(model, "ImageDecoder", ["eps"], pixel_format="RGB")


def data_elsewhere(model: ModelProto) -> None:
    tensor = model.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="/etc/passwd")


def data_of_negative_length(model: ModelProto) -> None:
    data_elsewhere(model)
    model.graph.initializer[0].external_data[0].value = "model.onnx"
    model.graph.initializer[0].external_data.add(key="length", value="-72")


def data_in_the_model_itself(model: ModelProto) -> None:
    """The file, taken as its own weights."""
    data_elsewhere(model)
    model.graph.initializer[0].external_data[0].value = "model.onnx"


def data_named_again_and_again(model: ModelProto) -> None:
    """A thousand weights of 1 MiB, all of the same MiB of the file."""
    model.doc_string = "\0" * 2**20
    del model.graph.node[:]
    names = ["x", *(f"v{at}" for at in range(1_000)), "y"]
    for before, after in pairwise(names):
        tensor = TensorProto(name=f"w_{after}", data_type=TensorProto.FLOAT, dims=[512, 512])
        tensor.data_location = TensorProto.EXTERNAL
        tensor.external_data.add(key="location", value="model.onnx")
        model.graph.initializer.append(tensor)
        model.graph.node.append(_node("MatMul", [before, tensor.name], after))
    del model.graph.input[0].type.tensor_type.shape.dim[2:]
    model.graph.input[0].type.tensor_type.shape.dim[1].dim_value = 512


CHANGES: dict[str, Change] = {
    name: value
    for name, value in list(globals().items())
    if callable(value) and not name.startswith("_") and getattr(value, "__module__", "") == __name__ and name != "base"
}


def build(change: Change) -> bytes:
    proto = plain_export()
    change(proto)
    return bytes(proto.SerializeToString())


def _varint(number: int) -> bytes:
    parts = []
    while number > 0x7F:
        parts.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*parts, number])
