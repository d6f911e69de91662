"""Layers that are coupled over the batch: check_layer must find each planted fault, and refuse none that is right."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import pytest

from cnnkit.components import BatchCoupledLayer, Layer
from cnnkit.errors import CheckError
from cnnkit.layers import BatchNorm2D
from cnnkit.layers.batch_norm import statistics
from cnnkit.testing import check_layer
from cnnkit.types import Array, Cache, Context, Grads, Shape
from tests.testing.right_layers import IMAGE


class Frozen(BatchNorm2D):
    """Absorbs nothing."""

    def absorb(self, total: Array) -> None:
        pass


class Forgotten(BatchNorm2D):
    """Has no absorb of its own."""

    absorb = BatchCoupledLayer.absorb


class MeanOnly(BatchNorm2D):
    def absorb(self, total: Array) -> None:
        self._move("running_mean", statistics(total)[1])


class Elsewhere(BatchNorm2D):
    """Keeps its statistics where prediction does not look."""

    def absorb(self, total: Array) -> None:
        self.kept = statistics(total)


class SignOfTheMean(BatchNorm2D):
    def absorb(self, total: Array) -> None:
        _, mean, var = statistics(total)
        self._move("running_mean", -mean)
        self._move("running_var", var)


class SignOfTheVariance(BatchNorm2D):
    def absorb(self, total: Array) -> None:
        _, mean, var = statistics(total)
        self._move("running_mean", mean)
        self._move("running_var", -var)


class SignInTurn(BatchNorm2D):
    """Each step turns the signs."""

    def absorb(self, total: Array) -> None:
        super().absorb(total)
        for buffer in self.buffers.values():
            buffer *= -1


class AddsUp(BatchNorm2D):
    """Sums instead of running means."""

    def _move(self, name: str, batch: Array) -> None:
        self.buffers[name] += self.momentum * batch


class Explodes(BatchNorm2D):
    def _move(self, name: str, batch: Array) -> None:
        self.buffers[name] += 2 * (self.buffers[name] - batch)


class SumOfSquares(BatchNorm2D):
    """A variance that is not divided by the count."""

    def absorb(self, total: Array) -> None:
        count, mean, var = statistics(total)
        self._move("running_mean", mean)
        self._move("running_var", var * count)


class MeanOverChannels(BatchNorm2D):
    """One mean for all channels."""

    def absorb(self, total: Array) -> None:
        _, mean, var = statistics(total)
        self._move("running_mean", np.full_like(mean, mean.mean()))
        self._move("running_var", var)


class SpendsTheTotal(BatchNorm2D):
    def absorb(self, total: Array) -> None:
        super().absorb(total)
        total /= total[0]


FAULTS: list[tuple[Layer, str]] = [
    (Frozen(), r"absorb changed none of the buffers running_mean, running_var: .* or remove absorb if they are"),
    (
        Forgotten(),
        r"prediction uses buffers\['running_mean'\] and training does not, .* never changes it: write into it",
    ),
    (MeanOnly(), r"prediction uses buffers\['running_var'\] and training does not"),
    (Elsewhere(), "absorb changed none of the buffers"),
    (SignOfTheMean(), "prediction does not approach what training gives for a batch: after it was absorbed .* times"),
    (SignOfTheMean(0.001), ".*; make absorb move the buffers towards the statistics that training takes"),
    (SignOfTheVariance(), "y in prediction is nan after a batch was absorbed .* times: keep the buffers where"),
    (SignOfTheVariance(0.001), "y in prediction is nan after a batch was absorbed 3000 times: .* a variance above 0"),
    (SignInTurn(), "y in prediction is nan"),
    (AddsUp(), "prediction does not approach what training gives"),
    (Explodes(), r"buffers\['running_mean'\] is (inf|-inf) after a batch was absorbed \d+ times: keep it finite"),
    (SumOfSquares(), "prediction does not approach what training gives"),
    (MeanOverChannels(), "prediction does not approach what training gives"),
    (SpendsTheTotal(), "absorb changed the total in place, which forward is given after it: work on a copy"),
]


@pytest.mark.parametrize(("layer", "reason"), FAULTS, ids=[repr(layer) for layer, _ in FAULTS])
def test_each_fault_is_found_and_named(layer: Layer, reason: str) -> None:
    with pytest.raises(CheckError, match=f"fails the check 'absorbing': {reason}"):
        check_layer(layer, IMAGE)


class Centred(BatchCoupledLayer):
    """Less the mean of the batch; its totals are one flat vector, and in prediction it does nothing."""

    def partial(self, x: Array, ctx: Context) -> Array:
        return np.append(x.sum(axis=(0, 2, 3), dtype=np.float64), x.size / x.shape[1])

    def forward(self, x: Array, ctx: Context) -> tuple[Array, Cache]:
        if not ctx.training:
            return x, 1.0
        mean = (ctx.total[:-1] / ctx.total[-1]).astype(x.dtype)
        return x - mean.reshape(1, -1, 1, 1), ctx.total[-1]

    def backward_partial(self, dy: Array, cache: Cache, ctx: Context) -> Array:
        return np.asarray(dy.sum(axis=(0, 2, 3), dtype=np.float64))

    def backward(self, dy: Array, count: Cache, ctx: Context) -> tuple[Array, Grads]:
        return dy - (ctx.total / count).astype(dy.dtype).reshape(1, -1, 1, 1), {}


class Placed(Centred):
    """Adds a fixed table of positions, which training and prediction use alike."""

    def build(self, in_shape: Shape, rng: np.random.Generator) -> Shape:
        self.buffers = {"table": np.sin(np.arange(in_shape[-1]))}
        return in_shape

    def forward(self, x: Array, ctx: Context) -> tuple[Array, Cache]:
        y, cache = super().forward(x, ctx)
        return y + self.buffers["table"].astype(x.dtype), cache


class Shuffled(Centred):
    """Channels in another order, which is a buffer."""

    def build(self, in_shape: Shape, rng: np.random.Generator) -> Shape:
        self.buffers = {"order": rng.permutation(in_shape[0]).astype(np.float64)}
        return in_shape

    def forward(self, x: Array, ctx: Context) -> tuple[Array, Cache]:
        y, cache = super().forward(x, ctx)
        return y[:, self.buffers["order"].astype(int)], cache

    def backward_partial(self, dy: Array, cache: Cache, ctx: Context) -> Array:
        return super().backward_partial(self._back(dy), cache, ctx)

    def backward(self, dy: Array, count: Cache, ctx: Context) -> tuple[Array, Grads]:
        return super().backward(self._back(dy), count, ctx)

    def _back(self, dy: Array) -> Array:
        return dy[:, np.argsort(self.buffers["order"])]


class Noted(Centred):
    """Notes the mean, and how many batches there were, for whoever looks at the layer."""

    def build(self, in_shape: Shape, rng: np.random.Generator) -> Shape:
        self.buffers = {"mean": np.zeros(in_shape[0]), "batches": np.zeros(())}
        return in_shape

    def absorb(self, total: Array) -> None:
        self.buffers["mean"][...] = total[:-1] / total[-1]
        self.buffers["batches"] += 1


class Corrected(Centred):
    """A running mean without its bias towards 0, as Adam's; prediction is not defined before the first batch."""

    def build(self, in_shape: Shape, rng: np.random.Generator) -> Shape:
        self.buffers = {"mean": np.zeros(in_shape[0]), "weight": np.zeros(())}
        return in_shape

    def absorb(self, total: Array) -> None:
        self.buffers["mean"][...] = 0.9 * self.buffers["mean"] + 0.1 * total[:-1] / total[-1]
        self.buffers["weight"][...] = 0.9 * self.buffers["weight"] + 0.1

    def forward(self, x: Array, ctx: Context) -> tuple[Array, Cache]:
        if ctx.training:
            return super().forward(x, ctx)
        weight = self.buffers["weight"] + 1e-12
        return x - (self.buffers["mean"] / weight).reshape(1, -1, 1, 1).astype(x.dtype), 1.0


class Renormalised(Centred):
    """Training, too, takes the running mean: halfway between it and the batch's."""

    def build(self, in_shape: Shape, rng: np.random.Generator) -> Shape:
        self.buffers = {"mean": np.zeros(in_shape[0])}
        return in_shape

    def absorb(self, total: Array) -> None:
        self.buffers["mean"] += 0.1 * (total[:-1] / total[-1] - self.buffers["mean"])

    def forward(self, x: Array, ctx: Context) -> tuple[Array, Cache]:
        running = self.buffers["mean"].reshape(1, -1, 1, 1).astype(x.dtype)
        if not ctx.training:
            return x - running, 1.0
        y, count = super().forward(x, ctx)
        return (y + x - running) / 2, 2 * count


class Noisy(BatchNorm2D):
    """Adds noise in training."""

    def forward(self, x: Array, ctx: Context) -> tuple[Array, Cache]:
        y, cache = super().forward(x, ctx)
        return (y + ctx.rng.normal(size=y.shape).astype(y.dtype) if ctx.training else y), cache


class OfFractions(BatchNorm2D):
    domain: ClassVar[tuple[float, float]] = (0.0, 1.0)


RIGHT: list[Layer] = [
    Centred(),
    Placed(),
    Shuffled(),
    Noted(),
    Corrected(),
    Renormalised(),
    Noisy(),
    OfFractions(),
    BatchNorm2D(1.0),
    BatchNorm2D(0.01),
    BatchNorm2D(1e-4),
]


@pytest.mark.parametrize("layer", RIGHT, ids=repr)
@pytest.mark.parametrize("in_shape", [IMAGE, (1, 1, 2)], ids=str)
def test_none_is_refused(layer: Layer, in_shape: Shape) -> None:
    check_layer(layer, in_shape)
