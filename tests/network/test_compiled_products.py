"""Products of matrices by machine code of our own against NumPy's, alone and in the kernels that are made of them."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from cnnkit.components import Layer
from cnnkit.layers import Conv2D, ConvTranspose2D, Dense, LeakyReLU, MaxPool2D, ReLU
from cnnkit.network.execution.tile_context import Workspace
from cnnkit.network.kernels import kernel_for
from cnnkit.network.kernels.compiled import machine_code, machine_products, product_kernels
from cnnkit.network.kernels.compiled.machine_products import MACHINE
from cnnkit.network.kernels.compiled.product_kernels import (
    CompiledConvKernel,
    CompiledConvTransposeKernel,
    CompiledDenseKernel,
)
from cnnkit.network.kernels.products import BLAS
from cnnkit.types import Array
from tests.network.test_compiled_kernels import Dirty, check, fill, near

Kind = type[CompiledConvKernel] | type[CompiledConvTransposeKernel] | type[CompiledDenseKernel]

pytest.importorskip("numba", reason="compiled kernels need the extra cnnkit[fast]")


@pytest.fixture(autouse=True)
def never_blas(compiled_kernels: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Small products are made by the machine code, too, and nothing by BLAS that it could make."""

    def refused(*_: object) -> None:
        pytest.fail("BLAS was asked")

    monkeypatch.setattr(product_kernels, "has_avx512", lambda: True)
    monkeypatch.setattr(machine_products, "FEWEST", 0)
    monkeypatch.setattr(BLAS, "product", refused)
    monkeypatch.setattr(BLAS, "summed", refused)
    machine_products._layout.cache_clear()
    yield
    machine_products._layout.cache_clear()


def context() -> Dirty:
    return Dirty(Workspace(np.dtype(np.float32)), True, (0,))


def numbers(rng: np.random.Generator, *shape: int) -> Array:
    return rng.standard_normal(shape).astype(np.float32)


@pytest.mark.parametrize("seed", range(200))
def test_a_product_equals_that_of_numpy(seed: int) -> None:
    """Of up to three axes of matrices, of any strides, one for the whole stack, or one for each."""
    rng = np.random.default_rng(seed)
    rows, columns, depth = map(int, rng.integers(1, 80, 3))
    if seed % 4 == 0:  # more than goes together
        depth = int(rng.integers(200, 800))
    lead = tuple(map(int, rng.integers(1, 4, rng.integers(4))))
    own = [length if rng.integers(2) else 1 for length in lead] if seed % 2 else []
    matrix = numbers(rng, *own, rows, depth) if seed % 3 else numbers(rng, *own, depth, rows).swapaxes(-1, -2)
    stack = numbers(rng, *lead, depth, columns) if seed % 5 else numbers(rng, *lead, columns, depth).swapaxes(-1, -2)
    wide = np.full((*lead, rows, columns + 3), 7, np.float32)
    MACHINE.product(matrix, stack, wide[..., :columns], context())
    assert near(wide[..., :columns], np.matmul(matrix.astype(float), stack.astype(float)))
    assert (wide[..., columns:] == 7).all()  # beyond the columns nothing is written


@pytest.mark.parametrize("seed", range(100))
def test_sums_of_products_equal_those_of_numpy(seed: int) -> None:
    """Of matrices that overlap."""
    rng = np.random.default_rng(seed)
    batch, stack, shifts = map(int, rng.integers(1, 4, 3))
    rows, columns, depth = map(int, rng.integers(1, 60, 3))
    if seed % 3 == 0:
        depth = int(rng.integers(200, 900))
    lines = numbers(rng, batch, stack, rows, depth + 3 * shifts)
    left = np.lib.stride_tricks.sliding_window_view(lines, depth, axis=3)[..., : 3 * shifts : 3, :].swapaxes(2, 3)
    right = numbers(rng, batch, stack, columns, depth)
    expected = np.matmul(left.astype(float), right[:, :, None].swapaxes(-1, -2).astype(float)).sum(axis=1)
    assert near(MACHINE.summed(left, right, context()), expected)


def test_what_does_not_fit_is_left_to_blas_which_refuses_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(BLAS, "product", lambda matrix, stack, out, _: np.matmul(matrix, stack, out=out))
    rng = np.random.default_rng(0)
    out = np.empty((4, 6), np.float32)
    for matrix, stack in ((numbers(rng, 4, 5), numbers(rng, 7, 6)), (numbers(rng, 3, 5), numbers(rng, 5, 6))):
        with pytest.raises(ValueError, match=r"mismatch|shape"):
            MACHINE.product(matrix, stack, out, context())
    many = numbers(rng, 1, 2, 1, 2, 4, 5), numbers(rng, 1, 2, 1, 2, 5, 6), np.empty((1, 2, 1, 2, 4, 6), np.float32)
    strided = numbers(rng, 4, 5), numbers(rng, 10, 12)[::2, ::2], np.empty((4, 12), np.float32)[:, ::2]
    for matrix, stack, into in (many, strided):
        MACHINE.product(matrix, stack, into, context())
        assert near(into, np.matmul(matrix, stack))
    left, right = numbers(rng, 1, 2, 1, 3, 8), numbers(rng, 1, 2, 4, 9)
    asked: list[Array] = []
    monkeypatch.setattr(BLAS, "summed", lambda *operands: asked.append(operands[0]))
    MACHINE.summed(left, right, context())
    MACHINE.summed(left[..., ::2], right[..., :8:2], context())
    assert len(asked) == 2


@pytest.mark.parametrize(("channels", "filters"), [(32, 32), (48, 40), (16, 20)])
@pytest.mark.parametrize("pool", [1, 2])
def test_convolutions_by_winograds_way(channels: int, filters: int, pool: int) -> None:
    rng = np.random.default_rng(channels)
    layers: list[Layer] = [Conv2D(filters, 3, padding=1), *([MaxPool2D(2)] if pool > 1 else []), ReLU()]
    check_built(layers, (channels, 8, 7), CompiledConvKernel, 33, True, rng)


@pytest.mark.parametrize(("channels", "filters"), [(17, 5), (5, 17), (24, 24)])
@pytest.mark.parametrize("samples", [1, 33])
@pytest.mark.parametrize("pool", [1, 2])
def test_kernels_of_one_element(channels: int, filters: int, samples: int, pool: int) -> None:
    """Where pooling leaves a row and a column out, not all pixels are met."""
    layers: list[Layer] = [Conv2D(filters, 1), *([MaxPool2D(2)] if pool > 1 else []), ReLU()]
    rng = np.random.default_rng(channels)
    check_built(layers, (channels, 5, 7), CompiledConvKernel, samples, True, rng)


def random_layers(rng: np.random.Generator) -> tuple[list[Layer], tuple[int, ...], Kind]:
    activation: Layer = ReLU() if rng.integers(2) else LeakyReLU(0.1)
    tail = [activation][: rng.integers(2)]
    filters, bias = int(rng.integers(1, 40)), bool(rng.integers(2))
    match int(rng.integers(3)):
        case 0:
            return [Dense(filters, bias=bias), *tail], (int(rng.integers(1, 300)),), CompiledDenseKernel
        case 1:
            shape = int(rng.integers(1, 20)), int(rng.integers(1, 8)), int(rng.integers(1, 8))
            size, stride = (int(rng.integers(1, 4)), int(rng.integers(1, 4))), int(rng.integers(1, 3))
            return [ConvTranspose2D(filters, size, stride=stride, bias=bias), *tail], shape, CompiledConvTransposeKernel
    size, stride = (int(rng.integers(1, 4)), int(rng.integers(1, 4))), int(rng.integers(1, 3))
    shape = int(rng.integers(17, 40)), int(rng.integers(4, 10)), int(rng.integers(4, 10))
    pool: list[Layer] = [MaxPool2D(2)] if shape[1] // stride > 4 and shape[2] // stride > 4 and rng.integers(2) else []
    padding = int(rng.integers(size[0])), int(rng.integers(size[1]))
    conv = Conv2D(filters, size, stride=stride, padding=padding, bias=bias)
    return [conv, *pool, *tail], shape, CompiledConvKernel


def check_built(
    layers: list[Layer], shape: tuple[int, ...], kind: Kind, samples: int, needs_dx: bool, rng: np.random.Generator
) -> None:
    """The kernel of layers that are built here for a shape, as `check`."""
    out_shape = shape
    for layer in layers:
        out_shape = layer.build(out_shape, rng)
    fill(layers[0], rng.standard_normal)
    x, dy = numbers(rng, samples, *shape), numbers(rng, samples, *out_shape)
    found = kind.take(layers, needs_dx)
    assert found is not None
    kernel, used = found
    assert used == len(layers)
    check(kernel, layers, x, dy, needs_dx)


@pytest.mark.parametrize("seed", range(200))
def test_kernels_made_of_products_equal_their_layers(seed: int) -> None:
    rng = np.random.default_rng(seed)
    layers, shape, kind = random_layers(rng)
    check_built(layers, shape, kind, int(rng.choice([2, 7, 32, 33])), bool(rng.integers(2)), rng)


@pytest.mark.skipif(platform.machine() != "x86_64", reason="the processor has no shorter vectors")
@pytest.mark.parametrize("kind", ["avx2", pytest.param("sse", marks=pytest.mark.full)])
def test_loops_for_processors_with_shorter_vectors(kind: str, tmp_path: Path) -> None:
    child = [sys.executable, "-m", "tests.network.narrow_vectors_child", kind]
    done = subprocess.run(child, capture_output=True, text=True, env=os.environ | {"XDG_CACHE_HOME": str(tmp_path)})
    assert done.stdout == f"{kind} is right\n", done.stderr


def test_vectors_of_eight_numbers_are_not_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    layer = Dense(3)
    layer.build((4,), np.random.default_rng(0))
    layer.params["weight"] = layer.params["weight"].astype(np.float32)
    assert CompiledDenseKernel.take([layer], True) is not None
    monkeypatch.setattr(product_kernels, "has_avx512", lambda: False)
    assert CompiledDenseKernel.take([layer], True) is None


@pytest.mark.parametrize(("flags", "expected"), [("fpu avx2 avx512f avx512dq", True), ("fpu avx2 avx512_bf16", False)])
def test_the_processor_says_what_vectors_it_has(
    flags: str, expected: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = tmp_path / "cpuinfo"
    known.write_text(f"processor\t: 0\nmodel\t\t: 1\nflags\t\t: {flags}\n\nprocessor\t: 1\nflags\t\t: avx512f\n")
    monkeypatch.setattr(machine_code, "CPUINFO", known)
    assert machine_code.has_avx512.__wrapped__() == expected
    monkeypatch.setattr(machine_code, "CPUINFO", tmp_path / "none")
    assert not machine_code.has_avx512.__wrapped__()


def test_weights_of_another_dtype_are_left_to_numpy() -> None:
    layer = Dense(3)
    layer.build((4,), np.random.default_rng(0))
    layer.params["weight"] = layer.params["weight"].astype(np.float64)
    assert CompiledDenseKernel.take([layer], True) is None
    found = kernel_for([layer], True, compiled=True)
    assert found is not None
    assert not isinstance(found[0], CompiledDenseKernel)


def test_what_is_not_of_float32_or_small_is_left_to_blas(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    monkeypatch.setattr(BLAS, "product", lambda *operands: asked.append(operands[0].dtype.name))
    ones, out = np.ones((8, 8), np.float32), np.empty((8, 8), np.float32)
    MACHINE.product(ones, ones.astype(np.float64), out, context())
    assert asked == ["float32"]
    monkeypatch.setattr(machine_products, "FEWEST", 8**3 + 1)
    machine_products._layout.cache_clear()
    MACHINE.product(ones, ones, out, context())
    assert asked == ["float32", "float32"]
