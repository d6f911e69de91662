"""Everything in a graph that does not depend on its inputs, computed once: sizes, and weights in another form."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from cnnkit.errors import OnnxError
from cnnkit.onnx.importing.attributes import called, integer, naming, number, whole_numbers
from cnnkit.onnx.importing.batch_axis import reshaped
from cnnkit.onnx.importing.constant_arithmetic import Allowance
from cnnkit.onnx.importing.constant_operators import OPERATORS
from cnnkit.onnx.importing.foreign_graph import Attribute, ForeignGraph, ForeignNode
from cnnkit.onnx.importing.free_sizes import SAMPLES, Free, Size, named, numbers, of_names, product
from cnnkit.onnx.importing.tensors import dtype_of
from cnnkit.onnx.importing.value_sizes import Known, sizes_of
from cnnkit.types import Array

Dtype = np.dtype[Any]

GROWTH, FURTHER, ROOM = 1_000, 4, 128 * 2**20
"""Bytes that folding may read and write: so many times those of the file's constants below 1 GiB, so many times
beyond that, and some in any case."""
MOST = 2**30
KEPT, FREE = 16, 64 * 2**20
"""Bytes that computed constants may have together: so many times those of the file's, and some in any case."""
LARGEST = 2**31
"""Largest axis of a value: what no memory holds is refused where it begins."""


def fold_constants(graph: ForeignGraph) -> ForeignGraph:
    """The graph without nodes of constants alone, with the sizes of its values, and without what nothing needs.

    Shapes that are computed, as in Shape, Gather, Concat, Reshape, become constants in which 0 or -1 stands for the
    batch axis, and 0 in the sizes of a Resize and 1 in those of an Expand. Identity goes, and Dropout of a constant.
    Raises OnnxError, naming the node, for constants that cannot be computed, or that take more memory or time than a
    file of this size may.
    """
    folding = _Folding(graph)
    with np.errstate(all="ignore"):  # a division by zero gives infinity, as in every runtime
        for node in graph.nodes:
            with naming(node):
                folding.take(node)
    return without_unused(folding.result())


def without_unused(graph: ForeignGraph) -> ForeignGraph:
    """The graph without nodes and constants from which no output follows."""
    needed, nodes = {value.name for value in graph.outputs}, []
    for node in reversed(graph.nodes):
        if needed.intersection(node.outputs):
            nodes.append(node)
            needed.update(node.inputs)
    constants = {name: array for name, array in graph.constants.items() if name in needed}
    return dataclasses.replace(graph, nodes=nodes[::-1], constants=constants)


class _Folding:
    """One walk over the nodes: what is constant, which sizes are known, and what is left."""

    def __init__(self, graph: ForeignGraph) -> None:
        self._graph = graph
        self._values = dict(graph.constants)
        """Constants, and arrays of objects: sizes of which some are free."""
        self._sizes: dict[str, tuple[Size, ...] | None] = {
            **{value.name: of_names(value.sizes) for value in graph.inputs if value.sizes is not None},
            **{name: array.shape for name, array in graph.constants.items()},
        }
        self._types: dict[str, Dtype] = {}
        """Of those arrays, the types in which the file has them: TensorFlow counts in int32."""
        self._taken = {name for node in graph.nodes for name in node.inputs} | {value.name for value in graph.outputs}
        """Values that something needs."""
        self._same: dict[str, str] = {}
        """Values that are others: the outputs of Identity."""
        self._nodes: list[ForeignNode] = []
        given = sum(array.nbytes for array in graph.constants.values())
        self._allowance = Allowance(min(GROWTH * given, FURTHER * given + MOST) + ROOM)
        self._kept = Allowance(KEPT * given + FREE)
        self._made = 0
        self._names = self._taken.union(graph.constants, *(node.outputs for node in graph.nodes))

    def take(self, node: ForeignNode) -> None:
        """Take the next node: compute it, leave it out, or keep it."""
        node = dataclasses.replace(node, inputs=[self._same.get(name, name) for name in node.inputs])
        if node.operator == "Dropout":
            self._check_dropout(node)
        if _gives_its_input(node, self._values):
            self._same[node.outputs[0]] = node.inputs[0]
            return
        if self._graph.opset < 7:
            node = self._with_broadcast_shape(node)
        shapes = [self._sizes.get(name) for name in node.inputs]
        if node.operator in ("Shape", "Size") and shapes and shapes[0] is not None:
            self._set(node, [_shape(node, shapes[0])])
        given = [self._values.get(name) for name in node.inputs]
        if node.operator == "Reshape" and given and given[0] is None:
            node = self._reshape(node, shapes[0])
        else:
            if node.operator in ("Resize", "Upsample", "Expand"):
                node = self._with_numbers(node, shapes[0] if shapes else None)
            self._fold_or_keep(node, shapes)
        if not self._is_known(node):
            self._nodes.append(node)

    def result(self) -> ForeignGraph:
        """The graph that is left."""
        outputs = {value.name for value in self._graph.outputs}
        for name in outputs:
            if (source := self._same.get(name)) is not None:  # an output keeps its name
                self._nodes.append(ForeignNode("Identity", f"Identity of {name}", [source], [name]))
                self._sizes[name] = self._sizes.get(source)
        for name, array in self._values.items():
            if array.dtype == np.object_ and name in outputs:
                raise OnnxError(f"the output {name!r:.100} is a number of samples; expected what a network computes")
        constants = {name: array for name, array in self._values.items() if array.dtype != np.object_}
        sizes = {name: named(shape) for name, shape in self._sizes.items() if shape is not None}
        return dataclasses.replace(self._graph, nodes=self._nodes, constants=constants, sizes=sizes)

    def _is_known(self, node: ForeignNode) -> bool:
        """Whether all that a node gives is constant; an output without a name is left out."""
        return all(name in self._values for name in node.outputs if name)

    def _fold_or_keep(self, node: ForeignNode, shapes: Sequence[tuple[Size, ...] | None]) -> None:
        given = [self._values.get(name) for name in node.inputs]
        if node.operator in OPERATORS and all(
            array is not None or not name for array, name in zip(given, node.inputs, strict=True)
        ):
            self._fold(node, given)
        if not self._is_known(node):
            known = Known(node, self._graph.opset, shapes, given)
            for name, shape in zip(node.outputs, sizes_of(known), strict=True):
                self._keep_sizes(node, name, shape)

    def _fold(self, node: ForeignNode, given: Sequence[Array | None]) -> None:
        free = any(array is not None and array.dtype == np.object_ for array in given)
        try:
            self._set(node, OPERATORS[node.operator](node, given, self._allowance))
        except TypeError as error:
            if not free:  # else what follows from the size of a free axis is not known, either
                raise OnnxError(f"{called(node)} cannot be computed: {error}") from error
        except (ArithmeticError, ValueError, IndexError) as error:
            raise OnnxError(f"{called(node)} cannot be computed: {error}") from error
        except MemoryError:
            raise OnnxError(f"{called(node)} needs more memory than there is") from None

    def _set(self, node: ForeignNode, arrays: Sequence[Array]) -> None:
        if len(arrays) != len(node.outputs):
            raise OnnxError(f"{called(node)} has {len(node.outputs)} outputs; expected {len(arrays)}")
        for name, array in zip(node.outputs, arrays, strict=True):
            if not name:
                continue
            if array.dtype == np.object_:
                self._types[name] = self._type_of_sizes(node)
                if all(isinstance(one, int) for one in array.ravel()):
                    array = array.astype(self._types[name])
            if array.dtype == np.object_ and not all(isinstance(one, int | Free | None) for one in array.ravel()):
                raise OnnxError(f"{called(node)} mixes sizes with other numbers; expected whole numbers")
            self._kept.take(node, array.shape, array.itemsize)
            self._values[name] = array
            self._sizes[name] = array.shape

    def _type_of_sizes(self, node: ForeignNode) -> Dtype:
        """In which type the file has the sizes that a node gives."""
        if node.operator == "Cast":
            return np.dtype(dtype_of(integer(node, "to", 0), called(node)))
        return next((self._types[name] for name in node.inputs if name in self._types), np.dtype(np.int64))

    def _keep_sizes(self, node: ForeignNode, name: str, shape: tuple[Size, ...] | None) -> None:
        for size in shape or ():
            if isinstance(size, int) and not 0 <= size <= LARGEST:
                raise OnnxError(f"{called(node)} gives an axis of {size:,}; expected 0 to {LARGEST:,}")
        if name:
            self._sizes[name] = shape

    def _check_dropout(self, node: ForeignNode) -> None:
        """Raise OnnxError for a Dropout that drops numbers in a prediction, or that tells which it would drop."""
        if any(mask in self._taken for mask in node.outputs[1:2] if mask):
            raise OnnxError(f"{called(node)} gives a mask that is used; expected none in a prediction")
        if self._graph.opset < 7 and not integer(node, "is_test", 0) and number(node, "ratio", 0.5) > 0:
            raise OnnxError(f"{called(node)} drops numbers, as is_test=0 says; expected a model for prediction")
        if len(node.inputs) > 2 and node.inputs[2]:
            training = self._values.get(node.inputs[2])
            if training is None or bool(training.any()):
                raise OnnxError(f"{called(node)} drops numbers; expected a model that is exported for prediction")

    def _with_broadcast_shape(self, node: ForeignNode) -> ForeignNode:
        """Below operator set 7, `axis` says where the shape of the second input is in that of the first one."""
        if node.attributes.get("broadcast") != 1 or len(node.inputs) != 2:
            return node
        array, shape = self._values.get(node.inputs[1]), self._sizes.get(node.inputs[0])
        axis = integer(node, "axis", -1)
        if axis == -1:  # the last axes
            axis = 0 if array is None or shape is None else len(shape) - array.ndim
        if array is None or shape is None or not 0 <= axis <= len(shape) - array.ndim:
            raise OnnxError(f"{called(node)} aligns its inputs at axis {axis}; expected a constant that fits there")
        name = self._constant(node, array.reshape((*array.shape, *[1] * (len(shape) - axis - array.ndim))))
        kept = {key: value for key, value in node.attributes.items() if key not in ("axis", "broadcast")}
        return dataclasses.replace(node, inputs=[node.inputs[0], name], attributes=kept)

    def _reshape(self, node: ForeignNode, given: tuple[Size, ...] | None) -> ForeignNode:
        """A Reshape to constant sizes, with 0 or -1 for the batch, if that is possible."""
        told = self._values.get(node.inputs[1]) if len(node.inputs) > 1 else None
        if told is None:
            return node
        if told.dtype != np.object_:
            whole_numbers(node, told, "a shape")
        target: list[Size] = [one if one is None or isinstance(one, Free) else int(one) for one in told.ravel()]
        if any(isinstance(size, int) and size < -1 for size in target):
            raise OnnxError(f"{called(node)} has a negative size in its shape {target!s:.200}")
        if not integer(node, "allowzero", 0):
            for at, size in enumerate(target):
                if size == 0:
                    target[at] = given[at] if given is not None and at < len(given) else None
        new, found = (None, tuple(target)) if given is None else reshaped(node, given, target, self._graph.baked_batch)
        self._keep_sizes(node, node.outputs[0], tuple(None if size == -1 else size for size in found))
        if new is None:
            return node
        attributes: dict[str, Attribute] = {} if 0 in new and SAMPLES in found else dict(node.attributes)
        name = self._constant(node, np.array(new, np.int64))
        return dataclasses.replace(node, inputs=[node.inputs[0], name], attributes=attributes)

    def _with_numbers(self, node: ForeignNode, given: tuple[Size, ...] | None) -> ForeignNode:
        """A Resize or Expand whose sizes are numbers, with one for the batch axis that keeps it."""
        keeping = 1 if node.operator == "Expand" else 0
        inputs = list(node.inputs)
        for at, name in enumerate(inputs):
            array = self._values.get(name)
            if array is not None and array.dtype == np.object_ and given is not None and array.shape == (len(given),):
                sizes = numbers(
                    [
                        keeping if isinstance(one, Free) and one == old else one
                        for one, old in zip(array, given, strict=True)
                    ]
                )
                if sizes is not None:
                    inputs[at] = self._constant(node, np.array(sizes, np.int64))
        return dataclasses.replace(node, inputs=inputs)

    def _constant(self, node: ForeignNode, array: Array) -> str:
        """The name of a new constant."""
        while (name := f"{node.outputs[0]}.constant{self._made}") in self._names:
            self._made += 1
        self._names.add(name)
        self._values[name], self._sizes[name] = array, array.shape
        return name


def _gives_its_input(node: ForeignNode, values: Mapping[str, Array]) -> bool:
    """Whether the output is the input: of Identity, and of a Dropout of what no training changes.

    Identity of a constant is another one: PyTorch writes it for a parameter that equals an earlier one.
    """
    if not node.inputs or not node.inputs[0] or not node.outputs:
        return False
    return node.operator == ("Dropout" if node.inputs[0] in values else "Identity")


def _shape(node: ForeignNode, sizes: Sequence[Size]) -> Array:
    """What Shape or Size gives: numbers, or objects where a size is free or not known."""
    if node.operator == "Size":
        return np.array(product(sizes), np.object_)
    part = sizes[slice(integer(node, "start", 0), integer(node, "end", len(sizes)))]
    found = np.empty(len(part), np.object_)
    found[:] = part
    return found
