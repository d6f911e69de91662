from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_array_equal

from cnnkit.data import split_validation
from cnnkit.data.split import split_test
from cnnkit.errors import ConfigError, DataError
from cnnkit.types import Array, Samples


def numbered(y: Array) -> Samples:
    return Samples(np.arange(len(y))[:, None], y)


@given(
    counts=st.lists(st.integers(1, 60), min_size=2, max_size=6),
    fraction=st.floats(0.01, 0.6),
    seed=st.integers(0, 2**40),
)
@settings(max_examples=60)
def test_each_class_gives_its_share_to_validation(counts: list[int], fraction: float, seed: int) -> None:
    y = np.random.default_rng(1).permutation(np.repeat(np.arange(len(counts)), counts))
    total = len(y)
    size = int(np.ceil(fraction * total))
    if size == total:
        return
    train, validation = split_validation(numbered(y), fraction, seed)
    assert (len(train), len(validation)) == (total - size, size)
    assert_array_equal(np.sort(np.concatenate([train.x, validation.x])[:, 0]), np.arange(total))
    for part in (train, validation):
        assert_array_equal(part.y, y[part.x[:, 0]])
        assert (np.diff(part.x[:, 0]) > 0).all()
    for index, count in enumerate(counts):
        assert abs((validation.y == index).sum() - count * size / total) < 1


def test_the_seed_and_nothing_else_chooses() -> None:
    samples = numbered(np.arange(200) % 10)
    first, again, other = (split_validation(samples, 0.1, seed)[1].x[:, 0] for seed in (0, 0, 1))
    assert_array_equal(first, again)
    assert first.tolist() != other.tolist()
    assert len(set(np.diff(first))) > 1


def test_values_to_regress_are_drawn_at_random() -> None:
    samples = numbered(np.linspace(0, 1, 50, dtype=np.float32)[:, None])
    train, validation = split_validation(samples, 0.3, 0)
    assert (len(train), len(validation)) == (35, 15)
    assert not set(train.x[:, 0]) & set(validation.x[:, 0])


def test_the_samples_are_not_changed() -> None:
    samples = numbered(np.arange(30) % 3)
    split_validation(samples, 0.2, 0)
    assert_array_equal(samples.x[:, 0], np.arange(30))


def test_what_is_refused() -> None:
    samples = numbered(np.arange(3))
    with pytest.raises(ConfigError, match="fraction must be a number with 0 <= fraction < 1, got 1"):
        split_validation(samples, 1, 0)
    with pytest.raises(ConfigError, match="fraction must be a number above 0, got 0"):
        split_validation(samples, 0, 0)
    with pytest.raises(ConfigError, match="seed must be a whole number, 0 or above, got -1"):
        split_validation(samples, 0.2, -1)
    message = "setting aside 0.9 of 3 samples leaves none for training: expected more samples or a smaller fraction"
    for split in (split_validation, split_test):
        with pytest.raises(DataError) as caught:
            split(samples, 0.9, 0)
        assert str(caught.value) == message
