"""Occlusion maps: how much the score falls when a window covers a part of the input."""

from __future__ import annotations

import itertools
import math

import numpy as np

from cnnkit.attribution.passes import Passes
from cnnkit.errors import ConfigError
from cnnkit.types import Array, Shape

MOST_WINDOWS = 10_000
"""Places of the window for a sample: the network runs once for each."""
COVERED_BYTES = 32 << 20
"""What the covered copies of samples may take at one time."""


def occlusion(passes: Passes, x: Array, weights: Array, window: Shape, stride: Shape, fill: float) -> Array:
    """The mean fall of the score over all windows that cover a pixel.

    y_ij = mean over windows w with (i, j) in w of score(x) - score(x with w filled)

    Windows begin at 0, s, 2s, ...; the last of a row or column ends at the edge, or beyond it.
    x: (N, C, H, W), y: (N, H, W); all channels are covered together. Of signals (N, C, L) and (N, L); of vectors (N, F)
    and (N, F).
    Raises ConfigError for a window that is larger than the input, and for more than 10,000 places.
    Source: Zeiler, Fergus (2014), Visualizing and Understanding Convolutional Networks, section 4.2.
    """
    size = x.shape[2:] or x.shape[1:]
    if any(side > whole for side, whole in zip(window, size, strict=True)):
        raise ConfigError(f"a window of {_by(window)} is larger than the input, {_by(size)}: use a smaller one")
    starts = [
        range(0, step * math.ceil((whole - side) / step) + 1, step)
        for whole, side, step in zip(size, window, stride, strict=True)
    ]
    if (count := math.prod(map(len, starts))) > MOST_WINDOWS:
        raise ConfigError(f"the window has {count:,} places, and may have {MOST_WINDOWS:,}: use a larger stride")
    places = [
        tuple(slice(start, start + side) for start, side in zip(corner, window, strict=True))
        for corner in itertools.product(*starts)
    ]
    x = x.astype(weights.dtype)
    each = max(1, COVERED_BYTES // x[:1].nbytes) if len(x) else 1
    falls = np.repeat(passes.scores(x, weights), count) if len(x) else np.empty(0)
    for start in range(0, len(falls), each):
        sample, place = np.divmod(np.arange(start, min(start + each, len(falls))), count)
        covered = x[sample]
        for one, at in zip(covered, place.tolist(), strict=True):
            one[(..., *places[at])] = fill
        falls[start : start + len(sample)] -= passes.scores(covered, weights[sample])
    total, times = np.zeros((len(x), *size)), np.zeros(size)
    for at, fall in zip(places, falls.reshape(len(x), count).T, strict=True):
        total[(slice(None), *at)] += fall.reshape(-1, *(1,) * len(size))
        times[at] += 1
    # With strides beyond the window, some pixels are never covered: nothing is known of them.
    return np.asarray(np.divide(total, times, out=np.zeros_like(total), where=times > 0), weights.dtype)


def _by(shape: Shape) -> str:
    return " x ".join(map(str, shape))
