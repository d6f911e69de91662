"""Reading ONNX files that may come from anywhere: nothing but the file itself is ever read."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import onnx
from google.protobuf.message import DecodeError, Message  # type: ignore[import-untyped]  # it ships no types
from onnx import ModelProto, TensorProto, checker, shape_inference

from cnnkit.errors import OnnxError

MAX_BYTES = 2_000_000_000
"""Most bytes of an ONNX file, below the 2 GiB limit of a protobuf message."""


def load_onnx(path: str | os.PathLike[str]) -> ModelProto:
    """Read an ONNX file that keeps all its weights inside, and check it in full.

    Raises OnnxError for a file that is missing, too large, damaged, not valid ONNX, or that names other files
    (external data), wherever in the file that stands; those files are never touched.
    """
    path = Path(path)
    model = _parse(path, _read(path))
    for tensor in _tensors(model):
        if tensor.data_location == TensorProto.EXTERNAL or tensor.external_data:
            raise OnnxError(
                f"{path}: tensor {tensor.name!r} keeps its data in another file; expected all data inside the file: "
                "export it again without external data"
            )
    try:
        checker.check_model(model, full_check=True)
    except (checker.ValidationError, shape_inference.InferenceError) as error:
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


def _tensors(message: Message) -> Iterator[TensorProto]:
    """All tensors at any depth: initializers, attributes, subgraphs, functions, sparse and training data."""
    if isinstance(message, TensorProto):
        yield message
        return
    for field, value in message.ListFields():
        if field.message_type is not None:
            for item in [value] if isinstance(value, Message) else value:
                yield from _tensors(item)
