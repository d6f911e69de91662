"""What an image shows, cut out of its surroundings and placed as a dataset's images are: for handwriting on paper."""

from __future__ import annotations

import numpy as np

from cnnkit.types import Array, Framing

ROUNDS = 6
"""Of fitting the ground, each without what stood out in the one before."""
FITTED_TO = 4000
"""About so many of the pixels, evenly spread: more tell no more of the ground."""
STANDS_OUT = 2.5
"""Standard deviations of the ground's noise from which a pixel is not of the ground."""
NOISE = 3.0
"""Standard deviations that are taken off, so that the ground becomes 0."""
LEAST_PEAK = 4.5
"""Standard deviations of noise that something must stand out by, to be more than noise."""
LEAST_LEVELS = 8.0
"""The same in levels of 0 to 255, where there is no noise."""
LEAST_PIXELS = 16
"""Of an image that can show anything on a ground."""
SEEN = 0.15
"""The share of the peak from which a pixel counts for the box around what is shown."""
LARGE = 320
"""Pixels of the longer side above which an image is made smaller before it is looked at."""


def framed(grey: Array, size: tuple[int, int], framing: Framing) -> Array | None:
    """What a grey image shows, light on dark, in a new image; None if it shows nothing.

    The ground is a quadratic function of the place, a + bx + cy + dx^2 + exy + fy^2, fitted to the pixels that do not
    stand out of it, so that uneven light is taken off. What stands out furthest, lighter or darker, is the content. Its
    contrast is stretched to 0..1; the longer side of the box around it becomes `framing.content` pixels, and the box or
    its centre of mass comes into the middle.

    grey: (H, W), 0 (black) to 255 (white); framing: with content above 0, and not above the size. Returns (*size), 0 to
    1.
    Source: the preparation of MNIST, LeCun, Bottou, Bengio, Haffner (1998), Gradient-Based Learning Applied to
    Document Recognition, section III.
    """
    if grey.size < LEAST_PIXELS:
        return None
    grey = _smaller(grey)
    residual, noise = _without_ground(grey)
    k = max(3, grey.size // 1000)
    ends = np.partition(residual, (k, grey.size - k), axis=None)
    light, dark = ends[-k:].mean(), -ends[:k].mean()
    content = residual if light >= dark else -residual
    peak = max(light, dark)
    if peak < max(LEAST_PEAK * noise, LEAST_LEVELS):
        return None
    floor = min(max(NOISE * noise, 0.05 * peak), 0.5 * peak)
    level = np.clip((content - floor) / (peak - floor), 0, 1)
    top, bottom, left, right = _box(level, is_noisy=noise > 1)
    return _placed(level[top:bottom, left:right], size, framing)


def _smaller(grey: Array) -> Array:
    """At most `LARGE` pixels along each side, each the mean of those that it stands for."""
    by = -(-max(grey.shape) // LARGE)
    if by == 1:
        return grey.astype(np.float64)
    height, width = (length // by * by for length in grey.shape)
    smaller: Array = grey[:height, :width].reshape(height // by, by, width // by, by).mean(axis=(1, 3))
    return smaller


def _without_ground(grey: Array) -> tuple[Array, float]:
    """The image minus its ground, and the standard deviation of the ground's noise."""
    y, x = (np.linspace(-1, 1, length) for length in grey.shape)
    rows, columns = np.meshgrid(y, x, indexing="ij")
    terms = np.stack([np.ones(grey.shape), columns, rows, columns**2, columns * rows, rows**2], -1)
    step = max(1, round((grey.size / FITTED_TO) ** 0.5))
    some, values = terms[::step, ::step].reshape(-1, terms.shape[-1]), grey[::step, ::step].ravel()
    residual = values - np.median(values)
    for _ in range(ROUNDS):
        deviation = np.abs(residual - np.median(residual))
        noise = 1.4826 * float(np.median(deviation))
        ground = deviation <= max(STANDS_OUT * noise, 1.0)
        factors, *_ = np.linalg.lstsq(some[ground], values[ground], rcond=None)
        residual = values - some @ factors
    return grey - terms @ factors, float(residual[ground].std())


def _box(level: Array, *, is_noisy: bool) -> tuple[int, int, int, int]:
    """Top, bottom, left and right of what is seen; single pixels of noise are not."""
    if is_noisy:
        padded = np.pad(level, 1)
        height, width = level.shape
        level = np.sum([padded[i : i + height, j : j + width] for i in range(3) for j in range(3)], axis=0) / 9
    seen = level > min(SEEN, 0.5 * float(level.max()))
    rows, columns = np.flatnonzero(seen.any(axis=1)), np.flatnonzero(seen.any(axis=0))
    return int(rows[0]), int(rows[-1]) + 1, int(columns[0]), int(columns[-1]) + 1


def _placed(level: Array, size: tuple[int, int], framing: Framing) -> Array:
    from PIL import Image

    scale = framing.content / max(level.shape)
    height, width = (max(1, round(length * scale)) for length in level.shape)
    picture = Image.fromarray(level.astype(np.float32))
    small = np.asarray(picture.resize((width, height), Image.Resampling.BILINEAR), np.float64)
    small = np.clip(small / float(np.percentile(small, 98)), 0, 1)
    image = np.zeros(size)
    places = []
    for axis, whole in enumerate(size):
        length = small.shape[axis]
        mass = float(small.sum(axis=1 - axis) @ np.arange(length) / small.sum())
        middle = mass if framing.centre == "mass" else length / 2
        first = min(max(round(whole / 2 - middle), 0), whole - length)  # all of it stays inside
        places.append(slice(first, first + length))
    image[tuple(places)] = small
    return image
