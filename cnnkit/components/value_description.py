"""Describes what came, for errors where something else was expected: from a component, or as an argument."""

from __future__ import annotations

import numpy as np

from cnnkit.printable_text import on_one_line

MAX_SHOWN = 100
"""Characters of an argument that a message shows."""
MAX_BITS = 1024
"""Of a whole number that is shown as it is; Python writes no number of thousands of digits."""


def described(given: object) -> str:
    """Such as "an array of shape (3, 4)", or "(an array of shape (3, 4), NoneType)"."""
    if isinstance(given, tuple):
        return f"({', '.join(map(described, given))})"
    return f"an array of shape {given.shape}" if isinstance(given, np.ndarray) else type(given).__name__


def shown(given: object) -> str:
    """An argument as it would be written, on one line and cut; whatever it is, this raises nothing."""
    if isinstance(given, int) and given.bit_length() > MAX_BITS:
        return f"a whole number of {given.bit_length():,} bits"
    try:
        text = repr(given)
    except Exception:  # of an object of another's class, or of one that holds too large a number
        return f"an object of the class {type(given).__name__}"
    return on_one_line(text, MAX_SHOWN)
