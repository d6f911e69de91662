"""What loops cannot say: products that keep their sums in the processor's vector registers, as LLVM's instructions.

A block of the result, some rows by one or two vectors of columns, stays in registers while the loop goes along the
depth. Each step loads the vectors of one row of b once, and one number of a for each row of the block: for 8 rows by 2
vectors 10 loads to 16 products with addition, which is less than a processor can do of either.
Source: Goto, van de Geijn (2008), Anatomy of High-Performance Matrix Multiplication.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from llvmlite import binding, ir
from numba import types
from numba.extending import intrinsic

FEATURES: dict[str, bool] = dict(binding.get_host_cpu_features())
LANES = 16 if FEATURES.get("avx512f") else 8 if FEATURES.get("avx2") else 4
"""Numbers in a vector."""
MOST_ROWS = 4 if LANES == 8 or (LANES == 4 and "sse2" in FEATURES) else 8
"""Of a block: with two vectors each, their sums fill half of 16 or 32 registers."""

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


def block(rows: int, vectors: int, *, partial: bool) -> Callable[..., None]:
    """c[:rows, :columns] = a[:rows] @ b, or added to it; one block of the result.

    Its function takes a, a_row, a_column (from one number to the next, in a row and in a column), b, b_row, c, c_row,
    depth (1 at least), whether to begin (not to add), and the number of columns: all of its vectors, or, if it is
    partial, 1 to LANES of its only one.
    """

    @intrinsic  # type: ignore[untyped-decorator]  # Numba has no types
    def of_block(
        _context: Any,
        a: Any,
        _a_row: Any,
        _a_column: Any,
        b: Any,
        _b_row: Any,
        c: Any,
        _c_row: Any,
        _depth: Any,
        _begins: Any,
        _columns: Any,
    ) -> Any:
        def code(target: Any, builder: Any, _signature: Any, given: Sequence[Any]) -> Any:
            a, a_row, a_column, b, b_row, c, c_row, depth, begins, columns = given
            memory = Memory(builder, columns if partial else None)
            sums = _sums(memory, (a, a_row, a_column), (b, b_row), depth, rows, vectors)
            places = [
                [
                    builder.gep(c, [builder.add(builder.mul(c_row, index(row)), index(LANES * v))])
                    for v in range(vectors)
                ]
                for row in range(rows)
            ]
            with builder.if_else(begins) as (beginning, adding):
                for branch, adds in ((beginning, False), (adding, True)):
                    with branch:
                        for of_row, into in zip(sums, places, strict=True):
                            for total, place in zip(of_row, into, strict=True):
                                memory.store(builder.fadd(memory.load(place), total) if adds else total, place)
            return target.get_dummy_value()

        count = types.intp
        return types.void(a, count, count, b, count, c, count, count, types.boolean, count), code

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

    def function(self, name: str, result: Any, arguments: Sequence[Any], of_pointer: str = "") -> Any:
        """One of LLVM's own, for vectors."""
        full = f"llvm.{name}.v{LANES}f32{of_pointer}"
        module = self.builder.module
        return module.globals.get(full) or ir.Function(module, ir.FunctionType(result, arguments), full)


def _sums(
    memory: Memory, a: tuple[Any, Any, Any], b: tuple[Any, Any], depth: Any, rows: int, vectors: int
) -> list[list[Any]]:
    """The loop along the depth; for each row its vectors."""
    builder = memory.builder
    before = builder.block
    loop, after = (builder.append_basic_block(name) for name in ("depth", "sums"))
    builder.branch(loop)
    builder.position_at_end(loop)
    at = builder.phi(INDEX)
    at.add_incoming(index(0), before)
    sums = [[builder.phi(VECTOR) for _ in range(vectors)] for _ in range(rows)]
    row = builder.gep(b[0], [builder.mul(at, b[1])])
    met = [memory.load(builder.gep(row, [index(LANES * v)])) for v in range(vectors)]
    column = builder.gep(a[0], [builder.mul(at, a[2])])
    add_product = memory.function("fmuladd", VECTOR, (VECTOR, VECTOR, VECTOR))
    made = []
    for number, of_row in enumerate(sums):
        factor = builder.load(builder.gep(column, [builder.mul(a[1], index(number))]), align=4)
        factors = splat(builder, factor, VECTOR)
        made.append([builder.call(add_product, [factors, one, sum_]) for one, sum_ in zip(met, of_row, strict=True)])
    for of_row, sums_made in zip(sums, made, strict=True):
        for sum_, new in zip(of_row, sums_made, strict=True):
            sum_.add_incoming(ZEROS, before)
            sum_.add_incoming(new, loop)
    following = builder.add(at, index(1))
    at.add_incoming(following, loop)
    builder.cbranch(builder.icmp_signed("<", following, depth), loop, after)
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
