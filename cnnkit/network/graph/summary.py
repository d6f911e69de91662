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
    counted = {node.index for node in owners(nodes)}
    counts = [_parameters(node) if node.index in counted else 0 for node in nodes]
    costs = [node.cost for node in nodes]
    rows = [("input", "", "", sizes(input_shape), "", "")]
    for node, count, cost in zip(nodes, counts, costs, strict=True):
        sources = ", ".join("input" if i == INPUT else nodes[i].name for i in node.inputs)
        rows.append(
            (
                node.name,
                node.layer.brief,
                sources,
                sizes(node.out_shape),
                f"{count:,}" if count else "",
                _operations(cost),
            )
        )
    widths = [max(len(row[column]) for row in (HEADINGS, *rows)) for column in range(len(HEADINGS))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    heading = "  ".join(cell.ljust(width) for cell, width in zip(HEADINGS, widths, strict=True)).rstrip()
    total = f"{sum(cost.operations for cost in costs if cost):,} operations for each sample"
    rest = f", without those marked {UNKNOWN}" if None in costs else ""
    return "\n".join([heading, "-" * len(heading), *lines, f"{sum(counts):,} parameters, {total}{rest}"])


def _parameters(node: Node) -> int:
    return sum(array.size for array in node.layer.params.values())


def _operations(cost: LayerCost | None) -> str:
    return UNKNOWN if cost is None else f"{cost.operations:,}" if cost.operations else ""
