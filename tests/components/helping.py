"""Functions that keep attributes on layers of other modules, and a layer beside a built-in function that is wrapped."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

from cnnkit.components import Layer


def setup(layer: Any) -> None:
    """Keep something on it under a name that the layer's own module does not have."""
    layer.trainable = True


def setup_all(layers: Sequence[Any]) -> None:
    """The same for several."""
    for layer in layers:
        setup(layer)


def counted(method: Callable[..., Any]) -> Callable[..., Any]:
    """A method that counts its calls on the object."""

    @functools.wraps(method)
    def wrapper(self: Any, *args: Any) -> Any:
        self.calls = 1
        return method(self, *args)

    return wrapper


@functools.wraps(len)
def count(x: Any) -> int:
    """How many there are."""
    return len(x)


class Beside(Layer):
    """Keeps what it is told."""

    def __init__(self, units: int) -> None:
        self.units = units
