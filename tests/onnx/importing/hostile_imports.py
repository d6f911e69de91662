"""ONNX files that mean harm to who imports them, each a change of a right one."""

from __future__ import annotations

import sys
from collections.abc import Callable
from itertools import pairwise

import hostile_sizes  # type: ignore[import-not-found]  # beside this file, and so are the next two
import numpy as np
from foreign_models import plain_export  # type: ignore[import-not-found]  # likewise
from hostile_edits import add_weight, give_alone, named, put_first, set_attribute  # type: ignore[import-not-found]  # likewise
from onnx import AttributeProto, ModelProto, TensorProto, numpy_helper

Change = Callable[[ModelProto], None]


def padding_of_terabytes(model: ModelProto) -> None:
    add_weight(model, "pads", np.array([0, 0, 0, 0, 0, 0, 0, 2**40]))
    put_first(model, "Pad", ["x", "pads"])


def padding_that_overflows(model: ModelProto) -> None:
    add_weight(model, "pads", np.array([2**62] * 8))
    put_first(model, "Pad", ["x", "pads"])


def resized_to_terabytes(model: ModelProto) -> None:
    add_weight(model, "scales", np.array([1, 1, 2**20, 2**20], np.float32))
    put_first(model, "Resize", ["x", "", "scales"], mode="nearest", coordinate_transformation_mode="asymmetric")


def resized_to_infinity(model: ModelProto) -> None:
    add_weight(model, "scales", np.array([1, 1, np.inf, np.nan], np.float32))
    put_first(model, "Resize", ["x", "", "scales"], mode="nearest")


def resized_to_sizes(model: ModelProto) -> None:
    add_weight(model, "sizes", np.array([1, 1, 2**62, -5]))
    put_first(model, "Resize", ["x", "", "", "sizes"], mode="nearest")


def expanded_to_terabytes(model: ModelProto) -> None:
    add_weight(model, "shape", np.array([1, 2**40, 8, 8]))
    put_first(model, "Expand", ["x", "shape"])


def constant_of_terabytes(model: ModelProto) -> None:
    add_weight(model, "shape", np.array([2**20, 2**20]))
    put_first(model, "Add", ["x", "large"])
    model.graph.node.insert(0, named("ConstantOfShape", ["shape"], "large"))


def tiled_to_terabytes(model: ModelProto) -> None:
    add_weight(model, "repeats", np.array([2**30, 2**30]))
    put_first(model, "Add", ["x", "large"])
    model.graph.node.insert(0, named("Tile", ["matrix", "repeats"], "large"))


def range_of_terabytes(model: ModelProto) -> None:
    for name, value in (("start", 0), ("limit", 2**40), ("step", 1)):
        add_weight(model, name, np.array(value))
    put_first(model, "Add", ["x", "large"])
    model.graph.node.insert(0, named("Range", ["start", "limit", "step"], "large"))


def padded_constant_of_terabytes(model: ModelProto) -> None:
    add_weight(model, "pads", np.array([0, 0, 2**40, 0]))
    put_first(model, "Add", ["x", "large"])
    model.graph.node.insert(0, named("Pad", ["matrix", "pads"], "large"))


def sum_of_terabytes(model: ModelProto) -> None:
    add_weight(model, "even", np.ones([4, 1] * 10, np.float32))
    add_weight(model, "odd", np.ones([1, 4] * 10, np.float32))
    put_first(model, "Add", ["x", "large"])
    model.graph.node.insert(0, named("Mul", ["even", "odd"], "large"))


def division_by_zero(model: ModelProto) -> None:
    put_first(model, "Reshape", ["x", "quotient"])
    model.graph.node.insert(0, named("Div", ["first", "zero"], "quotient"))


def constant_division_by_zero(model: ModelProto) -> None:
    add_weight(model, "nothing", np.zeros(1, np.float32))
    put_first(model, "Div", ["x", "nothing"])


def stride_of_zero(model: ModelProto) -> None:
    set_attribute(model, 0, "strides", [0, 0])


def negative_stride(model: ModelProto) -> None:
    set_attribute(model, 2, "strides", [-1, -(2**63)])


def no_groups(model: ModelProto) -> None:
    set_attribute(model, 0, "group", 0)


def groups_beyond_everything(model: ModelProto) -> None:
    set_attribute(model, 0, "group", 2**62)


def groups_in_a_list(model: ModelProto) -> None:
    """Twenty thousand of them, as many times as the kernel has channels: 400 million numbers in a list."""
    add_weight(model, "wide", np.zeros((1, 20_000, 1, 1), np.float32))
    add_weight(model, "offsets", np.zeros((2, 1, 1), np.float32))
    del model.graph.node[:]
    model.graph.node.append(named("Unknown", ["x"], "u"))  # of which no size is known
    model.graph.node.append(named("ConvTranspose", ["u", "wide"], "t", group=[1] * 20_000))
    model.graph.node.append(named("Add", ["t", "offsets"], "y"))


def pads_beyond_everything(model: ModelProto) -> None:
    set_attribute(model, 0, "pads", [2**62] * 4)


def pads_of_gigabytes(model: ModelProto) -> None:
    set_attribute(model, 0, "pads", [10**5] * 4)


def dilations_beyond_everything(model: ModelProto) -> None:
    set_attribute(model, 0, "dilations", [2**62, 2**62])


def kernel_of_zero(model: ModelProto) -> None:
    set_attribute(model, 2, "kernel_shape", [0, 0])


def kernel_beyond_everything(model: ModelProto) -> None:
    set_attribute(model, 2, "kernel_shape", [2**31, 2**31])
    set_attribute(model, 2, "pads", [2**31 - 1] * 4)


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
    model.graph.node.extend(named("Concat", [before] * 2, after, axis=1) for before, after in pairwise(names))


def squared_again_and_again(model: ModelProto) -> None:
    names = ["x", *(f"square{at}" for at in range(1000)), "y"]
    del model.graph.node[:]
    model.graph.node.extend(named("Mul", [before] * 2, after) for before, after in pairwise(names))


def axes_beyond_everything(model: ModelProto) -> None:
    give_alone(model, "ReduceMean", ["x"], axes=[2**62, -(2**62)])


def axes_twice(model: ModelProto) -> None:
    give_alone(model, "Transpose", ["x"], perm=[0, 1, 1, 1])


def slice_in_steps_of_zero(model: ModelProto) -> None:
    for name in ("start", "axis", "step"):
        add_weight(model, name, np.array([0]))
    add_weight(model, "end", np.array([2**62]))
    put_first(model, "Slice", ["x", "start", "end", "axis", "step"])


def slice_without_ends(model: ModelProto) -> None:
    put_first(model, "Slice", ["x", "first"])


def split_into_thousands(model: ModelProto) -> None:
    give_alone(model, "Split", ["x"], axis=3, num_outputs=10**9)


def split_of_negative_sizes(model: ModelProto) -> None:
    add_weight(model, "sizes", np.array([-5, 13]))
    give_alone(model, "Split", ["x", "sizes"], axis=3)
    model.graph.node[0].output.append("z")


def places_beyond_everything(model: ModelProto) -> None:
    add_weight(model, "places", np.array([2**62, -(2**62)]))
    give_alone(model, "Gather", ["x", "places"], axis=3)


def places_without_end(model: ModelProto) -> None:
    add_weight(model, "places", np.zeros(10**6, np.int64))
    give_alone(model, "Gather", ["x", "places"], axis=3)


def reshaped_to_nothing(model: ModelProto) -> None:
    add_weight(model, "shape", np.array([0, -(2**62), 2**62, -1]))
    put_first(model, "Reshape", ["x", "shape"])


def reshaped_to_a_hundred_axes(model: ModelProto) -> None:
    add_weight(model, "shape", np.array([0, *[1] * 100, 64]))
    put_first(model, "Reshape", ["x", "shape"])


def blocks_of_nothing(model: ModelProto) -> None:
    put_first(model, "DepthToSpace", ["x"], blocksize=0)


def blocks_beyond_everything(model: ModelProto) -> None:
    put_first(model, "SpaceToDepth", ["x"], blocksize=2**62)


def normalised_by_nothing(model: ModelProto) -> None:
    put_first(model, "BatchNormalization", ["x", "first", "first", "first", "first"], epsilon=float("nan"))


def local_normalisation_beyond_everything(model: ModelProto) -> None:
    put_first(model, "LRN", ["x"], size=2**62)


def transposed_beyond_everything(model: ModelProto) -> None:
    add_weight(model, "k", np.ones((1, 1, 3, 3), np.float32))
    put_first(model, "ConvTranspose", ["x", "k"], strides=[2**40, 2**40], output_padding=[2**39, 2**39])


def output_shape_beyond_everything(model: ModelProto) -> None:
    add_weight(model, "k", np.ones((1, 1, 3, 3), np.float32))
    put_first(model, "ConvTranspose", ["x", "k"], output_shape=[2**40, -(2**40)])


def exponent_of_nothing(model: ModelProto) -> None:
    add_weight(model, "nan", np.array(np.nan, np.float32))
    put_first(model, "Pow", ["x", "nan"])


def bounds_that_are_no_numbers(model: ModelProto) -> None:
    add_weight(model, "nan", np.array(np.nan, np.float32))
    put_first(model, "Clip", ["x", "nan", "nan"])


def bounds_without_numbers(model: ModelProto) -> None:
    add_weight(model, "empty", np.zeros(0, np.float32))
    put_first(model, "Clip", ["x", "empty"])


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
    add_weight(model, "eps", np.frombuffer(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n(id) run\n", np.uint8))
    put_first(model, "ImageDecoder", ["eps"], pixel_format="RGB")


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
        model.graph.node.append(named("MatMul", [before, tensor.name], after))
    del model.graph.input[0].type.tensor_type.shape.dim[2:]
    model.graph.input[0].type.tensor_type.shape.dim[1].dim_value = 512


CHANGES: dict[str, Change] = {
    name: value
    for module in (sys.modules[__name__], hostile_sizes)
    for name, value in vars(module).items()
    if callable(value) and getattr(value, "__module__", "") == module.__name__ and name != "build"
}


def build(change: Change) -> bytes:
    proto = plain_export()
    change(proto)
    return bytes(proto.SerializeToString())
