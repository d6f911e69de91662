"""Preprocessing: what it refuses, alone and in a network."""

from __future__ import annotations

import math

import pytest

from cnnkit.errors import ConfigError, ShapeError
from cnnkit.network import Sequential
from cnnkit.types import Preprocessing


@pytest.mark.parametrize(
    "preprocessing",
    [
        (0.0,),
        (1e-320,),
        (1e39,),
        (math.nan,),
        (math.inf,),
        (1.0, (math.nan,), (1.0,)),
        (1.0, (math.inf,), (1.0,)),
        (1.0, (1e30,), (1e-10,)),
        (1.0, (0.0,), (math.inf,)),
        (1.0, (0.0,), (1e-40,)),
    ],
)
def test_values_that_float32_cannot_hold_are_refused(preprocessing: tuple[float]) -> None:
    with pytest.raises(
        ConfigError, match="needs a scale other than 0, and finite values that float32 can hold; it got"
    ):
        Preprocessing(*preprocessing)


@pytest.mark.parametrize("std", [0.0, -1.0, math.nan])
def test_every_std_is_above_zero(std: float) -> None:
    with pytest.raises(ConfigError, match="and every std above 0; it got"):
        Preprocessing(1.0, (0.0, 0.0), (1.0, std))


def test_usual_values_pass() -> None:
    for preprocessing in (Preprocessing(1 / 255, (0.1307,), (0.3081,)), Preprocessing(-1.0), Preprocessing(1e-30)):
        Sequential(["Dense(2)"], (3,), preprocessing=preprocessing)


@pytest.mark.parametrize("shape", [(3, 4, 4), (1,), (3,)])
def test_there_is_one_value_for_all_channels_or_one_for_each(shape: tuple[int, ...]) -> None:
    two = Preprocessing(1.0, (0.0, 0.0), (1.0, 1.0))
    with pytest.raises(ShapeError, match=r"is for 2 channels, but input_shape .* has [13]: give one mean and std for"):
        Sequential(["Flatten()", "Dense(2)"], shape, preprocessing=two)
    Sequential(["Flatten()", "Dense(2)"], (2, *shape[1:]), preprocessing=two)
