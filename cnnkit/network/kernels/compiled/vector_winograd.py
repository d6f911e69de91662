"""The sums of Winograd's F(4, 3), of vectors of samples, as LLVM's instructions: all six from one load of each row.

A loop over the same samples would be so short that what it needs to see that its rows do not overlap takes longer.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from cnnkit.network.kernels.compiled.interface import INNER, OUTER
from cnnkit.network.kernels.compiled.vector_code import LANES, VECTOR, Memory, index

INNER_2, OUTER_2 = INNER * INNER, OUTER * OUTER
INNER_3, OUTER_3 = INNER_2 * INNER, OUTER_2 * OUTER


def input_sums(*, partial: bool) -> Callable[..., None]:
    """s0 .. s5 of six rows of the image.

    Its function takes a pointer to each of the rows, s, the step from one sum to the next one, and how many samples
    there are, if it is partial, 0 to LANES: of the others, the sums are 0.
    """

    @intrinsic  # type: ignore[untyped-decorator]  # Numba has no types
    def of_rows(
        _context: Any, x0: Any, x1: Any, x2: Any, x3: Any, x4: Any, x5: Any, s: Any, _step: Any, _samples: Any
    ) -> Any:
        def code(target: Any, builder: Any, _signature: Any, given: Sequence[Any]) -> Any:
            *rows, s, step, samples = given
            vectors = _Vectors(builder)
            loads = Memory(builder, samples if partial else None)
            d0, d1, d2, d3, d4, d5 = (loads.load(row) for row in rows)
            sums = [vectors.of((INNER_2 * OUTER_2, d0), (-INNER_2 - OUTER_2, d2), (1, d4))]
            for point, other in ((INNER, OUTER_2), (OUTER, INNER_2)):
                even, odd = vectors.of((-other, d2), (1, d4)), vectors.of((-point * other, d1), (point, d3))
                sums += [builder.fadd(even, odd), builder.fsub(even, odd)]
            sums.append(vectors.of((INNER_2 * OUTER_2, d1), (-INNER_2 - OUTER_2, d3), (1, d5)))
            vectors.store(sums, s, step)
            return target.get_dummy_value()

        count = types.intp
        return types.void(x0, x1, x2, x3, x4, x5, s, count, count), code

    made: Callable[..., None] = of_rows
    return made


def output_rows(*, partial: bool) -> Callable[..., None]:
    """y0 .. y3 of six products.

    Its function takes m, the step from one product to the next one, a pointer to each of the rows, and how many samples
    there are, if it is partial, 1 to LANES: of the others, nothing is written.
    """

    @intrinsic  # type: ignore[untyped-decorator]  # Numba has no types
    def of_products(_context: Any, m: Any, _step: Any, y0: Any, y1: Any, y2: Any, y3: Any, _samples: Any) -> Any:
        def code(target: Any, builder: Any, _signature: Any, given: Sequence[Any]) -> Any:
            m, step, *rows, samples = given
            vectors = _Vectors(builder)
            m0, m1, m2, m3, m4, m5 = vectors.load(m, step)
            even, odd = builder.fadd(m1, m2), builder.fsub(m1, m2)
            outer_even, outer_odd = builder.fadd(m3, m4), builder.fsub(m3, m4)
            made = (
                builder.fadd(m0, builder.fadd(even, outer_even)),
                vectors.of((INNER, odd), (OUTER, outer_odd)),
                vectors.of((INNER_2, even), (OUTER_2, outer_even)),
                vectors.of((INNER_3, odd), (OUTER_3, outer_odd), (1, m5)),
            )
            stores = Memory(builder, samples if partial else None)
            for row, vector in zip(rows, made, strict=True):
                stores.store(vector, row)
            return target.get_dummy_value()

        count = types.intp
        return types.void(m, count, y0, y1, y2, y3, count), code

    made: Callable[..., None] = of_products
    return made


def gradient_sums(*, partial: bool) -> Callable[..., None]:
    """t0 .. t5 of four rows of the output's gradient.

    Its function takes a pointer to each of the rows, t, the step from one sum to the next one, and how many samples
    there are, if it is partial, 0 to LANES: of the others, the sums are 0.
    """

    @intrinsic  # type: ignore[untyped-decorator]  # Numba has no types
    def of_rows(_context: Any, y0: Any, y1: Any, y2: Any, y3: Any, t: Any, _step: Any, _samples: Any) -> Any:
        def code(target: Any, builder: Any, _signature: Any, given: Sequence[Any]) -> Any:
            *rows, t, step, samples = given
            vectors = _Vectors(builder)
            loads = Memory(builder, samples if partial else None)
            y0, y1, y2, y3 = (loads.load(row) for row in rows)
            sums = [y0]
            for point in (INNER, OUTER):
                even, odd = vectors.of((point**2, y2), (1, y0)), vectors.of((point**3, y3), (point, y1))
                sums += [builder.fadd(even, odd), builder.fsub(even, odd)]
            vectors.store([*sums, y3], t, step)
            return target.get_dummy_value()

        count = types.intp
        return types.void(y0, y1, y2, y3, t, count, count), code

    made: Callable[..., None] = of_rows
    return made


class _Vectors:
    """Whole vectors, and sums of them."""

    def __init__(self, builder: Any) -> None:
        self.builder, self._memory = builder, Memory(builder, None)

    def of(self, *terms: tuple[float, Any]) -> Any:
        """The sum of factor * vector, from the last term on, of which the factor may be 1."""
        *others, (factor, total) = terms
        if factor != 1:
            total = self.builder.fmul(_constant(factor), total)
        for factor, vector in reversed(others):
            total = self._memory.add_product(_constant(factor), vector, total)
        return total

    def load(self, place: Any, step: Any) -> list[Any]:
        """Six of them."""
        return [self._memory.load(one) for one in self._places(place, step)]

    def store(self, six: Sequence[Any], place: Any, step: Any) -> None:
        """As `load`."""
        for vector, one in zip(six, self._places(place, step), strict=True):
            self._memory.store(vector, one)

    def _places(self, place: Any, step: Any) -> list[Any]:
        return [self.builder.gep(place, [self.builder.mul(step, index(k))]) for k in range(6)]


def _constant(value: float) -> Any:
    return ir.Constant(VECTOR, [value] * LANES)
