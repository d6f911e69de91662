"""Training samples that look different in each epoch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from cnnkit.components import Augmentation, Mixing
from cnnkit.errors import ConfigError, ShapeError
from cnnkit.network.draws import Draws
from cnnkit.types import Array, Samples


@dataclass(frozen=True)
class Augmented(Samples):
    """Samples with the augmentations that a training pass applies to them; `x` and `y` are without.

    What a sample becomes depends on the seed, the epoch and its position alone: not on the batch, tile or worker.
    """

    augmentations: Sequence[Augmentation | Mixing] = ()
    outputs: int = 0
    """Of the network: how many shares of classes a mixed target has."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.augmentations and self.x.ndim != 4:
            raise ConfigError(
                f"augmentations need images of shape (N, C, H, W), the training samples have {self.x.shape}: "
                "train without them"
            )

    def at(self, positions: Array, seed: int, epoch: int) -> Samples:
        """The samples at these positions as they are in this epoch; inputs are float32."""
        return self._after(len(self.augmentations), positions, seed, epoch)

    def _after(self, count: int, positions: Array, seed: int, epoch: int) -> Samples:
        """After so many of the augmentations."""
        if count == 0:
            x = np.ascontiguousarray(self.x.take(positions, axis=0), np.float32)
            return Samples(x, self._targets(self.y[positions]))
        before = self._after(count - 1, positions, seed, epoch)
        augmentation, draws = self.augmentations[count - 1], Draws(seed, epoch, count, positions)
        if isinstance(augmentation, Augmentation):
            x, y = augmentation.apply(before.x, draws), before.y
        else:
            others = self._after(count - 1, draws.integers(0, len(self)), seed, epoch)
            x, y = augmentation.mix(before.x, before.y, others.x, others.y, draws)
        if getattr(x, "shape", None) != before.x.shape:
            found = getattr(x, "shape", type(x).__name__)
            raise ShapeError(f"{augmentation!r} must give images of shape {before.x.shape}, it gave {found}")
        return Samples(x, y)

    def _targets(self, y: Array) -> Array:
        """Class indices as they are or, where samples are mixed, as shares of the classes."""
        if y.ndim > 1 or not any(isinstance(one, Mixing) for one in self.augmentations):
            return y
        if len(y) and not 0 <= y.min() <= y.max() < self.outputs:
            raise ShapeError(f"the network has {self.outputs} outputs, the training samples have class {y.max()}")
        return np.eye(self.outputs, dtype=np.float32)[y]
