"""What the kernels are made of, each against the line of plain NumPy that it stands for."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import product as combinations
from typing import Any

import numpy as np
import pytest

from cnnkit.layers.window import Axis
from cnnkit.network.execution.tile_context import TileContext, Workspace
from cnnkit.network.kernels import patches, products, winograd
from cnnkit.network.kernels import weight_gradient as weight_gradients
from cnnkit.network.kernels.correlation import Correlation, DirectCorrelation
from cnnkit.network.kernels.layout import LONG_RUN, channel_products, channel_sums, flat_pixels, passed, rectify, spread
from cnnkit.network.kernels.patches import Patches
from cnnkit.network.kernels.products import BLAS
from cnnkit.network.kernels.weight_gradient import LineGradient, PatchGradient, WinogradGradient, weight_gradient
from cnnkit.network.kernels.window_axes import phases, trimmed
from cnnkit.network.kernels.winograd import WinogradCorrelation
from cnnkit.testing import PlainContext
from cnnkit.types import Array, Context

CTX = PlainContext()
"""Memory full of NaN."""
Correlations = type[DirectCorrelation] | type[WinogradCorrelation]
Gradients = type[PatchGradient] | type[LineGradient] | type[WinogradGradient]


def contexts() -> list[Context]:
    """Memory full of NaN, a pass that is planned, one in the planned memory, and one in what that left behind."""
    workspace = Workspace(np.dtype(np.float64))
    return [CTX, *(TileContext(workspace, True, ()) for _ in range(3))]


def assert_same(actual: Array, expected: Array) -> None:
    np.testing.assert_allclose(actual, expected, rtol=1e-10, atol=1e-10)


@pytest.fixture(params=[1, 5000, 3 << 20])
def blocks(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of one row, of several, and of whole images."""
    for module in (patches, winograd, weight_gradients):
        monkeypatch.setattr(module, "BLOCK_BYTES", request.param)


def random_axis(rng: np.random.Generator, size: int, stride: int) -> Axis:
    """With padding, or with less than the whole axis looked at."""
    while True:
        before, after = (int(n) for n in rng.integers(-2, 3, 2))
        axis = Axis(int(rng.integers(1, 12)), size, stride, 1, before, after)
        if axis.length + before + after >= size:
            return axis


def windows(x: Array, rows: Axis, columns: Axis) -> Array:
    """(H, W, C, N) -> (oh, ow, C, N, kh, kw)."""
    room = 4  # more than any padding; of that, what the axes have
    down, across = (slice(room - axis.before, room + axis.length + axis.after) for axis in (rows, columns))
    image = np.pad(x, [(room, room), (room, room), (0, 0), (0, 0)])[down, across]
    seen = np.lib.stride_tricks.sliding_window_view(image, (rows.size, columns.size), axis=(0, 1))
    return seen[:: rows.stride, :: columns.stride]


# Products


@pytest.mark.parametrize(
    ("rows", "most", "piece"),
    [
        (5, 8, 5),  # fewer rows than a piece may have
        (8, 8, 8),
        (16, 8, 8),
        (24, 10, 8),
        (26, 13, 13),
        (17, 16, 17),  # a prime: nothing but pieces of one row
        (30, 9, 30),  # pieces would be too small
        (16, 0, 16),  # a single row is too much
        (40, 39, 20),
    ],
)
def test_products_are_cut_into_pieces(rows: int, most: int, piece: int, monkeypatch: pytest.MonkeyPatch) -> None:
    depth, columns, heights = 3, 5, []
    monkeypatch.setattr(products, "UNPACKED", most * depth * columns)
    matmul: Callable[..., Any] = np.matmul

    def noticed(a: Array, b: Array, out: Array) -> None:
        heights.append(a.shape[-2])
        matmul(a, b, out=out)

    rng = np.random.default_rng(0)
    matrix, stack, out = rng.normal(size=(rows, depth)), rng.normal(size=(depth, columns)), np.empty((rows, columns))
    with monkeypatch.context() as patched:
        patched.setattr(np, "matmul", noticed)
        BLAS.product(matrix, stack, out, CTX)
    assert heights == [piece]
    assert_same(out, matrix @ stack)


@pytest.mark.parametrize("stack_shape", [(), (3,), (2, 3), (4, 2, 3)], ids=str)
@pytest.mark.parametrize("rows", [1, 7, 8, 9, 16, 23, 24, 48, 64])
@pytest.mark.parametrize("most", [0, 1, 8, 11, 30, 1000])
def test_product(rows: int, stack_shape: tuple[int, ...], most: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """One matrix for the whole stack, or, as Winograd's way has it, one for each of its first axis; transposed, too."""
    rng = np.random.default_rng(rows)
    depth, columns = (int(n) for n in rng.integers(1, 6, 2))
    monkeypatch.setattr(products, "UNPACKED", most * depth * columns)
    stack = rng.normal(size=(*stack_shape, depth, columns))
    several = (4, 1, 1) if len(stack_shape) == 3 else ()
    for matrix in (rng.normal(size=(*several, rows, depth)), rng.normal(size=(*several, depth, rows)).swapaxes(-1, -2)):
        out = np.full((*stack_shape, rows, columns), np.nan)
        BLAS.product(matrix, stack, out, CTX)
        assert_same(out, matrix @ stack)


def test_product_of_matrices_that_overlap_into_part_of_an_image() -> None:
    rng = np.random.default_rng(0)
    matrix, memory, image = rng.normal(size=(64, 300)), rng.normal(size=(302, 128)), np.zeros((3, 64, 256))
    stack = np.lib.stride_tricks.sliding_window_view(memory, 300, axis=0).swapaxes(1, 2)
    BLAS.product(matrix, stack, image[..., :128], CTX)
    assert_same(image[..., :128], np.matmul(matrix, stack))
    assert not image[..., 128:].any()


@pytest.mark.parametrize("limits", [(1_000_000, 1_200, 32), (500, 1_200, 32), (100, 100, 10), (1, 1, 1)], ids=str)
@pytest.mark.parametrize("seed", range(12))
def test_summed_products(seed: int, limits: tuple[int, int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    """Of matrices that overlap, and with columns, rows or both in pieces."""
    for name, limit in zip(("UNPACKED", "UNPACKED_TRANSPOSED", "WIDEST_TRANSPOSED"), limits, strict=True):
        monkeypatch.setattr(products, name, limit)
    rng = np.random.default_rng(seed)
    batch, stack, shifts, columns, shift = (int(n) for n in rng.integers((1, 1, 1, 1, 1), (5, 6, 4, 70, 9)))
    k, m = (int(rng.choice([1, 5, 8, 16, 24, 37, 40, 64])) for _ in range(2))
    memory = rng.normal(size=(batch, stack, k, columns + shift * shifts))
    strides = (*memory.strides[:2], shift * memory.itemsize, *memory.strides[2:])
    left = np.ndarray((batch, stack, shifts, k, columns), memory.dtype, memory, 0, strides)
    right = rng.normal(size=(batch, stack, m, columns + 3))[..., :columns]
    expected = np.matmul(left, right[:, :, None].swapaxes(-1, -2)).sum(axis=1)
    assert_same(BLAS.summed(left, right, CTX), expected)


# Patches and correlations


def patch_matrices(x: Array, rows: Axis, columns: Axis) -> Array:
    seen = windows(x, rows, columns).transpose(0, 1, 5, 4, 2, 3)
    return seen.reshape(*seen.shape[:2], -1, seen.shape[5])


@pytest.mark.usefixtures("blocks")
@pytest.mark.parametrize("seed", range(30))
def test_patches(seed: int) -> None:
    rng = np.random.default_rng(seed)
    rows, columns = (random_axis(rng, int(rng.integers(1, 4)), int(rng.integers(1, 4))) for _ in range(2))
    step, beside = int(rng.integers(1, 4)), int(rng.integers(500))
    x = rng.normal(size=(rows.length, columns.length, *rng.integers(1, 4, 2)))
    expected = patch_matrices(x, rows, columns)
    for ctx in contexts():
        covered: list[int] = []
        for block, made in Patches(rows, columns).over(x, ctx, beside, step):
            assert_same(made, expected[block])
            assert len(made) % step == 0 or block.stop == rows.positions
            covered += range(block.start, block.stop)
        assert covered == list(range(rows.positions))


def test_patches_of_trimmed_axes() -> None:
    """Pooling windows of 3 leave the last two of 8 positions out."""
    axis = trimmed(Axis(10, 3, 1, 1, 0, 0), 3)
    assert (axis.after, axis.positions) == (-2, 6)
    x = np.random.default_rng(0).normal(size=(10, 10, 2, 3))
    ((_, made),) = Patches(axis, axis).over(x, CTX)
    assert_same(made, patch_matrices(x, axis, axis))


@pytest.mark.usefixtures("blocks")
def test_patches_of_a_kernel_one_row_high_are_views() -> None:
    rows, columns = Axis(9, 1, 2, 1, -1, -1), Axis(8, 3, 2, 1, -1, -1)
    x = np.random.default_rng(0).normal(size=(9, 8, 2, 3))
    for block, made in Patches(rows, columns).over(x, CTX):
        assert np.shares_memory(made, x)
        assert_same(made, patch_matrices(x, rows, columns)[block])


def correlated(way: Correlation, x: Array, weight: Array, out: Array | None, step: int) -> Array:
    """All rows, copied before the next ones overwrite them."""
    ctx, made, rows = PlainContext(dtype=x.dtype), [], 0
    for block, part in way.over(x, weight, ctx, out, step):
        assert (block.start, block.stop) == (rows, rows + len(part))
        assert len(part) % step == 0 or block.stop == way.rows.positions
        made.append(part.copy())
        rows = block.stop
    assert rows == way.rows.positions
    y = np.concatenate(made)
    assert out is None or np.array_equal(y, out)
    return y


def random_weight(rng: np.random.Generator, filters: int, channels: int, height: int, width: int) -> Array:
    """As the forward pass has it, or, turned and transposed, the gradient of the input."""
    if rng.integers(2):
        return rng.normal(size=(filters, channels, height, width))
    return rng.normal(size=(channels, filters, height, width)).swapaxes(0, 1)[:, :, ::-1, ::-1]


@pytest.mark.usefixtures("blocks")
@pytest.mark.parametrize("seed", range(16))
def test_direct_correlation(seed: int) -> None:
    rng = np.random.default_rng(seed)
    height, width, *strides = (int(n) for n in rng.integers(1, 4, 4))
    rows, columns = (random_axis(rng, n, stride) for n, stride in zip((height, width), strides, strict=True))
    filters, channels, samples = (int(n) for n in rng.integers(1, 5, 3))
    x = rng.normal(size=(rows.length, columns.length, channels, samples))
    weight = random_weight(rng, filters, channels, height, width)
    expected = np.einsum("pqcnij,fcij->pqfn", windows(x, rows, columns), weight)
    out = np.full(expected.shape, np.nan) if rng.integers(2) else None
    assert_same(correlated(DirectCorrelation(rows, columns), x, weight, out, int(rng.integers(1, 4))), expected)


def random_winograd(rng: np.random.Generator, samples: int = 3) -> tuple[Axis, Axis, Array, Array]:
    """Rows, columns, x and weight for kernels of three rows; odd and even heights with paddings up to 2."""
    rows, columns = random_axis(rng, 3, 1), random_axis(rng, int(rng.integers(1, 4)), 1)
    filters, channels = (int(n) for n in rng.integers(1, 6, 2))
    x = rng.normal(size=(rows.length, columns.length, channels, samples))
    return rows, columns, x, random_weight(rng, filters, channels, 3, columns.size)


@pytest.mark.usefixtures("blocks")
@pytest.mark.parametrize("seed", range(20))
def test_winograd_equals_direct_correlation(seed: int) -> None:
    rng = np.random.default_rng(seed)
    rows, columns, x, weight = random_winograd(rng)
    expected, step = correlated(DirectCorrelation(rows, columns), x, weight, None, 1), int(rng.integers(1, 4))
    way = WinogradCorrelation(rows, columns)
    assert_same(correlated(way, x, weight, None, step), expected)
    assert_same(correlated(way, x, weight, np.full(expected.shape, np.nan), step), expected)


@pytest.mark.parametrize("kw", [1, 2, 3])
@pytest.mark.parametrize("padding", [0, 1, 2])
def test_winograd_at_the_edges(padding: int, kw: int) -> None:
    rng, columns = np.random.default_rng(0), Axis(5, kw, 1, 1, padding, padding)
    for height in range(max(1, 3 - 2 * padding), 9):
        rows = Axis(height, 3, 1, 1, padding, padding)
        x, weight = rng.normal(size=(height, 5, 2, 2)), rng.normal(size=(3, 2, 3, kw))
        expected = np.einsum("pqcnij,fcij->pqfn", windows(x, rows, columns), weight)
        assert_same(correlated(WinogradCorrelation(rows, columns), x, weight, None, 1), expected)


@pytest.mark.parametrize("seed", range(8))
def test_winograd_of_float32_is_as_exact_as_that_allows(seed: int) -> None:
    rng = np.random.default_rng(seed)
    rows, columns = Axis(9 + seed % 2, 3, 1, 1, seed % 3, seed % 3), Axis(7, 3, 1, 1, 1, 1)
    x, weight = rng.normal(size=(rows.length, 7, 40, 4)), rng.normal(size=(24, 40, 3, 3))
    expected = correlated(DirectCorrelation(rows, columns), x, weight, None, 1)
    way = WinogradCorrelation(rows, columns)
    y = correlated(way, x.astype(np.float32), weight.astype(np.float32), None, 1)
    assert y.dtype == np.float32
    assert np.abs(y - expected).max() < 1e-5 * np.abs(expected).max()


# Gradients


@pytest.mark.usefixtures("blocks")
@pytest.mark.parametrize("kind", [PatchGradient, LineGradient, WinogradGradient])
@pytest.mark.parametrize("seed", range(16))
def test_weight_gradient(seed: int, kind: Gradients) -> None:
    """With the dy of one group among others, too."""
    rng, fixed = np.random.default_rng(seed), kind is WinogradGradient
    rows = random_axis(rng, 3 if fixed else int(rng.integers(1, 4)), 1 if fixed else int(rng.integers(1, 3)))
    columns = random_axis(rng, int(rng.integers(1, 4)), 1 if fixed else int(rng.integers(1, 3)))
    channels, filters, samples = (int(n) for n in rng.integers(1, 7, 3))
    x = rng.normal(size=(rows.length, columns.length, channels, samples))
    dy = rng.normal(size=(rows.positions, columns.positions, filters + 2 * int(rng.integers(2)), samples))
    dy = dy[:, :, -filters:]
    expected = np.einsum("pqcnij,pqfn->fcij", windows(x, rows, columns), dy)
    for ctx in contexts():
        assert_same(kind(rows, columns).of(x, dy, ctx), expected)


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize(("channels", "filters"), [(1, 8), (7, 40), (8, 8), (16, 31), (32, 32), (40, 64)])
def test_the_chosen_gradient(channels: int, filters: int, stride: int) -> None:
    rng = np.random.default_rng(0)
    rows = columns = Axis(8, 3, stride, 1, 1, 1)
    x = rng.normal(size=(8, 8, channels, 5))
    dy = rng.normal(size=(rows.positions, columns.positions, filters, 5))
    way = weight_gradient(rows, columns, channels, filters)
    if channels == 1:
        assert isinstance(way, PatchGradient)
    else:
        assert isinstance(way, WinogradGradient if channels >= 32 and stride == 1 else LineGradient)
    assert_same(way.of(x, dy, CTX), np.einsum("pqcnij,pqfn->fcij", windows(x, rows, columns), dy))


def all_axes() -> list[Axis]:
    ranges = range(1, 8), range(1, 5), range(1, 4), [1], range(4), range(-3, 4)
    axes = (Axis(*numbers) for numbers in combinations(*ranges))
    return [axis for axis in axes if axis.length + axis.before + axis.after >= axis.size]


def test_phases_cover_each_met_pixel_once() -> None:
    for axis in all_axes():
        places = (p * axis.stride + k - axis.before for p in range(axis.positions) for k in range(axis.size))
        met = sorted({place for place in places if 0 <= place < axis.length})
        covered = [pixel for lines, _, _ in phases(axis) for pixel in range(axis.length)[lines]]
        assert sorted(covered) == met, axis


def test_correlations_of_the_phases_are_the_gradient_of_the_input() -> None:
    rng = np.random.default_rng(0)
    for axis in all_axes():
        kernel, dy = rng.normal(size=axis.size), rng.normal(size=axis.positions)
        expected = np.zeros(axis.length + 20)  # with room for pixels outside, on both sides
        for position, k in combinations(range(axis.positions), range(axis.size)):
            expected[10 + position * axis.stride + k - axis.before] += dy[position] * kernel[k]
        dx = np.zeros(axis.length)
        for lines, turned, part in phases(axis):
            assert part.length == len(dy), axis
            assert part.positions == len(dx[lines]), axis
            around = np.concatenate([np.zeros(20), dy, np.zeros(20)])[20 - part.before :]
            dx[lines] = [around[p : p + part.size] @ kernel[turned] for p in range(part.positions)]
        np.testing.assert_allclose(dx, expected[10 : 10 + axis.length], atol=1e-12, err_msg=str(axis))


# One sample


@pytest.mark.parametrize("kind", [DirectCorrelation, WinogradCorrelation])
@pytest.mark.parametrize("seed", range(8))
def test_one_sample_gives_the_same_as_the_first_of_two(seed: int, kind: Correlations) -> None:
    rng = np.random.default_rng(seed)
    rows, columns, x, weight = random_winograd(rng, samples=2)
    way, one = kind(rows, columns), x[..., :1].copy()
    expected = correlated(way, x, weight, None, 1)[..., :1]
    assert_same(correlated(way, one, weight, None, 1), expected)
    assert_same(correlated(way, one, weight, np.full(expected.shape, np.nan), 1), expected)


@pytest.mark.parametrize("kind", [PatchGradient, LineGradient, WinogradGradient])
def test_a_sample_without_a_gradient_adds_nothing(kind: Gradients) -> None:
    rng = np.random.default_rng(0)
    rows, columns = Axis(6, 3, 1, 1, 1, 1), Axis(5, 2, 1, 1, 0, 1)
    x, dy = rng.normal(size=(6, 5, 2, 2)), rng.normal(size=(6, 5, 3, 2))
    dy[..., 1] = 0
    way = kind(rows, columns)
    assert_same(way.of(x[..., :1].copy(), dy[..., :1].copy(), CTX), way.of(x, dy, CTX))


# Sums, rectifier


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("seed", range(10))
def test_sums_and_products_of_channels(seed: int, dtype: str) -> None:
    rng, ctx = np.random.default_rng(seed), PlainContext(dtype=dtype)
    a, b = rng.normal(size=(2, *rng.integers(1, 9, 4))).astype(dtype)
    for actual, terms in ((channel_sums(a, ctx), a), (channel_products(a, b, ctx), a * b)):
        assert actual.dtype == np.float64
        expected, scale = terms.sum(axis=(0, 1, 3), dtype=np.float64), np.abs(terms).sum(axis=(0, 1, 3))
        assert np.all(np.abs(actual - expected) <= (1e-6 if dtype == "float32" else 1e-12) * scale)


def test_spread_numbers_meet_their_channels() -> None:
    rng = np.random.default_rng(0)
    pixels, values = rng.normal(size=(4, 5, 3, 2)), rng.normal(size=3)
    assert_same(flat_pixels(pixels) * spread(values, pixels, CTX), flat_pixels(pixels * values[:, None]))


@pytest.mark.parametrize(
    "shape",
    [
        (0,), (3, 0, 2), (1,), (LONG_RUN - 1,), (LONG_RUN,), (LONG_RUN + 1,), (3, LONG_RUN - 1), (3, LONG_RUN),
        (2, 3, 5, 7), (40, 3, 1, 30), (1, 1, 1, 1), (5, 1, 2000),
    ],
    ids=str,
)  # fmt: skip
def test_rectifier(shape: tuple[int, ...]) -> None:
    rng = np.random.default_rng(math.prod(shape))
    memory = rng.integers(-2, 3, shape) * rng.uniform(0.5, 2, shape)
    expected = np.maximum(memory, 0)
    rectify(memory)
    assert np.array_equal(memory, expected)


def test_what_passes_a_rectifier() -> None:
    rng = np.random.default_rng(0)
    dy, y = rng.normal(size=(4, 5)), np.maximum(rng.integers(-2, 3, (4, 5)).astype(np.float64), 0)
    expected = np.where(y > 0, dy, 0)
    assert np.array_equal(passed(dy, y, np.full(y.shape, np.nan), CTX), expected)
    out = np.full((4, 10), np.nan)[:, ::2]
    assert passed(dy, y, out, CTX) is out
    assert np.array_equal(out, expected)
