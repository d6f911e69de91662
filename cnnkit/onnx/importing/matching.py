"""Looking at the nodes of a file from behind: what made a value, and whether it is a product or a power of others."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence

import numpy as np

from cnnkit.onnx.importing.foreign_graph import Attribute, ForeignGraph, ForeignNode
from cnnkit.types import Array

EXACT = 1e-5
"""How far a number may be from the one that a layer has, relative to it: less than the proof allows for the answers."""
DEEP = 6
"""Nodes one behind another through which a product is followed."""


class Matching:
    """A graph with its values looked up by name."""

    def __init__(self, graph: ForeignGraph) -> None:
        self.graph = graph
        self._makers = {name: node for node in graph.nodes for name in node.outputs if name}
        self._uses = Counter(name for node in graph.nodes for name in node.inputs)
        self._uses.update(value.name for value in graph.outputs)

    def maker(self, value: str, *operators: str) -> ForeignNode | None:
        """The node that gives a value, if it is one of these operators."""
        node = self._makers.get(value)
        return node if node is not None and node.operator in operators else None

    def is_used_once(self, value: str) -> bool:
        """Whether a single node takes a value."""
        return self._uses[value] == 1

    def constant(self, value: str) -> Array | None:
        """The numbers of a value that the file holds."""
        return self.graph.constants.get(value)

    def as_vector(self, value: str) -> str:
        """The name of a constant with the same numbers along one axis, one for all nodes that take it."""
        name, vector = f"{value} as a vector", self.graph.constants[value].reshape(-1)
        while name in self._makers or not np.array_equal(self.graph.constants.setdefault(name, vector), vector):
            name += "'"  # the file itself has another value of this name
        return name

    def number(self, value: str) -> float | None:
        """The only number of a constant."""
        array = self.constant(value)
        return float(array.reshape(-1)[0]) if array is not None and array.size == 1 else None

    def is_number(self, value: str, wanted: float) -> bool:
        """Whether a constant is this number."""
        found = self.number(value)
        return found is not None and math.isclose(found, wanted, rel_tol=EXACT)

    def beside_number(self, value: str, operator: str, wanted: float) -> str:
        """The other input of a node that takes this number, too, in any order; "" if it is no such node."""
        node = self.maker(value, operator)
        for one, other in both_ways(node):
            if self.is_number(other, wanted):
                return one
        return ""

    def beside_constant(self, node: ForeignNode) -> tuple[str, Array] | None:
        """The value and the constant that a node of two inputs takes, in any order."""
        for one, other in both_ways(node):
            if (array := self.constant(other)) is not None and self.constant(one) is None:
                return one, array
        return None

    def ratio(self, value: str, factors: Sequence[str], deep: int = DEEP) -> float | None:
        """c if the value is c times the product of one or two others; None if it is not."""
        if [value] == list(factors):
            return 1.0
        node = self.maker(value, "Mul", "Div") if deep else None
        if node is None:
            return None
        for one, other in both_ways(node) if node.operator == "Mul" else [(node.inputs[0], node.inputs[1])]:
            number = self.number(other)
            if number and (found := self.ratio(one, factors, deep - 1)) is not None:
                return found * number if node.operator == "Mul" else found / number
            if node.operator == "Mul" and len(factors) == 2 and number is None:
                parts = self.ratio(one, factors[:1], deep - 1), self.ratio(other, factors[1:], deep - 1)
                if parts[0] is not None and parts[1] is not None:
                    return parts[0] * parts[1]
        return None

    def is_product(self, value: str, number: float, *factors: str) -> bool:
        """Whether a value is this number times the product of one or two others."""
        found = self.ratio(value, factors)
        return found is not None and math.isclose(found, number, rel_tol=EXACT)

    def factors(self, value: str) -> list[str]:
        """All values that a product is made of, each once, and the product itself."""
        found, reached = dict.fromkeys([value]), [value]
        for _ in range(DEEP):
            makers = filter(None, (self.maker(one, "Mul", "Div") for one in reached))
            parts = [one for node in makers for one in node.inputs[: 2 if node.operator == "Mul" else 1]]
            reached = [one for one in dict.fromkeys(parts) if one not in found]
            found |= dict.fromkeys(reached)
        return list(found)

    def is_power(self, value: str, base: str, exponent: int) -> bool:
        """Whether a value is the square or the cube of another, as a power or as products."""
        if (node := self.maker(value, "Pow")) is not None:
            return node.inputs[0] == base and self.is_number(node.inputs[1], exponent)
        node = self.maker(value, "Mul")
        if exponent == 2:
            return node is not None and node.inputs == [base, base]
        return any(one == base and self.is_power(other, base, exponent - 1) for one, other in both_ways(node))

    def axes(self, node: ForeignNode) -> list[int] | None:
        """Along which axes a node reduces; None if it does not say."""
        given = node.attributes.get("axes")
        array = given if given is not None else self.constant(node.inputs[1]) if len(node.inputs) > 1 else None
        return None if array is None else [int(axis) for axis in np.asarray(array).reshape(-1)]

    def lengths(self, value: str) -> tuple[int | str, ...]:
        """The axes of a value behind that of the batch; () if they are not known."""
        return tuple(self.graph.sizes.get(value, ())[1:])


def instead(
    node: ForeignNode, operator: str, inputs: list[str], outputs: list[str] | None = None, **attributes: Attribute
) -> ForeignNode:
    """One operator in the place of a node, with its outputs unless others are given."""
    return ForeignNode(operator, node.name, inputs, outputs or node.outputs, attributes)


def both_ways(node: ForeignNode | None) -> list[tuple[str, str]]:
    """The two inputs of a node, in both orders; nothing for a node that has another number of them."""
    if node is None or len(node.inputs) != 2:
        return []
    first, second = node.inputs
    return [(first, second), (second, first)]
