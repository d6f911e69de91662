"""What running an ONNX file takes, from the shapes of its values: before a runtime has it, whoever wrote it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from onnx import ModelProto, NodeProto, TensorProto, ValueInfoProto, helper, shape_inference

from cnnkit.errors import OnnxError

Shape = tuple[int, ...]
SMALL = 64
"""Numbers of an initializer whose values, as those of pads, may decide a shape."""
NODE, INPUT = 10**5, 10**3
"""Numbers that could be touched while a runtime prepares and calls a node, and for each of its inputs."""
WINDOW, ELEMENT = 20_000, 200
"""Numbers that count for a window of a pooling, and for each number in it, in an error function, or that a transposed
convolution lays down: the reference evaluator loops in Python."""
EXPENSIVE, CONVERTED = 10, 10**3
"""Numbers that count for a power, a logarithm or a product that is not float32, and for a number that becomes text."""
FREE = 10**9
"""Numbers that any file may touch in all its runs, some two seconds."""
TIMES = 10
"""How much more than the model's own export a file may touch beyond that."""
PRODUCTS = "Conv", "Gemm", "MatMul"
SLOW = {
    "BatchNormalization": EXPENSIVE,
    "Cast": CONVERTED,
    "Elu": EXPENSIVE,
    "Erf": ELEMENT,
    "Exp": EXPENSIVE,
    "Log": EXPENSIVE,
    "Pow": EXPENSIVE,
    "Selu": EXPENSIVE,
    "Sigmoid": EXPENSIVE,
    "Softmax": EXPENSIVE,
    "Tanh": EXPENSIVE,
}


@dataclass(frozen=True)
class Work:
    """What all nodes of a file do together."""

    numbers: int
    """Numbers that they touch, one after another."""
    hardest: str
    """The node that touches most, as text."""
    largest: int
    """Bytes of the largest value."""
    widest: str
    """The node that gives it, as text."""


def work_of(model: ModelProto, shape: Sequence[int]) -> Work:
    """The work of one run for an `input` of this shape, whatever the file declares of it.

    Raises OnnxError for a node that gives what no shape is known of before it runs.
    """
    inferred = shape_inference.infer_shapes(_without_weights(model, shape), data_prop=True)
    shapes = {tensor.name: tuple(tensor.dims) for tensor in model.graph.initializer}
    sizes = {tensor.name: 0 for tensor in model.graph.initializer}
    kinds = {tensor.name: tensor.data_type for tensor in model.graph.initializer}
    for value in (*inferred.graph.input, *inferred.graph.value_info, *inferred.graph.output):
        if (known := _known(value)) is not None:
            shapes.setdefault(value.name, known)
            kinds.setdefault(value.name, value.type.tensor_type.elem_type)
            sizes.setdefault(value.name, math.prod(known) * _itemsize(kinds[value.name]))
    total, most, hardest, largest, widest = 0, -1, "no node", 0, "no node"
    for node in model.graph.node:
        for name in filter(None, node.output):
            if name not in shapes:
                raise OnnxError(
                    f"{_shown(node)}: the shape of what it gives is not known before it runs; expected a file "
                    f"with an input 'input' of shape ({', '.join(map(str, shape))}), from which all shapes follow"
                )
            if sizes[name] > largest:
                largest, widest = sizes[name], _shown(node)
        numbers = _numbers(node, shapes, kinds)
        total += numbers
        if numbers > most:
            most, hardest = numbers, _shown(node)
    return Work(total, hardest, largest, widest)


@dataclass(frozen=True)
class Bounds:
    """What one run of a file may take, for inputs of a shape."""

    shape: Sequence[int]
    numbers: int
    """Numbers that the nodes may touch."""
    memory: int
    """Bytes."""

    def check(self, model: ModelProto, path: str) -> None:
        """Raise OnnxError, naming the node, for a file that would take more, and for one of which that is not known."""
        try:
            work = work_of(model, self.shape)
        except OnnxError as error:
            raise OnnxError(f"{path}: {error}") from None
        if work.largest > self.memory:
            raise OnnxError(
                f"{path}: {work.widest} gives {work.largest:,} bytes, and a run of a file of its size for this model "
                f"may take {self.memory:,}; none of it was run"
            )
        if work.numbers > self.numbers:
            raise OnnxError(
                f"{path} takes too long: a run touches about {work.numbers:,} numbers, the largest part in "
                f"{work.hardest}, and one for this model may touch {self.numbers:,}; none of it was run"
            )


def _without_weights(model: ModelProto, shape: Sequence[int]) -> ModelProto:
    """The nodes of a model, with initializers of their shape alone, and an input of that shape; nothing else."""
    found = ModelProto(ir_version=model.ir_version, opset_import=model.opset_import)
    graph = found.graph
    graph.name = "work"
    graph.node.extend(model.graph.node)
    initializers = set()
    for tensor in model.graph.initializer:
        initializers.add(tensor.name)
        if math.prod(tensor.dims) <= SMALL:
            graph.initializer.append(tensor)
        else:
            graph.input.append(helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims))
    for value in model.graph.input:
        if value.name == "input":
            graph.input.append(helper.make_tensor_value_info("input", value.type.tensor_type.elem_type, list(shape)))
        elif value.name not in initializers:
            graph.input.append(value)
    for value in model.graph.output:
        graph.output.append(ValueInfoProto(name=value.name))
    return found


def _numbers(node: NodeProto, shapes: Mapping[str, Shape], kinds: Mapping[str, int]) -> int:
    """How many numbers a node touches."""
    given = [shapes.get(name, ()) for name in node.input]
    outputs = max((math.prod(shapes[name]) for name in filter(None, node.output)), default=0)
    each = SLOW.get(node.op_type, 0)
    match node.op_type:
        case "Gemm" | "MatMul" if len(given) > 1 and given[0]:
            each = given[0][0 if node.op_type == "Gemm" and _integer(node, "transA") else -1]
        case "Conv" if len(given) > 1 and len(given[1]) > 2:
            apart = _integers(node, "dilations") or [1] * len(given[1])
            window = [(n - 1) * step + 1 for n, step in zip(given[1][2:], apart, strict=False)]
            each = given[1][1] * math.prod(window)
        case "ConvTranspose" if len(given) > 1 and len(given[1]) > 2:
            made = math.prod(given[1][1:])
            laid = made * max(1, _integer(node, "group")) * math.prod((*given[0][:1], *given[0][2:]))
            return NODE + sum(map(math.prod, given)) + outputs + made * math.prod(given[0]) + laid * ELEMENT
        case "AveragePool" | "MaxPool":
            return NODE + outputs * (WINDOW + ELEMENT * math.prod(_integers(node, "kernel_shape")))
    if node.op_type in PRODUCTS and any(kinds.get(name, TensorProto.FLOAT) != TensorProto.FLOAT for name in node.input):
        each *= EXPENSIVE
    return NODE + INPUT * len(given) + sum(map(math.prod, given)) + outputs * (1 + each)


def _integers(node: NodeProto, name: str) -> list[int]:
    return next((list(attribute.ints) for attribute in node.attribute if attribute.name == name), [])


def _integer(node: NodeProto, name: str) -> int:
    return next((int(attribute.i) for attribute in node.attribute if attribute.name == name), 0)


def _known(value: ValueInfoProto) -> Shape | None:
    """Its shape if all of it is known."""
    kind = value.type.tensor_type
    if not kind.HasField("shape") or not all(n.HasField("dim_value") for n in kind.shape.dim):
        return None
    return tuple(n.dim_value for n in kind.shape.dim)


def _itemsize(kind: int) -> int:
    try:
        return int(helper.tensor_dtype_to_np_dtype(kind).itemsize)
    except KeyError:
        return 8


def _shown(node: NodeProto) -> str:
    return f"node {node.name!r:.100} ({node.op_type})"
