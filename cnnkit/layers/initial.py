"""What weights are before training."""

from __future__ import annotations

import math

import numpy as np

from cnnkit.types import Array, Shape


def he_normal(rng: np.random.Generator, shape: Shape) -> Array:
    """Normal numbers with variance 2 / fan_in, float64; keeps the variance of activations through ReLU layers.

    shape: (out, in, ...); fan_in: the product of all axes but the first.
    Source: He, Zhang, Ren, Sun (2015), Delving Deep into Rectifiers, equation 10.
    """
    return rng.normal(0.0, math.sqrt(2.0 / math.prod(shape[1:])), shape)
