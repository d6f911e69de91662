"""The table of operators that can be imported: each function in the files beside this one enters itself."""

from __future__ import annotations

from collections.abc import Callable

from cnnkit.onnx.importing.draft import Value
from cnnkit.onnx.importing.step import Step

Translation = Callable[[Step], Value | list[Value]]
"""Adds the layers for a node, and returns the value of its output, or one for each of its outputs.

Raises UntranslatableError where no layer does what the node does."""

TRANSLATIONS: dict[str, Translation] = {}
"""By ONNX's name of the operator."""


def translates(*operators: str) -> Callable[[Translation], Translation]:
    """Enter a function for these operators."""

    def enter(function: Translation) -> Translation:
        for operator in operators:
            TRANSLATIONS[operator] = function
        return function

    return enter
