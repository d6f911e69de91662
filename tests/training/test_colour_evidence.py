"""Whether colours tell classes: found where they do, however, and not where they do not."""

from __future__ import annotations

import numpy as np
import pytest

from cnnkit.training.colour_evidence import _left_out, colours_tell
from cnnkit.types import Array

COLOURS = np.array([[230, 40, 40], [230, 130, 30], [40, 180, 60], [50, 80, 220]], np.float64)
"""Red, orange, green, blue."""


def squares(inside: Array, outside: Array, rng: np.random.Generator) -> Array:
    """Squares of these colours, (N, 3), of any size and place, in noise."""
    count = len(inside)
    x = np.repeat(np.repeat(outside[:, :, None, None], 32, 2), 32, 3)
    for image, colour, (top, left), size in zip(
        x, inside, rng.integers(0, 16, (count, 2)).tolist(), rng.integers(6, 16, count).tolist(), strict=True
    ):
        image[:, top : top + size, left : left + size] = colour[:, None, None]
    return np.asarray((x + rng.normal(0, 12, x.shape)).clip(0, 255).astype(np.uint8))


def cases(seed: int = 0, count: int = 120) -> dict[str, tuple[Array, Array]]:
    rng = np.random.default_rng(seed)
    y = np.arange(count) % 4
    anything = rng.uniform(0, 255, (count, 3))
    grey = np.repeat(rng.uniform(90, 160, (count, 1)), 3, 1)
    dark = np.repeat(np.where(y % 2, 40.0, 215.0)[:, None], 3, 1)
    return {
        "colours on grey": (squares(COLOURS[y], grey, rng), y),
        "colours on anything": (squares(COLOURS[y], anything, rng), y),
        "dark or light": (squares(dark, grey, rng), y % 2),
        "any colours": (squares(rng.uniform(0, 255, (count, 3)), anything, rng), y),
        "dark on light": (squares(grey - 80, grey + 80, rng), y),
        "one colour": (squares(COLOURS[0 * y], grey, rng), y),
    }


@pytest.mark.parametrize("name", ["colours on grey", "colours on anything", "dark or light"])
def test_colours_that_tell(name: str) -> None:
    assert all(colours_tell(*cases(seed)[name]) for seed in range(3))


@pytest.mark.parametrize("name", ["any colours", "dark on light", "one colour"])
def test_colours_that_do_not(name: str) -> None:
    assert not any(colours_tell(*cases(seed)[name]) for seed in range(3))


def test_a_rare_class_counts_as_much() -> None:
    x, y = cases(count=400)["colours on anything"]
    some = np.flatnonzero((y == 1) | ((y == 0) & (np.arange(400) < 60)))
    assert colours_tell(x[some], y[some])


@pytest.mark.parametrize("labels", [[0, 0, 0, 0], [0, 1, 2, 3], [0, 0, 0, 1]])
def test_too_few_samples_tell_nothing(labels: list[int]) -> None:
    assert not colours_tell(np.random.default_rng(0).uniform(0, 255, (4, 3, 5, 2)), np.array(labels))


def test_each_sample_is_predicted_by_all_others() -> None:
    rng = np.random.default_rng(0)
    features, y = rng.normal(size=(30, 4)), np.repeat([0, 1, 2], [15, 10, 5])
    counts = np.bincount(y)
    scaled = (features - features.mean(axis=0)) / features.std(axis=0)
    a, weights, expected = np.column_stack([np.ones(30), scaled]), (30 / (3 * counts))[y], []
    for left in range(30):
        rest = np.arange(30) != left
        weighted = a[rest].T * weights[rest]
        normal = weighted @ a[rest] + 30 * np.diag([1e-9, 0.03, 0.03, 0.03, 0.03])
        expected.append(int((a[left] @ np.linalg.solve(normal, weighted @ np.eye(3)[y[rest]])).argmax()))
    assert _left_out(features, y, counts).tolist() == expected
