"""The gradient check at one place: it accepts what is right there, and nothing else."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from cnnkit.layers import AvgPool2D, BatchNorm2D, Concat, Conv2D, Dense, Dropout, MaxPool2D, ReLU, Residual, Softmax
from cnnkit.testing import gradient_check_at
from cnnkit.testing.tiled_passes import build
from cnnkit.types import Array, Cache, Context, Grads

LAYERS = [
    Conv2D(3, 3, stride=2, padding=1),
    ReLU(),
    MaxPool2D(2),
    AvgPool2D(2),
    BatchNorm2D(),
    Dropout(0.5),
    Softmax(),
    Residual(Conv2D(2, 1)),
    Concat(Conv2D(3, 1), []),
]


def _check(layer: Any, seed: int = 0, **changes: Any) -> Any:
    rng = np.random.default_rng(seed)
    built = build(layer, (2, 6, 6), rng)
    xs = [np.round(rng.normal(size=(1, *shape)), 1) for shape in built.in_shapes]  # with ties, and zeros
    return gradient_check_at(built.layer, xs, rng.normal(size=(1, *built.out_shape)), **changes)


@pytest.mark.parametrize("layer", LAYERS, ids=repr)
def test_what_is_right_passes_with_ties_and_zeros(layer: Any) -> None:
    report = _check(layer)
    assert report.ok, report
    assert report.error < 1e-7


def test_zeros_on_a_kink_are_held_still_and_told() -> None:
    assert list(_check(ReLU()).errors) == ["x with zeros held still"]
    assert list(_check(AvgPool2D(2)).errors) == ["x"]


class _Off(Conv2D):
    """Its gradients are wrong by 0.05 %, of what `wrong` names."""

    wrong = "x"

    def backward(self, dy: Array, patches: Cache, ctx: Context) -> tuple[Array, Grads]:
        dx, grads = super().backward(dy, patches, ctx)
        grads = {name: grad * (1.0005 if name == self.wrong else 1) for name, grad in grads.items()}
        return dx * (1.0005 if self.wrong == "x" else 1), grads


@pytest.mark.parametrize("wrong", ["x", "weight", "bias"])
def test_what_is_wrong_by_little_is_found(wrong: str) -> None:
    layer = _Off(3, 3)
    layer.wrong = wrong
    report = _check(layer)
    assert not report.ok
    assert [name for name, error in report.errors.items() if error > 1e-4] == [
        "x" if wrong == "x" else f"params.{wrong}"
    ]


class _OneWrong(ReLU):
    """The gradient of a single number is wrong."""

    def backward(self, dy: Array, y: Cache, ctx: Context) -> tuple[Array, Grads]:
        dx, grads = super().backward(dy, y, ctx)
        dx[..., 3, 3] = 1.0
        return dx, grads


def test_a_single_wrong_number_is_found_also_where_zeros_are_held() -> None:
    assert not _check(_OneWrong()).ok


def test_many_numbers_near_a_kink_do_not_fail() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(1, 4, 200, 200))
    assert gradient_check_at(ReLU(), [x], rng.normal(size=x.shape)).ok


def test_the_layer_is_left_alone() -> None:
    layer = Dense(3)
    layer.build((4,), np.random.default_rng(0))
    layer.params = {name: value.astype(np.float32) for name, value in layer.params.items()}
    before = dict(layer.params)
    rng = np.random.default_rng(1)
    assert gradient_check_at(layer, [rng.random((1, 4), np.float32)], rng.random((1, 3), np.float32)).ok
    assert all(layer.params[name] is value for name, value in before.items())


def test_values_that_are_not_finite_are_not_right() -> None:
    report = gradient_check_at(ReLU(), [np.array([[1.0, np.nan]])], np.ones((1, 2)))
    assert report.error == np.inf


def test_a_gradient_of_zero_is_right_where_nothing_depends() -> None:
    assert gradient_check_at(ReLU(), [np.full((1, 3), -1.0)], np.ones((1, 3))).error == 0
