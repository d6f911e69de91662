"""What a model answers in float64, and how far from that its own answers in float32 are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from cnnkit.network import Network
from cnnkit.onnx.difference import distance, relative
from cnnkit.onnx.outputs import compared_outputs, output_names
from cnnkit.types import Array

MARGIN = 10.0
"""How much larger than the model's own rounding error that of a runtime may be, which adds in another order; up to 6.3
was seen in thousands of samples of ill-conditioned networks."""
FLOAT16_TOLERANCE = 1e-2
"""Relative difference that a file in float16 may have: some ten times what one rounding to its 11 bits makes."""
MOST_ROUNDING = 0.1
"""Relative difference beyond which nothing counts as rounding."""


@dataclass(frozen=True)
class Answers:
    """What a model gives for some samples, (N, ...)."""

    model: Network
    single: Network
    """The model in float32."""
    x: Array
    names: tuple[str, ...]
    """Of the file's outputs that are compared."""
    outputs: Array
    """Its values for the first of them, in float64; for a label, what that is taken from."""
    scale: Array
    """s of each number, (N, ...): |output|, or its mean over all samples, and pixels, where that is larger."""
    rounding: Array
    """Of each number, (N, ...): |float32 output - output| / s, with the mean for a floor as well, and of pixels the
    largest of the sample; the same numbers added in another order are as far off as these."""

    @property
    def double(self) -> Network:
        """The model in float64, made anew: it takes twice the memory, and is wanted again only where answers differ."""
        return in_dtype(self.model, "float64")

    @property
    def largest_rounding(self) -> float:
        """Of all samples."""
        return float(self.rounding.max())


def answers(model: Network, x: Array, names: Sequence[str] | None = None) -> Answers:
    """Compute them. x: (N, *input_shape), in the dataset's own units; names: of the file's outputs, if not as usual."""
    names = tuple(names or output_names(model))
    outputs = compared_outputs(in_dtype(model, "float64"), x, names)
    single = in_dtype(model, "float32")
    scale = typical(distance(outputs, np.zeros_like(outputs)))
    errors = typical(distance(compared_outputs(single, x, names), outputs))
    if errors.ndim > 2:
        # What a pixel's sum adds up differs from pixel to pixel, and its own error may be near zero by chance.
        errors = np.maximum(errors, errors.max(axis=tuple(range(2, errors.ndim)), keepdims=True))
    return Answers(model, single, x, names, outputs, scale, relative(errors, scale))


def typical(values: Array) -> Array:
    """Each number, or the mean of its output over all samples, and pixels, where that is larger; (N, ...) from 0 on."""
    mean = values.mean(axis=(0, *range(2, values.ndim)), keepdims=True)
    return np.asarray(np.maximum(values, mean))


def in_dtype(model: Network, dtype: Literal["float32", "float64"]) -> Network:
    """The model itself, or one of equal parameters, rounded if need be, that computes in another dtype."""
    if model.dtype == dtype:
        return model
    return model.again(dtype=dtype)


def allowed(rounding: Array, tolerance: float) -> Array:
    """The relative difference that passes: the tolerance, or MARGIN times the rounding, but no more than MOST_ROUNDING.

    Nothing passes where the model's own answer in float32 is not a number.
    """
    most = np.maximum(tolerance, np.minimum(MARGIN * rounding, MOST_ROUNDING))
    return np.where(np.isfinite(rounding), most, -1.0)
