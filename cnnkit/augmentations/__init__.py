"""Augmentations: random changes of training images, one family per file."""

from cnnkit.augmentations.choosing import Choose
from cnnkit.augmentations.erasing import Cutout, Erase
from cnnkit.augmentations.mixing import CutMix, Mixup
from cnnkit.augmentations.moving import Flip, PadCrop, Shift
from cnnkit.augmentations.photometric import Brightness, Contrast, RotateColors
from cnnkit.augmentations.resampling import blocks, resample
from cnnkit.augmentations.warping import Affine, Rotate
from cnnkit.components.contracts import Augmentation, Mixing

AUGMENTATIONS: tuple[type[Augmentation | Mixing], ...] = (
    Flip,
    Shift,
    PadCrop,
    Rotate,
    Affine,
    Brightness,
    Contrast,
    RotateColors,
    Cutout,
    Erase,
    Choose,
    Mixup,
    CutMix,
)
"""The built-in augmentations."""

__all__ = [
    "AUGMENTATIONS",
    "Affine",
    "Brightness",
    "Choose",
    "Contrast",
    "CutMix",
    "Cutout",
    "Erase",
    "Flip",
    "Mixup",
    "PadCrop",
    "Rotate",
    "RotateColors",
    "Shift",
    "blocks",
    "resample",
]
