"""A random choice among augmentations."""

from __future__ import annotations

import numpy as np

from cnnkit.components.checks import whole
from cnnkit.components.contracts import Augmentation, Mixing
from cnnkit.components.value_description import shown
from cnnkit.errors import ConfigError, ShapeError
from cnnkit.types import Array, Draws, Example


class Choose(Augmentation):
    """Apply `count` of these augmentations to each image, one after the other, each drawn from all of them again.

    As RandAugment does: all are equally probable, and one may be drawn twice. Raises ConfigError for no augmentations,
    for those that mix two samples, and for count < 0.
    Source: Cubuk, Zoph, Shlens, Le (2020), RandAugment: Practical Automated Data Augmentation with a Reduced Search
    Space.
    """

    examples = (
        Example("Choose(Flip(), Rotate(10), Contrast(0.4))", (1, 28, 28)),
        Example("Choose(Shift(1), Choose(Flip(), Cutout(3)), count=3)", (3, 9, 14)),
    )

    def __init__(self, *augmentations: Augmentation, count: int = 1) -> None:
        if not augmentations:
            raise ConfigError("Choose expects augmentations, such as Choose(Shift(2), Rotate(10)), got none")
        for one in augmentations:
            if not isinstance(one, Augmentation):
                hint = (
                    ": put augmentations that mix two samples next to it in the list" if isinstance(one, Mixing) else ""
                )
                expected = "augmentations of single images, such as Choose(Shift(2), Rotate(10))"
                raise ConfigError(f"Choose expects {expected}, got {shown(one)}{hint}")
        self.augmentations = augmentations
        self.count = whole("count", count, at_least=0)

    def apply(self, x: Array, draws: Draws) -> Array:
        for _ in range(self.count):
            number = draws.integers(0, len(self.augmentations))
            for i, augmentation in enumerate(self.augmentations):
                chosen = number == i
                own = draws.where(chosen)  # of every image, also if none is chosen: it moves the others' numbers on
                if chosen.any():
                    given = augmentation.apply(x[chosen], own)
                    if np.shape(given) != (int(chosen.sum()), *x.shape[1:]):
                        raise ShapeError(
                            f"{augmentation!r} must return images of shape {x[chosen].shape}; it returned "
                            f"{np.shape(given)}"
                        )
                    x[chosen] = given
        return x
