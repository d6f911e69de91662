"""Errors inside a component say which one it is."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from cnnkit.components.contracts import Component


@contextmanager
def naming(component: Component) -> Iterator[None]:
    """An error in the block gets a note such as "in the metric Accuracy()"; its type and text stay what they are."""
    try:
        yield
    except Exception as error:
        error.add_note(f"in the {component.kind} {component!r}")
        raise
