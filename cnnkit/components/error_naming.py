"""Errors inside a component say which one it is."""

from __future__ import annotations

from types import TracebackType
from typing import Any, Self


class Naming:
    """`with Naming(metric):` gives an error of the block a note, such as "in the metric Accuracy()".

    `Naming(node, "forward pass")` says "in the forward pass of layer dense_1 = Dense(10)". The error's type and text
    stay what they are. A class, because a generator would take several times as long, in every tile.
    """

    __slots__ = ("_doing", "what")

    def __init__(self, what: Any, doing: str = "") -> None:
        """what: a component or, where it says what it was doing, a node of a network."""
        self.what, self._doing = what, doing

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if isinstance(error, Exception):
            what = f"{self._doing} of {self.what}" if self._doing else f"{self.what.kind} {self.what!r}"
            error.add_note(f"in the {what}")
