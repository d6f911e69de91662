"""Choose: each image gets as many as it should, all equally often."""

from __future__ import annotations

import numpy as np

from cnnkit.augmentations import Choose, Shift
from cnnkit.components import Augmentation
from cnnkit.types import Array, Draws
from tests.augmentations.scripted import draws, images, ramps

N = 4000


class Add(Augmentation):
    def __init__(self, number: float) -> None:
        self.number = number

    def apply(self, x: Array, draws: Draws) -> Array:
        return x + np.float32(self.number)


def test_each_image_gets_as_many_as_it_should() -> None:
    for count in (1, 2, 3):
        y = Choose(Add(1), Add(10), Add(100), count=count).apply(np.zeros((N, 1, 2, 2), np.float32), draws(N))
        digits = np.stack([y[:, 0, 0, 0] // 10**i % 10 for i in range(3)])
        assert (digits.sum(axis=0) == count).all()
        assert np.abs(digits.mean(axis=1) - count / 3).max() < 5 * np.sqrt(count * 2 / 9 / N)


def test_one_may_be_drawn_twice_with_other_numbers() -> None:
    rows = Choose(Shift(1), count=2).apply(ramps(N, 9), draws(N))[:, 0, 4, 4]
    values, counts = np.unique(rows, return_counts=True)
    assert values.tolist() == [-2, -1, 0, 1, 2]
    assert np.abs(counts / N - np.array([1, 2, 3, 2, 1]) / 9).max() < 5 * np.sqrt(0.25 / N)


def test_one_choice_is_the_augmentation_itself_for_those_that_get_it() -> None:
    x = images(N, 1, 3, 3)
    y = Choose(Add(1), Add(2)).apply(x.copy(), draws(N))
    added = np.round(y - x)
    assert (added == added[:, :1, :1, :1]).all()
    assert set(added[:, 0, 0, 0]) == {1, 2}
