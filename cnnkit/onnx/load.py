"""Reading ONNX files that may come from anywhere: nothing but the file itself is ever read."""

from __future__ import annotations

import math
import os
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import onnx
from google.protobuf.message import DecodeError, Message  # type: ignore[import-untyped]  # it ships no types
from onnx import ModelProto, TensorProto, checker, helper, shape_inference

from cnnkit.errors import OnnxError
from cnnkit.file_kinds import ONNX, foreign
from cnnkit.layers import LAYERS
from cnnkit.user_folders import expanded

MAX_ONNX_FILE_BYTES = 2_000_000_000
"""Most bytes of an ONNX file, below the 2 GiB limit of a protobuf message."""
OPERATORS = frozenset(
    (
        *("Add", "ArgMax", "Cast", "DequantizeLinear", "Greater", "Identity", "Log", "Max", "Mul"),
        *("QuantizeLinear", "Sigmoid", "Softmax"),
    )
).union(*(cls.operators for cls in LAYERS))
"""The operators that the preprocessing, the outputs and the built-in layers are lowered to, and those of int8."""


@dataclass(frozen=True)
class Signature:
    """What a file declares of itself, as far as a caller must know it."""

    opset: int
    """Version of ONNX's own operator set; 0 if the file names none."""
    dtype: str
    """NumPy's name of the type of the input `input`; "" if there is no such input."""
    sizes: tuple[int | str, ...] | None
    """Its axes, a free one being "N"; None if they are not declared."""
    outputs: dict[str, str] = field(default_factory=dict)
    """The outputs, with NumPy's names of their types."""
    precision: str = "float32"
    """"int8" if an output depends on numbers in that, "float16" if it does on more weights in that than in float32."""

    @property
    def batch(self) -> int | None:
        """How many samples the file takes at once; None if any number, or if it does not say."""
        return self.sizes[0] if self.sizes and isinstance(self.sizes[0], int) and self.sizes[0] > 0 else None


def read_file(path: Path) -> bytes:
    """The bytes of an ONNX file. Raises OnnxError if it is missing, cannot be read, or is too large."""
    path = expanded(path)
    if not path.is_file():
        raise OnnxError(f"{path}: there is no such file")
    try:
        with path.open("rb") as file:
            data = file.read(MAX_ONNX_FILE_BYTES + 1)
    except OSError as error:
        raise OnnxError(f"cannot read {path}: {error.strerror}") from error
    if len(data) > MAX_ONNX_FILE_BYTES:
        raise OnnxError(f"{path} is larger than {MAX_ONNX_FILE_BYTES:,} bytes, the most that an ONNX file may have")
    return data


def check(data: bytes, path: str | os.PathLike[str], operators: Collection[str] = OPERATORS) -> Signature:
    """Check an ONNX file of a stranger in full, and return what it declares of itself.

    operators: those that it may use, all of ONNX's own.
    Raises OnnxError for a file that is damaged, that is not valid ONNX, that names other files (external data),
    wherever in the file that stands, or that has more than one flat graph of these operators: other operators, loops,
    branches, functions, sparse tensors. Files that it names are never touched.

    The checks of the onnx package are compiled code that a file can end or make run out of memory: call it in a process
    that may end.
    """
    signature = _check_structure(path, data, operators)
    try:
        checker.check_model(data, full_check=True)  # the bytes: what was parsed above needs no room any more
    except (checker.ValidationError, shape_inference.InferenceError, ValueError) as error:  # ValueError: not UTF-8
        raise OnnxError(f"{path} is not a valid ONNX file: {str(error).strip()}") from error
    return signature


def signature_of(model: ModelProto) -> Signature:
    """What a model declares of itself."""
    opset = next((entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx")), 0)
    kind = next((value.type.tensor_type for value in model.graph.input if value.name == "input"), None)
    outputs = {value.name: _dtype(value.type.tensor_type.elem_type) for value in model.graph.output}
    precision = _precision(model)
    if kind is None:
        return Signature(opset, "", None, outputs, precision)
    sizes = tuple(n.dim_value if n.HasField("dim_value") else "N" for n in kind.shape.dim)
    declared = sizes if kind.HasField("shape") else None
    return Signature(opset, _dtype(kind.elem_type), declared, outputs, precision)


def _precision(model: ModelProto) -> str:
    """By what the outputs are made of: float16 if most weights are in that."""
    needed, operators = {value.name for value in model.graph.output}, set()
    for node in reversed(model.graph.node):
        if needed.intersection(node.output):
            needed.update(node.input)
            operators.add(node.op_type)
    if "DequantizeLinear" in operators:
        return "int8"
    numbers = dict.fromkeys((TensorProto.FLOAT, TensorProto.FLOAT16), 0)
    for tensor in model.graph.initializer:
        if tensor.name in needed and tensor.data_type in numbers:
            numbers[tensor.data_type] += math.prod(tensor.dims)
    return "float16" if numbers[TensorProto.FLOAT16] > numbers[TensorProto.FLOAT] else "float32"


def _dtype(kind: int) -> str:
    try:
        return str(helper.tensor_dtype_to_np_dtype(kind).name)
    except KeyError:
        return f"type {kind}"


def _check_structure(path: str | os.PathLike[str], data: bytes, operators: Collection[str]) -> Signature:
    model = parse(path, data)
    for tensor in _tensors(model):
        if tensor.data_location == TensorProto.EXTERNAL or tensor.external_data:
            raise OnnxError(
                f"{path}: tensor {tensor.name!r} keeps its data in another file; expected all data inside the file: "
                "export it again without external data"
            )
    check_flat(path, model)
    _check_operators(path, model, operators)
    return signature_of(model)


def parse(path: str | os.PathLike[str], data: bytes) -> ModelProto:
    """The message in a file. Raises OnnxError for one that is damaged or has no graph."""
    try:
        model = onnx.load_model_from_string(data)
    except DecodeError as error:
        if "alloc failed" in str(error):  # in a damaged file nothing is missing but sense
            raise MemoryError from error
        raise OnnxError(f"{path} is damaged or not an ONNX file: {foreign(data, ONNX) or error}") from error
    if not model.HasField("graph"):  # a protobuf parser accepts an empty file, and others, as an empty message
        what = foreign(data, ONNX) if data else ""
        raise OnnxError(f"{path} is damaged or not an ONNX file: {what or 'there is no graph in it'}")
    return model


def check_flat(path: str | os.PathLike[str], model: ModelProto) -> None:
    """Refuse what could run forever: after this, each node of the file is executed once."""
    if model.functions:
        raise OnnxError(f"{path} defines its own operators; expected only operators that ONNX itself defines")
    if model.training_info:
        raise OnnxError(f"{path} has graphs for training; expected one graph, for prediction")
    if model.graph.sparse_initializer:
        raise OnnxError(f"{path} has sparse initializers; expected dense ones")
    for node in model.graph.node:
        if node.domain not in ("", "ai.onnx"):
            raise OnnxError(
                f"{path}: node {node.name!r} is {node.domain}.{node.op_type}; expected only operators that ONNX itself "
                "defines"
            )
        for attribute in node.attribute:
            if attribute.HasField("g") or attribute.graphs:
                raise OnnxError(
                    f"{path}: node {node.name!r} ({node.op_type}) has a graph inside; expected no loops and no branches"
                )
            if attribute.HasField("sparse_tensor") or attribute.sparse_tensors:
                raise OnnxError(
                    f"{path}: node {node.name!r} ({node.op_type}) has a sparse tensor inside; expected dense ones"
                )


def _check_operators(path: str | os.PathLike[str], model: ModelProto, operators: Collection[str]) -> None:
    """Refuse operators that no export of the model needs: some reach programs or settings of the machine."""
    used = {node.op_type for node in model.graph.node}
    if others := sorted(shown(name) for name in used - set(operators)):
        raise OnnxError(
            f"{path} uses {', '.join(others)}; of a file that is not the model's own export, only the operators that "
            f"layers are exported with are run: {', '.join(sorted(operators))}"
        )


def shown(name: str | bytes) -> str:
    """A name of a stranger's for a message; what is not UTF-8 comes as bytes."""
    return str(name) if isinstance(name, str) and name.isidentifier() else repr(name)


def _tensors(message: Message) -> Iterator[TensorProto]:
    """All tensors at any depth: initializers, attributes, subgraphs, functions, sparse and training data."""
    if isinstance(message, TensorProto):
        yield message
        return
    for descriptor, value in message.ListFields():
        if descriptor.message_type is not None:
            for item in [value] if isinstance(value, Message) else value:
                yield from _tensors(item)
