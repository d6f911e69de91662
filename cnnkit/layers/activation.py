"""What activations have in common: a function of single numbers, and its derivative."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

from cnnkit.components import Layer
from cnnkit.types import Array, Cache, Context, Grads

PIECE = 1 << 14
"""Numbers that stay in the cache while a function is computed step by step."""


def each(function: Callable[[Array], Any], x: Array, ctx: Context) -> Array:
    """The function of each number of x, in the memory order of x; it equals

    function(x)

    but takes no memory for intermediate results. function: of vectors, (n,).
    """
    y = ctx.empty_like(x)
    y[...] = x
    numbers = y.ravel(order="K")  # a view: memory from ctx has no gaps
    for start in range(0, numbers.size, PIECE):
        piece = numbers[start : start + PIECE]
        piece[...] = function(piece)
    return y


class _Activation(Layer):
    """A function of single numbers.

    Forward:   y = f(x)
    Backward:  dx = f'(x) * dy

    A member has `value` and `derivative`, whose argument is x, or y where the derivative is `from_output`: that is in
    memory anyway, as the input of the next layer.
    """

    from_output: ClassVar[bool] = False

    def value(self, x: Array) -> Any:
        """f(x), (n,)."""
        raise NotImplementedError  # derived classes define it

    def derivative(self, kept: Array) -> Any:
        """f'(x), (n,), from x or from y."""
        raise NotImplementedError  # derived classes define it

    def forward(self, x: Array, ctx: Context) -> tuple[Array, Cache]:
        """y = f(x)."""
        y = each(self.value, x, ctx)
        return y, y if self.from_output else x

    def backward(self, dy: Array, kept: Cache, ctx: Context) -> tuple[Array, Grads]:
        """dx = f'(x) * dy."""
        dx = each(self.derivative, kept, ctx)
        dx *= dy
        return dx, {}
