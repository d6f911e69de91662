"""Random numbers that depend on a seed, on what they are for, and on the place: never on what was drawn before."""

from __future__ import annotations

from typing import Literal

import numpy as np

PURPOSES = ("weights", "order", "layers", "gradient")


def keyed_rng(purpose: Literal["weights", "order", "layers", "gradient"], *key: int) -> np.random.Generator:
    """A generator for one purpose and key, such as ("order", seed, epoch).

    The purpose keeps apart what has equal keys: a node's weights and an epoch's order.
    """
    return np.random.default_rng([PURPOSES.index(purpose) + 1, *key])
