"""Checks for everyone who writes components: do they keep their contract, and is a gradient right?"""

from cnnkit.testing.augmentation import check_augmentation
from cnnkit.testing.conformance import check_layer
from cnnkit.testing.context import PlainContext
from cnnkit.testing.gradient import GradientReport, gradient_check
from cnnkit.testing.gradient_at import gradient_check_at

__all__ = [
    "GradientReport",
    "PlainContext",
    "check_augmentation",
    "check_layer",
    "gradient_check",
    "gradient_check_at",
]
