"""The table of a network's layers."""

from __future__ import annotations

from collections.abc import Sequence

from cnnkit.components import Layer
from cnnkit.network.node import INPUT, Node, owners
from cnnkit.types import Shape

HEADINGS = ("name", "layer", "input", "output", "parameters")


def summary(nodes: Sequence[Node], input_shape: Shape) -> str:
    """One line for each node in the order in which they run, and the number of parameters."""
    counted = {node.index for node in owners(nodes)}
    counts = [_parameters(node) if node.index in counted else 0 for node in nodes]
    rows = [("input", "", "", _shape(input_shape), "")]
    for node, count in zip(nodes, counts, strict=True):
        sources = ", ".join("input" if i == INPUT else nodes[i].name for i in node.inputs)
        layer = repr(node.layer) if isinstance(node.layer, Layer) else type(node.layer).__name__
        rows.append((node.name, layer, sources, _shape(node.out_shape), f"{count:,}" if count else ""))
    widths = [max(len(row[column]) for row in (HEADINGS, *rows)) for column in range(len(HEADINGS))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    heading = "  ".join(cell.ljust(width) for cell, width in zip(HEADINGS, widths, strict=True)).rstrip()
    return "\n".join([heading, "-" * len(heading), *lines, f"{sum(counts):,} parameters"])


def _parameters(node: Node) -> int:
    return sum(array.size for array in node.layer.params.values()) if isinstance(node.layer, Layer) else 0


def _shape(shape: Shape) -> str:
    return " x ".join(map(str, shape))
