"""Augmentations that make a sample from two, and its target from both targets."""

from __future__ import annotations

import math

import numpy as np

from cnnkit.components.checks import positive, probability
from cnnkit.components.contracts import Mixing
from cnnkit.types import Array, Draws, Example


class Mixup(Mixing):
    """Blend two images and their targets, with probability `p`: x = s x1 + (1 - s) x2, y = s y1 + (1 - s) y2.

    s: a number for each sample, of the distribution Beta(alpha, alpha). Raises ConfigError unless alpha > 0 and
    0 <= p <= 1.
    Source: Zhang, Cisse, Dauphin, Lopez-Paz (2018), mixup: Beyond Empirical Risk Minimization.
    """

    examples = (
        Example("Mixup()", (1, 28, 28)),
        Example("Mixup(alpha=1.0, p=0.5)", (3, 9, 14)),
    )

    def __init__(self, alpha: float = 0.2, p: float = 1.0) -> None:
        self.alpha = positive("alpha", alpha)
        self.p = probability("p", p)

    def mix(self, x: Array, y: Array, other_x: Array, other_y: Array, draws: Draws) -> tuple[Array, Array]:
        share = _shares(self.alpha, self.p, draws).astype(np.float32)
        of_image = share[:, np.newaxis, np.newaxis, np.newaxis]
        x *= of_image
        other_x *= 1 - of_image
        x += other_x
        return x, _blended(y, other_y, share)


class CutMix(Mixing):
    """Insert a rectangle of another image at its own position, with probability `p`, and blend the targets by area.

    x = x2 inside a rectangle of sqrt(1 - s) of height and width around a random pixel, x1 elsewhere;
    y = t y1 + (1 - t) y2, t the share of the pixels that are of x1

    s: a number for each sample, of the distribution Beta(alpha, alpha). The rectangle is cut to the image, so that t
    may be larger than s. Raises ConfigError unless alpha > 0 and 0 <= p <= 1.
    Source: Yun, Han, Oh, Chun, Choe, Yoo (2019), CutMix: Regularization Strategy to Train Strong Classifiers with
    Localizable Features.
    """

    examples = (
        Example("CutMix()", (1, 28, 28)),
        Example("CutMix(alpha=0.2, p=0.5)", (3, 9, 14)),
    )

    def __init__(self, alpha: float = 1.0, p: float = 1.0) -> None:
        self.alpha = positive("alpha", alpha)
        self.p = probability("p", p)

    def mix(self, x: Array, y: Array, other_x: Array, other_y: Array, draws: Draws) -> tuple[Array, Array]:
        height, width = x.shape[2:]
        side = np.sqrt(1 - _shares(self.alpha, self.p, draws))
        edges = []
        for size in (height, width):
            length = (side * size).astype(np.int64)
            first = draws.integers(0, size) - length // 2
            edges += [np.maximum(first, 0), np.minimum(first + length, size)]
        top, bottom, left, right = edges
        for i, (a, b, c, d) in enumerate(zip(*(edge.tolist() for edge in edges), strict=True)):
            x[i, :, a:b, c:d] = other_x[i, :, a:b, c:d]
        share = 1 - (bottom - top) * (right - left) / (height * width)
        return x, _blended(y, other_y, share.astype(np.float32))


def _shares(alpha: float, p: float, draws: Draws) -> Array:
    """Of the first of two samples: Beta(alpha, alpha) with probability p, else 1; (N,) float64.

    Beta = 1/2 + c sqrt(1 - w) / (2 sqrt(w + c^2 (1 - w))), w = U^(1 / alpha), c = cos(2 pi V), U and V uniform

    No sample is rejected, and nothing is approximated: every sample needs two numbers.
    Source: Devroye (1996), Random Variate Generation in One Line of Code, from Bailey (1994), Polar Generation
    of Random Variates with the t-Distribution.
    """
    chosen = draws.uniform() < p
    w = draws.uniform() ** (1 / alpha)
    c = np.cos(draws.uniform(0, 2 * math.pi))
    beta = 0.5 + 0.5 * c * np.sqrt(1 - w) / np.sqrt(w + c * c * (1 - w))
    return np.where(chosen, np.clip(beta, 0, 1), 1)  # rounding may go past the ends


def _blended(y: Array, other: Array, share: Array) -> Array:
    return np.asarray(y * share[:, np.newaxis] + other * (1 - share[:, np.newaxis]))
