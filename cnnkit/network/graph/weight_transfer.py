"""What a network takes over of the weights of another."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from cnnkit.errors import ConfigError
from cnnkit.types import Array, Shape


@dataclass(frozen=True, repr=False)
class WeightTransfer:
    """The arrays that were taken, by name, with their shapes, and why the others were not."""

    arrays: Mapping[str, Shape]
    left: Mapping[str, str]
    """Of both networks, with the reason."""

    def __repr__(self) -> str:
        """A line for each kind of answer."""
        lines = [f"taken: {', '.join(self.arrays) or 'nothing'}"]
        lines += [f"not taken: {name}, {why}" for name, why in self.left.items()]
        return "\n".join(lines)


def take(own: Mapping[str, Array], state: Mapping[str, Array]) -> WeightTransfer:
    """Set arrays to those of a state with the same name and shape. Raises ConfigError if there is none."""
    if not isinstance(state, Mapping):
        raise ConfigError(f"expected arrays by name, such as model.state(), got {type(state).__name__}")
    taken: dict[str, Shape] = {}
    left: dict[str, str] = {}
    for name, array in own.items():
        if name not in state:
            left[name] = "which only the new network has"
        elif np.shape(state[name]) != array.shape:
            left[name] = f"which has shape {np.shape(state[name])} there and {array.shape} here"
        else:
            taken[name] = array.shape
    left |= {name: "which the new network does not have" for name in state if name not in own}
    if not taken:
        raise ConfigError(
            f"no weight can be taken over by name and shape: expected one of {', '.join(own)}, got {', '.join(state)}"
        )
    for name in taken:
        own[name][...] = state[name]
    return WeightTransfer(taken, left)
