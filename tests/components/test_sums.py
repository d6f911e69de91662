"""Sums: as exact as float32 can say, over axes of any length and in any memory order; short ones as NumPy has them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from cnnkit.components.sums import SHORT, sum_over
from cnnkit.types import Array


def units(actual: Array, exact: Array) -> float:
    """The largest error, in units of the last place of float32."""
    return float((np.abs(actual - exact) / np.spacing(np.abs(exact).astype("f4"))).max())


def numbers(count: int, order: Callable[[Array], Array]) -> Array:
    """(8, count) numbers above 0."""
    return order(np.random.default_rng(count).uniform(size=(8, count)).astype("f4"))


@pytest.mark.parametrize("order", [np.ascontiguousarray, np.asfortranarray], ids=["rows", "columns"])
@pytest.mark.parametrize("count", [SHORT + 1, 100, 1000, 100_000])
def test_long_sums_are_rounded_once(count: int, order: Callable[[Array], Array]) -> None:
    x = numbers(count, order)
    assert units(sum_over(x, 1), x.sum(axis=1, dtype=np.float64)) <= 0.5


def test_sums_of_numbers_one_after_another_lose_digits() -> None:
    x = numbers(100_000, np.asfortranarray)
    assert units(x.sum(axis=1), x.sum(axis=1, dtype=np.float64)) > 100


@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("order", [np.ascontiguousarray, np.asfortranarray], ids=["rows", "columns"])
def test_short_sums_are_those_of_numpy(axis: int, order: Callable[[Array], Array]) -> None:
    x = numbers(SHORT, order)
    assert np.array_equal(sum_over(x, axis), x.sum(axis=axis))


def test_several_axes() -> None:
    x = numbers(90 * 100, np.asfortranarray).reshape(8, 90, 100)
    assert units(sum_over(x, (1, 2)), x.sum(axis=(1, 2), dtype=np.float64)) <= 0.5
    assert np.array_equal(sum_over(x[:, :4, :8], (1, 2)), x[:, :4, :8].sum(axis=(1, 2)))


@pytest.mark.parametrize("count", [3, 100])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_dtype_and_memory(count: int, dtype: str) -> None:
    x = np.random.default_rng(0).normal(size=(2, count, 3)).astype(dtype)
    assert sum_over(x, 1).dtype == x.dtype
    out = np.full((2, 3), np.nan, dtype)
    assert sum_over(x, 1, out=out) is out
    np.testing.assert_array_equal(out, sum_over(x, 1))
    np.testing.assert_allclose(out, x.astype(np.float64).sum(axis=1), rtol=1e-5)
