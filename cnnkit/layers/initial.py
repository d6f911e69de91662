"""What weights are before training."""

from __future__ import annotations

import math

import numpy as np

from cnnkit.types import Array, Shape


def glorot_uniform(rng: np.random.Generator, shape: Shape, fan_out: int | None = None) -> Array:
    """Uniform numbers in +-sqrt(6 / (fan_in + fan_out)), float64; a compromise between forward and backward variance.

    shape: (out, in, ...); fan_in: in times the kernel's elements, fan_out: out times the kernel's elements, or the
    argument times them, where an input meets fewer filters than all. Small networks on MNIST learn faster from it than
    from He's larger weights, which suit deep ones without normalisation.
    Source: Glorot, Bengio (2010), Understanding the Difficulty of Training Deep Feedforward Neural Networks, eq. 16.
    """
    outputs = shape[0] if fan_out is None else fan_out
    bound = math.sqrt(6.0 / ((outputs + shape[1]) * math.prod(shape[2:])))
    return rng.uniform(-bound, bound, shape)
