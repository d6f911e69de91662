"""Whether the colours of images tell their classes, asked of a simple model before a network is chosen."""

from __future__ import annotations

import math

import numpy as np

from cnnkit.types import Array, Inputs

MOST = 2000
"""Images that are looked at."""
BLOCK = 4
"""Pixels, in height and width, of which the mean is taken: less noise."""
HARMONICS = 4
"""Of the angle of hues: two that differ by a quarter of the half circle are told apart."""
RIDGE = 0.03
SURE = 3.0
"""Standard deviations above guessing."""


def colours_tell(x: Inputs, y: Array) -> bool:
    """Whether a linear model of what stands out by its colour predicts classes better than guessing does.

    Each image is left out once, and predicted by the ridge regression of the others, in which all classes weigh the
    same; guessing gives the mean recall 1 / K. Where some colours mean a class, a rotation of colours destroys it;
    otherwise, it is what a network must learn not to look at.
    x: (N, 3, H, W); y: (N,) class indices. Source: Allen (1974), for the errors of a regression on what it left out.
    """
    positions = np.arange(min(len(y), MOST)) * len(y) // min(len(y), MOST)
    _, y, counts = np.unique(y[positions], return_inverse=True, return_counts=True)
    if len(counts) < 2 or counts.min() < 2:
        return False
    right = _left_out(_features(np.asarray(x[positions], np.float64)), y, counts) == y
    recall = np.bincount(y, right) / counts
    chance = 1 / len(counts)
    deviation = math.sqrt(float((chance * (1 - chance) / counts).sum())) / len(counts)
    return bool(recall.mean() > chance + SURE * deviation)


def _features(x: Array) -> Array:
    """The colour of what stands out, (N, 3 + 2 * HARMONICS): its direction from the mean colour, and its hue.

    With d = x - mean(x) of each pixel, c its chroma as a complex number and w = |c|^2 |d|^2 the features are
    sum(|d|^2 d) / sum(|d|^3) and, for k = 1, 2, ..., sum(w exp(i k arg(c))) / sum(w). x: (N, 3, H, W)
    """
    height, width = (max(size // BLOCK, 1) for size in x.shape[2:])
    high, wide = (min(BLOCK, size) for size in x.shape[2:])
    x = x[:, :, : height * high, : width * wide].reshape(len(x), 3, height, high, width, wide).mean(axis=(3, 5))
    x = x.reshape(len(x), 3, -1)
    d = x - x.mean(axis=2, keepdims=True)
    far = np.square(d).sum(axis=1)
    direction = (far[:, np.newaxis] * d).sum(axis=2) / _above_zero((far**1.5).sum(axis=1))[:, np.newaxis]
    red, green, blue = x.swapaxes(0, 1)
    chroma = (2 * red - green - blue) / math.sqrt(6) + 1j * (green - blue) / math.sqrt(2)
    weight, hue = np.square(np.abs(chroma)) * far, np.angle(chroma)
    total = _above_zero(weight.sum(axis=1))
    waves = [(weight * np.exp(1j * k * hue)).sum(axis=1) / total for k in range(1, HARMONICS + 1)]
    return np.column_stack([direction, *(part for wave in waves for part in (wave.real, wave.imag))])


def _left_out(features: Array, y: Array, counts: Array) -> Array:
    """The class of each sample that the regression of all others predicts, (N,)."""
    scaled = (features - features.mean(axis=0)) / _above_zero(features.std(axis=0))
    a = np.column_stack([np.ones(len(y)), scaled])
    weights = (len(y) / (len(counts) * counts))[y]
    penalty = np.diag([1e-9, *[RIDGE] * scaled.shape[1]]) * len(y)
    weighted = a.T * weights
    hat = a @ np.linalg.solve(weighted @ a + penalty, weighted)
    targets, own = np.eye(len(counts))[y], hat.diagonal()[:, np.newaxis]
    return np.asarray(((hat @ targets - own * targets) / _above_zero(1 - own)).argmax(axis=1))


def _above_zero(x: Array) -> Array:
    return np.maximum(x, 1e-12)
