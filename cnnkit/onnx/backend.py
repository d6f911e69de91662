"""cnnkit as a backend of the onnx package: what ONNX's own tests run on the networks that an import makes.

    from cnnkit.onnx.backend import CnnkitBackend

    answers = CnnkitBackend.prepare(onnx.load("model.onnx")).run([x])

Source: https://github.com/onnx/onnx/blob/main/docs/ImplementingAnOnnxBackend.md
"""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
from onnx import ModelProto, TensorProto
from onnx.backend.base import Backend, BackendRep

from cnnkit.errors import OnnxError
from cnnkit.onnx.importing.ends import cut
from cnnkit.onnx.importing.foreign_file import graph_of
from cnnkit.onnx.importing.foreign_graph import ForeignGraph, ForeignNode, ForeignValue
from cnnkit.onnx.importing.imported import network_of, reduced
from cnnkit.types import Array

DEVICE = "CPU"
TOGETHER = "inputs side by side"
"""The one input of a network that stands for several of a model."""
POINTWISE = frozenset(
    (
        "Add", "Celu", "Clip", "Div", "Dropout", "Elu", "Gelu", "HardSigmoid", "HardSwish", "LeakyRelu", "Max", "Mean",
        "Min", "Mish", "Mul", "Neg", "PRelu", "Pow", "Relu", "Selu", "Sigmoid", "Softplus", "Softsign", "Sub", "Sum",
        "Swish", "Tanh",
    )
)  # fmt: skip
"""Operators that give the same with one more axis in front."""


class CnnkitBackend(Backend):
    """Models in memory, each imported as a network and run by cnnkit's engine."""

    @classmethod
    def is_compatible(cls, model: ModelProto, device: str = DEVICE, **_: Any) -> bool:
        """Whether the outputs are of float32, as those of a network are; operators are checked when it is prepared."""
        kinds = {value.type.tensor_type.elem_type for value in model.graph.output}
        return cls.supports_device(device) and kinds == {TensorProto.FLOAT}

    @classmethod
    def prepare(cls, model: ModelProto, device: str = DEVICE, **_: Any) -> Prepared:
        """The model, ready to be run. Raises OnnxError for one that cannot be read."""
        if not cls.supports_device(device):
            raise OnnxError(f"expected the device {DEVICE}, got {device!r}")
        return Prepared(graph_of(cast(bytes, model.SerializeToString()), Path("the model")))

    @classmethod
    def supports_device(cls, device: str) -> bool:
        """Whether it is the processor, the only one that cnnkit computes on."""
        return device == DEVICE


class Prepared(BackendRep):
    """A model that is run on any inputs.

    A network takes one input, and a model has as many as it likes. All but the first become constants where layers take
    them so, as weights; else those with a batch axis stand side by side in one. A vector is one sample where its only
    axis need not be that of the batch.
    """

    def __init__(self, graph: ForeignGraph) -> None:
        self._graph = graph

    def run(self, inputs: Any, **_: Any) -> tuple[Array, ...]:
        """The outputs for arrays in the order of the model's inputs, or for a single one.

        Raises OnnxError for a wrong number of inputs, and for what no layer does.
        """
        arrays = [inputs] if isinstance(inputs, np.ndarray) else list(inputs)
        names = [value.name for value in self._graph.inputs]
        if len(arrays) > len(names):
            raise OnnxError(f"expected {len(names)} inputs, got {len(arrays)}")
        given = {name: np.asarray(array) for name, array in zip(names, arrays, strict=False)}
        pointwise = all(node.operator in POINTWISE for node in self._graph.nodes)
        if pointwise and max((array.ndim for array in given.values()), default=0) == 1:
            given = {name: array[None] if array.ndim else array for name, array in given.items()}
            return tuple(self._answer(value.name, given)[0] for value in self._graph.outputs)
        return tuple(self._answer(value.name, given) for value in self._graph.outputs)

    def _answer(self, output: str, given: Mapping[str, Array]) -> Array:
        values = [name for name, array in given.items() if array.dtype == np.float32 and array.ndim > 1]
        try:
            return _run(_with_constants(self._graph, given, values[:1]), output, given)
        except OnnxError as error:
            together = [name for name in values if len(given[name]) == len(given[values[0]])]
            if len(together) < 2:
                raise
            x = np.concatenate([given[name].reshape(len(given[name]), -1) for name in together], axis=1)
            try:
                return _run(_side_by_side(self._graph, given, together), output, {TOGETHER: x})
            except OnnxError as other:
                raise other from error


def _run(graph: ForeignGraph, output: str, given: Mapping[str, Array]) -> Array:
    chosen = cut(graph, output)
    model, translated = network_of(reduced(graph, chosen), chosen)
    x = given[translated.inputs[0].name]
    y = model.outputs(np.moveaxis(x, -1, 1) if translated.transposed_inputs else x)
    return np.moveaxis(y, 1, -1) if translated.transposed_output else y


def _with_constants(graph: ForeignGraph, given: Mapping[str, Array], inputs: Sequence[str]) -> ForeignGraph:
    """The graph with these inputs, in the shapes that are given; all others are constants."""
    found = copy.copy(graph)
    found.inputs = [ForeignValue(name, given[name].dtype.name, given[name].shape) for name in inputs]
    found.constants = {**graph.constants, **{name: array for name, array in given.items() if name not in inputs}}
    found.nodes = list(graph.nodes)
    return found


def _side_by_side(graph: ForeignGraph, given: Mapping[str, Array], together: Sequence[str]) -> ForeignGraph:
    """The graph with one input that has the numbers of several, sample by sample."""
    found = _with_constants(graph, given, together)
    counts = [math.prod(given[name].shape[1:]) for name in together]
    flat = [f"{name} flat" for name in together]
    nodes = [ForeignNode("Split", "inputs", [TOGETHER], flat, {"axis": 1, "split": counts})]
    for name, part in zip(together, flat, strict=True):
        found.constants[f"shape of {name}"] = np.array([0, *given[name].shape[1:]], np.int64)
        nodes.append(ForeignNode("Reshape", name, [part, f"shape of {name}"], [name]))
    found.nodes = [*nodes, *graph.nodes]
    found.inputs = [ForeignValue(TOGETHER, "float32", (len(given[together[0]]), sum(counts)))]
    return found
