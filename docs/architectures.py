"""Writes the table of docs/guide-architectures.md: `python docs/architectures.py`.

What papers count stands beside what is counted here.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import cast

from cnnkit.components import installed_catalog
from cnnkit.components.contracts import Architecture
from cnnkit.components.declared import layer_cost
from cnnkit.network.graph.node import flatten
from cnnkit.network.graph.parameter_limit import Limit
from cnnkit.types import Published, Shape
from docs.components import built_in

PAGE = Path(__file__).with_name("guide-architectures.md")
HEAD = "| architecture | image | parameters: paper | here | products: paper | here |\n|---|---|---:|---:|---:|---:|\n"
LARGEST = 10**9
"""Numbers that an architecture may have; no weights are drawn."""
TABLE = re.compile(re.escape(HEAD) + r"(\|.*\n)+")


def counted(expression: str, shape: Shape) -> tuple[int, int]:
    """Parameters of an architecture, and its multiplications for one image, each with an addition."""
    architecture = cast(Architecture, installed_catalog().build("architecture", expression))
    nodes = flatten(architecture.layers(), shape, 0, Limit(LARGEST))
    costs = [layer_cost(node.layer, node.in_shapes, node.out_shape) for node in nodes]
    parameters = sum(array.size for node in nodes for array in node.layer.params.values())
    return parameters, sum(cost.products for cost in costs if cost)


def row(published: Published) -> str:
    """One line of the table."""
    cells = [f"`{published.expression}`", " x ".join(map(str, published.input_shape))]
    for said, found in zip((published.parameters, published.products), _counts(published), strict=True):
        cells += ["" if said is None else _short(said), _short(found)]
        if said is not None:
            cells[-1] += f" ({found / said - 1:+.1%})"
    return f"| {' | '.join(cells)} |\n"


def table() -> str:
    """All lines, with their head."""
    found = [
        published for one in built_in("architecture") if issubclass(one, Architecture) for published in one.published
    ]
    return HEAD + "".join(map(row, found))


def _counts(published: Published) -> tuple[int, int]:
    return counted(published.expression, published.input_shape)


def _short(count: int) -> str:
    for unit, name in ((10**9, "G"), (10**6, "M"), (10**3, "k")):
        if count >= unit:
            return f"{count / unit:.3g} {name}"
    return str(count)


if __name__ == "__main__":
    PAGE.write_text(TABLE.sub(lambda _: table(), PAGE.read_text("utf-8")), "utf-8")
