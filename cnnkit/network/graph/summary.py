"""The table of a network's layers."""

from __future__ import annotations

from collections.abc import Sequence

from cnnkit.network.graph.node import INPUT, Node, owners
from cnnkit.types import LayerCost, Shape
from cnnkit.wording import sizes

HEADINGS = ("name", "layer", "input", "output", "parameters", "operations")
UNKNOWN = "?"
"""Of layers that do not say what they cost."""


def summary(nodes: Sequence[Node], input_shape: Shape) -> str:
    """One line for each node in the order in which they run, with what it costs for one sample, and the sums."""
    rows = summary_rows(nodes, input_shape)
    widths = [max(len(row[column]) for row in (HEADINGS, *rows)) for column in range(len(HEADINGS))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    heading = "  ".join(cell.ljust(width) for cell, width in zip(HEADINGS, widths, strict=True)).rstrip()
    return "\n".join([heading, "-" * len(heading), *lines, totals(nodes)])


def summary_rows(nodes: Sequence[Node], input_shape: Shape) -> list[tuple[str, ...]]:
    """A row for the input and for each node, under `HEADINGS`."""
    counted = {node.index for node in owners(nodes)}
    rows: list[tuple[str, ...]] = [("input", "", "", sizes(input_shape), "", "")]
    for node in nodes:
        sources = ", ".join("input" if i == INPUT else nodes[i].name for i in node.inputs)
        count = _parameters(node) if node.index in counted else 0
        shown = f"{count:,}" if count else ""
        rows.append((node.name, node.layer.brief, sources, sizes(node.out_shape), shown, _operations(node.cost)))
    return rows


def totals(nodes: Sequence[Node]) -> str:
    """The sums, as text."""
    costs = [node.cost for node in nodes]
    parameters = sum(map(_parameters, owners(nodes)))
    total = f"{sum(cost.operations for cost in costs if cost):,} operations for each sample"
    return f"{parameters:,} parameters, {total}" + (f", without those marked {UNKNOWN}" if None in costs else "")


def _parameters(node: Node) -> int:
    return sum(array.size for array in node.layer.params.values())


def _operations(cost: LayerCost | None) -> str:
    return UNKNOWN if cost is None else f"{cost.operations:,}" if cost.operations else ""
