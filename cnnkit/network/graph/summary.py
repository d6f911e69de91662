"""The table of a network's layers."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Self

from cnnkit.network.graph.node import INPUT, Node, owners
from cnnkit.notebook_html import html_table
from cnnkit.types import LayerCost, Shape
from cnnkit.wording import sizes

HEADINGS = ("name", "layer", "input", "output", "parameters", "operations")
WIDEST = 200
"""Characters of a column; what is longer sticks out of it: a layer may have thousands of inputs."""
Row = tuple[str, str, str, str, str, str]
UNKNOWN = "?"
"""Of layers that do not say what they cost."""


class Summary(str):
    """A line for each node in the order in which they run, with what it costs for one sample, and the sums.

    An interpreter shows it as `print` does, a notebook as a table.
    """

    def __new__(cls, nodes: Sequence[Node], input_shape: Shape) -> Self:
        rows, total = _rows(nodes, input_shape)
        widths = [min(WIDEST, max(len(row[column]) for row in (HEADINGS, *rows))) for column in range(len(HEADINGS))]
        heading, *lines = (
            "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
            for row in (HEADINGS, *rows)
        )
        self = super().__new__(cls, "\n".join([heading, "-" * len(heading), *lines, total]))
        self.rows, self.total = rows, total
        return self

    rows: list[Row]
    total: str

    def __repr__(self) -> str:
        return str(self)

    def __reduce__(self) -> tuple[type[str], tuple[str]]:
        return str, (str(self),)  # a copy is plain text: it has no nodes

    def _repr_html_(self) -> str:
        return f"{html_table(HEADINGS, self.rows, left=4)}<p>{escape(self.total)}</p>"


def _rows(nodes: Sequence[Node], input_shape: Shape) -> tuple[list[Row], str]:
    counted = {node.index for node in owners(nodes)}
    counts = [_parameters(node) if node.index in counted else 0 for node in nodes]
    costs = [node.cost for node in nodes]
    rows: list[Row] = [("input", "", "", sizes(input_shape), "", "")]
    for node, count, cost in zip(nodes, counts, costs, strict=True):
        sources = ", ".join("input" if i == INPUT else nodes[i].name for i in node.inputs)
        shown = f"{count:,}" if count else ""
        rows.append((node.name, node.layer.brief, sources, sizes(node.out_shape), shown, _operations(cost)))
    total = f"{sum(cost.operations for cost in costs if cost):,} operations for each sample"
    rest = f", without those marked {UNKNOWN}" if None in costs else ""
    return rows, f"{sum(counts):,} parameters, {total}{rest}"


def _parameters(node: Node) -> int:
    return sum(array.size for array in node.layer.params.values())


def _operations(cost: LayerCost | None) -> str:
    return UNKNOWN if cost is None else f"{cost.operations:,}" if cost.operations else ""
