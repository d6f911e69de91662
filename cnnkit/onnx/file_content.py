"""What an ONNX file holds, read without building it: enough to tell whether it is an own export, and can be built."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from typing import NamedTuple

from google.protobuf.message import DecodeError  # type: ignore[import-untyped]  # it ships no types
from onnx import (
    GraphProto,
    ModelProto,
    OperatorSetIdProto,
    StringStringEntryProto,
    TensorProto,
    TypeProto,
    ValueInfoProto,
)

from cnnkit.errors import OnnxError
from cnnkit.file_kinds import ONNX, foreign
from cnnkit.network import Network
from cnnkit.onnx.export import MAX_BATCH, MAX_OPSET, MIN_OPSET, to_onnx
from cnnkit.onnx.outputs import given_by, possible_outputs

METADATA = {
    ModelProto.PRODUCER_NAME_FIELD_NUMBER,
    ModelProto.PRODUCER_VERSION_FIELD_NUMBER,
    ModelProto.METADATA_PROPS_FIELD_NUMBER,
}
"""The fields of a file that say where it comes from, and nothing of what it computes."""
MAX_FIELDS, MAX_NESTED_FIELDS = 10_000, 1_000_000
"""Most fields of a model that are looked at, each operator set, node or entry of the metadata being one, and most at
any depth of a file that is built: two bytes of a file may become hundreds in memory."""
MAX_ENTRY_BYTES = 4096
"""Most bytes of an operator set, or of the declaration of an input or output, that are looked at."""


class _Field(NamedTuple):
    number: int
    whole: memoryview
    """The field as it stands in the file."""
    value: memoryview


def exports(data: bytes, model: Network) -> Iterator[ModelProto]:
    """The exports of the model that a file could be, folded and not, with all else as the file declares it.

    There are none of a model that has a layer which the file's operator set cannot express.
    """
    opset = min(max(_opset(data), MIN_OPSET), MAX_OPSET)
    inputs, outputs = _declared(data, GraphProto.INPUT_FIELD_NUMBER), _declared(data, GraphProto.OUTPUT_FIELD_NUMBER)
    kind = inputs["input"].tensor_type.elem_type if "input" in inputs else None
    dtype = "float32" if kind == TensorProto.FLOAT else model.input_dtype
    names = given_by(possible_outputs(model), outputs) or None
    batch = declared_batch(data)
    for fold in (True, False):
        try:
            proto = to_onnx(model, opset=opset, batch=batch, outputs=names, fold=fold, input_dtype=dtype)
        except OnnxError:
            continue
        yield proto


def declared_batch(data: bytes) -> int | None:
    """How many samples a file says that it takes at once; None if any number, or none that an export could have."""
    kind = _declared(data, GraphProto.INPUT_FIELD_NUMBER).get("input", TypeProto())
    size = next((dim.dim_value for dim in kind.tensor_type.shape.dim), 0)
    return size if 1 <= size <= MAX_BATCH else None


def metadata_entry(data: bytes, key: str, most: int) -> str | None:
    """The value of an entry of a file's metadata, the first of its key; None if there is none.

    Raises OnnxError if it has more than so many bytes, or is no text.
    """
    try:
        for field in _fields(data, MAX_FIELDS):
            if field.number != ModelProto.METADATA_PROPS_FIELD_NUMBER:
                continue
            parts = {part.number: part.value for part in _fields(field.value, MAX_FIELDS)}
            if bytes(parts.get(StringStringEntryProto.KEY_FIELD_NUMBER, b"")[:MAX_ENTRY_BYTES]) != key.encode():
                continue
            value = parts.get(StringStringEntryProto.VALUE_FIELD_NUMBER, memoryview(b""))
            if len(value) > most:
                raise OnnxError(f"its metadata {key!r} have {len(value):,} bytes, more than {most:,}")
            return str(value, "utf-8")
    except ValueError as error:  # also for bytes that are no UTF-8
        raise OnnxError(f"it is damaged, or not an ONNX file: {foreign(data, ONNX) or error}") from None
    return None


def digest(data: bytes) -> str:
    """The sha256 of what a file holds without its metadata; "" for bytes that are not ONNX file.

    Files of one digest have the same bytes in their graphs, operator sets and everything else that is executed.
    """
    hashed = hashlib.sha256()
    try:
        for field in _fields(data, MAX_FIELDS):
            if field.number not in METADATA:
                hashed.update(field.whole)
    except ValueError:
        return ""
    return hashed.hexdigest()


def _opset(data: bytes) -> int:
    """The version of ONNX's own operator set that a file names; 0 if it names none."""
    try:
        for field in _fields(data, MAX_FIELDS):
            if field.number == ModelProto.OPSET_IMPORT_FIELD_NUMBER and len(field.value) <= MAX_ENTRY_BYTES:
                entry = OperatorSetIdProto.FromString(bytes(field.value))
                if entry.domain in ("", "ai.onnx"):
                    return int(entry.version)
    except (ValueError, DecodeError):
        pass  # a damaged file has no operator set; what is wrong with it is said where it is parsed
    return 0


def _declared(data: bytes, number: int) -> dict[str, TypeProto]:
    """The types of the inputs or of the outputs, by name; of a damaged file what is found before that."""
    found: dict[str, TypeProto] = {}
    try:
        for graph in _fields(data, MAX_FIELDS):
            if graph.number != ModelProto.GRAPH_FIELD_NUMBER:
                continue
            for field in _fields(graph.value, MAX_NESTED_FIELDS):
                if field.number == number and len(field.value) <= MAX_ENTRY_BYTES:
                    value = ValueInfoProto.FromString(bytes(field.value))
                    found.setdefault(value.name, value.type)
    except (ValueError, DecodeError):
        pass
    return found


def check_building(path: str | os.PathLike[str], data: bytes) -> None:
    """Raise OnnxError for a file that is damaged, or that has more fields than should be built in memory."""
    count = 0
    try:
        open_messages = [(ModelProto.DESCRIPTOR, _fields(data, MAX_NESTED_FIELDS))]
        while open_messages:
            kind, fields = open_messages[-1]
            field = next(fields, None)
            if field is None:
                open_messages.pop()
                continue
            if (count := count + 1) > MAX_NESTED_FIELDS:
                raise ValueError(f"it has more than {MAX_NESTED_FIELDS:,} fields")
            inner = kind.fields_by_number.get(field.number)
            if inner is not None and inner.message_type is not None:
                open_messages.append((inner.message_type, _fields(field.value, MAX_NESTED_FIELDS)))
    except ValueError as error:
        raise OnnxError(f"{path} is damaged or not an ONNX file: {foreign(data, ONNX) or error}") from None


def _fields(data: bytes | memoryview, most: int) -> Iterator[_Field]:
    """The outermost fields of a protobuf message. Raises ValueError if it is damaged or has more than `most`.

    Source: https://protobuf.dev/programming-guides/encoding
    """
    view, at, count = memoryview(data), 0, 0
    while at < len(view):
        start, count = at, count + 1
        tag, at = _varint(view, at)
        number, wire_type = tag >> 3, tag & 7
        if wire_type == 0:
            _, end = _varint(view, at)
        elif wire_type == 2:
            size, at = _varint(view, at)
            end = at + size
        elif wire_type in (1, 5):
            end = at + (8 if wire_type == 1 else 4)
        else:
            raise ValueError(f"wire type {wire_type} at byte {start}")
        if count > most:
            raise ValueError(f"it has more than {most:,} fields")
        if end > len(view):
            raise ValueError(f"a field that ends at byte {end} of {len(view)}")
        yield _Field(number, view[start:end], view[at:end])
        at = end


def _varint(view: memoryview, at: int) -> tuple[int, int]:
    """A number of seven bits in each byte, the lowest first, and where it ends."""
    value = 0
    for shift in range(0, 70, 7):
        if at == len(view):
            break
        byte = view[at]
        value, at = value | (byte & 0x7F) << shift, at + 1
        if byte < 0x80:
            return value, at
    raise ValueError(f"a number that does not end at byte {at}")
