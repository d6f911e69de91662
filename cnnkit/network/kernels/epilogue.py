"""What a kernel does to its output while that is in the cache: maximum pooling and an activation.

The kernel itself adds the bias. A new activation that kernels shall take along is one class and one line of
`ACTIVATIONS`, here.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from cnnkit.components import Layer, Merge
from cnnkit.layers import AvgPool2D, LeakyReLU, MaxPool2D, ReLU, ReLU6
from cnnkit.network.kernels.layout import passed, rectify
from cnnkit.types import Array, Context


class Activation(Protocol):
    """A function of single numbers that never falls, whose gradient its output tells.

    As it never falls, the maximum of its values is its value of the maximum: a kernel pools first, on all of the
    image, and applies it to the smaller one.
    """

    def apply(self, y: Array) -> None:
        """Change y, contiguous, in place."""

    def passed(self, dy: Array, y: Array, out: Array, ctx: Context) -> Array:
        """The gradient of its input for that of its output y; in `out`."""


class Rectifier:
    """ReLU: y = max(x, 0)."""

    def apply(self, y: Array) -> None:
        """The maximum with zeros."""
        rectify(y)

    def passed(self, dy: Array, y: Array, out: Array, ctx: Context) -> Array:
        """Dy where y > 0."""
        return passed(dy, y, out, ctx)


@dataclass(frozen=True)
class LeakyRectifier:
    """LeakyReLU: y = max(x, slope * x)."""

    slope: float

    def apply(self, y: Array) -> None:
        """In pieces, so that the products take no memory worth a plan."""
        numbers = y.reshape(-1)
        for first in range(0, numbers.size, PIECE):
            part = numbers[first : first + PIECE]
            np.maximum(part, part * self.slope, out=part)

    def passed(self, dy: Array, y: Array, out: Array, ctx: Context) -> Array:
        """Dy where y > 0, slope * dy elsewhere."""
        np.maximum(np.sign(y, out=out), self.slope, out=out)
        return np.multiply(out, dy, out=out)


class CappedRectifier:
    """ReLU6: y = min(max(x, 0), 6)."""

    def apply(self, y: Array) -> None:
        """Both bounds at once."""
        np.clip(y, *ReLU6.bounds, out=y)

    def passed(self, dy: Array, y: Array, out: Array, ctx: Context) -> Array:
        """Dy where 0 < y < 6."""
        low, high = ReLU6.bounds
        inside = np.greater(y, low, out=ctx.empty_bits(y.shape))
        out[...] = np.logical_and(inside, np.less(y, high, out=ctx.empty_bits(y.shape)), out=inside)
        return np.multiply(out, dy, out=out)


PIECE = 8192
"""Numbers that stay in the cache, with their products."""
ACTIVATIONS: dict[type[Layer], Callable[[Any], Activation]] = {
    LeakyReLU: lambda layer: LeakyRectifier(layer.slope),
    ReLU: lambda _: Rectifier(),
    ReLU6: lambda _: CappedRectifier(),
}
"""What stands for a layer of exactly this class, made from it."""


@dataclass(frozen=True)
class Epilogue:
    """What follows a kernel's own work; the bias is the kernel's, and comes between the two."""

    activation: Activation | None = None
    pool: int = 1
    """Size and stride of the windows of a maximum pooling, 1 for none."""

    def apply(self, y: Array) -> None:
        """The activation, in place."""
        if self.activation:
            self.activation.apply(y)

    def kept(self, y: Array) -> Array | None:
        """What `passed` needs of the output."""
        return y if self.activation else None

    def passed(self, dy: Array, y: Array | None, ctx: Context) -> Array:
        """The gradient before the activation for that after it; y: what was kept."""
        if self.activation is None or y is None:
            return dy
        return self.activation.passed(dy, y, ctx.empty(y.shape), ctx)


def activation_of(layer: Layer | Merge) -> Activation | None:
    """What stands for this layer in a kernel."""
    made = ACTIVATIONS.get(type(layer))  # type: ignore[arg-type]  # a merge is none
    return made and made(layer)


def epilogue_of(layers: Sequence[Layer | Merge], *, pools: bool = False) -> tuple[Epilogue, int]:
    """As many of the layers behind a kernel's own as it can take along, and how many they are.

    pools: whether the kernel can take a maximum pooling, before or behind the activation.
    """
    activation: Activation | None = None
    pool, used = 1, 0
    for layer in layers:
        if activation is None and (found := activation_of(layer)):
            activation = found
        elif pools and pool == 1 and type(layer) is MaxPool2D and (size := side_by_side(layer)):
            pool = size
        else:
            break
        used += 1
    return Epilogue(activation, pool), used


def side_by_side(layer: MaxPool2D | AvgPool2D) -> int:
    """The size of square windows that neither overlap nor leave gaps, or 0."""
    rows, columns = layer.window.rows, layer.window.columns
    size = rows.size
    fits = rows.before == rows.after == columns.before == columns.after == 0
    return size if fits and {rows.stride, columns.size, columns.stride} == {size} else 0
