"""The network that an import is drawing up: layers as they are added, their values with shapes, and the weights."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from cnnkit.components import Layer, Merge
from cnnkit.errors import CnnkitError
from cnnkit.layers import Permute
from cnnkit.network import INPUT
from cnnkit.network.graph.building import INPUT_NAME
from cnnkit.network.graph.node import Builder
from cnnkit.network.graph.parameter_limit import Limit
from cnnkit.types import Array, Shape

SPARE = 2**21
"""Numbers that layers may have beyond those of the file: a constant that several nodes take is one of each layer, and
an offset has factors of 1 beside it."""
LONGEST = 56
"""Characters of a node's name, before a number that makes it unique."""


class UntranslatableError(Exception):
    """An operator as a file uses it cannot be written with layers; the message says why, and what is nearest."""


@dataclass(frozen=True)
class Value:
    """A value of the file: what a node of the draft gives, its axes perhaps in another order.

    A Transpose costs nothing that way: networks that keep channels last, for a layer or as a whole, are drawn up with
    channels first, and only an operator that needs the other order makes a Permute of it.
    """

    node: int
    """Its place in the draft; INPUT for the network's input."""
    shape: Shape
    """Of what that gives, without the batch axis."""
    order: tuple[int, ...]
    """For each axis of the file's value, without the batch axis, which one of the node's it is."""

    @property
    def axes(self) -> Shape:
        """Lengths of the axes of the file's value, without the batch axis."""
        return tuple(self.shape[axis] for axis in self.order)

    def as_node(self) -> Value:
        """The same with the axes in the node's order."""
        return Value(self.node, self.shape, tuple(range(len(self.shape))))

    def axis(self, number: int) -> int:
        """The node's axis, from 0, of the file's axis with this number, from 1 or negative: 0 is that of the batch."""
        count = len(self.order)
        place = number - 1 if number >= 0 else number + count
        if not 0 <= place < count:
            what = "it works along the batch axis" if place == -1 else f"there is no axis {number}"
            raise UntranslatableError(f"{what}, and layers work inside of each sample, here on {self.axes}")
        return self.order[place]


class _Missing(Layer):
    """What stands in a draft that becomes no network for an operator that no layer does."""

    def __init__(self, shape: Shape) -> None:
        self.shape = shape

    def __repr__(self) -> str:
        return "an operator that no layer does"

    def build(self, in_shape: Shape, rng: np.random.Generator) -> Shape:
        """Any shape -> shape."""
        return self.shape


@dataclass(frozen=True)
class Drawn:
    """A node of the draft."""

    name: str
    layer: Layer | Merge
    inputs: tuple[int, ...]
    arrays: Mapping[str, Array]
    """Its parameters and buffers."""


class Draft:
    """Layers in the order in which they run. Raises nothing but UntranslatableError for what cannot be added."""

    def __init__(self, input_shape: Shape, numbers: int) -> None:
        """numbers: how many the file holds, and so, but for `SPARE`, all layers may have together."""
        self.input_shape = input_shape
        self.limit = numbers + SPARE
        self.drawn: list[Drawn] = []
        self.input = Value(INPUT, input_shape, tuple(range(len(input_shape))))
        self._builder = Builder(input_shape, 0, Limit(self.limit))
        self._names: set[str] = {INPUT_NAME}
        self._shared: dict[object, tuple[Layer, Mapping[str, Array]]] = {}
        self._placed: set[int] = set()
        """The ids of the layers that are drawn."""

    def add(
        self,
        name: str,
        layer: Layer | Merge,
        values: Sequence[Value],
        arrays: Mapping[str, Array],
        owner: object = None,
    ) -> Value:
        """A node of the plain values.

        owner: what is the same for nodes that shall have one layer together, if their arrays are equal, too.
        """
        layer = self._of(owner, layer, values, arrays)
        inputs = tuple(value.node for value in values)
        try:
            if isinstance(layer, Merge):
                place = self._builder.join(layer, inputs, name)
            elif id(layer) in self._placed:
                place = self._builder.again(layer, inputs[0], name)
            else:
                place = self._builder.layer(layer, inputs[0], name)
        except CnnkitError as error:
            raise UntranslatableError(str(error)) from error
        self._placed.add(id(layer))
        self.drawn.append(Drawn(self._unique(name), layer, inputs, _fitting(layer, arrays)))
        shape = self._builder.nodes[place].out_shape
        return Value(place, shape, tuple(range(len(shape))))

    def stand_in(self, name: str, shape: Shape) -> Value:
        """A value of this shape for one that no layer gives, so that what follows can be judged, too."""
        return self.add(name, _Missing(shape), [self.input], {})

    def layer_of(self, value: Value) -> Layer | Merge | None:
        """What gives a value; None for the network's input."""
        return None if value.node == INPUT else self.drawn[value.node].layer

    def before(self, value: Value) -> Value:
        """What the layer takes that gives a value."""
        place = self.drawn[value.node].inputs[0]
        shape = self.input_shape if place == INPUT else self._builder.nodes[place].out_shape
        return Value(place, shape, tuple(range(len(shape))))

    def plain(self, name: str, value: Value) -> Value:
        """The value with its node's axes in the file's order."""
        if value.order == tuple(range(len(value.order))):
            return value
        return self.permuted(name, value, value.order)

    def permuted(self, name: str, value: Value, axes: Sequence[int]) -> Value:
        """The value of a node that gives these axes of this one's."""
        made = self.add(f"{name}_order", Permute(tuple(axis + 1 for axis in axes)), [value], {})
        return Value(made.node, made.shape, tuple(list(axes).index(axis) for axis in value.order))

    def given(self, output: Value) -> dict[str, Any]:
        """What `Graph` takes: the nodes that the output needs, by name."""
        needed = {output.node}
        for place in range(output.node, -1, -1):
            if place in needed:
                needed.update(self.drawn[place].inputs)
        names = {INPUT: INPUT_NAME} | {place: drawn.name for place, drawn in enumerate(self.drawn)}
        return {
            drawn.name: (drawn.layer, [names[place] for place in drawn.inputs])
            for place, drawn in enumerate(self.drawn)
            if place in needed
        }

    def arrays(self) -> dict[str, Array]:
        """All parameters and buffers by the names that the network gives them, of shared layers those of the first."""
        found: dict[str, Array] = {}
        seen: set[int] = set()
        for drawn in self.drawn:
            if id(drawn.layer) not in seen:
                seen.add(id(drawn.layer))
                found |= {f"{drawn.name}.{key}": array for key, array in drawn.arrays.items()}
        return found

    def _of(
        self, owner: object, layer: Layer | Merge, values: Sequence[Value], arrays: Mapping[str, Array]
    ) -> Layer | Merge:
        if owner is None or isinstance(layer, Merge):
            return layer
        first, known = self._shared.setdefault((owner, repr(layer), values[0].shape), (layer, arrays))
        if known is arrays or all(np.array_equal(array, known[key]) for key, array in arrays.items()):
            return first
        return layer  # it takes the same constants in another way, such as transposed

    def _unique(self, name: str) -> str:
        """The name as a graph can have it, with a number if it is taken."""
        plain = re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_")[-LONGEST:].lstrip("_0123456789") or "node"
        found, number = plain, 1
        while found in self._names:
            number += 1
            found = f"{plain}_{number}"
        self._names.add(found)
        return found


def _fitting(layer: Layer | Merge, arrays: Mapping[str, Array]) -> dict[str, Array]:
    """The arrays in the shapes of the layer's own."""
    own = layer.params | layer.buffers
    for key, array in own.items():
        if key not in arrays or array.size != arrays[key].size:
            given = arrays[key].shape if key in arrays else "none"
            raise UntranslatableError(f"{layer!r} has a {key} of shape {array.shape}, the file {given}")
    return {key: arrays[key].reshape(array.shape) for key, array in own.items()}


def as_float32(array: Array) -> Array:
    """The numbers as a network holds them."""
    return np.asarray(array, np.float32)
