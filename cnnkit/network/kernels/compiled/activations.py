"""What loops call the activation and the pooling that they take along."""

from __future__ import annotations

from collections.abc import Sequence
from math import inf

from cnnkit.components import Layer, Merge
from cnnkit.network.kernels.compiled.interface import CAPPED, CEILING, LEAKY, LINEAR, RECTIFIED
from cnnkit.network.kernels.epilogue import (
    Activation,
    CappedRectifier,
    Epilogue,
    LeakyRectifier,
    Rectifier,
    epilogue_of,
)

LARGEST_POOL = 15
"""Whose windows' pixels have numbers of one byte."""
KINDS: dict[type, int] = {Rectifier: RECTIFIED, CappedRectifier: CAPPED, LeakyRectifier: LEAKY}


def activation_in_loops(epilogue: Epilogue) -> tuple[int, float]:
    """Its kind, and its slope below 0."""
    if epilogue.activation is None:
        return LINEAR, 0.0
    return KINDS[type(epilogue.activation)], bend_of(epilogue.activation)[0]


def bend_of(activation: Activation | None) -> tuple[float, float]:
    """What numbers below 0 are multiplied by, and what no number exceeds."""
    match activation:
        case Rectifier():
            return 0.0, inf
        case CappedRectifier():
            return 0.0, CEILING
        case LeakyRectifier(slope):
            return slope, inf
        case None:
            return 1.0, inf
    raise TypeError(f"no loop has the activation {activation!r}")


def looped_epilogue_of(layers: Sequence[Layer | Merge]) -> tuple[Epilogue, int]:
    """As `epilogue_of`, with pooling only of windows that loops can number."""
    epilogue, used = epilogue_of(layers[:2], pools=True)
    return (epilogue, used) if epilogue.pool <= LARGEST_POOL else epilogue_of(layers[:1])
