"""Activation maximisation: inputs that make the channels of a layer as large as they get."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from cnnkit.attribution.passes import Passes
from cnnkit.errors import ConfigError
from cnnkit.input_units import scale_of_images
from cnnkit.network import Network, Node
from cnnkit.types import Array

STEPS = 128
STEP, DECAY = 0.03, 0.01
"""Of the range from black to white: how far a step goes, and how far back to the middle."""
NOISE = 0.05
"""Of that range: the standard deviation of the image that it begins with."""
JITTER = 16
"""By which the image's height and width are divided: so far it is moved at random in each step."""


def maximise(model: Network, node: Node, channels: Sequence[int], *, seed: int = 0) -> tuple[Array, Array]:
    """Images that the channels of a layer answer to most, found by gradient ascent from noise.

    x <- x + 0.03 r g / rms(g) - 0.01 (x - middle), clipped to black and white,   g = d (mean of channel k) / d x

    r: white less black; in each step, the image is moved by some pixels at random, and back, so that patterns do not
    depend on their place.
    Returns the images, (len(channels), *input_shape) in the dataset's own units, and the means that they reach.
    Raises ConfigError for a model that does not take images.
    Source: Erhan et al. (2009), Visualizing Higher-Layer Features of a Deep Network; jitter and L2 as in Mordvintsev,
    Olah, Tyka (2015), Inceptionism.
    """
    if len(model.input_shape) != 3:
        raise ConfigError(
            f"the model takes inputs of shape {model.input_shape}, and activation maximisation is for images"
        )
    passes = Passes(model, model.nodes[: node.index + 1])
    black, white, _ = scale_of_images(model.preprocessing, model.input_range, model.input_shape)
    extent, middle = white - black, (black + white) / 2
    shape = len(channels), *model.input_shape
    rng = np.random.default_rng(seed)
    x = middle + NOISE * extent * rng.standard_normal(model.input_shape)
    x = np.broadcast_to(x.astype(model.dtype), shape).copy()  # the same noise for each
    weights = np.zeros((len(channels), *node.out_shape), model.dtype)
    weights[np.arange(len(channels)), np.asarray(channels)] = 1 / np.prod(node.out_shape[1:])
    most = np.array(model.input_shape[1:]) // JITTER
    tiles = list(passes.tiles(len(channels), STEPS))
    for _ in range(STEPS):
        down, across = rng.integers(-most, most + 1)
        moved = np.roll(x, (down, across), (2, 3))
        for tile in tiles:
            g = passes.input_gradients(moved[tile], weights[tile])
            size = np.sqrt(np.square(g).mean(axis=(1, 2, 3), keepdims=True))
            g = np.divide(g, size, out=np.zeros_like(g), where=size > 0)
            moved[tile] += STEP * extent * g - DECAY * (moved[tile] - middle)
        x = np.roll(np.clip(moved, black, white), (-down, -across), (2, 3))
    return x, passes.scores(x, weights)
