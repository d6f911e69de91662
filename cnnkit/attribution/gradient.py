"""Input gradients: how much the score changes with each number of the input."""

from __future__ import annotations

import numpy as np

from cnnkit.attribution.passes import Passes
from cnnkit.types import Array


def gradients(passes: Passes, x: Array, weights: Array) -> Array:
    """The gradient of each sample's score.

    y = d score / d x, per unit of the dataset.

    x: (N, *input_shape) in the dataset's own units; y: the same shape.
    Source: Simonyan, Vedaldi, Zisserman (2014), Deep Inside Convolutional Networks, section 3.
    """
    found = np.empty(x.shape, weights.dtype)
    for tile in passes.tiles(len(x)):
        found[tile] = passes.input_gradients(x[tile], weights[tile])
    return found
