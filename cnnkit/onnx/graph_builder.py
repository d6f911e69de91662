"""The graph builder that layers lower themselves into: ONNX nodes and initializers with readable names."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx
from onnx import NodeProto, TensorProto, TypeProto, ValueInfoProto, checker, defs, helper, numpy_helper, shape_inference

from cnnkit.errors import OnnxError
from cnnkit.types import Array, Shape

BATCH = "N"
"""Name of the batch axis where it is dynamic."""


class GraphBuilder:
    """Collects ONNX nodes one after another, each checked against its operator as it is added.

    What is added after `begin("conv2d_1", ...)` belongs to that layer: its values are named `conv2d_1`, `conv2d_1.1`,
    and so on, its parameters `conv2d_1.weight`, its other arrays `conv2d_1.constant_1`.
    """

    def __init__(self, opset: int, batch: int | None = None) -> None:
        """batch: how many samples the graph takes at once; any number if None."""
        self.nodes: list[NodeProto] = []
        self.initializers: deque[TensorProto] = deque()
        self.opset_id = helper.make_opsetid("", opset)
        self._batch = BATCH if batch is None else batch
        # The lowest IR version that knows this opset, so that older runtimes load the file too.
        self.ir_version = helper.find_min_ir_version_for([self.opset_id])
        self._types: dict[str, TypeProto] = {}
        self._lists: dict[str, TensorProto] = {}
        """The initializers of at most one axis, by their names."""
        self._context = checker.C.CheckerContext()
        self._context.ir_version = self.ir_version
        self._context.opset_imports = {"": opset}
        self.begin("value")

    @property
    def opset(self) -> int:
        """Version of the default ONNX operator set that is being written."""
        return self.opset_id.version

    def input(self, name: str, dtype: str, shape: Shape) -> str:
        """Declare an input of the graph, shape without the batch axis, and return its name."""
        self._types[name] = _tensor_type(np.dtype(dtype), (self._batch, *shape))
        return name

    def begin(
        self, name: str, description: str = "", arrays: Mapping[str, Array] | None = None, owner: str = ""
    ) -> None:
        """Name what `add` appends from now on; `arrays` are recognised by identity and keep their names.

        owner: whose arrays they are, if another node has them, too; each is written once.
        """
        self._name, self._description = name, description
        self._owned = {id(array): f"{owner or name}.{key}" for key, array in (arrays or {}).items()}
        self._initialized: dict[object, str] = {key: key for key in self._owned.values() if key in self._types}
        self._added = 0

    def add(self, op_type: str, *inputs: str | Array, **attributes: Any) -> str:
        """Append a node with one output and return the output's name; arrays become initializers.

        Float64 arrays are written as float32. Raises OnnxError if the opset has no such operator, or if inputs or
        attributes do not fit it.
        """
        output = f"{self._name}.{self._added}" if self._added else self._name
        names = [self._input(value) for value in inputs]
        node = helper.make_node(op_type, names, [output], output, self._description, **attributes)
        schema = self._schema(op_type)
        types = {name: self._types[name] for name in names if name}
        try:
            checker.check_node(node, self._context)
            inferred = shape_inference.infer_node_outputs(
                schema, node, types, self._values(names), opset_imports=[self.opset_id], ir_version=self.ir_version
            )
        except (checker.ValidationError, shape_inference.InferenceError) as error:
            shapes = {name: _dims(kind) for name, kind in types.items()}
            reason = str(error).strip().partition("\n")[0]
            raise OnnxError(f"{op_type} does not take these inputs or attributes: {reason}; shapes {shapes}") from None
        self._added += 1
        self.nodes.append(node)
        self._types[output] = inferred.get(output, TypeProto())
        return output

    def shape(self, value: str) -> Shape:
        """Shape of a value without the batch axis. Raises OnnxError if ONNX cannot tell it."""
        dims = _dims(self._types[self._known(value)])
        if not dims or not all(isinstance(n, int) for n in dims[1:]):
            raise OnnxError(f"ONNX does not know the shape of {value!r}: expected fixed sizes after the batch axis")
        return tuple(int(n) for n in dims[1:])

    def value_info(self, value: str, description: str = "") -> ValueInfoProto:
        """The declaration of a value as input or output of the graph."""
        shape: tuple[int | str, ...] = (self._batch, *self.shape(value))
        return helper.make_tensor_value_info(value, self._types[value].tensor_type.elem_type, shape, description)

    def inferred(self, value: str) -> ValueInfoProto:
        """What is known of the type and the shape of a value."""
        return helper.make_value_info(value, self._types[self._known(value)])

    def _input(self, value: str | Array) -> str:
        if not isinstance(value, str):
            return self._initializer(value)
        return self._known(value) if value else ""  # "" leaves out an optional input

    def _known(self, value: str) -> str:
        if value not in self._types:
            raise OnnxError(f"there is no value {value!r} in the graph; expected a name that the graph gave")
        return value

    def _initializer(self, value: Array) -> str:
        array = np.asarray(value)
        if array.dtype.kind not in "fiub":
            raise OnnxError(f"expected an array of numbers or the name of a value, got {value!r}")
        if array.dtype == np.float64:
            array = array.astype(np.float32)
        owned = self._owned.get(id(value))
        key = owned or (array.dtype.str, array.shape, array.tobytes())
        if key not in self._initialized:
            constants = sum(not isinstance(other, str) for other in self._initialized)
            name = owned or f"{self._name}.constant_{constants + 1}"
            self.initializers.append(numpy_helper.from_array(array, name))
            if array.ndim < 2:
                self._lists[name] = self.initializers[-1]
            self._types[name] = _tensor_type(array.dtype, array.shape)
            self._initialized[key] = name
        return self._initialized[key]

    def _values(self, names: list[str]) -> dict[str, TensorProto]:
        """The initializers among these that shape inference may need: a target shape, axes, the scales of a Resize."""
        return {name: self._lists[name] for name in names if name in self._lists}

    def _schema(self, op_type: str) -> defs.OpSchema:
        try:
            return defs.get_schema(op_type, max_inclusive_version=self.opset, domain="")
        except defs.SchemaError:
            history = [s for s in defs.get_all_schemas_with_history() if s.name == op_type and s.domain == ""]
        if not history:
            raise OnnxError(f"ONNX {onnx.__version__} has no operator {op_type!r}")
        first = min(schema.since_version for schema in history)
        raise OnnxError(f"{op_type} is not in opset {self.opset}: export with opset={first} or newer")


def _tensor_type(dtype: np.dtype[Any], shape: tuple[int | str, ...]) -> TypeProto:
    return helper.make_tensor_type_proto(helper.np_dtype_to_tensor_dtype(dtype), shape)


def _dims(kind: TypeProto) -> tuple[int | str, ...]:
    """Sizes of all axes: a number where it is fixed, the axis name or "?" where it is not."""
    dims = kind.tensor_type.shape.dim
    return tuple(dim.dim_value if dim.HasField("dim_value") else dim.dim_param or "?" for dim in dims)
