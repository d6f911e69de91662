"""What an ONNX file holds, read without building it: enough to tell whether it is an own export, and can be built."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple, cast

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
from cnnkit.onnx.outputs import NAMES, given_by, possible_outputs

METADATA = {
    ModelProto.PRODUCER_NAME_FIELD_NUMBER,
    ModelProto.PRODUCER_VERSION_FIELD_NUMBER,
    ModelProto.METADATA_PROPS_FIELD_NUMBER,
}
"""The fields of a file that say where it comes from, and nothing of what it computes."""
MAX_FIELDS, MAX_SCANNED_FIELDS, MAX_NESTED_FIELDS = 10_000, 200_000, 1_000_000
"""Most fields of a model that are looked at, each operator set or entry of the metadata being one; most that are looked
through for what the file declares, each node and weight being one, which takes a second; and most at any depth of a
file that is built: two bytes of a file may become hundreds in memory."""
MAX_ENTRY_BYTES = 4096
"""Most bytes of an operator set, or of the declaration of an input or output, that are looked at."""


class _Field(NamedTuple):
    number: int
    whole: memoryview
    """The field as it stands in the file."""
    value: memoryview


class _TooManyFieldsError(ValueError):
    """There are more fields than are looked at."""


class _Budget:
    """How many more fields are looked at, at all depths together."""

    def __init__(self, most: int) -> None:
        self._most = self._left = most

    def spend(self) -> None:
        """Count a field. Raises ValueError if it is one too many."""
        self._left -= 1
        if self._left < 0:
            raise _TooManyFieldsError(f"it has more than {self._most:,} fields")


@dataclass(frozen=True)
class Declaration:
    """What a file declares of itself, as far as an export of the model is chosen by it."""

    opset: int = 0
    """The version of ONNX's own operator set; 0 if it names none."""
    kind: int = TensorProto.UNDEFINED
    """Of the numbers of the input, as ONNX counts them."""
    batch: int | None = None
    """How many samples it takes at once; None if any number."""
    outputs: frozenset[str] = frozenset()
    """Those of its outputs that an export may have."""


def declaration_of(data: bytes, path: str | os.PathLike[str]) -> Declaration:
    """What a file declares, read in one pass that keeps nothing else; of a damaged one what stands before the damage.

    Whatever else reads the file later, such as a process apart, must have found the same batch.
    Raises OnnxError for a batch that no export can have, or for more fields than are looked through.
    """
    opset, input_type, outputs = 0, None, set()
    budget = _Budget(MAX_SCANNED_FIELDS)
    try:
        for field in _fields(data, budget):
            if field.number == ModelProto.OPSET_IMPORT_FIELD_NUMBER and not opset:
                opset = _opset(field.value)
            elif field.number == ModelProto.GRAPH_FIELD_NUMBER:
                for part in _fields(field.value, budget):
                    if part.number == GraphProto.OUTPUT_FIELD_NUMBER:
                        outputs |= {_name(part.value, budget)} & NAMES
                    elif part.number == GraphProto.INPUT_FIELD_NUMBER and input_type is None:
                        input_type = _input_type(part.value, budget)
    except _TooManyFieldsError as error:
        raise OnnxError(f"{path} is not read: {error}") from None
    except (ValueError, DecodeError):
        pass  # what is wrong with it is said where it is parsed
    if input_type is None:
        return Declaration(opset, outputs=frozenset(outputs))
    first = next(iter(input_type.shape.dim), None)
    batch = first.dim_value if first is not None and first.HasField("dim_value") else None
    if batch is not None and not 1 <= batch <= MAX_BATCH:
        raise OnnxError(f"{path} takes batches of {batch:,} samples; expected 1 to {MAX_BATCH:,}, or any number")
    return Declaration(opset, input_type.elem_type, batch, frozenset(outputs))


def exports(declared: Declaration, model: Network) -> Iterator[ModelProto]:
    """The exports of the model that a file could be, folded and not, with all else as the file declares it.

    There are none of a model that has a layer which the file's operator set cannot express.
    """
    opset = min(max(declared.opset, MIN_OPSET), MAX_OPSET)
    dtype = "float32" if declared.kind == TensorProto.FLOAT else model.input_dtype
    names = given_by(possible_outputs(model), declared.outputs) or None
    for fold in (True, False):
        try:
            proto = to_onnx(model, opset=opset, batch=declared.batch, outputs=names, fold=fold, input_dtype=dtype)
        except OnnxError:
            continue
        yield proto


def metadata_entry(data: bytes, key: str, most: int) -> str | None:
    """The value of an entry of a file's metadata, the first of its key; None if there is none.

    Raises OnnxError if it has more than so many bytes, or is no text.
    """
    try:
        budget = _Budget(MAX_FIELDS)
        for field in _fields(data, budget):
            if field.number != ModelProto.METADATA_PROPS_FIELD_NUMBER:
                continue
            parts = {part.number: part.value for part in _fields(field.value, budget)}
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
        for field in _fields(data, _Budget(MAX_FIELDS)):
            if field.number not in METADATA:
                hashed.update(field.whole)
    except ValueError:
        return ""
    return hashed.hexdigest()


def _opset(entry: memoryview) -> int:
    """The version of an operator set if it is ONNX's own, else 0."""
    if len(entry) > MAX_ENTRY_BYTES:
        return 0
    found = OperatorSetIdProto.FromString(bytes(entry))
    return int(found.version) if found.domain in ("", "ai.onnx") else 0


def _input_type(value: memoryview, budget: _Budget) -> TypeProto.Tensor | None:
    """The type of the input `input`; None of others, and of one that is too long to be read."""
    if len(value) > MAX_ENTRY_BYTES or _name(value, budget) != "input":
        return None
    return cast(TypeProto.Tensor, ValueInfoProto.FromString(bytes(value)).type.tensor_type)


def _name(value: memoryview, budget: _Budget) -> str:
    """The name of an input or output."""
    parts = {part.number: part.value for part in _fields(value, budget)}
    name = parts.get(ValueInfoProto.NAME_FIELD_NUMBER, memoryview(b""))
    return str(name[:MAX_ENTRY_BYTES], "utf-8", "replace")


def check_building(path: str | os.PathLike[str], data: bytes) -> None:
    """Raise OnnxError for a file that is damaged, or that has more fields than should be built in memory."""
    budget = _Budget(MAX_NESTED_FIELDS)
    try:
        open_messages = [(ModelProto.DESCRIPTOR, _fields(data, budget))]
        while open_messages:
            kind, fields = open_messages[-1]
            field = next(fields, None)
            if field is None:
                open_messages.pop()
                continue
            inner = kind.fields_by_number.get(field.number)
            if inner is not None and inner.message_type is not None:
                open_messages.append((inner.message_type, _fields(field.value, budget)))
    except ValueError as error:
        raise OnnxError(f"{path} is damaged or not an ONNX file: {foreign(data, ONNX) or error}") from None


def _fields(data: bytes | memoryview, budget: _Budget) -> Iterator[_Field]:
    """The outermost fields of a protobuf message. Raises ValueError if it is damaged or the budget is spent.

    Source: https://protobuf.dev/programming-guides/encoding
    """
    view, at = memoryview(data), 0
    while at < len(view):
        start = at
        budget.spend()
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
