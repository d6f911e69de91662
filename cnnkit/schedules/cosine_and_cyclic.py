"""Schedules that go down on a cosine, and those that go up again."""

from __future__ import annotations

import math
from typing import ClassVar

from cnnkit.components.checks import from_to, in_range, not_negative, one_of, positive, whole
from cnnkit.components.training_contracts import Schedule
from cnnkit.schedules.parts import share
from cnnkit.schedules.warm_up import ramp, refuse_short
from cnnkit.types import Example

SHORTEST, LONGEST = 0.001, 1e6
"""Epochs of a line of a cycle."""


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

    twin = "CosineAnnealingLR"
    examples: ClassVar[tuple[Example, ...]] = (
        Example("Cosine()", (), "200"),
        Example("Cosine(final=0.1)", (), "200, eta_min=0.1"),
        Example("Cosine(warmup=1.5, final=0.1)", ()),
    )

    def __init__(self, warmup: float = 0.0, final: float = 0.0) -> None:
        self.warmup = not_negative("warmup", warmup)
        self.final = not_negative("final", final)

    def factor(self, epoch: float, epochs: float) -> float:
        refuse_short(self, self.warmup, epochs)
        if epoch < self.warmup:
            return ramp(epoch / self.warmup)
        done = (epoch - self.warmup) / (epochs - self.warmup)
        return self.final + (1 - self.final) * (1 + math.cos(math.pi * done)) / 2


class CosineRestarts(Schedule):
    """Half a cosine wave down to `final`, and up again at once, in periods that may grow.

    factor = final + (1 - final) * (1 + cos(pi * (epoch - begin) / length)) / 2
    length = every, every * growth, every * growth^2, ...      begin: of the period, the sum of the lengths before it

    every: of the first period, whole epochs; growth: a whole number. Raises ConfigError for every < 1, growth < 1, or
    final < 0.
    Source: Loshchilov, Hutter (2017), SGDR: Stochastic Gradient Descent with Warm Restarts.
    """

    twin = "CosineAnnealingWarmRestarts"
    examples: ClassVar[tuple[Example, ...]] = (
        Example("CosineRestarts(3)", (), "3"),
        Example("CosineRestarts(7, growth=2, final=0.1)", (), "7, T_mult=2, eta_min=0.1"),
        Example("CosineRestarts(1, growth=3)", (), "1, T_mult=3"),
    )

    def __init__(self, every: int, growth: int = 1, final: float = 0.0) -> None:
        self.every = whole("every", every)
        self.growth = whole("growth", growth)
        self.final = not_negative("final", final)

    def factor(self, epoch: float, epochs: float) -> float:
        into, length = epoch, self.every
        if self.growth == 1:
            into %= length
        while into >= length:
            into -= length
            length *= self.growth
        return self.final + (1 - self.final) * (1 + math.cos(math.pi * into / length)) / 2


class Cyclic(Schedule):
    """Up from `low` to the full learning rate and down again in straight lines, over and over.

    factor = low + (1 - low) * height * scale
    height = into / up while into < up, then 1 - (into - up) / down       into: epochs since the cycle began
    scale  = 1 for "triangular", 1/2^cycle for "triangular2", gamma^epoch for "exp_range"          cycle = 0, 1, ...

    up, down: the epochs of both lines, may be fractional; down: as up, if None. Raises ConfigError for lines that are
    not between 0.001 and 1,000,000 epochs, low outside [0, 1), another mode, or gamma outside (0, 1].
    Source: Smith (2017), Cyclical Learning Rates for Training Neural Networks.
    """

    twin = "CyclicLR"
    examples: ClassVar[tuple[Example, ...]] = (
        Example("Cyclic(up=4)", (), "0.1, 1.0, 4, cycle_momentum=False"),
        Example("Cyclic(0.2, 3.0, 7.0)", (), "0.2, 1.0, 3, 7, cycle_momentum=False"),
        Example('Cyclic(up=5, mode="triangular2")', (), "0.1, 1.0, 5, mode='triangular2', cycle_momentum=False"),
        Example(
            'Cyclic(up=5, down=2, mode="exp_range", gamma=0.98)',
            (),
            "0.1, 1.0, 5, 2, mode='exp_range', gamma=0.98, cycle_momentum=False",
        ),
    )

    def __init__(
        self,
        low: float = 0.1,
        up: float = 2.0,
        down: float | None = None,
        mode: str = "triangular",
        gamma: float = 1.0,
    ) -> None:
        self.low = in_range("low", low, 0.0, 1.0)
        self.up = from_to("up", up, SHORTEST, LONGEST)
        self.down = None if down is None else from_to("down", down, SHORTEST, LONGEST)
        self.mode = one_of("mode", mode, ("triangular", "triangular2", "exp_range"))
        self.gamma = share("gamma", gamma)

    def factor(self, epoch: float, epochs: float) -> float:
        down = self.up if self.down is None else self.down
        cycle, into = divmod(epoch, self.up + down)
        height = into / self.up if into < self.up else max(0.0, 1 - (into - self.up) / down)
        scales = {"triangular": 1.0, "triangular2": 0.5**cycle, "exp_range": self.gamma**epoch}
        scale = float(scales[self.mode])
        return self.low + (1 - self.low) * height * scale


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

    twin = "OneCycleLR"
    examples: ClassVar[tuple[Example, ...]] = (
        Example(
            "OneCycle()",
            (),
            "1.0, total_steps=201, pct_start=61 / 201, final_div_factor=400, cycle_momentum=False",
        ),
        Example(
            "OneCycle(warmup=0.5, start=0.1, final=0.01)",
            (),
            "1.0, 201, pct_start=101 / 201, div_factor=10, final_div_factor=10, cycle_momentum=False",
        ),
    )

    def __init__(self, warmup: float = 0.3, start: float = 0.04, final: float = 0.0001) -> None:
        self.warmup = in_range("warmup", positive("warmup", warmup), 0.0, 1.0)
        self.start = not_negative("start", start)
        self.final = not_negative("final", final)

    def factor(self, epoch: float, epochs: float) -> float:
        done = epoch / epochs
        if done < self.warmup:
            return self.start + (1 - self.start) * (1 - math.cos(math.pi * done / self.warmup)) / 2
        fallen = (done - self.warmup) / (1 - self.warmup)
        return self.final + (1 - self.final) * (1 + math.cos(math.pi * fallen)) / 2
