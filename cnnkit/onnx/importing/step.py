"""One operator of a file beside the draft: what a translation reads of it, and where it adds layers."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import numpy as np

from cnnkit.components import Layer, Merge
from cnnkit.errors import OnnxError
from cnnkit.layers import Conv2D, ConvTranspose2D, Dense, Flatten, Reshape
from cnnkit.onnx.importing.draft import Draft, UntranslatableError, Value, as_float32
from cnnkit.onnx.importing.foreign_graph import ForeignGraph, ForeignNode
from cnnkit.types import Array, Shape

GENERIC = re.compile(r"(?i)(onnx::|_val_|val_|\d+$|const)")
"""Names of constants that say nothing of the layer which has them."""


WEIGHTED = Conv2D, ConvTranspose2D, Dense
"""Layers that are one where they have one weight. Other constants say nothing: exporters write equal ones once."""


class Step:
    """A node of the file, its inputs as values of the draft or as constants."""

    def __init__(self, node: ForeignNode, graph: ForeignGraph, values: dict[str, Value], draft: Draft) -> None:
        self.node, self.opset, self.draft = node, graph.opset, draft
        self._graph, self._values = graph, values

    # What the node says.

    def has(self, place: int) -> bool:
        """Whether the optional input is given."""
        return place < len(self.node.inputs) and self.node.inputs[place] != ""

    def is_constant(self, place: int) -> bool:
        """Whether an input is known from the file alone."""
        return self.has(place) and self.node.inputs[place] in self._graph.constants

    def constant(self, place: int) -> Array | None:
        """An input that the file itself holds; None if it is left out."""
        if not self.has(place):
            return None
        if not self.is_constant(place):
            raise UntranslatableError(f"its input {place + 1} is computed from the samples, and a layer has it fixed")
        return self._graph.constants[self.node.inputs[place]]

    def weights(self, place: int) -> Array:
        """A constant that must be there, as parameters hold it."""
        array = self.constant(place)
        if array is None:
            raise OnnxError(f"{self.node.name} ({self.node.operator}) has no input {place + 1}, which it needs")
        return as_float32(array)

    def single(self, place: int) -> float | None:
        """The only number of a constant, with no more digits than float32 has; None if the input is left out."""
        array = self.constant(place)
        if array is None:
            return None
        if array.size != 1:
            raise UntranslatableError(f"its input {place + 1} has {array.size} numbers; a layer has one")
        return decimal(array.item())

    def integers(self, place: int, attribute: str) -> list[int] | None:
        """Whole numbers that were an attribute in older operator sets, and are an input since; None if not given."""
        if attribute in self.node.attributes:
            return self.numbers(attribute)
        array = self.constant(place)
        return None if array is None else [int(number) for number in array.reshape(-1)]

    def numbers(self, name: str, default: Sequence[int] = ()) -> list[int]:
        """An attribute that lists whole numbers."""
        value = self.node.attributes.get(name, default)
        if not isinstance(value, list | tuple) or not all(isinstance(number, int) for number in value):
            raise self._wrong(name, value, "a list of whole numbers")
        return [int(number) for number in value]

    def number(self, name: str, default: float) -> float:
        """An attribute that is a number, with no more digits than float32 has."""
        value = self.node.attributes.get(name, default)
        if not isinstance(value, int | float):
            raise self._wrong(name, value, "a number")
        return decimal(value)

    def integer(self, name: str, default: int) -> int:
        """An attribute that is a whole number."""
        value = self.node.attributes.get(name, default)
        if not isinstance(value, int):
            raise self._wrong(name, value, "a whole number")
        return value

    def text(self, name: str, default: str) -> str:
        """An attribute that is a text."""
        value = self.node.attributes.get(name, default)
        if not isinstance(value, str):
            raise self._wrong(name, value, "a text")
        return value

    @property
    def channels_last(self) -> bool:
        """Whether the file has its channels behind the pixels."""
        return bool(self._graph.transposed_inputs)

    # Values, and layers for them.

    def value(self, place: int = 0) -> Value:
        """An input as it is, whatever the order of its axes."""
        if not self.has(place):
            raise OnnxError(f"{self.node.name} ({self.node.operator}) has no input {place + 1}, which it needs")
        if self.is_constant(place):
            raise UntranslatableError(
                f"its input {place + 1} is a constant, where a layer takes what another one gives"
            )
        return self._values[self.node.inputs[place]]

    def x(self, place: int = 0) -> Value:
        """An input in the file's own order of axes."""
        return self.draft.plain(self.name, self.value(place))

    def with_channels(self, value: Value, axis: int) -> Value:
        """The value of a node whose first axis, that of its channels, is this one of the file's, counted as there."""
        first = value.axis(axis)
        if first == 0:
            return value
        others = [other for other in range(len(value.shape)) if other != first]
        return self.draft.permuted(self.name, value, [first, *others])

    def add(self, layer: Layer | Merge, *values: Value, **arrays: Array) -> Value:
        """A node of the draft; its output has the order of axes that its first input has, if that still fits."""
        return self._added(layer, values, arrays, isinstance(layer, WEIGHTED))

    def add_known(self, layer: Layer | Merge, values: Sequence[Value], arrays: Mapping[str, Array]) -> Value:
        """As `add`, of a layer that the file names: it is one for all nodes that have these arrays."""
        return self._added(layer, values, arrays, bool(arrays))

    def _added(
        self, layer: Layer | Merge, values: Sequence[Value], arrays: Mapping[str, Array], is_shared: bool
    ) -> Value:
        owner = tuple(name for name in self.node.inputs if name in self._graph.constants) if is_shared else None
        made = self.draft.add(self.name, layer, values, arrays, owner)
        order = values[0].order
        return Value(made.node, made.shape, order) if len(order) == len(made.shape) else made

    def reshaped(self, value: Value, shape: Shape) -> Value:
        """A plain value in another shape; nothing is added where it has that."""
        value = self.draft.plain(self.name, value)
        while isinstance(self.draft.layer_of(value), Reshape | Flatten):  # the last of several shapes is enough
            value = self.draft.before(value)
        return value if value.shape == tuple(shape) else self.draft.add(self.name, Reshape(shape), [value], {})

    def as_image(self, value: Value) -> Value:
        """A signal as an image one pixel high, for what only images have a layer for."""
        channels, length = value.shape
        return self.reshaped(value, (channels, 1, length))

    def as_signal(self, value: Value) -> Value:
        """Back again."""
        return self.reshaped(value, (value.shape[0], *value.shape[2:]))

    def signal_of(self, value: Value) -> Value | None:
        """The signal that an image one pixel high was made of; None for other values."""
        if len(value.shape) != 3 or value.shape[1] != 1 or not isinstance(self.draft.layer_of(value), Reshape):
            return None
        signal = self.draft.before(value)
        return signal if signal.shape == (value.shape[0], value.shape[2]) else None

    @property
    def name(self) -> str:
        """What the node of the draft is to be called: as its weights are where they have a name of their own."""
        for given in self.node.inputs[1:]:
            owner, dot, _ = given.rpartition(".")
            if dot and given in self._graph.constants and not GENERIC.match(owner):
                return owner.removesuffix(".node")  # which an export of cnnkit adds to a name that it uses itself
        first = self.node.outputs[0]
        if self.node.name == f"{self.node.operator} of {first}":  # it has no name in the file
            return first
        return re.sub(r"^/?(node_)?", "", self.node.name)

    def _wrong(self, name: str, value: object, expected: str) -> OnnxError:
        return OnnxError(
            f"{self.node.name} ({self.node.operator}) has the attribute {name} = {value!r:.100}; expected {expected}"
        )


def spread(numbers: Array, shape: Shape) -> Array:
    """A constant with as many numbers as a layer holds. Raises UntranslatableError for one that does not fit."""
    try:
        return np.broadcast_to(numbers, shape)
    except ValueError:
        raise UntranslatableError(
            f"its constant of shape {numbers.shape} does not fit {shape}, the shape of what the layer holds"
        ) from None


def along(numbers: Array, axis: int, length: int) -> Array:
    """A constant that has one number for each place of an axis of what it is joined with, or a single one for all.

    axis: counted from the last one, which is -1. Raises UntranslatableError for numbers along another axis.
    """
    if any(n > 1 and place != axis for place, n in enumerate(numbers.shape, -numbers.ndim)):
        raise UntranslatableError(
            f"its constant of shape {numbers.shape} has numbers along other axes than the {length} channels"
        )
    return spread(numbers.reshape(-1), (length,))


def decimal(value: float) -> float:
    """The shortest number that is the same in float32: 1e-05, which as float32 is 9.999999747378752e-06."""
    return float(str(np.float32(value)))


def one_or_pair(numbers: Sequence[int]) -> int | tuple[int, int]:
    """As arguments of layers are written: one number where both are equal."""
    first, second = numbers
    return first if first == second else (first, second)
