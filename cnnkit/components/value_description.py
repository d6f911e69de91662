"""Describes what a component returned, for errors where something else was expected."""

from __future__ import annotations

import numpy as np


def described(given: object) -> str:
    """Such as "an array of shape (3, 4)", or "(an array of shape (3, 4), NoneType)"."""
    if isinstance(given, tuple):
        return f"({', '.join(map(described, given))})"
    return f"an array of shape {given.shape}" if isinstance(given, np.ndarray) else type(given).__name__
