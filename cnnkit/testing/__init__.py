"""Checks for everyone who writes components: does a layer keep its contract, and is its gradient right?"""

from cnnkit.testing.conformance import check_layer
from cnnkit.testing.context import PlainContext
from cnnkit.testing.gradient import GradientReport, gradient_check

__all__ = ["GradientReport", "PlainContext", "check_layer", "gradient_check"]
