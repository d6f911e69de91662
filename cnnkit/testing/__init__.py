"""Checks for everyone who writes components: do they keep their contract, and is a gradient right?"""

from cnnkit.testing.augmentation import check_augmentation
from cnnkit.testing.conformance import check_layer
from cnnkit.testing.context import PlainContext
from cnnkit.testing.gradient import GradientReport, gradient_check

__all__ = ["GradientReport", "PlainContext", "check_augmentation", "check_layer", "gradient_check"]
