"""Straight lines: values, gradients, and what they say of arguments that cannot be."""

from __future__ import annotations

import numpy as np
import pytest

from cnnkit import Sequential
from cnnkit.errors import ConfigError, ShapeError
from cnnkit.layers import Rescale, ScaleShift
from cnnkit.testing import gradient_check
from cnnkit.types import Shape

RNG = np.random.default_rng


def test_a_fixed_factor_and_offset() -> None:
    model = Sequential([Rescale(-2.0, 0.5)], (3,))
    np.testing.assert_array_equal(model.outputs(np.array([[1, 0, -4]], np.float32)), [[-1.5, 0.5, 8.5]])
    assert model.parameter_count() == 0


@pytest.mark.parametrize(
    ("axes", "shape"), [((1,), (3, 1, 1)), ((), (1, 1, 1)), ((2,), (1, 4, 1)), ((1, 3), (3, 1, 5))]
)
def test_learned_numbers_differ_along_the_axes(axes: tuple[int, ...], shape: Shape) -> None:
    model = Sequential([ScaleShift(axes)], (3, 4, 5), dtype="float64")
    weight, bias = RNG(0).normal(size=(2, *shape))
    model.load_state({"scale_shift_1.weight": weight, "scale_shift_1.bias": bias})
    x = RNG(1).normal(size=(2, 3, 4, 5))
    np.testing.assert_array_equal(model.outputs(x), x * weight + bias)


@pytest.mark.parametrize(("layer", "shape"), [(Rescale(0.3, 2.0), (3, 4)), (ScaleShift((1, 2)), (3, 4, 5))])
def test_gradients(layer: Rescale | ScaleShift, shape: Shape) -> None:
    assert gradient_check(layer, shape).ok


def test_a_new_one_changes_nothing() -> None:
    x = RNG(0).normal(size=(2, 3, 4)).astype("f4")
    np.testing.assert_array_equal(Sequential([ScaleShift()], (3, 4)).outputs(x), x)


def test_arguments_that_cannot_be() -> None:
    with pytest.raises(ConfigError, match="scale must be a number other than 0, which would leave nothing of the inp"):
        Rescale(0.0)
    with pytest.raises(
        ConfigError, match=r"axes must be different and in rising order, such as \(1, 2\), got \(2, 1\)"
    ):
        ScaleShift((2, 1))
    with pytest.raises(ShapeError, match=r"expects an input with an axis 3 beside the samples', got \(4, 5\)"):
        Sequential([ScaleShift((3,))], (4, 5))
