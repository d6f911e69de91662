"""Sums over the taps of a depthwise kernel, with what they are times in the processor's vector registers.

What loops over runs of samples lose on a run, which has few vectors, is most of their time; these have nothing to do
for a vector but its products.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from numba import types
from numba.extending import intrinsic

from cnnkit.network.kernels.compiled.vector_code import INDEX, LANES, VECTOR, Memory, index, splat


def sum_of_taps(count: int) -> Callable[..., None]:
    """y = start, or y as it is, + the sum over k of weight[tap k] * x[place k], for the samples of some channels.

    Its function takes x, taps (of each its number in the kernel, and its place), weight, size (of a kernel), whether to
    begin with start, start (of each channel), y, and how many channels there are, and vectors of samples in each.
    """

    @intrinsic  # type: ignore[untyped-decorator]  # Numba has no types
    def of_pixel(
        _context: Any,
        x: Any,
        _taps: Any,
        weight: Any,
        _size: Any,
        _begins: Any,
        start: Any,
        y: Any,
        _channels: Any,
        _vectors: Any,
    ) -> Any:
        def code(target: Any, builder: Any, _signature: Any, given: Sequence[Any]) -> Any:
            x, taps, weight, size, begins, start, y, channels, vectors = given
            memory = Memory(builder, None)
            add_product = _add_product(memory)
            numbers = [_tap(builder, taps, k, 0) for k in range(count)]
            starts = [builder.gep(x, [_tap(builder, taps, k, 1)]) for k in range(count)]
            with _Loop(builder, channels) as channel:
                of_channel = builder.gep(weight, [builder.mul(channel.at, size)])
                factors = [_number(builder, of_channel, number) for number in numbers]
                beginning = _number(builder, start, channel.at)
                first = builder.mul(channel.at, vectors)
                with _Loop(builder, vectors) as vector:
                    at = builder.mul(builder.add(first, vector.at), index(LANES))
                    into = builder.gep(y, [at])
                    total = builder.select(begins, beginning, memory.load(into))
                    for place, factor in zip(starts, factors, strict=True):
                        total = builder.call(add_product, [factor, memory.load(builder.gep(place, [at])), total])
                    memory.store(total, into)
            return target.get_dummy_value()

        number, places = types.intp, types.CPointer(types.intp)
        return types.void(x, places, weight, number, types.boolean, start, y, number, number), code

    made: Callable[..., None] = of_pixel
    return made


def products_of_taps(count: int) -> Callable[..., None]:
    """sums[tap k] += dy * x[place k], for the samples of some channels, a vector of sums in each.

    Its function takes x, taps (of each its number in the kernel, and its place), dy, sums, (channels, size, LANES),
    size (of a kernel), and how many channels there are, and vectors of samples in each.
    """

    @intrinsic  # type: ignore[untyped-decorator]  # Numba has no types
    def of_pixel(
        _context: Any, x: Any, _taps: Any, dy: Any, sums: Any, _size: Any, _channels: Any, _vectors: Any
    ) -> Any:
        def code(target: Any, builder: Any, _signature: Any, given: Sequence[Any]) -> Any:
            x, taps, dy, sums, size, channels, vectors = given
            memory = Memory(builder, None)
            add_product = _add_product(memory)
            numbers = [_tap(builder, taps, k, 0) for k in range(count)]
            starts = [builder.gep(x, [_tap(builder, taps, k, 1)]) for k in range(count)]
            with _Loop(builder, channels) as channel:
                of_channel, first = builder.mul(channel.at, size), builder.mul(channel.at, vectors)
                places = [
                    builder.gep(sums, [builder.mul(builder.add(of_channel, number), index(LANES))])
                    for number in numbers
                ]
                with _Loop(builder, vectors, [memory.load(place) for place in places]) as vector:
                    at = builder.mul(builder.add(first, vector.at), index(LANES))
                    factor = memory.load(builder.gep(dy, [at]))
                    vector.carried = [
                        builder.call(add_product, [factor, memory.load(builder.gep(place, [at])), total])
                        for place, total in zip(starts, vector.carried, strict=True)
                    ]
                for total, place in zip(vector.carried, places, strict=True):
                    memory.store(total, place)
            return target.get_dummy_value()

        number, places = types.intp, types.CPointer(types.intp)
        return types.void(x, places, dy, sums, number, number, number), code

    made: Callable[..., None] = of_pixel
    return made


class _Loop:
    """A loop that goes round `length` times, 1 at least; `carried` vectors go from one round to the next."""

    def __init__(self, builder: Any, length: Any, carried: Sequence[Any] = ()) -> None:
        self._builder, self._length = builder, length
        self._before, self.carried = builder.block, list(carried)
        self._loop, self._after = (builder.append_basic_block(name) for name in ("round", "after"))

    def __enter__(self) -> _Loop:
        builder = self._builder
        builder.branch(self._loop)
        builder.position_at_end(self._loop)
        self.at = builder.phi(INDEX)
        self.at.add_incoming(index(0), self._before)
        self._phis = [builder.phi(VECTOR) for _ in self.carried]
        for phi, value in zip(self._phis, self.carried, strict=True):
            phi.add_incoming(value, self._before)
        self.carried = list(self._phis)
        return self

    def __exit__(self, *_: object) -> None:
        builder = self._builder
        last = builder.block  # of the rounds, which may have loops of their own
        following = builder.add(self.at, index(1))
        self.at.add_incoming(following, last)
        for phi, value in zip(self._phis, self.carried, strict=True):
            phi.add_incoming(value, last)
        builder.cbranch(builder.icmp_signed("<", following, self._length), self._loop, self._after)
        builder.position_at_end(self._after)


def _tap(builder: Any, taps: Any, k: int, which: int) -> Any:
    """The number of a tap, or its place."""
    return builder.load(builder.gep(taps, [index(2 * k + which)]))


def _number(builder: Any, pointer: Any, at: Any) -> Any:
    """A number in all lanes."""
    return splat(builder, builder.load(builder.gep(pointer, [at]), align=4), VECTOR)


def _add_product(memory: Memory) -> Any:
    return memory.function("fmuladd", VECTOR, (VECTOR, VECTOR, VECTOR))
