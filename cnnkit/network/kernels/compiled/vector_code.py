"""What loops cannot say: products that keep their sums in the processor's vector registers, as LLVM's instructions.

A block of the result, some rows by one or two vectors of columns, stays in registers while the loop goes along the
depth. Each step loads the vectors of one row of b once, and one number of a for each row of the block: for 8 rows by 2
vectors 10 loads to 16 products with addition, which is less than a processor can do of either.
Source: Goto, van de Geijn (2008), Anatomy of High-Performance Matrix Multiplication.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import Any

from llvmlite import binding, ir
from numba import types
from numba.extending import intrinsic

FEATURES: dict[str, bool] = dict(binding.get_host_cpu_features())
LANES = 16 if FEATURES.get("avx512f") else 8 if FEATURES.get("avx2") else 4
"""Numbers in a vector."""
SUMS = 8 if LANES == 8 or (LANES == 4 and "sse2" in FEATURES) else 16
"""Of a block, in vectors: half of the processor's registers, which are 16 or 32."""
MOST_ROWS = SUMS // 2
"""Of a block with two vectors in each."""

FLOAT, INDEX, TRUTH, NUMBER = ir.FloatType(), ir.IntType(64), ir.IntType(1), ir.IntType(32)
VECTOR, INDICES, MASK = (ir.VectorType(kind, LANES) for kind in (FLOAT, INDEX, TRUTH))
ZEROS = ir.Constant(VECTOR, [0.0] * LANES)
ALIGNMENT = ir.Constant(NUMBER, 4)


@intrinsic  # type: ignore[untyped-decorator]  # Numba has no types
def shifted(_context: Any, pointer: Any, _places: Any) -> Any:
    """A pointer to what lies so many places behind another one."""

    def code(_target: Any, builder: Any, _signature: Any, given: Sequence[Any]) -> Any:
        return builder.gep(given[0], [given[1]])

    return pointer(pointer, types.intp), code


@intrinsic  # type: ignore[untyped-decorator]  # Numba has no types
def square_root(_context: Any, number: Any) -> Any:
    """Of a float32, rounded correctly, as an instruction: `math.sqrt` would be a call of the C library."""

    def code(_target: Any, builder: Any, _signature: Any, given: Sequence[Any]) -> Any:
        function = builder.module.declare_intrinsic("llvm.sqrt", [FLOAT])
        return builder.call(function, given)

    return types.float32(number), code


def block(rows: int, vectors: int, *, partial: bool, gathered: bool = False) -> Callable[..., None]:
    """c[:rows, :columns] = a[:rows] @ b, or added to it; one block of the result.

    Its function takes a, a_row, a_column (from one number to the next, in a row and in a column), b, b_row (or, if it
    is gathered, a pointer to where each row of b begins), c, c_row, depth (1 at least), whether to begin (not to add),
    and the number of columns: all of its vectors, or, if it is partial, 1 and more of its only one.
    """

    @intrinsic  # type: ignore[untyped-decorator]  # Numba has no types
    def of_block(
        _context: Any,
        a: Any,
        _a_row: Any,
        _a_column: Any,
        b: Any,
        b_row: Any,
        c: Any,
        _c_row: Any,
        _depth: Any,
        _begins: Any,
        _columns: Any,
    ) -> Any:
        def code(target: Any, builder: Any, _signature: Any, given: Sequence[Any]) -> Any:
            a, a_row, a_column, b, b_row, c, c_row, depth, begins, columns = given
            memory = Memory(builder, columns if partial else None)

            def add_row(at: Any, sums: Sequence[Any]) -> list[Any]:
                row = builder.gep(b, [builder.load(builder.gep(b_row, [at])) if gathered else builder.mul(at, b_row)])
                met = [memory.load(builder.gep(row, [index(LANES * v)])) for v in range(vectors)]
                column = builder.gep(a, [builder.mul(at, a_column)])
                places = [builder.gep(column, [builder.mul(a_row, index(number))]) for number in range(rows)]
                factors = [splat(builder, builder.load(place, align=4), VECTOR) for place in places]
                pairs = itertools.product(factors, met)
                return [memory.add_product(*pair, total) for pair, total in zip(pairs, sums, strict=True)]

            sums = _accumulated(builder, depth, [ZEROS] * (rows * vectors), add_row)
            places = [
                builder.gep(c, [builder.add(builder.mul(c_row, index(row)), index(LANES * v))])
                for row in range(rows)
                for v in range(vectors)
            ]
            with builder.if_else(begins) as (beginning, adding):
                for branch, adds in ((beginning, False), (adding, True)):
                    with branch:
                        for total, place in zip(sums, places, strict=True):
                            memory.store(builder.fadd(memory.load(place), total) if adds else total, place)
            return target.get_dummy_value()

        count = types.intp
        return types.void(a, count, count, b, b_row if gathered else count, c, count, count, types.boolean, count), code

    made: Callable[..., None] = of_block
    return made


def gradient_block(rows: int, taps: int, *, partial: bool) -> Callable[..., None]:
    """sums[row, tap] += dy[row] * x[tap], number by number, in LANES sums each.

    Its function takes dy, dy_row (from line to line), x, a pointer to where each line of x begins, sums, sums_row, and
    the length of the lines in vectors, 1 at least, or, if it is partial, in numbers, 1 to LANES.
    """

    @intrinsic  # type: ignore[untyped-decorator]  # Numba has no types
    def of_block(
        _context: Any, dy: Any, _dy_row: Any, x: Any, places: Any, sums: Any, _sums_row: Any, _length: Any
    ) -> Any:
        def code(target: Any, builder: Any, _signature: Any, given: Sequence[Any]) -> Any:
            dy, dy_row, x, places, sums, sums_row, length = given
            memory, kept = Memory(builder, length if partial else None), Memory(builder, None)
            lines = [builder.gep(dy, [builder.mul(dy_row, index(row))]) for row in range(rows)]
            met = [builder.gep(x, [builder.load(builder.gep(places, [index(tap)]))]) for tap in range(taps)]
            into = [
                builder.gep(sums, [builder.add(builder.mul(sums_row, index(row)), index(LANES * tap))])
                for row in range(rows)
                for tap in range(taps)
            ]

            def add_vector(at: Any, totals: Sequence[Any]) -> list[Any]:
                first = builder.mul(at, index(LANES))
                of_lines, of_met = ([memory.load(builder.gep(one, [first])) for one in some] for some in (lines, met))
                pairs = itertools.product(of_lines, of_met)
                return [memory.add_product(*pair, total) for pair, total in zip(pairs, totals, strict=True)]

            before = [kept.load(place) for place in into]
            after = add_vector(index(0), before) if partial else _accumulated(builder, length, before, add_vector)
            for total, place in zip(after, into, strict=True):
                kept.store(total, place)
            return target.get_dummy_value()

        count = types.intp
        return types.void(dy, count, x, places, sums, count, count), code

    made: Callable[..., None] = of_block
    return made


@intrinsic  # type: ignore[untyped-decorator]  # Numba has no types
def transpose_block(_context: Any, x: Any, _x_row: Any, y: Any, _y_row: Any) -> Any:
    """y[j, i] = x[i, j] for i, j below LANES: halves of ever smaller blocks change places."""

    def code(target: Any, builder: Any, _signature: Any, given: Sequence[Any]) -> Any:
        x, x_row, y, y_row = given
        memory = Memory(builder, None)
        lines = [memory.load(builder.gep(x, [builder.mul(x_row, index(i))])) for i in range(LANES)]
        step = LANES // 2
        while step:
            upper = [j if not j & step else LANES + j - step for j in range(LANES)]
            lower = [j + step if not j & step else LANES + j for j in range(LANES)]
            for i in (i for i in range(LANES) if not i & step):
                pair = lines[i], lines[i + step]
                for at, places in ((i, upper), (i + step, lower)):
                    lines[at] = builder.shuffle_vector(*pair, ir.Constant(ir.VectorType(NUMBER, LANES), places))
            step //= 2
        for j, line in enumerate(lines):
            memory.store(line, builder.gep(y, [builder.mul(y_row, index(j))]))
        return target.get_dummy_value()

    return types.void(x, types.intp, y, types.intp), code


class Memory:
    """Loads and stores vectors, whole or as far as there are columns."""

    def __init__(self, builder: Any, columns: Any | None) -> None:
        self.builder = builder
        self._mask = None
        if columns is not None:
            lanes = ir.Constant(INDICES, list(range(LANES)))
            self._mask = builder.icmp_signed("<", lanes, splat(builder, columns, INDICES))

    def load(self, place: Any) -> Any:
        pointer = self.builder.bitcast(place, VECTOR.as_pointer())
        if self._mask is None:
            return self.builder.load(pointer, align=4)
        function = self.function("masked.load", VECTOR, (pointer.type, NUMBER, MASK, VECTOR), ".p0")
        return self.builder.call(function, [pointer, ALIGNMENT, self._mask, ZEROS])

    def store(self, vector: Any, place: Any) -> None:
        pointer = self.builder.bitcast(place, VECTOR.as_pointer())
        if self._mask is None:
            self.builder.store(vector, pointer, align=4)
            return
        function = self.function("masked.store", ir.VoidType(), (VECTOR, pointer.type, NUMBER, MASK), ".p0")
        self.builder.call(function, [vector, pointer, ALIGNMENT, self._mask])

    def add_product(self, x: Any, y: Any, total: Any) -> Any:
        """x * y + total, in one step where the processor has it."""
        return self.builder.call(self.function("fmuladd", VECTOR, (VECTOR, VECTOR, VECTOR)), [x, y, total])

    def function(self, name: str, result: Any, arguments: Sequence[Any], of_pointer: str = "") -> Any:
        """One of LLVM's own, for vectors."""
        full = f"llvm.{name}.v{LANES}f32{of_pointer}"
        module = self.builder.module
        return module.globals.get(full) or ir.Function(module, ir.FunctionType(result, arguments), full)


def _accumulated(
    builder: Any, count: Any, begun: Sequence[Any], add: Callable[[Any, Sequence[Any]], Sequence[Any]]
) -> Sequence[Any]:
    """What sums are after a loop that is run `count` times, once at least; add: their values after one turn."""
    before = builder.block
    loop, after = (builder.append_basic_block(name) for name in ("loop", "sums"))
    builder.branch(loop)
    builder.position_at_end(loop)
    at = builder.phi(INDEX)
    at.add_incoming(index(0), before)
    sums = [builder.phi(VECTOR) for _ in begun]
    made = add(at, sums)
    for total, first, new in zip(sums, begun, made, strict=True):
        total.add_incoming(first, before)
        total.add_incoming(new, loop)
    following = builder.add(at, index(1))
    at.add_incoming(following, loop)
    builder.cbranch(builder.icmp_signed("<", following, count), loop, after)
    builder.position_at_end(after)
    return made


def splat(builder: Any, value: Any, kind: Any) -> Any:
    """A vector of equal numbers."""
    undefined = ir.Constant(kind, ir.Undefined)
    first = builder.insert_element(undefined, value, ir.Constant(NUMBER, 0))
    return builder.shuffle_vector(first, undefined, ir.Constant(ir.VectorType(NUMBER, LANES), [0] * LANES))


def index(value: int) -> Any:
    """A number of the code."""
    return ir.Constant(INDEX, value)
