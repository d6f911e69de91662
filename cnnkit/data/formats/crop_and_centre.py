"""What an image shows, cut out of its surroundings and placed as a dataset's images are: for handwriting on paper."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from cnnkit.data.formats.pictures import WHITE, border
from cnnkit.types import Array, Framing

LONGEST = 256
"""Pixels of the longer side in which the content is looked for; the networks see far fewer of it."""
PHOTOGRAPH = 128
"""Pixels of the longer side from which on there is light to be evened, and strokes are wider than the smoothing."""
PASSES = 4
"""Of this smoothing, at most."""
CLEAR = 10
"""How many times its noise a content is strong that needs no smoothing."""
KNOTS = 64
"""Most rows and columns that the background is computed from."""
ROUNDS = 20
SCALES = (1 / 2, 1 / 50)
"""Parts of the range of an image within which a pixel may be of its background, in the first round and the last."""
FAINTEST = 0.02
"""Part of white by which a content differs from its background at least."""
EDGE, SURE = 0.1, 0.5
"""Parts of its full strength at which a stroke ends, and at which there must be one."""


@dataclass(frozen=True)
class Content:
    """What stands out from the background of an image."""

    strength: Array
    """(H, W) float32, from 0, the background, to about 1."""
    edge: float
    """The strength from which on it is no noise."""
    is_dark: bool
    """Whether it is darker than the background."""


def find_content(grey: Array) -> Content | None:
    """What is on the paper, however light that is; None if there is nothing.

    The background of a small image is the median of its border; under a photograph lies a smooth surface, see
    `background`. What is left is the content, on the side of the background where its cubes add up to more. A
    photograph is smoothed as long as the content does not stand out from the noise, whose standard deviation is 1.4826
    times the median of the deviations on its other side (of a small image, the border's); twice that is taken off. The
    full strength is the median of what has at least half of the highest.

    grey: (H, W), 0 (black) to 255 (white), at most 256 pixels each way.
    """
    level = grey / WHITE
    is_photograph = max(level.shape) >= PHOTOGRAPH
    rest = level - (background(level) if is_photograph else np.median(border(level)))
    is_dark = bool((rest**3).sum() < 0)
    rest = -rest if is_dark else rest
    noise, full = _noise_and_strength(rest, is_photograph)
    for _ in range(PASSES if is_photograph else 0):
        if full > CLEAR * noise:
            break
        rest = _smoothed(rest)
        noise, full = _noise_and_strength(rest, is_photograph)
    if full < max(FAINTEST, 2 * noise):
        return None
    strength = np.maximum(rest - 2 * noise, 0) / full
    return Content(strength.astype(np.float32), min(max(EDGE, 2.5 * noise / full), 0.5), is_dark)


def _noise_and_strength(rest: Array, is_photograph: bool) -> tuple[float, float]:
    """The standard deviation of the noise, and the full strength beyond twice that.

    The noise of a photograph is seen on the side of the background where the content is not: bold strokes, which may
    cover a third of it, would count as noise on their own side.
    """
    known = rest[rest <= 0] if is_photograph else border(rest)
    noise = 1.4826 * float(np.median(np.abs(known))) if known.size else 0.0
    return noise, _full(np.maximum(rest - 2 * noise, 0))


def background(level: Array) -> Array:
    """The quadratic polynomial of row and column that lies on most pixels of an image, the paper.

    It minimises the sum of r^2 / (r^2 + s^2) over the deviations r, which what is far from the paper does not change.
    Computed by iteratively reweighted least squares, weights s^4 / (r^2 + s^2)^2, with s falling from 1/2 to 1/50 of
    the range of the image. It begins with the median of the border: from the least squares of all pixels, bold strokes
    in the middle would pull it down to the ink.
    level: (H, W), 0 to 1. Returns (H, W).
    Source: Black, Rangarajan (1996), On the Unification of Line Processes, Outlier Rejection, and Robust Statistics.
    """
    terms = _terms(*level.shape)
    steps = tuple(-(-side // KNOTS) for side in level.shape)
    known = level[:: steps[0], :: steps[1]].ravel()
    basis = terms[:, :: steps[0], :: steps[1]].reshape(len(terms), -1).T
    coefficients = np.array([np.median(border(level)), *[0.0] * (len(terms) - 1)])
    reach = max(float(np.ptp(known)), 1e-3)
    for scale in reach * np.geomspace(*SCALES, ROUNDS):
        weighted = basis.T * (1 + ((known - basis @ coefficients) / scale) ** 2) ** -2.0
        coefficients = np.linalg.lstsq(weighted @ basis, weighted @ known, rcond=None)[0]
    surface: Array = np.tensordot(coefficients, terms, 1)
    return surface


def framed_content(content: Content, size: tuple[int, int], framing: Framing) -> Array:
    """The content alone, with its longer side as long as the dataset's, and centred as its images are.

    The centre of mass comes to (H / 2, W / 2), counted from pixel 0, as it does in MNIST. Strokes that became faint
    when they were scaled down get their full strength again.

    size: (H, W). Returns (H, W) float32, 0 (background) to 1.
    """
    from PIL import Image
    from PIL.Image import Resampling

    there = _joined(content.strength > SURE, content.strength > content.edge)
    rows, columns = (np.flatnonzero(there.any(axis=axis)) for axis in (1, 0))
    strength = content.strength * _grown(there)  # its faint edge belongs to a stroke, spots elsewhere do not
    cut = strength[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    scale = framing.content / max(cut.shape)
    height, width = (max(1, round(side * scale)) for side in cut.shape)
    if (height, width) != cut.shape:
        cut = np.asarray(Image.fromarray(cut).resize((width, height), Resampling.BILINEAR))
    cut = np.minimum(cut / _full(cut), 1)
    framed = np.zeros(size, np.float32)
    top, left = (
        _start(cut.sum(axis=other), room) if framing.centre == "mass" else (room - side) // 2
        for other, room, side in ((1, size[0], height), (0, size[1], width))
    )
    framed[top : top + height, left : left + width] = cut
    return framed


def _joined(sure: Array, possible: Array) -> Array:
    """What is sure, and what is possible and joined to it, at most 256 pixels away: (H, W) booleans."""
    for _ in range(LONGEST):
        more = (_grown(sure) & possible) | sure
        if np.array_equal(more, sure):
            break
        sure = more
    return sure


def _grown(mask: Array) -> Array:
    """(H, W) booleans with all neighbours of those that are true."""
    for axis in (0, 1):
        padded = np.pad(mask, [(1, 1) if axis == other else (0, 0) for other in (0, 1)])
        mask = np.logical_or.reduce([np.take(padded, range(i, i + mask.shape[axis]), axis) for i in range(3)])
    return mask


def _smoothed(level: Array) -> Array:
    """The mean of 3x3 pixels with the weights 1, 2, 1 either way; at the edge, the outermost pixels count again."""
    for axis in (0, 1):
        padded = np.pad(level, [(1, 1) if axis == other else (0, 0) for other in (0, 1)], mode="edge")
        before, middle, after = (np.take(padded, range(start, start + level.shape[axis]), axis) for start in (0, 1, 2))
        level = (before + 2 * middle + after) / 4
    return level


def _terms(height: int, width: int) -> Array:
    """1, u, v, u v, u^2, v^2 of each pixel, u and v from -1 to 1: (6, H, W)."""
    v, u = np.meshgrid(np.linspace(-1, 1, height), np.linspace(-1, 1, width), indexing="ij")
    return np.stack([np.ones_like(u), u, v, u * v, u * u, v * v])


def _full(strength: Array) -> float:
    """The median of what has at least half of the highest strength."""
    return float(np.median(strength[strength >= strength.max() / 2]))


def _start(mass: Array, room: int) -> int:
    """Where a line of masses begins so that their centre is at room / 2, without leaving the room."""
    centre = float((mass * np.arange(len(mass))).sum() / mass.sum())
    return min(max(round(room / 2 - centre), 0), room - len(mass))
