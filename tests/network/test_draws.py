"""Draws: SplitMix64's numbers, one stream for each sample, uniform and independent."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from cnnkit.network.execution.random_draws import Draws
from cnnkit.types import Array

N = 20_000
POSITIONS = np.arange(N)
PUBLISHED = {
    0: [0xE220A8397B1DCDAF, 0x6E789E6AA1B965F4, 0x06C45D188009454F, 0xF88BB8A8724C81EC, 0x1B39896A51A8749B],
    1234567: [
        6457827717110365317,
        3203168211198807973,
        9817491932198370423,
        4593380528125082431,
        16408922859458223821,
    ],
}
"""Outputs of Vigna's splitmix64.c by its seed."""


def mix(z: int) -> int:
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9 % 2**64
    z = (z ^ (z >> 27)) * 0x94D049BB133111EB % 2**64
    return z ^ (z >> 31)


def splitmix64(state: int, count: int) -> list[int]:
    return [mix((state + n * 0x9E3779B97F4A7C15) % 2**64) for n in range(1, count + 1)]


def stream(seed: int, epoch: int, place: int, position: int) -> int:
    state = 0
    for part in (seed, epoch, place, position):
        state = mix((state + part) % 2**64)
    return state


@pytest.mark.parametrize("seed", PUBLISHED)
def test_the_reference_gives_the_published_numbers(seed: int) -> None:
    assert splitmix64(seed, 5) == PUBLISHED[seed]


@pytest.mark.parametrize("key", [(0, 0, 1), (7, 3, 2), (2**63 - 1, 10_000, 9)])
def test_each_sample_has_a_stream_of_splitmix64(key: tuple[int, int, int]) -> None:
    positions = [0, 1, 59_999, 2**40]
    draws = Draws(*key, np.array(positions))
    found = np.concatenate([draws.uniform()[:, np.newaxis], draws.uniform(0.0, 1.0, 3), draws.uniform()[:, None]], 1)
    expected = [[(number >> 11) / 2**53 for number in splitmix64(stream(*key, p), 5)] for p in positions]
    assert found.tolist() == expected


def test_numbers_depend_on_seed_epoch_place_and_sample_alone() -> None:
    whole = Draws(1, 2, 3, POSITIONS).normal(2, 3)
    for some in (POSITIONS[:1], POSITIONS[77:99], POSITIONS[::-1]):
        np.testing.assert_array_equal(Draws(1, 2, 3, some).normal(2, 3), whole[some])
    for other in ((0, 2, 3), (1, 0, 3), (1, 2, 0), (2, 1, 3)):
        assert not (Draws(*other, POSITIONS).normal(2, 3) == whole).any()


def chi_squared(counts: Array) -> float:
    """How many standard deviations above what is expected of equal probabilities."""
    expected = counts.sum() / counts.size
    return float((((counts - expected) ** 2 / expected).sum() - (counts.size - 1)) / np.sqrt(2 * (counts.size - 1)))


def flaws(numbers: Callable[[int, int, int, Array], Array]) -> list[str]:
    """What is not as it would be of independent uniform numbers; numbers: (seed, epoch, place, positions) -> (N, 4)."""
    base = numbers(0, 0, 1, POSITIONS)
    pairs = {
        "the next number": (base[:, 0], base[:, 1]),
        "the next sample": (base[:-1, 0], base[1:, 0]),
        "the next epoch": (base[:, 0], numbers(0, 1, 1, POSITIONS)[:, 0]),
        "the next seed": (base[:, 0], numbers(1, 0, 1, POSITIONS)[:, 0]),
        "the next place": (base[:, 0], numbers(0, 0, 2, POSITIONS)[:, 0]),
    }
    found = [f"number {i}" for i in range(4) if chi_squared(np.bincount((base[:, i] * 64).astype(int))) > 5]
    for name, (one, other) in pairs.items():
        cells = (one * 16).astype(int) * 16 + (other * 16).astype(int)
        if chi_squared(np.bincount(cells, minlength=256)) > 5:
            found.append(name)
    return found


def test_numbers_are_uniform_and_independent() -> None:
    assert flaws(lambda *key: Draws(*key).uniform(0.0, 1.0, 4)) == []


def test_the_flaws_of_weak_generators_are_found() -> None:
    golden = 0x9E3779B97F4A7C15 / 2**64

    def unmixed(seed: int, epoch: int, place: int, positions: Array) -> Array:
        return ((seed + epoch + place + positions)[:, np.newaxis] * golden + np.arange(4) * golden) % 1

    def same_in_all_epochs(seed: int, epoch: int, place: int, positions: Array) -> Array:
        return Draws(seed, 0, place, positions).uniform(0.0, 1.0, 4)

    def skewed(*key: int | Array) -> Array:
        return np.asarray(Draws(*key).uniform(0.0, 1.0, 4) ** 1.1)  # type: ignore[arg-type]  # numbers, then positions

    assert {"the next number", "the next sample", "the next epoch", "the next seed"} <= set(flaws(unmixed))
    assert flaws(same_in_all_epochs) == ["the next epoch"]
    assert flaws(skewed)[:4] == ["number 0", "number 1", "number 2", "number 3"]


def test_ranges_and_shapes() -> None:
    draws = Draws(0, 0, 1, POSITIONS)
    uniform = draws.uniform(-3.0, 5.0, 2)
    assert uniform.shape == (N, 2)
    assert uniform.dtype == np.float64
    assert -3.0 <= uniform.min() < -2.99 < 4.99 < uniform.max() < 5.0
    integers = draws.integers(-2, 5, 3, 2)
    assert integers.shape == (N, 3, 2)
    assert integers.dtype == np.int64
    assert np.unique(integers).tolist() == list(range(-2, 5))
    assert chi_squared(np.bincount(integers.ravel() + 2)) < 5
    assert draws.integers(0, 1).tolist() == [0] * N
    assert draws.uniform(2.0, 2.0).tolist() == [2.0] * N


def test_normal_numbers() -> None:
    stats = pytest.importorskip("scipy.stats", reason="scipy, which comes with scikit-learn, is not installed")
    draws = Draws(5, 0, 1, POSITIONS)
    numbers = draws.normal(3)
    assert numbers.shape == (N, 3)
    assert stats.kstest(numbers.ravel(), "norm").pvalue > 0.001
    assert stats.kstest(1.03 * numbers.ravel(), "norm").pvalue < 0.001
    assert abs(np.corrcoef(numbers.T)[np.triu_indices(3, 1)]).max() < 5 / np.sqrt(N)


def test_some_samples_get_streams_that_do_not_depend_on_which_they_are() -> None:
    mask = POSITIONS % 3 == 0
    one, other, none = (Draws(0, 0, 1, POSITIONS) for _ in range(3))
    some = one.where(mask).uniform(0.0, 1.0, 2)
    np.testing.assert_array_equal(other.where(np.ones(N, bool)).uniform(0.0, 1.0, 2)[mask], some)
    assert none.where(np.zeros(N, bool)).normal(2).shape == (0, 2)
    after = one.uniform()
    np.testing.assert_array_equal(other.uniform(), after)
    np.testing.assert_array_equal(none.uniform(), after)
    again = one.where(mask).uniform(0.0, 1.0, 2)
    for numbers in (after[mask][:, np.newaxis], again):
        assert not (numbers == some).any()
    assert abs(np.corrcoef(some[:, 0], again[:, 0])[0, 1]) < 5 / np.sqrt(len(some))


@pytest.mark.parametrize(("low", "high"), [(0, 65_535), (5, 0), (0, 2**40), (-3, 3)])
def test_bounds_may_be_whole_numbers(low: int, high: int) -> None:
    """Widths above 2,048 would not fit beside 53 bits in 64."""
    numbers = Draws(0, 0, 1, np.arange(100_000)).uniform(low, high)
    assert abs(numbers.mean() - (low + high) / 2) < 0.01 * abs(high - low)
    assert abs(np.ptp(numbers) - abs(high - low)) < 0.01 * abs(high - low)
