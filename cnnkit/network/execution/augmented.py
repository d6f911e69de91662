"""Training samples that look different in each epoch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from cnnkit.components import Augmentation, Mixing
from cnnkit.components.error_naming import Naming
from cnnkit.components.value_description import described
from cnnkit.errors import ConfigError, ShapeError
from cnnkit.network.execution.random_draws import Draws
from cnnkit.types import Array, Batch, Samples, Shape

MAX_AUGMENTATIONS, MAX_MIXING = 100, 4
"""Augmentations in a list, and those among them that mix samples."""


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
        if self.augmentations and self.y.ndim > 2:
            raise ConfigError(
                f"augmentations change images but not the targets of their pixels, which are {self.y.shape} here: "
                "train without them"
            )
        if (
            len(self.augmentations) > MAX_AUGMENTATIONS
            or sum(isinstance(one, Mixing) for one in self.augmentations) > MAX_MIXING
        ):
            raise ConfigError(
                f"expected at most {MAX_AUGMENTATIONS} augmentations, and {MAX_MIXING} of them that mix samples, each "
                f"of which doubles the work of those before it; got {len(self.augmentations)}"
            )

    def at(self, positions: Array, seed: int, epoch: int) -> Batch:
        """The samples at these positions as they are in this epoch; inputs are float32."""
        return self._after(len(self.augmentations), positions, seed, epoch)

    def _after(self, count: int, positions: Array, seed: int, epoch: int) -> Batch:
        """After so many of the augmentations."""
        if count == 0:
            return Batch(np.ascontiguousarray(self.x[positions], np.float32), self._targets(self.y[positions]))
        before = self._after(count - 1, positions, seed, epoch)
        one, draws = self.augmentations[count - 1], Draws(seed, epoch, count, positions)
        shapes = before.x.shape, before.y.shape
        if isinstance(one, Augmentation):
            with Naming(one):
                given = one.apply(before.x, draws), before.y
        else:
            others = self._after(count - 1, draws.integers(0, len(self)), seed, epoch)
            with Naming(one):
                given = one.mix(before.x, before.y, others.x, others.y, draws)
        return _checked(one, given, shapes)

    def _targets(self, y: Array) -> Array:
        """Class indices as they are or, where samples are mixed, as shares of the classes."""
        if y.ndim > 1 or not any(isinstance(one, Mixing) for one in self.augmentations):
            return y
        if not np.issubdtype(y.dtype, np.integer):
            raise ShapeError(
                "mixed samples need targets that are class indices, integers of shape (N,), or values of shape "
                f"(N, F); got {y.dtype} of shape {y.shape}: reshape the targets"
            )
        wrong = y[(y < 0) | (y >= self.outputs)]
        if wrong.size:
            raise ShapeError(
                f"the network has {self.outputs} outputs, so class indices must be 0 to {self.outputs - 1}; there is "
                f"the target {wrong[0]}: give the last layer one output for each class, or correct the targets"
            )
        shares = np.zeros((len(y), self.outputs), np.float32)
        shares[np.arange(len(y)), y] = 1
        return shares


def _checked(one: Augmentation | Mixing, given: object, shapes: tuple[Shape, Shape]) -> Batch:
    """What an augmentation gave, as the next one expects it."""
    match given:
        case (np.ndarray() as x, np.ndarray() as y) if (x.shape, y.shape) == shapes:
            return Batch(np.ascontiguousarray(x, np.float32), y)
    expected = f"images of shape {shapes[0]}"
    if isinstance(one, Mixing):
        expected = f"a pair: {expected} and targets of shape {shapes[1]}"
    elif isinstance(given, tuple):
        given = given[0]
    raise ShapeError(f"{one!r} must return {expected}; it returned {described(given)}")
