"""Batch normalisation folded into the convolution before it, for prediction."""

from __future__ import annotations

import numpy as np

from cnnkit.layers import BatchNorm2D, Conv2D
from cnnkit.types import Array


def scale_of(gamma: Array, var: Array, epsilon: float) -> Array:
    """What a normalisation multiplies each channel by in prediction: gamma / sqrt(var + epsilon), (C,)."""
    return np.asarray(gamma / np.sqrt(var + epsilon))


def bias_of(scale: Array, bias: Array | float, mean: Array, beta: Array) -> Array:
    """What is added to each channel of scale * (weight x + bias - mean) + beta beside scale * weight x, (C,)."""
    return np.asarray(scale * (bias - mean) + beta)


class Fold:
    """A convolution that gives what `conv` and then `norm` give in prediction.

    norm(conv(x)) = scale * (weight x + bias - mean) + beta, with scale = gamma / sqrt(var + epsilon), is linear in x:

        weight' = scale * weight, bias' = scale * (bias - mean) + beta
    """

    def __init__(self, conv: Conv2D, norm: BatchNorm2D) -> None:
        self.conv, self.norm = conv, norm
        self.folded = Conv2D(conv.filters, conv.kernel, conv.stride, conv.padding, conv.dilation, conv.groups)
        self.folded.window = conv.window
        self.refresh()

    def refresh(self) -> None:
        """Take over the present parameters and statistics."""
        norm, bias = self.norm, self.conv.params["bias"] if self.conv.bias else 0
        scale = scale_of(norm.params["gamma"], norm.buffers["running_var"], norm.epsilon)
        self.folded.params = {
            "weight": self.conv.params["weight"] * scale[:, None, None, None],
            "bias": bias_of(scale, bias, norm.buffers["running_mean"], norm.params["beta"]),
        }
