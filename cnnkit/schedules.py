"""Schedules: what the learning rate is multiplied with during training."""

from __future__ import annotations

import math

from cnnkit.components.checks import in_range, not_negative, positive, whole
from cnnkit.components.contracts import Schedule
from cnnkit.errors import ConfigError

WARMUP_START = 0.01
"""Factor of the first step of a warm-up: small enough to be harmless, and not 0, which would waste the step."""


class Constant(Schedule):
    """A constant learning rate: factor = 1."""

    def factor(self, epoch: float, epochs: int) -> float:
        return 1.0


class Cosine(Schedule):
    """A linear warm-up, then half a cosine wave down to `final`.

    factor = 0.01 + 0.99 * epoch / warmup                      while epoch < warmup
    factor = final + (1 - final) * (1 + cos(pi * done)) / 2    after it
    done   = (epoch - warmup) / (epochs - warmup)

    warmup: in epochs, may be fractional; final: the factor at the end of the last epoch. Raises ConfigError if one of
    them is below 0, and when asked for a factor of a training that is not longer than its warm-up.
    Source: Loshchilov, Hutter (2017), SGDR: Stochastic Gradient Descent with Warm Restarts; Goyal et al. (2017),
    Accurate, Large Minibatch SGD, section 2.2 (warm-up).
    """

    def __init__(self, warmup: float = 0.0, final: float = 0.0) -> None:
        self.warmup = not_negative("warmup", warmup)
        self.final = not_negative("final", final)

    def factor(self, epoch: float, epochs: int) -> float:
        if self.warmup >= epochs:
            raise ConfigError(
                f"{self!r} warms up for {self.warmup:g} epochs and needs more than that, this training has {epochs}: "
                "shorten the warm-up or train longer"
            )
        if epoch < self.warmup:
            return WARMUP_START + (1 - WARMUP_START) * epoch / self.warmup
        done = (epoch - self.warmup) / (epochs - self.warmup)
        return self.final + (1 - self.final) * (1 + math.cos(math.pi * done)) / 2


class OneCycle(Schedule):
    """Up to the full learning rate and down again to almost nothing, on half cosine waves.

    factor = start + (1 - start) * (1 - cos(pi * done / warmup)) / 2                while done < warmup
    factor = final + (1 - final) * (1 + cos(pi * (done - warmup) / (1 - warmup))) / 2    after it
    done   = epoch / epochs

    warmup: the share of the training that goes up; start, final: the factors at both ends.
    Raises ConfigError unless 0 < warmup < 1, and for start or final below 0.
    Source: Smith, Topin (2018), Super-Convergence: Very Fast Training of Neural Networks Using Large Learning Rates;
    the momentum stays as it is.
    """

    def __init__(self, warmup: float = 0.3, start: float = 0.04, final: float = 0.0001) -> None:
        self.warmup = in_range("warmup", positive("warmup", warmup), 0.0, 1.0)
        self.start = not_negative("start", start)
        self.final = not_negative("final", final)

    def factor(self, epoch: float, epochs: int) -> float:
        done = epoch / epochs
        if done < self.warmup:
            return self.start + (1 - self.start) * (1 - math.cos(math.pi * done / self.warmup)) / 2
        fallen = (done - self.warmup) / (1 - self.warmup)
        return self.final + (1 - self.final) * (1 + math.cos(math.pi * fallen)) / 2


class Step(Schedule):
    """The learning rate times `gamma` after every `every` epochs: factor = gamma ^ floor(epoch / every).

    every: whole epochs. Raises ConfigError for every < 1 or gamma <= 0.
    Source: He, Zhang, Ren, Sun (2016), Deep Residual Learning for Image Recognition, section 3.4.
    """

    def __init__(self, every: int, gamma: float = 0.1) -> None:
        self.every = whole("every", every)
        self.gamma = positive("gamma", gamma)

    def factor(self, epoch: float, epochs: int) -> float:
        return float(self.gamma ** (epoch // self.every))


SCHEDULES: tuple[type[Schedule], ...] = (Constant, Cosine, OneCycle, Step)
