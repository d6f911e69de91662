"""Planted faults: layers that keep state where it may not be, or draw random numbers wrongly."""

from __future__ import annotations

import functools
import itertools
import random
from types import SimpleNamespace
from typing import Any, ClassVar

import numpy as np
import pytest

from cnnkit.components import Layer
from cnnkit.errors import CheckError
from cnnkit.testing import check_layer
from cnnkit.types import Array, Cache, Context, Grads, Shape
from tests.testing.right_layers import IMAGE, Double, Drop

CALLS: list[int] = []


class Helper:
    calls = 0


class HelperState(Double):
    def forward(self, x: Array, ctx: Context) -> tuple[Array, Cache]:
        Helper.calls += 1
        return super().forward(x, ctx)


class StateOnAnObject(Double):
    def __init__(self) -> None:
        self.helper = SimpleNamespace(shape=())

    def forward(self, x: Array, ctx: Context) -> tuple[Array, Cache]:
        self.helper.shape = x.shape
        return super().forward(x, ctx)


class StateInAModule(Double):
    def forward(self, x: Array, ctx: Context) -> tuple[Array, Cache]:
        CALLS.append(len(x))
        return super().forward(x, ctx)


class StateInADefault(Double):
    def forward(self, x: Array, ctx: Context, seen: list[int] = []) -> tuple[Array, Cache]:  # noqa: B006 - the fault
        seen.append(len(x))
        return super().forward(x, ctx)


class StateInSlots(Double):
    class Kept:
        __slots__ = ("last",)

        def __init__(self) -> None:
            self.last = 0.0

    kept: ClassVar[Kept] = Kept()

    def forward(self, x: Array, ctx: Context) -> tuple[Array, Cache]:
        self.kept.last = float(x.flat[0])
        return super().forward(x, ctx)


class StateInACount(Double):
    def __init__(self) -> None:
        self.number = itertools.count()

    def forward(self, x: Array, ctx: Context) -> tuple[Array, Cache]:
        next(self.number)
        return super().forward(x, ctx)


class FirstInputs(Double):
    """A constant that is made once, but from the first inputs."""

    scale: Any = None

    def forward(self, x: Array, ctx: Context) -> tuple[Array, Cache]:
        if self.scale is None:
            self.scale = np.abs(x).max()
        return x * self.scale.astype(x.dtype), None

    def backward(self, dy: Array, cache: Cache, ctx: Context) -> tuple[Array, Grads]:
        return dy * self.scale.astype(dy.dtype), {}


class OwnBuffer(Double):
    """Returns the same memory again and again, hidden where nothing finds it."""

    def __init__(self) -> None:
        memory: dict[Any, Array] = {}
        self.place = functools.partial(memory.setdefault)

    def forward(self, x: Array, ctx: Context) -> tuple[Array, Cache]:
        y = self.place((x.shape, x.dtype), np.empty_like(x))
        return np.multiply(x, 2, out=y), None


class GlobalRandom(Drop):
    def mask(self, x: Array, ctx: Context) -> Array:
        return (np.random.random(x.shape) >= self.rate) / (1 - self.rate)


class PythonsRandom(Drop):
    def mask(self, x: Array, ctx: Context) -> Array:
        return np.full(x.shape, float(random.random() >= self.rate)) / (1 - self.rate)


class OwnGenerator(Drop):
    def __init__(self, rate: float = 0.25) -> None:
        super().__init__(rate)
        self.rng = np.random.default_rng(0)

    def mask(self, x: Array, ctx: Context) -> Array:
        return (self.rng.random(x.shape) >= self.rate) / (1 - self.rate)


class FixedMask(Drop):
    def mask(self, x: Array, ctx: Context) -> Array:
        one = np.random.default_rng(0).random(x.shape[1:]) >= self.rate
        return np.broadcast_to(one, x.shape) / (1 - self.rate)


class FreshGenerator(Drop):
    def mask(self, x: Array, ctx: Context) -> Array:
        return (np.random.default_rng().random(x.shape) >= self.rate) / (1 - self.rate)


class SharedMask(Drop):
    def mask(self, x: Array, ctx: Context) -> Array:
        return np.broadcast_to(ctx.rng.random(x.shape[1:]) >= self.rate, x.shape) / (1 - self.rate)


class SharedByPairs(Drop):
    def mask(self, x: Array, ctx: Context) -> Array:
        drawn = ctx.rng.random((len(x) // 2 + 1, *x.shape[1:])) >= self.rate
        return np.repeat(drawn, 2, axis=0)[: len(x)] / (1 - self.rate)


class KeepsAtRate(Drop):
    def mask(self, x: Array, ctx: Context) -> Array:
        return (ctx.rng.random(x.shape) < self.rate) / self.rate


class NotScaled(Drop):
    def mask(self, x: Array, ctx: Context) -> Array:
        return 1.0 * (ctx.rng.random(x.shape) >= self.rate)


class ScaledWrong(Drop):
    def mask(self, x: Array, ctx: Context) -> Array:
        return (ctx.rng.random(x.shape) >= self.rate) / (1 - 1.1 * self.rate)


class DrawsInPrediction(Drop):
    def forward(self, x: Array, ctx: Context) -> tuple[Array, Cache]:
        mask = self.mask(x, ctx).astype(x.dtype)
        return x * mask, mask


FAULTS: list[tuple[Layer, Shape, str, str]] = [
    (HelperState(), IMAGE, "no call state", "changed Helper.calls; return it in the cache instead"),
    (StateOnAnObject(), IMAGE, "no call state", r"changed self.helper.shape"),
    (StateInAModule(), IMAGE, "no call state", r"changed CALLS\[10\]|changed CALLS"),
    (StateInADefault(), IMAGE, "no call state", r"changed StateInADefault.forward.__defaults__\[0\]"),
    (StateInSlots(), IMAGE, "no call state", "changed StateInSlots.kept.last"),
    (StateInACount(), IMAGE, "no call state", "changed self.number"),
    (FirstInputs(), IMAGE, "no call state", "changed self.scale"),
    (OwnBuffer(), IMAGE, "interleaved calls", "was overwritten by a later call; return memory that is not used again"),
    (GlobalRandom(), IMAGE, "no call state", "the generators of the modules random or np.random were drawn from"),
    (PythonsRandom(), IMAGE, "no call state", "were drawn from: take random numbers from ctx.rng"),
    (OwnGenerator(), IMAGE, "no call state", "changed self.rng"),
    (FixedMask(), IMAGE, "rate", "the same numbers are drawn in each step: take them from ctx.rng"),
    (FreshGenerator(), IMAGE, "interleaved calls", "gave something else the second time; keep nothing, and"),
    (SharedMask(), IMAGE, "samples drawn apart", "samples 0 and 1 of a tile get the same random numbers"),
    (SharedByPairs(), IMAGE, "samples drawn apart", "samples 0 and 1 of a tile get the same random numbers"),
    (KeepsAtRate(), IMAGE, "rate", r"share of the numbers set to zero in training is 0.7\d+, expected 0.25, the rate"),
    (
        NotScaled(),
        IMAGE,
        "rate",
        r"the mean in training is 0.7\d+ times .*: divide what is kept by 1 - rate",
    ),
    (ScaledWrong(), IMAGE, "rate", r"the mean in training is 1.0\d+ times that of prediction"),
    (DrawsInPrediction(), IMAGE, "draws", "prediction depends on ctx.rng: draw in training only"),
]


@pytest.mark.parametrize(
    ("layer", "in_shape", "check", "reason"), FAULTS, ids=[type(layer).__name__ for layer, *_ in FAULTS]
)
def test_each_fault_is_found_and_named(layer: Layer, in_shape: Shape, check: str, reason: str) -> None:
    with pytest.raises(CheckError, match=f"(?s){reason}") as caught:
        check_layer(layer, in_shape)
    assert f"fails the check {check!r}: " in str(caught.value)
