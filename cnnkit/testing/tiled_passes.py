"""Builds one layer or merge and takes a batch through it, cut into tiles as the engine does."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, cast

import numpy as np

from cnnkit.components import Layer, Merge
from cnnkit.components.value_description import described
from cnnkit.errors import CheckError, ContractError
from cnnkit.network.execution.operation import backward as drive_backward
from cnnkit.network.execution.operation import forward as drive_forward
from cnnkit.network.execution.operation import operation_of, together
from cnnkit.testing.plain_context import PlainContext
from cnnkit.types import Array, Cache, Grads, Shape


@dataclass(frozen=True)
class Built:
    """A layer with parameters, or a merge, and the shapes that it was built for, without the batch axis."""

    layer: Layer | Merge
    in_shapes: tuple[Shape, ...]
    """One for a layer; for a merge what each branch ends in."""
    out_shape: Shape
    inner: tuple[Built, ...] = ()
    """A merge's branches, layer by layer."""


@dataclass(frozen=True)
class Tile:
    """One tile's way forward."""

    y: Array
    cache: Cache
    ctx: PlainContext


def build(layer: Layer | Merge, in_shape: Shape, rng: np.random.Generator) -> Built:
    """A copy of the layer, built; its parameters are moved off their initial values, which hide wrong gradients.

    A gamma of 1 that is forgotten, or a bias of 0, would not be noticed.
    """
    if isinstance(layer, Merge):
        return _build_merge(layer, in_shape, rng)
    layer = copy.deepcopy(layer)
    layer.params, layer.buffers = {}, {}
    out_shape = layer.build(in_shape, rng)
    layer.params = {name: _moved(value, rng) for name, value in layer.params.items()}
    return Built(layer, (in_shape,), out_shape)


def _moved(value: Array, rng: np.random.Generator) -> Array:
    """What is not an array stays, for the check of what `build` makes."""
    # NumPy makes a number of the sum of two arrays without axes.
    return np.asarray(value + rng.uniform(-0.2, 0.2, value.shape)) if isinstance(value, np.ndarray) else value


def _build_merge(merge: Merge, in_shape: Shape, rng: np.random.Generator) -> Built:
    """Of a merge without branches, which is for the nodes of a graph, two inputs have this shape."""
    inner: list[Built] = []
    ends: list[Shape] = [] if merge.branches else [in_shape, in_shape]
    for branch in merge.branches:
        shape = in_shape
        for layer in branch:
            inner.append(build(layer, shape, rng))
            shape = inner[-1].out_shape
        ends.append(shape)
    return Built(merge, tuple(ends), merge.merge_shape(ends), tuple(inner))


def input_names(layer: Layer | Merge, inputs: int) -> list[str]:
    """What the checks call the inputs: "x", of a merge "xs[0]", "xs[1]" and so on."""
    return [f"xs[{i}]" for i in range(inputs)] if isinstance(layer, Merge) else ["x"]


def cast_parameters(layer: Layer | Merge, dtype: str | np.dtype[Any]) -> None:
    """Give parameters and buffers this dtype."""
    layer.params = {name: value.astype(dtype) for name, value in layer.params.items()}
    layer.buffers = {name: value.astype(dtype) for name, value in layer.buffers.items()}


def forward(
    layer: Layer | Merge,
    xs: Sequence[Array],
    *,
    training: bool = True,
    seed: int = 0,
    tiles: int | Sequence[int] = 2,
    fill: float = math.nan,
) -> list[Tile]:
    """The batch's way forward; a batch-coupled layer gets the sum of its tiles' partials.

    tiles: how many equal ones, or where the batch is cut; fill: what memory holds before it is written.
    """
    inputs = list(zip(*(np.array_split(x, tiles) for x in xs), strict=True))
    contexts = [PlainContext(training, seed + number, xs[0].dtype, fill=fill) for number in range(len(inputs))]
    operation = operation_of(layer)
    ways = [drive_forward(operation, x, ctx) for x, ctx in zip(inputs, contexts, strict=True)]
    with _contract_told():
        results = together(ways, _joining(contexts, operation.join))
    for ctx in contexts:
        ctx.end_call()
    return [Tile(y, cache, ctx) for (y, cache), ctx in zip(results, contexts, strict=True)]


def backward(layer: Layer | Merge, dy: Array, tiles: Sequence[Tile]) -> tuple[list[Array], Grads]:
    """The gradients of the inputs, and of the parameters added over the tiles.

    After a forward pass in prediction, a batch-coupled layer gets a total of zeros: nothing depends on the batch then.
    Raises CheckError if backward fails then.
    """
    try:
        return _backward(layer, dy, tiles)
    except CheckError:
        raise
    except Exception as error:
        if tiles[0].ctx.training:
            raise
        raise CheckError(
            "backward fails after a forward pass in prediction, which is how a network is explained, with "
            f"{type(error).__name__}: {error}; let forward give backward its cache in prediction, too"
        ) from error


def _backward(layer: Layer | Merge, dy: Array, tiles: Sequence[Tile]) -> tuple[list[Array], Grads]:
    dys = np.split(dy, np.cumsum([len(tile.y) for tile in tiles])[:-1])
    operation, contexts = operation_of(layer), [tile.ctx for tile in tiles]
    ways = [drive_backward(operation, part, tile.cache, tile.ctx) for part, tile in zip(dys, tiles, strict=True)]
    with _contract_told():
        results = together(ways, _joining(contexts, lambda parts: np.asarray(np.sum(parts, axis=0))))
    total: Grads = {}
    dxs: list[Sequence[Array]] = []
    for (given, grads), ctx in zip(results, contexts, strict=True):
        if not all(isinstance(dx, np.ndarray) for dx in given):
            raise CheckError(f"backward must return an array for each input, it gave {described(tuple(given))}")
        dxs.append(cast(Sequence[Array], given))
        kept = _kept(layer, grads, ctx)
        total = {name: total[name] + grad if name in total else grad for name, grad in kept.items()}
        ctx.end_call()
    return [np.concatenate(parts) for parts in zip(*dxs, strict=True)], total


def output(tiles: Sequence[Tile]) -> Array:
    """The whole batch's output."""
    return np.concatenate([tile.y for tile in tiles])


def _kept(layer: Layer | Merge, grads: Grads, ctx: PlainContext) -> Grads:
    """The gradients as the engine keeps them: each copied to its place, one after the other, unless it is there."""
    kept = {}
    for name, grad in grads.items():
        kept[name] = grad
        if name in layer.params and np.shape(grad) == layer.params[name].shape and grad.dtype == ctx.dtype:
            place = kept[name] = ctx.gradient(name, grad.shape)
            if place is not grad:
                place[...] = grad
    return kept


def _joining(
    contexts: Sequence[PlainContext], join: Callable[[Sequence[Array]], Array]
) -> Callable[[Sequence[Array]], Array]:
    """`join`, after a check of the partials and the end of the calls that gave them."""

    def joined(partials: Sequence[Array]) -> Array:
        for partial in partials:
            if partial.dtype != np.float64:
                raise CheckError(f"partials must be float64 and of one shape for every tile, got {partial.dtype}")
        for ctx in contexts:
            ctx.end_call()
        return join(partials)

    return joined


@contextmanager
def _contract_told() -> Iterator[None]:
    """What a call must give is a check, too."""
    try:
        yield
    except ContractError as error:
        raise CheckError(str(error)) from error
