"""Training without backpropagation for cnnkit: finite differences, SPSA, and a convolution in plain loops."""

from __future__ import annotations

from cnnkit.plugin import GradientMethod, Layer, Merge, hookimpl
from cnnkit_finite_difference.gradients import SPSA, FiniteDifference
from cnnkit_finite_difference.loops import LoopConv2D

__all__ = ["SPSA", "FiniteDifference", "LoopConv2D"]


@hookimpl
def cnnkit_gradients() -> list[type[GradientMethod]]:
    """One difference for each parameter, or one for all together."""
    return [FiniteDifference, SPSA]


@hookimpl
def cnnkit_layers() -> list[type[Layer | Merge]]:
    """The convolution in plain loops."""
    return [LoopConv2D]
