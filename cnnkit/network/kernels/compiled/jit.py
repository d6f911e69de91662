"""How loops are compiled: only modules with loops import this, and with it Numba."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

import numba
from numba import types

F = TypeVar("F", bound=Callable[..., Any])

OPTIONS: dict[str, Any] = {
    "boundscheck": False,
    "error_model": "numpy",  # a division by zero is no exception
    # A sum may be added in another order, and a product with it in one step; NaN and infinity stay what they are.
    "fastmath": {"contract", "reassoc", "nsz"},
    "nogil": True,
}
NUMBERS = types.Array(types.float32, 1, "C", readonly=True)
MATRIX = types.Array(types.float32, 2, "C", readonly=True)
OUT = types.Array(types.float32, 1, "C")
OUT_MATRIX = types.Array(types.float32, 2, "C")
OUT_SUMS = types.Array(types.float64, 1, "C")
BYTES = types.Array(types.uint8, 1, "C", readonly=True)
OUT_BYTES = types.Array(types.uint8, 1, "C")
PLACES = types.Array(types.uintp, 1, "C", readonly=True)
"""Offsets in flat arrays. They and what is added to them are unsigned: LLVM makes no vectors of loops whose indices may
be negative, which Python counts from the end."""
COUNT, PLACE, NUMBER = types.intp, types.uintp, types.float32


def inner(function: F) -> F:
    """A loop that becomes a part of those that call it."""
    return cast(F, numba.njit(**OPTIONS)(function))


def entry(*arguments: Any) -> Callable[[F], F]:
    """What Python calls, with arguments of these types; compiled at once, unless the machine code is on disk."""

    def compiled(function: F) -> F:
        return cast(F, numba.njit([types.void(*arguments)], cache=True, **OPTIONS)(function))

    return compiled
