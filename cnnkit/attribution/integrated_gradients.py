"""Integrated gradients: the score's gradients along the way from a baseline to the input."""

from __future__ import annotations

import numpy as np

from cnnkit.attribution.passes import Passes
from cnnkit.types import Array


def integrated_gradients(passes: Passes, x: Array, weights: Array, baseline: Array, steps: int) -> Array:
    """What each number of the input adds to the score, compared with a baseline.

    y = (x - b) * 1/m * sum over k = 1 ... m of d score / d x at b + (k - 1/2)/m * (x - b)

    x, y: (N, *input_shape); b: (*input_shape), in the dataset's own units; m: steps.
    For many steps, y adds up to score(x) - score(b): see `incompleteness`.
    Source: Sundararajan, Taly, Yan (2017), Axiomatic Attribution for Deep Networks, with the midpoints of the steps.
    """
    difference = x.astype(weights.dtype) - baseline
    total = np.zeros(x.shape, np.float64)
    shape = (-1,) + (1,) * (x.ndim - 1)
    for tile in passes.tiles(len(x) * steps):
        sample, step = np.divmod(np.arange(tile.start, tile.stop), steps)
        way = ((step + 0.5) / steps).reshape(shape).astype(weights.dtype)
        found = passes.input_gradients(baseline + way * difference[sample], weights[sample])
        np.add.at(total, sample, found)
    return np.asarray(difference * (total / steps), weights.dtype)


def incompleteness(passes: Passes, x: Array, weights: Array, baseline: Array, maps: Array) -> Array:
    """How far the attributions of each sample are from adding up to what they explain: (N,) float64.

    |sum of y - (score(x) - score(b))| / |score(x) - score(b)|; NaN where the score is that of the baseline.
    """
    there = passes.scores(x, weights)
    here = passes.scores(np.broadcast_to(baseline, x.shape), weights)
    difference = there - here
    added = maps.sum(axis=tuple(range(1, maps.ndim)), dtype=np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):
        gaps: Array = np.where(difference == 0, np.nan, np.abs(added - difference) / np.abs(difference))
    return gaps
