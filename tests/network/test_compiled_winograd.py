"""Winograd's F(4, 3) in compiled loops against plain sums, alone and in the kernels that have it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from cnnkit.components import Layer
from cnnkit.layers import Conv2D, LeakyReLU, MaxPool2D
from cnnkit.layers.window import Axis
from cnnkit.network.execution.tile_context import Workspace
from cnnkit.network.kernels.compiled import direct_conv_kernel, machine_winograd, product_kernels
from cnnkit.network.kernels.compiled.direct_conv_kernel import DirectConvKernel
from cnnkit.network.kernels.compiled.machine_products import MACHINE
from cnnkit.network.kernels.compiled.machine_winograd import MachineWinograd, MachineWinogradGradient
from cnnkit.network.kernels.compiled.product_kernels import CompiledConvKernel
from cnnkit.network.kernels.correlation import DirectCorrelation
from cnnkit.network.kernels.weight_gradient import LineGradient
from cnnkit.types import Array
from tests.network.test_compiled_kernels import Dirty, check, fill

pytest.importorskip("numba", reason="compiled kernels need the extra cnnkit[fast]")


@pytest.fixture(autouse=True)
def with_avx512(compiled_kernels: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the processor has."""
    monkeypatch.setattr(product_kernels, "has_avx512", lambda: True)
    monkeypatch.setattr(direct_conv_kernel, "has_avx512", lambda: True)


def context() -> Dirty:
    return Dirty(Workspace(np.dtype(np.float32)), True, (0,))


def near(found: Array, expected: Array) -> bool:
    """To a few units in the last place of the largest number."""
    return float(np.abs(found - expected).max()) < 4e-6 * float(np.abs(expected).max())


def random_axes(rng: np.random.Generator) -> tuple[Axis, Axis]:
    """Of kernels (3, kw) over small images, with as much padding as they can have."""
    while True:
        across = int(rng.integers(1, 5))
        before, after, left, right = map(int, (*rng.integers(0, 3, 2), *rng.integers(0, across, 2)))
        rows = Axis(int(rng.integers(1, 15)), 3, 1, 1, before, after)
        columns = Axis(int(rng.integers(1, 12)), across, 1, 1, left, right)
        if rows.positions >= machine_winograd.FEWEST_ROWS and columns.positions >= 1:
            return rows, columns


def random_images(seed: int) -> tuple[Axis, Axis, Array, Array, Array]:
    """Axes, an image, weights and the output's gradient."""
    rng = np.random.default_rng(seed)
    rows, columns = random_axes(rng)
    channels, filters = map(int, rng.integers(1, 50, 2))
    if seed % 10 == 0:  # more than goes together
        channels += 100
    samples = int(rng.choice([16, 17, 31, 32, 33, 64, 70]))
    x = rng.standard_normal((rows.length, columns.length, channels, samples)).astype(np.float32)
    weight = rng.standard_normal((filters, channels, 3, columns.size)).astype(np.float32)
    dy = rng.standard_normal((rows.positions, columns.positions, filters, samples)).astype(np.float32)
    return rows, columns, x, weight, dy


def plain(axes: tuple[Axis, Axis], x: Array, weight: Array) -> Array:
    """The correlation in float64."""
    rows, columns = axes
    around = (rows.before, rows.after), (columns.before, columns.after), (0, 0), (0, 0)
    seen = np.lib.stride_tricks.sliding_window_view(np.pad(x.astype(float), around), (3, columns.size), axis=(0, 1))
    y: Array = np.einsum("pqcnij,fcij->pqfn", seen, weight.astype(float), optimize=True)
    return y


def plain_gradient(axes: tuple[Axis, Axis], x: Array, dy: Array) -> Array:
    """That of the weights in float64."""
    rows, columns = axes
    around = (rows.before, rows.after), (columns.before, columns.after), (0, 0), (0, 0)
    seen = np.lib.stride_tricks.sliding_window_view(np.pad(x.astype(float), around), (3, columns.size), axis=(0, 1))
    dweight: Array = np.einsum("pqcnij,pqfn->fcij", seen, dy.astype(float), optimize=True)
    return dweight


@pytest.mark.parametrize("seed", range(200))
def test_a_correlation_equals_plain_sums(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """In blocks of rows and columns, into given memory with gaps or into its own."""
    rows, columns, x, weight, dy = random_images(seed)
    rng = np.random.default_rng(seed)
    monkeypatch.setattr(machine_winograd, "SUMS_BYTES", int(rng.choice([1, 1 << 18, 1 << 20])))
    monkeypatch.setattr(machine_winograd, "BLOCK_BYTES", int(rng.choice([1, 1 << 20])))
    step = int(rng.integers(1, 4))
    expected = plain((rows, columns), x, weight)
    way = MachineWinograd(rows, columns, DirectCorrelation(rows, columns))
    wide = np.full((dy.shape[0], 2 * dy.shape[1], *dy.shape[2:]), 7, np.float32)
    given = wide[:, ::2] if seed % 2 else None
    found, last = np.empty(expected.shape), 0
    for block, made in way.over(x, weight, context(), given, step):
        assert block.start == last
        assert block.start % step == 0
        found[block], last = made, block.stop
    assert last == len(found)
    assert near(found, expected)
    if given is not None:
        assert near(given, expected)
        assert (wide[:, 1::2] == 7).all()


@pytest.mark.parametrize("seed", range(200))
def test_a_gradient_of_weights_equals_plain_sums(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    rows, columns, x, _, dy = random_images(seed)
    monkeypatch.setattr(machine_winograd, "SUMS_BYTES", int(np.random.default_rng(seed).choice([1, 1 << 18, 1 << 20])))
    way = MachineWinogradGradient(rows, columns, LineGradient(rows, columns))
    assert near(way.of(x, dy, context()), plain_gradient((rows, columns), x, dy))


def test_what_is_not_of_float32_or_of_few_samples_is_left_to_products() -> None:
    rows, columns, x, weight, dy = random_images(1)
    doubles = x.astype(float), weight.astype(float), dy.astype(float)
    few = x[..., :3].copy(), weight, dy[..., :3].copy()
    for x, weight, dy in (doubles, few):
        ctx = Dirty(Workspace(x.dtype), True, (0,))
        found = np.empty(dy.shape)
        for block, made in MachineWinograd(rows, columns, DirectCorrelation(rows, columns)).over(x, weight, ctx):
            found[block] = made
        assert near(found, plain((rows, columns), x, weight))
        gradient = MachineWinogradGradient(rows, columns, LineGradient(rows, columns)).of(x, dy, ctx)
        assert near(gradient, plain_gradient((rows, columns), x, dy))


def test_who_has_it() -> None:
    three, channels = Axis(8, 3, 1, 1, 1, 1), machine_winograd.LEAST_CHANNELS
    assert isinstance(MACHINE.correlation(three, three, channels, channels), MachineWinograd)
    assert isinstance(MACHINE.weight_gradient(three, three, channels, channels), MachineWinogradGradient)
    others = Axis(8, 5, 1, 1, 2, 2), Axis(8, 3, 2, 1, 1, 1), Axis(8, 3, 1, 2, 2, 2), Axis(2, 3, 1, 1, 1, 1)
    for rows in others:
        assert MACHINE.correlation(rows, three, channels, channels) is None
        assert MACHINE.weight_gradient(rows, three, channels, channels) is None
    assert MACHINE.correlation(three, three, channels - 1, channels) is None
    assert MACHINE.correlation(three, three, channels, channels - 1) is None


@pytest.mark.parametrize("pool", [1, 2, 3])
@pytest.mark.parametrize("needs_dx", [True, False])
def test_a_convolution_of_few_channels_is_not_made_directly(pool: int, needs_dx: bool) -> None:
    rng = np.random.default_rng(pool)
    layers: list[Layer] = [Conv2D(16, 3, padding=1), *([MaxPool2D(pool)] if pool > 1 else []), LeakyReLU(0.1)]
    shape: tuple[int, ...] = (16, 10, 11)
    out = shape
    for layer in layers:
        out = layer.build(out, rng)
    fill(layers[0], rng.standard_normal)
    assert DirectConvKernel.take(layers, needs_dx) is None
    taken = CompiledConvKernel.take(layers, needs_dx)
    assert taken is not None
    x, dy = (rng.standard_normal((40, *one)).astype(np.float32) for one in (shape, out))
    check(taken[0], layers, x, dy, needs_dx)


def test_a_direct_convolution_stays_where_products_are_not_compiled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(direct_conv_kernel, "has_avx512", lambda: False)
    layer = Conv2D(8, 3, padding=1)
    layer.build((16, 6, 6), np.random.default_rng(0))
    fill(layer, np.ones)
    assert DirectConvKernel.take([layer], True) is not None
