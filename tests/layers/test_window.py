"""Where windows meet their images, and pooling that looks nowhere else: as if all padding were there."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from typing import Any

import numpy as np
import pytest

from cnnkit import Sequential
from cnnkit.errors import ShapeError
from cnnkit.layers import AvgPool2D, MaxPool2D
from cnnkit.layers.window import Axis, Pair, window_over
from cnnkit.network.execution.tile_context import TileContext, Workspace
from cnnkit.onnx.export import to_onnx
from cnnkit.onnx.validate import validate_onnx

HUGE = 10**9


def axes() -> Iterator[Axis]:
    for length, size, stride, before, after in product(
        (1, 2, 3, 6), (1, 2, 3, 5, 9), (1, 2, 3, 7, 20), *[range(9)] * 2
    ):
        if max(before, after) < size <= length + before + after:
            yield Axis(length, size, stride, 1, before, after)


def seen(axis: Axis) -> list[list[int]]:
    """The elements of the axis that the window meets at each position."""
    places = [[p * axis.stride + k - axis.before for k in range(axis.size)] for p in range(axis.positions)]
    return [[place for place in row if 0 <= place < axis.length] for row in places]


def test_what_is_seen_is_what_the_elements_meet() -> None:
    padded = np.random.default_rng(0).random((2, 9, 8, 3))
    sizes: list[int | Pair] = [1, 2, (3, 2)]
    strides: list[int | Pair] = [1, 2, (1, 4), 20]
    dilations: list[int | Pair] = [1, 3, (2, 1)]
    for size, stride, dilation in product(sizes, strides, dilations):
        window = window_over("Conv2D", (9, 8), size, stride, 0, dilation)
        found = window.seen(padded)
        assert found.shape == (2, window.rows.size, window.columns.size, *window.out_size, 3)
        for i, j, met in window.slices():
            assert np.array_equal(found[:, i, j], padded[met])


def test_the_elements_are_those_that_meet_the_axis() -> None:
    for axis in axes():
        found: list[list[int]] = [[] for _ in range(axis.positions)]
        numbers = []
        for k, positions, places in axis.elements():
            numbers.append(k)
            pairs = zip(range(axis.positions)[positions], range(axis.length)[places], strict=True)
            for position, place in pairs:
                assert position * axis.stride + k - axis.before == place
                found[position].append(place)
        assert found == seen(axis), axis
        assert numbers == sorted(set(numbers))
        assert len(numbers) <= axis.met_count()


def test_a_window_without_idle_elements_sees_the_same() -> None:
    changed = 0
    for axis in axes():
        smaller = axis.without(*axis.idle())
        assert seen(smaller) == seen(axis), axis
        assert min(smaller.before, smaller.after) >= 0
        changed += smaller is not axis
    assert changed > 100


def test_a_square_window_stays_square() -> None:
    window = window_over("MaxPool2D", (6, 2), 3000, 1, "same").without_idle()
    assert window.rows.size == window.columns.size == 11
    assert window.out_size == (6, 2)


@pytest.mark.parametrize("size", [HUGE, 3000])
def test_of_a_huge_window_few_elements_meet_the_axis(size: int) -> None:
    axis = Axis(8, size, 1, 1, (size - 1) // 2, size - 1 - (size - 1) // 2)
    assert axis.met_count() == len(list(axis.elements())) == 15
    assert axis.without(*axis.idle()).size == 15
    apart = Axis(8, size, size, 1, size - 4, size - 4)
    assert apart.met_count() >= len(list(apart.elements()))
    assert len(list(apart.elements())) == 8


CTX = TileContext(Workspace(np.dtype(np.float64)), True, (0, 0, 0, 0))
POOLS = [(2, 1, 1), (3, 1, "same"), (3, 2, 1), (5, 7, 2), ((2, 4), (3, 1), "same"), (9, 1, "same"), (9, 4, 8)]


@pytest.mark.parametrize("kind", [MaxPool2D, AvgPool2D])
@pytest.mark.parametrize("arguments", POOLS, ids=str)
@pytest.mark.parametrize("shape", [(5, 6), (1, 3), (8, 8)], ids=str)
def test_pooling_equals_that_of_a_padded_image(kind: Any, arguments: Any, shape: tuple[int, int]) -> None:
    rng = np.random.default_rng(0)
    layer = kind(*arguments)
    try:
        _, height, width = layer.build((2, *shape), rng)
    except ShapeError:
        pytest.skip("the window does not fit")
    x = rng.integers(-3, 4, (3, 2, *shape)).astype(float)
    rows, columns = layer.window.rows, layer.window.columns
    fill = -np.inf if kind is MaxPool2D else 0.0
    pads = [(0, 0), (0, 0), (rows.before, rows.after + rows.size), (columns.before, columns.after + columns.size)]
    padded = np.pad(x, pads, constant_values=fill)
    y, cache = layer.forward(x, CTX)
    dy = rng.normal(size=y.shape)
    expected, dx = np.empty(y.shape), np.zeros(padded.shape)
    for p, q in product(range(height), range(width)):
        at = np.s_[:, :, p * rows.stride :, q * columns.stride :]
        patch = padded[at][:, :, : rows.size, : columns.size]
        part = dx[at][:, :, : rows.size, : columns.size]
        if kind is AvgPool2D:
            expected[:, :, p, q] = patch.mean(axis=(2, 3))
            part += dy[:, :, p, q, None, None] / (rows.size * columns.size)
        else:
            expected[:, :, p, q] = patch.max(axis=(2, 3))
            by_column = patch.swapaxes(2, 3).reshape(*patch.shape[:2], -1)
            column, row = np.divmod(by_column.argmax(axis=2), rows.size)
            for n, c in product(range(3), range(2)):
                part[n, c, row[n, c], column[n, c]] += dy[n, c, p, q]
    np.testing.assert_allclose(y, expected, atol=1e-12)
    inside = dx[:, :, rows.before :, columns.before :][:, :, : shape[0], : shape[1]]
    np.testing.assert_allclose(layer.backward(dy, cache, CTX)[0], inside, atol=1e-12)


@pytest.mark.parametrize(
    "layer",
    [f'MaxPool2D({HUGE}, 1, "same")', f'AvgPool2D({HUGE}, 1, "same")', 'AvgPool2D((3000, 3), (2, 1), "same")'],
)
def test_a_window_larger_than_the_image_is_exported_as_what_meets_it(layer: str, tmp_path: Any) -> None:
    model = Sequential([layer, "Flatten()", "Dense(3)"], (2, 6, 5))
    proto = to_onnx(model)
    pool = next(node for node in proto.graph.node if node.op_type in ("MaxPool", "AveragePool", "Conv"))
    (kernel,) = (list(one.ints) for one in pool.attribute if one.name == "kernel_shape")
    assert max(kernel) <= 12
    (tmp_path / "net.onnx").write_bytes(proto.SerializeToString())
    assert validate_onnx(tmp_path / "net.onnx", model).ok


def test_small_windows_are_exported_as_they_are() -> None:
    model = Sequential(["MaxPool2D(2, 2, 1)", "AvgPool2D(3, 2, 1)"], (1, 8, 8))
    pools = [node for node in to_onnx(model).graph.node if node.op_type in ("MaxPool", "Conv")]
    sizes = [list(one.ints) for node in pools for one in node.attribute if one.name in ("kernel_shape", "pads")]
    assert sizes == [[2, 2], [1, 1, 1, 1], [3, 3], [1, 1, 1, 1]]
