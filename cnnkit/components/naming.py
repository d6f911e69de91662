"""Errors inside a component say which one it is."""

from __future__ import annotations

from types import TracebackType

from cnnkit.components.contracts import Component


class Naming:
    """`with Naming(metric):` gives an error of the block a note, such as "in the metric Accuracy()".

    Its type and text stay what they are. A class, because a generator would take several times as long, in every tile.
    """

    __slots__ = ("_component",)

    def __init__(self, component: Component) -> None:
        self._component = component

    def __enter__(self) -> None:
        return None

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if isinstance(error, Exception):
            error.add_note(f"in the {self._component.kind} {self._component!r}")
