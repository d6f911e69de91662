"""What compiled normalisations take along: an activation that is a slope and a ceiling, and maximum pooling."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf

from cnnkit.components import Layer, Merge
from cnnkit.layers import LeakyReLU, MaxPool2D, ReLU, ReLU6
from cnnkit.network.kernels.compiled.direct_conv_kernel import LARGEST_POOL
from cnnkit.network.kernels.epilogue import side_by_side


@dataclass(frozen=True)
class Tail:
    """The layers behind a normalisation: as neither of them ever falls, their order does not matter."""

    activation: Layer | None = None
    bend: tuple[float, float] = (1.0, inf)
    """What numbers below 0 are multiplied by, and what no number exceeds."""
    pool: int = 1
    """Size and stride of the windows of a maximum pooling, 1 for none."""


def tail_of(layers: Sequence[Layer | Merge], *, pools: bool = False) -> tuple[Tail, int]:
    """As many of these layers as loops can take along, and how many they are; pools: whether maximum pooling, too."""
    tail, used = Tail(), 0
    for layer in layers:
        if tail.activation is None and (bend := _bend(layer)) and isinstance(layer, Layer):
            tail = Tail(layer, bend, tail.pool)
        elif pools and tail.pool == 1 and type(layer) is MaxPool2D and 1 < side_by_side(layer) <= LARGEST_POOL:
            tail = Tail(tail.activation, tail.bend, side_by_side(layer))
        else:
            break
        used += 1
    return tail, used


def _bend(layer: Layer | Merge) -> tuple[float, float] | None:
    """Of an activation of exactly these classes."""
    if type(layer) is ReLU:
        return 0.0, inf
    if type(layer) is LeakyReLU:
        return layer.slope, inf
    return ReLU6.bounds if type(layer) is ReLU6 else None
