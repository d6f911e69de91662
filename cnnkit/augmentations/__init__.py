"""Augmentations: random changes of training images, one family per file."""

from cnnkit.augmentations.moving import Flip, Shift
from cnnkit.components.contracts import Augmentation, Mixing

AUGMENTATIONS: tuple[type[Augmentation | Mixing], ...] = (Flip, Shift)
"""The built-in augmentations."""

__all__ = ["AUGMENTATIONS", "Flip", "Shift"]
