"""Inputs for a model: those that are given, checked, or random ones where its dataset is not there."""

from __future__ import annotations

import math

import numpy as np

from cnnkit.errors import ConfigError, ShapeError
from cnnkit.network import Network
from cnnkit.types import Array, Inputs, as_inputs

DEFAULT_SAMPLES = 64
INPUT_BYTES = 64 * 2**20
"""Most bytes of random inputs, unless two of them take more."""


def random_inputs(model: Network, samples: int = DEFAULT_SAMPLES) -> Array:
    """Uniform over the range of the training inputs or, where that is not recorded, over 0..255 or 0..1/scale.

    Raises CostError for a model whose inputs or outputs are too large.
    """
    model.check_cost()
    rng = np.random.default_rng(0)
    each = math.prod(model.input_shape) * np.dtype(model.input_dtype).itemsize
    shape = (min(samples, max(2, INPUT_BYTES // each)), *model.input_shape)
    is_bytes = model.input_dtype == "uint8"
    low, high = model.input_range or (0, 255 if is_bytes else 1 / model.preprocessing.scale)
    if is_bytes:
        low, high = np.clip((low, high), 0, 255)  # a file may say anything
        return rng.integers(int(low), int(high), shape, np.uint8, endpoint=True)
    return (low + (high - low) * rng.random(shape)).astype(np.float32)


def golden_sample(model: Network, x: Inputs | None, inputs: str) -> tuple[Array, str]:
    """The sample that goes into a file, (1, *input_shape), and where it comes from; a random one if there are none."""
    if x is None:
        return random_inputs(model, 1), "a random sample"
    return one_sample(model, x[:1]), f"the first of {inputs}"


def one_sample(model: Network, x: Inputs) -> Array:
    """A sample that is given, (1, *input_shape), as the model's dataset would. Raises what `as_input` raises."""
    return np.asarray(as_input(model, x)).astype(model.input_dtype)


def as_input(model: Network, given: Inputs) -> Inputs:
    """Samples, (N, *input_shape), of a dtype that fits the model's. Raises ShapeError or ConfigError for others."""
    x = as_inputs(given)
    if x.shape[1:] != model.input_shape or not len(x):
        expected = ", ".join(map(str, ("N", *model.input_shape)))
        raise ShapeError(f"expected x of shape ({expected}) with at least one sample, got {x.shape}")
    if not np.can_cast(x.dtype, model.input_dtype, "same_kind"):
        raise ConfigError(f"expected x of {model.input_dtype}, what the model's dataset gives, got {x.dtype}")
    return x
