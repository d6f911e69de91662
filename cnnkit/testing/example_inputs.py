"""The inputs that layers are checked on: ordinary numbers, and those at which mistakes show."""

from __future__ import annotations

import math

import numpy as np

from cnnkit.components import Layer, Merge
from cnnkit.errors import ConfigError
from cnnkit.types import Array, Shape

LARGE = 100.0
"""How far inputs reach where they are large: exp overflows float32 there, and saturated functions are flat."""
MARGIN = 0.25
"""How far from the ends of a domain inputs stay, in their own unit, where there is room."""
REACH = math.sqrt(3)
"""Of numbers with variance 1 that are equally far from their neighbours."""
ORDINARY = 3.0
"""How far inputs reach where they are neither large nor special."""


def domain_of(layer: Layer | Merge) -> tuple[float, float]:
    """What the layer declares. Raises ConfigError unless it is (low, high) with low < high."""
    domain = layer.domain
    if not isinstance(domain, tuple) or len(domain) != 2 or not all(isinstance(end, int | float) for end in domain):
        raise ConfigError(f"{layer!r}: domain must be (low, high), such as (0.0, math.inf), got {domain!r}")
    low, high = domain
    if not low < high:
        raise ConfigError(f"{layer!r}: domain must be (low, high) with low < high, got {domain!r}")
    return float(low), float(high)


def moved_into(x: Array, reach: float, domain: tuple[float, float]) -> Array:
    """Numbers from -reach to reach, moved, and shrunk if need be, so that all lie inside the domain."""
    low, high = domain
    if low < -reach and reach < high:
        return x
    if math.isinf(high):
        return x + (low + MARGIN + reach)
    if math.isinf(low):
        return x + (high - MARGIN - reach)
    margin = min(MARGIN, (high - low) / 20)
    half = min(reach, (high - low) / 2 - margin)
    centre = min(max(0.0, low + margin + half), high - margin - half)
    return centre + x * (half / reach)


def apart(rng: np.random.Generator, shape: Shape) -> Array:
    """Numbers in random order, mean 0 and variance 1, all equally far from their neighbours and none near 0."""
    size = math.prod(shape)
    return rng.permutation((np.arange(size) - size // 2 + 0.5) * (2 * REACH / size)).reshape(shape)


def ordinary(rng: np.random.Generator, shape: Shape, domain: tuple[float, float]) -> Array:
    """Uniform numbers up to +-ORDINARY, float64, moved into the domain."""
    return moved_into(rng.uniform(-ORDINARY, ORDINARY, shape), ORDINARY, domain)


def extreme(rng: np.random.Generator, shape: Shape, domain: tuple[float, float]) -> Array:
    """Eight samples of zeros, of large numbers, of few different ones, and of numbers up to +-LARGE; (8, ...)."""
    few = rng.choice([-1.0, 0.0, 1.0], shape)
    spike = np.zeros(shape)
    spike.flat[rng.integers(spike.size)] = LARGE
    samples = [
        np.zeros(shape),
        np.full(shape, LARGE),
        np.full(shape, -LARGE),
        rng.choice([-LARGE, 0.0, LARGE], shape),
        few,
        spike,
        rng.uniform(-LARGE, LARGE, shape),
        LARGE + few,
    ]
    low, high = domain
    margin = min(0.01, (high - low) / 100)
    return np.asarray(np.clip(np.stack(samples), low + margin, high - margin))
