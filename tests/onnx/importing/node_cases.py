"""The cases of single operators that the onnx package tests runtimes with: each a model, its inputs and its outputs."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from onnx import ModelProto, TensorProto, defs, numpy_helper

from cnnkit.onnx.importing.foreign_file import OPSETS
from cnnkit.types import Array


class Case(NamedTuple):
    """One of ONNX's own tests of an operator."""

    name: str
    operator: str
    model: ModelProto
    inputs: list[Array]
    outputs: list[Array]


@functools.cache
def cases() -> list[Case]:
    """All cases of one node each, with arrays alone, of an operator set that is read, or equal to one that is.

    A case of another version counts if the operator has the same inputs, outputs and attributes in one that is read.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the package computes some answers with overflows
        from onnx.backend.test.case.node import collect_testcases

        found = collect_testcases(None)
    kept = []
    for case in found:
        proto = case.model
        if proto is None or len(proto.graph.node) != 1 or proto.graph.node[0].domain not in ("", "ai.onnx"):
            continue
        operator = proto.graph.node[0].op_type
        if (opset := _readable(operator, proto.opset_import)) is None:
            continue
        proto.opset_import[0].version = opset
        for inputs, outputs in case.data_sets or []:
            if all(isinstance(one, np.ndarray | np.generic) for one in (*inputs, *outputs)):
                kept.append(
                    Case(
                        case.name,
                        operator,
                        proto,
                        [np.asarray(one) for one in inputs],
                        [np.asarray(one) for one in outputs],
                    )
                )
    return kept


def _readable(operator: str, imported: Sequence[Any]) -> int | None:
    """The version to read a case as: its own, or the nearest one that is read if the operator is the same there."""
    version = int(imported[0].version)
    nearest = min(max(version, OPSETS[0]), OPSETS[-1])
    return nearest if _signature(operator, version) == _signature(operator, nearest) else None


def _signature(operator: str, version: int) -> object:
    """What a node of the operator says, without the types of its numbers."""
    if not defs.has(operator, version):
        return None
    schema = defs.get_schema(operator, version)
    attributes = {name: (one.type, one.default_value.SerializeToString()) for name, one in schema.attributes.items()}
    values = [[(one.name, one.option) for one in side] for side in (schema.inputs, schema.outputs)]
    return values, attributes


KINDS = {
    TensorProto.FLOAT, TensorProto.DOUBLE, TensorProto.FLOAT16, TensorProto.BOOL, TensorProto.UINT8, TensorProto.INT8,
    TensorProto.UINT16, TensorProto.INT16, TensorProto.UINT32, TensorProto.INT32, TensorProto.UINT64, TensorProto.INT64,
}  # fmt: skip


def of_plain_numbers(case: Case) -> bool:
    """Whether all inputs and outputs are of types that NumPy itself computes with."""
    values = (*case.model.graph.input, *case.model.graph.output)
    return all(value.type.tensor_type.elem_type in KINDS for value in values)


def with_constants(case: Case, first: int) -> ModelProto:
    """The model of a case, with its inputs from `first` on as initializers."""
    proto = ModelProto()
    proto.CopyFrom(case.model)
    for value, array in list(zip(proto.graph.input, case.inputs, strict=False))[first:]:
        proto.graph.initializer.append(numpy_helper.from_array(array, value.name))
    return proto
