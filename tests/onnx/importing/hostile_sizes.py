"""ONNX files with as many nodes, values, weights or fields as they can have, each a change of a right one."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from hostile_edits import add_weight, give_alone, named, put_first, varint  # type: ignore[import-not-found]  # beside this file
from onnx import AttributeProto, ModelProto, NodeProto, TensorProto, helper


def nodes_without_end(model: ModelProto) -> None:
    names = ["x", *(f"same{at}" for at in range(30_000)), "y"]
    del model.graph.node[:]
    model.graph.node.extend(named("Relu", [before], after) for before, after in pairwise(names))


def operators_without_end(model: ModelProto) -> None:
    for at in range(5000):
        model.graph.node.append(named(f"Unknown{at}", ["x"], f"u{at}"))
    model.graph.node.append(named("Sum", [f"u{at}" for at in range(5000)], "all"))
    model.graph.output[0].name = "all"


def inputs_without_end(model: ModelProto) -> None:
    give_alone(model, "Max", ["x"] * 100_000)


def weights_folded_without_end(model: ModelProto) -> None:
    """Ten thousand sums of one weight of 4 MB, which the file does not hold either."""
    add_weight(model, "shape", np.array([1000, 1000]))
    model.graph.node.append(named("ConstantOfShape", ["shape"], "w"))
    for at in range(10_000):
        model.graph.node.append(named("ReduceSum", ["w"], f"s{at}"))
    model.graph.node.append(named("Sum", ["x", *(f"s{at}" for at in range(10_000))], "all"))
    model.graph.output[0].name = "all"


def weights_made_of_one(model: ModelProto) -> None:
    """Three hundred weights of 1 MiB, each a sum of the only one in the file."""
    names = ["x", *(f"v{at}" for at in range(300)), "y"]
    del model.graph.node[:]
    add_weight(model, "square", np.zeros((512, 512), np.float32))
    for at, (before, after) in enumerate(pairwise(names)):
        add_weight(model, f"c{at}", np.array(at, np.float32))
        model.graph.node.append(named("Add", ["square", f"c{at}"], f"w{at}"))
        model.graph.node.append(named("MatMul", [before, f"w{at}"], after))
    del model.graph.input[0].type.tensor_type.shape.dim[2:]
    model.graph.input[0].type.tensor_type.shape.dim[1].dim_value = 512


def channels_beyond_everything_behind_an_obstacle(model: ModelProto) -> None:
    put_first(model, "Sin", ["x"])
    model.graph.input[0].type.tensor_type.shape.dim[1].dim_value = 2**30


def millions_of_nodes(model: ModelProto) -> None:
    """Nodes of two bytes, each of which becomes hundreds."""
    empty = b"\x0a\x00" * 5_000_000
    model.MergeFromString(b"\x3a" + varint(len(empty)) + empty)


def outputs_without_end(model: ModelProto) -> None:
    names = [f"o{at}" for at in range(60_000)]
    give_alone(model, "Split", ["x"])
    model.graph.node[0].output[:] = names
    del model.graph.output[:]
    model.graph.output.extend(helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in names)


def circle_without_end(model: ModelProto) -> None:
    for at in range(60_000):
        model.graph.node.append(named("Relu", [f"v{(at or 60_000) - 1}"], f"v{at}"))


def dropouts_without_end(model: ModelProto) -> None:
    """Each with a mask that something could need."""
    names = ["x", *(f"d{at}" for at in range(30_000)), "y"]
    del model.graph.node[:]
    for before, after in pairwise(names):
        model.graph.node.append(named("Dropout", [before], after))
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
