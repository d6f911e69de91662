"""The table of a network's layers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
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


@dataclass(frozen=True)
class Counted:
    """A node, with what it has and costs."""

    node: Node
    inputs: list[str]
    """The names of the nodes whose outputs it takes, "input" for what the network takes."""
    parameters: int
    """0 of a layer that another node has, too, and counts."""
    cost: LayerCost | None


def counted(nodes: Sequence[Node]) -> list[Counted]:
    """What is to be said of each node."""
    owning = {node.index for node in owners(nodes)}
    return [
        Counted(
            node,
            ["input" if i == INPUT else nodes[i].name for i in node.inputs],
            sum(array.size for array in node.layer.params.values()) if node.index in owning else 0,
            node.cost,
        )
        for node in nodes
    ]


def totals(found: Sequence[Counted]) -> dict[str, int]:
    """Parameters, and products and operations for one sample, of the layers that say what they cost."""
    costs = [one.cost for one in found if one.cost]
    return {
        "parameters": sum(one.parameters for one in found),
        "products": sum(cost.products for cost in costs),
        "operations": sum(cost.operations for cost in costs),
    }


def _rows(nodes: Sequence[Node], input_shape: Shape) -> tuple[list[Row], str]:
    found = counted(nodes)
    rows: list[Row] = [("input", "", "", sizes(input_shape), "", "")]
    for one in found:
        shown = f"{one.parameters:,}" if one.parameters else ""
        name, layer, shape = one.node.name, one.node.layer.brief, sizes(one.node.out_shape)
        rows.append((name, layer, ", ".join(one.inputs), shape, shown, _operations(one.cost)))
    sums = totals(found)
    rest = f", without those marked {UNKNOWN}" if any(one.cost is None for one in found) else ""
    return rows, (
        f"{sums['parameters']:,} parameters; for each sample {sums['products']:,} products (a multiplication and its "
        f"addition) and {sums['operations']:,} operations in all{rest}"
    )


def _operations(cost: LayerCost | None) -> str:
    return UNKNOWN if cost is None else f"{cost.operations:,}" if cost.operations else ""
