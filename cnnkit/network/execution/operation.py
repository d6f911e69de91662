"""Operations: whatever a step of a network runs, a layer, a merge or a kernel, as lists in and lists out.

Two functions, `forward` and `backward`, drive an operation, and nobody else calls a layer: training, prediction,
gradient methods, profiles, checks and explanations use them. Each is a generator that stops where the tiles of a batch
wait for each other: it yields the tile's partial there, and is sent the total of all tiles.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import numpy as np

from cnnkit.components import BatchCoupledLayer, Layer, Merge
from cnnkit.components.value_description import described
from cnnkit.errors import ContractError
from cnnkit.types import Array, Cache, Context, Grads, OnnxGraph, Shape

if TYPE_CHECKING:
    from cnnkit.network.kernels import Kernel

T = TypeVar("T")


class DrivenContext(Context, Protocol):
    """A context whose sums over the batch are set by who drives the layer."""

    total: Array
    partial: Array


Stops = Generator[Array, Array, T]
"""Yields a partial, is sent the total, ends with a result."""


class Operation:
    """What has one input: a layer, or a kernel that stands for several."""

    coupled = False
    """Whether its output depends on the whole batch."""

    def __init__(self, run: Any) -> None:
        self.run = run

    def lower(self, graph: OnnxGraph, xs: Sequence[str]) -> str:
        """Write it into a graph, and return the name of its output."""
        value: str = self.run.lower(graph, xs[0])
        return value

    def partial(self, xs: Sequence[Array], ctx: Context) -> Array:
        """A coupled operation's part of the forward total."""
        raise NotImplementedError  # only a coupled one has it

    def join(self, partials: Sequence[Array]) -> Array:
        """The forward total of a coupled operation's partials, which are in the order of the tiles."""
        raise NotImplementedError  # only a coupled one has it

    def absorb(self, total: Array) -> None:
        """Let a coupled operation take in the forward total of a batch."""
        raise NotImplementedError  # only a coupled one has it

    def backward_partial(self, dy: Array, cache: Cache, ctx: Context) -> Array:
        """A coupled operation's part of the backward total."""
        raise NotImplementedError  # only a coupled one has it

    def forward(self, xs: Sequence[Array], ctx: Context) -> tuple[Array, Cache]:
        """The output for these inputs, and what `backward` needs."""
        return _output(self.run.forward(xs[0], ctx))

    def backward(self, dy: Array, cache: Cache, ctx: Context) -> tuple[Sequence[Array | None], Grads]:
        """The gradient of each input, and those of the parameters; only a kernel may leave out a dx, as None."""
        given = self.run.backward(dy, cache, ctx)
        if not (isinstance(given, tuple) and len(given) == 2 and isinstance(given[1], dict)):
            raise ContractError(f"backward must return (dx, grads) with grads a dict, it returned {described(given)}")
        dx, grads = given
        return (dx,), grads


class CoupledOperation(Operation):
    """A layer or kernel whose output in training depends on the whole batch."""

    coupled = True

    def __init__(self, run: Any) -> None:
        super().__init__(run)
        self._shapes: dict[str, Shape | None] = {}
        """Of the partials, by the way."""

    def partial(self, xs: Sequence[Array], ctx: Context) -> Array:
        """Raises ContractError unless it has the shape that other tiles' have."""
        return self._checked("forward", self.run.partial(xs[0], ctx))

    def join(self, partials: Sequence[Array]) -> Array:
        """As the layer joins them."""
        total: Array = self.run.join(partials)
        return total

    def absorb(self, total: Array) -> None:
        """Update the layer's buffers."""
        self.run.absorb(total)

    def backward_partial(self, dy: Array, cache: Cache, ctx: Context) -> Array:
        """Raises ContractError as `partial` does."""
        return self._checked("backward", self.run.backward_partial(dy, cache, ctx))

    def _checked(self, way: str, given: Any) -> Array:
        shape = getattr(given, "shape", None)
        expected = self._shapes.setdefault(way, shape)
        if shape is None or shape != expected:
            raise ContractError(
                f"a partial must be an array of one shape for every tile, {expected}; it is {described(given)}"
            )
        partial: Array = given
        return partial


class JoiningOperation(Operation):
    """A merge, or a kernel in its place: several inputs, no parameters."""

    def lower(self, graph: OnnxGraph, xs: Sequence[str]) -> str:
        """Write it into a graph, and return the name of its output."""
        value: str = self.run.lower(graph, xs)
        return value

    def forward(self, xs: Sequence[Array], ctx: Context) -> tuple[Array, Cache]:
        """The output for the ends of the branches."""
        return _output(self.run.forward(xs, ctx))

    def backward(self, dy: Array, cache: Cache, ctx: Context) -> tuple[Sequence[Array | None], Grads]:
        """The gradient of each end."""
        given = self.run.backward(dy, cache, ctx)
        if not isinstance(given, tuple | list):
            raise ContractError(
                f"backward must return a list of gradients, one for each branch; it returned {described(given)}"
            )
        return given, {}


def operation_of(run: Layer | Merge | Kernel) -> Operation:
    """What drives a layer, a merge or a kernel."""
    if isinstance(run, Merge):
        return JoiningOperation(run)
    return CoupledOperation(run) if isinstance(run, BatchCoupledLayer) else Operation(run)


def forward(operation: Operation, xs: Sequence[Array], ctx: DrivenContext) -> Stops[tuple[Array, Cache]]:
    """One tile's way forward."""
    if operation.coupled and ctx.training:
        ctx.partial = operation.partial(xs, ctx)
        ctx.total = yield ctx.partial
    return operation.forward(xs, ctx)


def backward(
    operation: Operation, dy: Array, cache: Cache, ctx: DrivenContext
) -> Stops[tuple[Sequence[Array | None], Grads]]:
    """One tile's way back; after a forward pass in prediction no sample depends on others, and totals are zeros."""
    if operation.coupled:
        ctx.partial = operation.backward_partial(dy, cache, ctx)
        ctx.total = (yield ctx.partial) if ctx.training else np.zeros_like(ctx.partial)
    return operation.backward(dy, cache, ctx)


def together(ways: Sequence[Stops[T]], join: Callable[[Sequence[Array]], Array]) -> list[T]:
    """Take all tiles of a batch through one call: each to its stop, if there is one, and each to its end.

    join: the total of the partials, which are in the order of the tiles; called if there is a stop.
    """
    results: list[T] = []
    partials: list[Array] = []
    for way in ways:
        try:
            partials.append(next(way))
        except StopIteration as end:
            results.append(end.value)
    if not partials:
        return results
    total = join(partials)
    for way in ways:
        try:
            way.send(total)
        except StopIteration as end:
            results.append(end.value)
    return results


def straight(way: Stops[T]) -> T:
    """Take a tile through a call in prediction, where it does not stop."""
    (result,) = together([way], lambda partials: partials[0])
    return result


def _output(given: Any) -> tuple[Array, Cache]:
    if not (isinstance(given, tuple) and len(given) == 2 and isinstance(given[0], np.ndarray)):
        raise ContractError(f"forward must return (y, cache) with y an array, it returned {described(given)}")
    y, cache = given
    return y, cache
