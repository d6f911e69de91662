"""Warnings that point at the line of a program that asked the library, whatever called what inside of it."""

from __future__ import annotations

import sys
import warnings
from types import FrameType

PACKAGE = __name__.partition(".")[0]


def warn(text: str, category: type[Warning]) -> None:
    """Warn at the caller's line."""
    level, _ = _outside(sys._getframe())
    warnings.warn(text, category, stacklevel=level)


def line() -> tuple[str, int]:
    """File and number of the caller's line."""
    _, frame = _outside(sys._getframe())
    return frame.f_code.co_filename, frame.f_lineno


def _outside(frame: FrameType) -> tuple[int, FrameType]:
    """The nearest frame that is not of this package, the outermost one if all are, and how many are up to it."""
    level = 1
    while frame.f_back and frame.f_globals.get("__name__", "").partition(".")[0] == PACKAGE:
        level, frame = level + 1, frame.f_back
    return level, frame
