"""Reading ONNX files that may come from anywhere: nothing but the file itself is ever read."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import onnx
from google.protobuf.message import DecodeError, Message  # type: ignore[import-untyped]  # it ships no types
from onnx import ModelProto, TensorProto, checker, shape_inference

from cnnkit.errors import OnnxError
from cnnkit.writing import expanded

MAX_BYTES = 2_000_000_000
"""Most bytes of an ONNX file, below the 2 GiB limit of a protobuf message."""


def load_onnx(path: str | os.PathLike[str]) -> ModelProto:
    """Read an ONNX file that keeps all its weights inside, and check it in full.

    Raises OnnxError for a file that is missing, too large, damaged, not valid ONNX, that names other files (external
    data), wherever in the file that stands, or that has more than one flat graph of ONNX's own operators: loops,
    branches, functions. Files that it names are never touched.
    """
    path = expanded(path)
    model = _parse(path, _read(path))
    for tensor in _tensors(model):
        if tensor.data_location == TensorProto.EXTERNAL or tensor.external_data:
            raise OnnxError(
                f"{path}: tensor {tensor.name!r} keeps its data in another file; expected all data inside the file: "
                "export it again without external data"
            )
    _check_flat(path, model)
    try:
        checker.check_model(model, full_check=True)
    except (checker.ValidationError, shape_inference.InferenceError, ValueError) as error:  # ValueError: not UTF-8
        raise OnnxError(f"{path} is not a valid ONNX file: {str(error).strip()}") from error
    return model


def _read(path: Path) -> bytes:
    if not path.is_file():
        raise OnnxError(f"{path}: there is no such file")
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise OnnxError(f"cannot read {path}: {error.strerror}") from error
    if len(data) > MAX_BYTES:
        raise OnnxError(f"{path} is larger than {MAX_BYTES:,} bytes, the most that an ONNX file may have")
    return data


def _parse(path: Path, data: bytes) -> ModelProto:
    try:
        model = onnx.load_model_from_string(data)
    except DecodeError as error:
        raise OnnxError(f"{path} is damaged or not an ONNX file: {error}") from error
    if not model.HasField("graph"):  # a protobuf parser accepts an empty file, and others, as an empty message
        raise OnnxError(f"{path} is damaged or not an ONNX file: there is no graph in it")
    return model


def _check_flat(path: Path, model: ModelProto) -> None:
    """Refuse what could run for ever: after this, each node of the file is executed once."""
    if model.functions:
        raise OnnxError(f"{path} defines operators of its own; expected only operators that ONNX itself defines")
    for node in model.graph.node:
        if node.domain not in ("", "ai.onnx"):
            raise OnnxError(
                f"{path}: node {node.name!r} is {node.domain}.{node.op_type}; expected only operators that ONNX itself "
                "defines"
            )
        if any(attribute.HasField("g") or attribute.graphs for attribute in node.attribute):
            raise OnnxError(
                f"{path}: node {node.name!r} ({node.op_type}) has a graph inside; expected no loops and no branches"
            )


def _tensors(message: Message) -> Iterator[TensorProto]:
    """All tensors at any depth: initializers, attributes, subgraphs, functions, sparse and training data."""
    if isinstance(message, TensorProto):
        yield message
        return
    for field, value in message.ListFields():
        if field.message_type is not None:
            for item in [value] if isinstance(value, Message) else value:
                yield from _tensors(item)
