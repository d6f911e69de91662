"""The boxes of a network's picture: which layers share one, what stands in it, and how much room that takes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from cnnkit.components import Merge
from cnnkit.network import INPUT, Node
from cnnkit.network.graph.node import owners
from cnnkit.plotting.style import SMALL, plain
from cnnkit.types import Shape
from cnnkit.wording import sizes

LONG_CHAIN, MOST_ROWS = 6, 12
"""Layers of a chain that stand in one box in any case, and those that a box has at most."""
MOST_LETTERS = 60
"""Of a name or an expression."""
LINE_HEIGHT, ROW_GAP = 14.0, 4.0
PADDING, STRIPE, APART, AFTER_NAME = 7.0, 5.0, 14.0, 8.0
"""Points between a box and its text, the stripe at its left, between what stands left and right, and after a name."""
WIDE = 250.0
"""A box is no wider only to have more rows on one line."""
TRAINS, JOINS, NEITHER = "trains parameters", "joins several inputs", "neither"
"""The kinds of layers that are told apart."""


@dataclass(frozen=True)
class Row:
    """A node in its box: a name, its layer, and at the right its shape and its parameters, "" for nothing new."""

    name: str
    layer: str
    shape: str
    parameters: str
    kind: str

    def widths(self) -> tuple[float, float]:
        """On one line, and on two."""
        right = [width(text) + APART if text else 0.0 for text in (self.shape, self.parameters)]
        name, layer = width(self.name, bold=True), width(self.layer)
        return name + AFTER_NAME + layer + sum(right), max(name + right[0], layer + right[1])


@dataclass(frozen=True)
class Box:
    """Rows, those of them that stand on one line, and the width of the text."""

    rows: tuple[Row, ...]
    on_one_line: tuple[bool, ...]
    inner: float

    @property
    def size(self) -> tuple[float, float]:
        """Width and height."""
        return self.inner + 2 * PADDING + STRIPE, sum(map(self.row_height, range(len(self.rows)))) + 2

    def row_height(self, row: int) -> float:
        """Of its text, with what is above and below it."""
        return LINE_HEIGHT * (1 if self.on_one_line[row] else 2) + ROW_GAP


def boxes_of(nodes: Sequence[Node], input_shape: Shape) -> tuple[list[Box], list[tuple[int, int]]]:
    """The boxes, that of the network's input first, and which takes the output of which: each pair (a, b) once, a < b.

    Layers that only follow each other share a box.
    """
    chains = chains_of(nodes)
    owner = {id(node.layer): node for node in owners(nodes)}
    rows = [[_row(node, nodes, owner[id(node.layer)], node is chain[0]) for node in chain] for chain in chains]
    start = Row("input", "", _shape(input_shape), "", NEITHER)
    ends = {INPUT: 0} | {chain[-1].index: box for box, chain in enumerate(chains, 1)}
    edges = {(ends[source], box) for box, chain in enumerate(chains, 1) for source in chain[0].inputs}
    return [_fitted([start]), *map(_fitted, rows)], sorted(edges)


def chains_of(nodes: Sequence[Node]) -> list[list[Node]]:
    """The nodes in chains, each of which takes nothing but the one before it, which nothing else takes."""
    taken = Counter(source for node in nodes for source in node.inputs)
    chains: dict[int, list[Node]] = {}  # by the index of the last node
    for node in nodes:
        before = node.inputs[0]
        follows = len(node.inputs) == 1 and before != INPUT and taken[before] == 1
        chains[node.index] = [*(chains.pop(before) if follows else []), node]
    return sorted((part for chain in chains.values() for part in _parts(chain)), key=lambda part: part[0].index)


def width(text: str, *, bold: bool = False, size: float = SMALL) -> float:
    """How many points a text takes in a row."""
    from matplotlib.font_manager import FontProperties
    from matplotlib.textpath import text_to_path

    font = FontProperties(family="DejaVu Sans", weight="bold" if bold else "normal", size=size)
    return float(text_to_path.get_text_width_height_descent(text, font, ismath=False)[0]) if text else 0.0


def _parts(chain: list[Node]) -> list[list[Node]]:
    """A long chain begins a new box with each layer that has a matrix of weights."""
    if len(chain) <= LONG_CHAIN:
        return [chain]
    parts: list[list[Node]] = []
    for node in chain:
        if not parts or len(parts[-1]) == MOST_ROWS or _has_matrix(node):
            parts.append([])
        parts[-1].append(node)
    return parts


def _has_matrix(node: Node) -> bool:
    return any(np.ndim(array) > 1 for array in node.layer.params.values())


def _row(node: Node, nodes: Sequence[Node], owner: Node, first: bool) -> Row:
    kind, told, text = NEITHER, "", node.layer.brief
    if isinstance(node.layer, Merge):
        kind = JOINS
    elif count := sum(array.size for array in node.layer.params.values()):
        kind, told = TRAINS, f"{count:,} parameter{'s' * (count > 1)}"
        if owner is not node:
            told = f"those of {plain(owner.name, MOST_LETTERS)}"
    for source, times in Counter(node.inputs).items():
        if times > 1:
            text += f", takes {'input' if source == INPUT else nodes[source].name} {times} times"
    shape = _shape(node.out_shape) if first or node.out_shape != node.in_shapes[0] else ""
    return Row(plain(node.name, MOST_LETTERS), plain(text, MOST_LETTERS), shape, told, kind)


def _fitted(rows: Sequence[Row]) -> Box:
    """The box of these rows, as many of them on one line as that does not make wide."""
    widths = [row.widths() for row in rows]
    wide = max(WIDE, *(two for _, two in widths))
    fits = tuple(one <= wide for one, _ in widths)
    return Box(tuple(rows), fits, max(one if fit else two for (one, two), fit in zip(widths, fits, strict=True)))


def _shape(shape: Shape) -> str:
    return plain(f"→ {sizes(shape)}")
