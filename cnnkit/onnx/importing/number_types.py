"""The types of a file's values: layers compute in float32, which equals whole numbers only while these move."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from cnnkit.onnx.importing.attributes import called, integer
from cnnkit.onnx.importing.draft import UntranslatableError
from cnnkit.onnx.importing.foreign_graph import ForeignNode
from cnnkit.onnx.importing.patterns import SHUFFLE
from cnnkit.onnx.importing.tensors import dtype_of

MOVING = frozenset(
    (
        "Concat", "DepthToSpace", "Dropout", "Expand", "Flatten", "Gather", "Identity", "Pad", "Reshape", "Slice",
        "SpaceToDepth", "Split", "Squeeze", "Transpose", "Unsqueeze", SHUFFLE,
    )
)  # fmt: skip
"""Operators whose outputs are numbers of their first input, and so of its type."""
FLOAT = "float32"


def type_of_outputs(node: ForeignNode, types: Mapping[str, str]) -> str:
    """The type of what a node gives; types: of the values that are no floating numbers.

    Raises UntranslatableError where whole numbers are computed with, or made of others: those wrap and have no
    fractions.
    """
    whole = [types[name] for name in node.inputs if name in types]
    if node.operator == "Cast":
        before, after = whole[0] if whole else FLOAT, dtype_of(integer(node, "to", 0), called(node))
        if np.dtype(after).kind == "f":
            return FLOAT
        if not np.can_cast(before, after):
            raise UntranslatableError(f"it makes {after} of {before}, and layers compute in float32 throughout")
        return after
    if whole and node.operator not in MOVING:
        raise UntranslatableError(f"it computes with {whole[0]}, and layers in float32; cast it before")
    return whole[0] if whole else FLOAT
