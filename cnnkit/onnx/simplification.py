"""A graph made smaller before it is written: normalisations in the weights before them, and no idle constants.

What a runtime would find out on every start is found out once. The preprocessing stays apart: in the weights, it would
make those of images 255 times smaller, which float16 and integers can hardly hold.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection, Sequence
from typing import cast

import numpy as np
from onnx import NodeProto, TensorProto, helper, numpy_helper

from cnnkit.network.kernels.batchnorm_folding import bias_of, scale_of
from cnnkit.onnx.graph_builder import GraphBuilder
from cnnkit.onnx.reference_run import run_reference
from cnnkit.types import Array

RANDOM = {"Bernoulli", "Multinomial", "RandomNormalLike", "RandomUniformLike"}
"""Operators that give other values each time, even of constants."""
NEUTRAL = {"Add": 0, "Div": 1, "Mul": 1, "Pow": 1, "Sub": 0}
"""The second input with which they give the first."""
COMMUTATIVE = {"Add", "Mul"}
SMALL_BYTES = 1024
"""What constants may become, unless they are larger themselves."""
LEAST = float(np.finfo(np.float32).tiny) * 2**24
"""Largest weight of a channel below which its smaller ones lose digits of float32."""


def simplify(graph: GraphBuilder, outputs: Collection[str], named: Collection[str]) -> None:
    """Compute what is constant, leave out what changes nothing, and fold normalisations into what is before them.

    outputs: names of the graph's outputs; named: of the layers' values, which keep their names where they still exist.
    A Conv, ConvTranspose or Gemm with a normalisation in it gives what that gave, under its name. Its weights are
    called `folded_weight` and `folded_bias`, for they are not the model's.
    """
    _compute_constants(graph, outputs)
    _leave_out_neutral(graph, outputs, named)
    _fold_normalisations(graph, outputs)


def remove_unused(graph: GraphBuilder, outputs: Collection[str]) -> None:
    """Remove the nodes and initializers that no output depends on."""
    needed, nodes = set(outputs), []
    for node in reversed(graph.nodes):
        if needed.intersection(node.output):
            needed.update(node.input)
            nodes.append(node)
    graph.nodes[:] = reversed(nodes)
    for _ in range(len(graph.initializers)):
        tensor = graph.initializers.popleft()
        if tensor.name in needed:
            graph.initializers.append(tensor)


def _compute_constants(graph: GraphBuilder, outputs: Collection[str]) -> None:
    """Compute the nodes of which all inputs are initializers."""
    constants = _constants(graph)
    nodes = []
    for node in graph.nodes:
        inputs = {name: constants[name] for name in node.input if name in constants}
        if inputs and len(inputs) == len({*node.input} - {""}) and not _must_stay(node, outputs):
            value = _computed(graph, node, list(inputs.values()))
            if value.nbytes <= max(SMALL_BYTES, *(len(tensor.raw_data) for tensor in inputs.values())):
                constants[node.output[0]] = numpy_helper.from_array(value, node.output[0])
                graph.initializers.append(constants[node.output[0]])
                continue
        nodes.append(node)
    graph.nodes[:] = nodes


def _must_stay(node: NodeProto, outputs: Collection[str]) -> bool:
    return node.op_type in RANDOM or len(node.output) != 1 or node.output[0] in outputs


def _computed(graph: GraphBuilder, node: NodeProto, inputs: Sequence[TensorProto]) -> Array:
    (name,) = node.output
    body = helper.make_graph([node], "constant", [], [graph.inferred(name)], inputs)
    proto = helper.make_model(body, opset_imports=[graph.opset_id], ir_version=graph.ir_version)
    return run_reference(cast(bytes, proto.SerializeToString()), {})[name]


def _leave_out_neutral(graph: GraphBuilder, outputs: Collection[str], named: Collection[str]) -> None:
    """Leave out what multiplies by the number 1 or adds the number 0."""
    constants, makers, readers = _constants(graph), _makers(graph), _readers(graph)
    renamed: dict[str, str] = {}
    nodes = []
    for node in graph.nodes:
        node.input[:] = [renamed.get(name, name) for name in node.input]
        value = _passed_on(graph, node, constants)
        if value is None:
            nodes.append(node)
            continue
        result, maker = node.output[0], makers.get(value)
        if result in named and value not in named and maker is not None and readers[value] == 1:
            maker.output[0] = result  # a layer's value keeps its name
            makers[result] = maker
        elif result in outputs:
            nodes.append(node)
        else:
            renamed[result] = value
            readers[value] += readers[result] - 1
    graph.nodes[:] = nodes


def _passed_on(graph: GraphBuilder, node: NodeProto, constants: dict[str, TensorProto]) -> str | None:
    """The input that a node gives as it is; None if it computes something."""
    if node.op_type not in NEUTRAL:
        return None
    given = list(node.input)
    for value, other in (given, given[::-1]) if node.op_type in COMMUTATIVE else (given,):
        if other not in constants or value in constants:
            continue
        if math.prod(constants[other].dims) > 1:
            continue  # of a layer's weights, which happen to be so: an import looks for them
        same = graph.inferred(value).type == graph.inferred(node.output[0]).type
        if same and np.all(numpy_helper.to_array(constants[other]) == NEUTRAL[node.op_type]):
            return str(value)
    return None


def _fold_normalisations(graph: GraphBuilder, outputs: Collection[str]) -> None:
    """Fold each BatchNormalization whose input one product with constant weights gives, and nothing else reads."""
    constants, makers, readers = _constants(graph), _makers(graph), _readers(graph)
    nodes = []
    for node in graph.nodes:
        product = makers.get(node.input[0]) if _predicts(node) else None
        alone = product is not None and readers[node.input[0]] == 1 and node.input[0] not in outputs
        if product is not None and alone and _fold(graph, product, node, constants, readers):
            makers[node.output[0]] = product
        else:
            nodes.append(node)
    graph.nodes[:] = nodes


def _predicts(node: NodeProto) -> bool:
    """Whether it is a normalisation with the statistics that it is given."""
    return node.op_type == "BatchNormalization" and len(node.output) == 1 and not _attribute(node, "training_mode", 0)


def _fold(
    graph: GraphBuilder, product: NodeProto, norm: NodeProto, constants: dict[str, TensorProto], readers: Counter[str]
) -> bool:
    """Let `product` give what `norm` makes of it, as far as float32 can hold such weights; whether it does."""
    inputs = [*product.input[1:], *norm.input[1:]]
    axis = _channel_axis(product)
    if axis is None or not all(name in constants and constants[name].data_type == TensorProto.FLOAT for name in inputs):
        return False
    weight, *bias = (constants[name] for name in product.input[1:])
    gamma, beta, mean, var = (numpy_helper.to_array(constants[name]).astype(np.float64) for name in norm.input[1:])
    if any(list(one.dims) != [weight.dims[axis]] for one in bias):
        return False
    old = numpy_helper.to_array(weight)
    with np.errstate(all="ignore"):  # what comes of it is looked at
        scale = scale_of(gamma, var, float(_attribute(norm, "epsilon", 1e-5)))
        beside = scale.reshape([-1 if at == axis else 1 for at in range(old.ndim)])
        new = np.multiply(old, beside, out=np.empty_like(old), casting="same_kind")
        offset = bias_of(scale, numpy_helper.to_array(bias[0]) if bias else 0.0, mean, beta).astype(np.float32)
    if not np.isfinite(offset).all() or not _keeps_digits(old, new, axis):
        return False
    names = f"{product.name}.folded_weight", f"{product.name}.folded_bias"
    for name, array, before in zip(names, (new, offset), (weight, bias[0] if bias else None), strict=True):
        if before is None or readers[before.name] > 1:  # layers may share their weights
            before = TensorProto()
            graph.initializers.append(before)
        before.CopyFrom(numpy_helper.from_array(array, name))
        constants[name], readers[name] = before, 1
    product.input[1:] = names
    product.output[0] = norm.output[0]
    product.doc_string += f", then {norm.doc_string}"
    return True


def _channel_axis(product: NodeProto) -> int | None:
    """The axis of its weights that the channels of its output are; None if it is no product, or another one."""
    if len(product.input) > 3 or "" in product.input:
        return None
    match product.op_type:
        case "Conv":
            return 0
        case "ConvTranspose":
            return 1 if _attribute(product, "group", 1) == 1 else None
        case "Gemm":
            plain = (_attribute(product, "alpha", 1), _attribute(product, "beta", 1), _attribute(product, "transA", 0))
            return (0 if _attribute(product, "transB", 0) else 1) if plain == (1, 1, 0) else None
    return None


def _keeps_digits(old: Array, new: Array, axis: int) -> bool:
    """Whether new weights are finite, and those of a channel are not too small for float32 unless all of them are 0."""
    others = tuple(at for at in range(new.ndim) if at != axis)
    largest, before = np.abs(new).max(axis=others), np.abs(old).max(axis=others)
    return bool(np.all((largest >= LEAST) & np.isfinite(largest) | (before == 0)))


def _attribute(node: NodeProto, name: str, default: float) -> float:
    found = next((attribute for attribute in node.attribute if attribute.name == name), None)
    return default if found is None else cast(float, helper.get_attribute_value(found))


def _constants(graph: GraphBuilder) -> dict[str, TensorProto]:
    return {tensor.name: tensor for tensor in graph.initializers}


def _makers(graph: GraphBuilder) -> dict[str, NodeProto]:
    return {name: node for node in graph.nodes for name in node.output}


def _readers(graph: GraphBuilder) -> Counter[str]:
    """How many inputs of nodes each value is."""
    return Counter(name for node in graph.nodes for name in node.input)
