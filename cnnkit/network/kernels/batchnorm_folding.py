"""Batch normalisation folded into the convolution before it, for prediction."""

from __future__ import annotations

import numpy as np

from cnnkit.layers import BatchNorm2D, Conv2D
from cnnkit.types import Array


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
        norm, weight = self.norm, self.conv.params["weight"]
        scale: Array = norm.params["gamma"] / np.sqrt(norm.buffers["running_var"] + norm.epsilon)
        bias = self.conv.params["bias"] if self.conv.bias else 0
        self.folded.params = {
            "weight": weight * scale[:, None, None, None],
            "bias": scale * (bias - norm.buffers["running_mean"]) + norm.params["beta"],
        }
