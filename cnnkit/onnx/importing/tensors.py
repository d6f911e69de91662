"""The tensors of an ONNX file as arrays, checked before memory is taken for them."""

from __future__ import annotations

import math

import numpy as np
from onnx import TensorProto, helper, numpy_helper

from cnnkit.errors import OnnxError
from cnnkit.onnx.importing.external_data import DataFiles
from cnnkit.types import Array

TYPES = frozenset(
    (
        "bool",
        *(f"float{bits}" for bits in (16, 32, 64)),
        *(f"{kind}{bits}" for kind in ("int", "uint") for bits in (8, 16, 32, 64)),
    )
)
"""NumPy's names of the types that are read: numbers that NumPy itself computes with."""
MAX_AXES = 32
"""Axes of a tensor; NumPy has at most 64 of them, in version 1 32."""
FIELDS = "float_data", "double_data", "int32_data", "int64_data", "uint64_data"
"""Where a tensor has its numbers if not as bytes."""
FIELD_OF = {
    "float32": "float_data",
    "float64": "double_data",
    "int64": "int64_data",
    "uint32": "uint64_data",
    "uint64": "uint64_data",
}
"""Which of them those of a type are in; all others are in int32_data."""


def dtype_of(kind: int, where: str) -> str:
    """NumPy's name of a type of ONNX's. Raises OnnxError for one that is not read, such as text."""
    try:
        name = np.dtype(helper.tensor_dtype_to_np_dtype(kind)).name
    except KeyError:
        name = f"type {kind}"
    if name not in TYPES:
        known = TensorProto.DataType.Name(kind) if kind in TensorProto.DataType.values() else kind
        raise OnnxError(f"{where} is of type {known}; expected one of {', '.join(sorted(TYPES))}")
    return name


def array_of(tensor: TensorProto, where: str, files: DataFiles | None) -> Array:
    """The numbers of a tensor; where: what messages call it; files: None for a model that is no file.

    Raises OnnxError for a tensor whose data are not as many as its shape says, or of a type that is not read.
    """
    dtype = np.dtype(dtype_of(tensor.data_type, where))
    shape = tuple(tensor.dims)
    if len(shape) > MAX_AXES or any(n < 0 for n in shape):
        raise OnnxError(f"{where} has shape {shape!s:.200}; expected at most {MAX_AXES} axes, none negative")
    if tensor.HasField("segment"):
        raise OnnxError(f"{where} is a part of a tensor; expected whole ones")
    count = math.prod(shape)
    if tensor.data_location == TensorProto.EXTERNAL or tensor.external_data:
        if files is None:
            raise OnnxError(f"{where} keeps its data in another file; expected a model with all data inside")
        if tensor.HasField("raw_data"):
            raise OnnxError(f"{where} has its data both in the file and in another one; expected one place")
        raw: bytes | memoryview = files.bytes_of(tensor, count * dtype.itemsize)
        return np.frombuffer(raw, dtype.newbyteorder("<")).reshape(shape).astype(dtype, copy=False)
    fields = [name for name in FIELDS if len(getattr(tensor, name))]
    given = sum(len(getattr(tensor, name)) for name in fields)
    if tensor.HasField("raw_data"):
        if fields or len(tensor.raw_data) != count * dtype.itemsize:
            raise OnnxError(
                f"{where} has {len(tensor.raw_data) + given:,} bytes for shape {shape}; expected {count} numbers of "
                f"{dtype.itemsize}: the file is damaged"
            )
        return np.frombuffer(tensor.raw_data, dtype.newbyteorder("<")).reshape(shape).astype(dtype, copy=False)
    if fields and fields != [FIELD_OF.get(dtype.name, "int32_data")]:
        raise OnnxError(
            f"{where} has {given:,} numbers in {' and '.join(fields)}; expected those of {dtype.name} in "
            f"{FIELD_OF.get(dtype.name, 'int32_data')}"
        )
    if given != count:
        raise OnnxError(f"{where} has {given:,} numbers for shape {shape}; expected {count}: the file is damaged")
    return np.asarray(numpy_helper.to_array(tensor)).astype(dtype, copy=False)
