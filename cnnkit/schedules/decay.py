"""Schedules that fall, in steps or steadily, and the one that stays."""

from __future__ import annotations

import bisect
from collections.abc import Sequence
from typing import ClassVar

from cnnkit.components.checks import not_negative, positive, whole
from cnnkit.components.training_contracts import Schedule
from cnnkit.schedules.parts import growing, share
from cnnkit.types import Example


class Constant(Schedule):
    """A constant learning rate: factor = 1."""

    twin = "ConstantLR"
    examples: ClassVar[tuple[Example, ...]] = (Example("Constant()", (), "factor=1.0"),)

    def factor(self, epoch: float, epochs: float) -> float:
        return 1.0


class Exponential(Schedule):
    """The learning rate falls by the same share in each epoch, a little in every step: factor = gamma ^ epoch.

    Raises ConfigError unless 0 < gamma <= 1.
    Source: Robbins, Monro (1951), A Stochastic Approximation Method, for rates that fall; ExponentialLR of PyTorch.
    """

    twin = "ExponentialLR"
    examples: ClassVar[tuple[Example, ...]] = (
        Example("Exponential(0.95)", (), "0.95"),
        Example("Exponential(1)", ()),
    )

    def __init__(self, gamma: float) -> None:
        self.gamma = share("gamma", gamma)

    def factor(self, epoch: float, epochs: float) -> float:
        return float(self.gamma**epoch)


class MultiStep(Schedule):
    """The learning rate times `gamma` at each milestone: factor = gamma ^ (milestones with milestone <= epoch).

    milestones: epochs, may be fractional, such as [80, 120]. Raises ConfigError unless they are above 0 and grow, and
    for gamma <= 0.
    Source: He, Zhang, Ren, Sun (2016), Deep Residual Learning for Image Recognition, section 4.2.
    """

    twin = "MultiStepLR"
    examples: ClassVar[tuple[Example, ...]] = (
        Example("MultiStep([80, 120])", (), "[80, 120]"),
        Example("MultiStep((0.5, 3, 9), gamma=0.5)", ()),
        Example("MultiStep([1, 7, 50], gamma=0.5)", (), "[1, 7, 50], gamma=0.5"),
    )

    def __init__(self, milestones: Sequence[float], gamma: float = 0.1) -> None:
        self.milestones = growing("milestones", milestones)
        self.gamma = positive("gamma", gamma)

    def factor(self, epoch: float, epochs: float) -> float:
        return float(self.gamma ** bisect.bisect_right(self.milestones, epoch))


class Polynomial(Schedule):
    """The learning rate falls on a power of what is left, on a straight line by default.

    factor = final + (1 - final) * (1 - epoch / epochs)^power

    Raises ConfigError for power <= 0 or final < 0.
    Source: Chen et al. (2018), DeepLab: Semantic Image Segmentation with Deep Convolutional Nets, section 4.1, where
    the power is 0.9.
    """

    twin = "PolynomialLR"
    examples: ClassVar[tuple[Example, ...]] = (
        Example("Polynomial()", (), "200"),
        Example("Polynomial(power=0.9)", (), "200, power=0.9"),
        Example("Polynomial(2, final=0.1)", ()),
    )

    def __init__(self, power: float = 1.0, final: float = 0.0) -> None:
        self.power = positive("power", power)
        self.final = not_negative("final", final)

    def factor(self, epoch: float, epochs: float) -> float:
        return self.final + (1 - self.final) * float((1 - epoch / epochs) ** self.power)


class Step(Schedule):
    """The learning rate times `gamma` after every `every` epochs: factor = gamma ^ floor(epoch / every).

    every: whole epochs. Raises ConfigError for every < 1 or gamma <= 0.
    Source: He, Zhang, Ren, Sun (2016), Deep Residual Learning for Image Recognition, section 3.4.
    """

    twin = "StepLR"
    examples: ClassVar[tuple[Example, ...]] = (
        Example("Step(3)", (), "3"),
        Example("Step(30, gamma=0.5)", (), "30, gamma=0.5"),
    )

    def __init__(self, every: int, gamma: float = 0.1) -> None:
        self.every = whole("every", every)
        self.gamma = positive("gamma", gamma)

    def factor(self, epoch: float, epochs: float) -> float:
        return float(self.gamma ** (epoch // self.every))
