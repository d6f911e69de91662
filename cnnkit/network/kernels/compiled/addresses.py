"""Where the numbers of an array are, for machine code."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import Any

from cnnkit.types import Array

_begin: Callable[[Any], Any] = ctypes.c_char.from_buffer


def address(view: Array) -> int:
    """Of its first number, which must live as long as this is used.

    A small network asks for a hundred of them in a tile: by the buffer, which is there for what is contiguous and
    may be written to, it takes a quarter of the time.
    """
    try:
        return ctypes.addressof(_begin(view))
    except (TypeError, ValueError):  # read-only, not contiguous, or empty
        found: int = view.__array_interface__["data"][0]
        return found
