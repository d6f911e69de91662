"""check_metric must find each planted fault by name, and refuse no metric that is right."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np
import pytest

from cnnkit.components import CollectingMetric, Metric
from cnnkit.errors import CheckError, ComponentError
from cnnkit.testing import check_metric
from cnnkit.types import Array, Shape


class Right(Metric):
    """The right metric that the faulty ones are made from: accuracy."""

    def sums(self, outputs: Array, targets: Array) -> Array:
        if targets.ndim != outputs.ndim - 1:
            raise ValueError("class indices")
        return np.array([(outputs.argmax(axis=1) == targets).sum(), targets.size], np.float64)

    def value(self, total: Array) -> float:
        return float(total[0] / total[1])


class TileMean(Right):
    def sums(self, outputs: Array, targets: Array) -> Array:
        found = super().sums(outputs, targets)
        return np.asarray(found[:1] / found[1])

    def value(self, total: Array) -> float:
        return float(total[0])


class CountsTiles(Right):
    def sums(self, outputs: Array, targets: Array) -> Array:
        return np.append(super().sums(outputs, targets)[:1], 1.0)


class Largest(Right):
    def sums(self, outputs: Array, targets: Array) -> Array:
        super().sums(outputs, targets)
        return np.array([outputs.max(), 1.0], np.float64)


class EachSample(Right):
    def sums(self, outputs: Array, targets: Array) -> Array:
        super().sums(outputs, targets)
        return np.asarray(outputs.argmax(axis=1) == targets, np.float64)

    def value(self, total: Array) -> float:
        return float(total.mean())


class Float32(Right):
    def sums(self, outputs: Array, targets: Array) -> Array:
        return super().sums(outputs, targets).astype(np.float32)


class NotANumber(Right):
    def sums(self, outputs: Array, targets: Array) -> Array:
        return super().sums(outputs, targets) / (len(targets) - 1)


class AnArray(Right):
    def value(self, total: Array) -> float:
        return np.asarray(total[:1] / total[1])  # type: ignore[return-value]  # wrong on purpose


class ChangesTotal(Right):
    def value(self, total: Array) -> float:
        total /= total[1]
        return float(total[0])


class Remembers(Right):
    best = 0.0

    def value(self, total: Array) -> float:
        self.best = max(self.best, float(total[0]))
        return self.best / float(total[1])


class CountsOnSelf(Right):
    def __init__(self) -> None:
        self.seen = 0

    def sums(self, outputs: Array, targets: Array) -> Array:
        self.seen += len(targets)
        return super().sums(outputs, targets)


class InPlace(Right):
    def sums(self, outputs: Array, targets: Array) -> Array:
        if targets.ndim == outputs.ndim - 1:
            outputs -= outputs.max(axis=1, keepdims=True)
        return super().sums(outputs, targets)


class ErrorRate(Right):
    """Says the wrong direction."""

    def value(self, total: Array) -> float:
        return 1 - super().value(total)


class NamedLoss(Right):
    key = "loss"


class NamedTwice(Right):
    key = "validation_accuracy"


class MemoryOrder(Right):
    def sums(self, outputs: Array, targets: Array) -> Array:
        return super().sums(outputs.ravel(order="K").reshape(outputs.shape), targets)


class GlobalRandom(Right):
    def sums(self, outputs: Array, targets: Array) -> Array:
        np.random.random()
        return super().sums(outputs, targets)


class LikelihoodsUpsideDown(Right):
    """Of probabilities, in the wrong direction."""

    def sums(self, outputs: Array, targets: Array) -> Array:
        super().sums(outputs, targets)
        return np.array([np.log(outputs[np.arange(len(outputs)), targets]).sum(dtype=np.float64), targets.size])

    def value(self, total: Array) -> float:
        return -super().value(total)


class JoinsInPlace(Right):
    def join(self, parts: Sequence[Array]) -> Array:
        for part in parts[1:]:
            parts[0][...] += part
        return parts[0]


class ForgetsTiles(Right):
    def join(self, parts: Sequence[Array]) -> Array:
        return parts[-1]


class MedianRank(CollectingMetric):
    """The median place of the right class."""

    key = "median_rank"
    greater_is_better: ClassVar[bool] = False

    def sums(self, outputs: Array, targets: Array) -> Array:
        if targets.shape != (len(outputs), *outputs.shape[2:]):
            raise ValueError("class indices")
        right = np.take_along_axis(outputs, targets[:, np.newaxis], axis=1)
        return np.asarray(np.count_nonzero(outputs > right, axis=1)).reshape(-1, 1)

    def value(self, total: Array) -> float:
        return float(np.median(total)) if len(total) else float("nan")


class RowsAsLongAsTheTile(MedianRank):
    def sums(self, outputs: Array, targets: Array) -> Array:
        return super().sums(outputs, targets).T


class OneOfEachTile(MedianRank):
    def sums(self, outputs: Array, targets: Array) -> Array:
        return super().sums(outputs, targets)[:1]


class BestFirst(MedianRank):
    greater_is_better: ClassVar[bool] = True


FAULTS: list[tuple[Metric, str, str]] = [
    (TileMean(), "tiles", "the sums of 2 tiles add up to .* those of all samples are .*: give sums and counts"),
    (CountsTiles(), "tiles", "give sums and counts, and take the mean of them in value"),
    (Largest(), "tiles", "the sums of 2 tiles add up to"),
    (EachSample(), "sums", r"shape of the sums of 1 samples: expected \(60,\), got \(1,\)"),
    (Float32(), "sums", "sums must be float64, or whole numbers, got float32"),
    (NotANumber(), "sums", r"sums must be finite, those of 1 samples are \[(nan|inf), inf\]"),
    (AnArray(), "value", r"value must be a finite number, got array"),
    (ChangesTotal(), "value", "the total after value: expected the same values bit for bit"),
    (Remembers(), "value", "value of a total after another one: expected"),
    (CountsOnSelf(), "no call state", "a call changed self.seen; keep nothing between calls"),
    (InPlace(), "inputs unchanged", "outputs after sums, which changed them in place"),
    (
        ErrorRate(),
        "direction",
        "greater_is_better is True, but right outputs give 0 and wrong ones 1: set",
    ),
    (LikelihoodsUpsideDown(), "direction", r"set greater_is_better = False"),
    (NamedLoss(), "key", "key must be a unique name in a history.*got 'loss'"),
    (NamedTwice(), "key", "got 'validation_accuracy'"),
    (MemoryOrder(), "memory order", "sums differ for outputs whose samples are the fastest axis in memory"),
    (GlobalRandom(), "no call state", "global random numbers were drawn"),
    (JoinsInPlace(), "tiles", "the sums of a tile after join, which changed them in place"),
    (ForgetsTiles(), "tiles", "the sums of 2 tiles add up to"),
    (RowsAsLongAsTheTile(), "sums", r"rows must be of one length, \(rows, R\): those of 1 samples are \(1, 1\)"),
    (OneOfEachTile(), "tiles", "the sums of 2 tiles add up to"),
    (BestFirst(), "direction", "set greater_is_better = False"),
]


@pytest.mark.parametrize(("metric", "check", "reason"), FAULTS, ids=[type(metric).__name__ for metric, *_ in FAULTS])
def test_each_fault_is_found_and_named(metric: Metric, check: str, reason: str) -> None:
    with pytest.raises(CheckError, match=reason) as caught:
        check_metric(metric)
    assert f"fails the check {check!r}: " in str(caught.value)


class Confusion(Right):
    """Sums that are a matrix, of whole numbers."""

    def sums(self, outputs: Array, targets: Array) -> Array:
        super().sums(outputs, targets)
        found = np.zeros((outputs.shape[1],) * 2, np.int64)
        np.add.at(found, (targets, outputs.argmax(axis=1)), 1)
        return found

    def value(self, total: Array) -> float:
        return float(np.trace(total) / total.sum())


class AbsoluteDifference(Metric):
    """Of values; smaller is better."""

    greater_is_better: ClassVar[bool] = False

    def sums(self, outputs: Array, targets: Array) -> Array:
        if targets.shape != outputs.shape:
            raise ValueError("values")
        return np.array([np.abs(outputs - targets).sum(dtype=np.float64), targets.size])

    def value(self, total: Array) -> float:
        return float(total[0] / total[1])


class Explained(AbsoluteDifference):
    greater_is_better: ClassVar[bool] = True

    def sums(self, outputs: Array, targets: Array) -> Array:
        super().sums(outputs, targets)
        t = targets.astype(np.float64)
        return np.array([t.size, t.sum(), (t * t).sum(), np.square(outputs - t).sum()])

    def value(self, total: Array) -> float:
        count, first, second, rest = total
        return float(1 - rest / max(second - first * first / count, 1e-12))


class Confidence(Metric):
    """Looks at no target, and gives NumPy's own kind of number."""

    def sums(self, outputs: Array, targets: Array) -> Array:
        return np.array([outputs.max(axis=1).sum(dtype=np.float64), outputs[:, 0].size])

    def value(self, total: Array) -> float:
        return np.float64(total[0] / total[1])


class OneClass(Right):
    """A precision, which is 0 where nothing was predicted."""

    key = "precision_of_2"

    def sums(self, outputs: Array, targets: Array) -> Array:
        super().sums(outputs, targets)
        predicted = outputs.argmax(axis=1) == 2
        return np.array([(predicted & (targets == 2)).sum(), predicted.sum()], np.float64)

    def value(self, total: Array) -> float:
        return float(total[0] / total[1]) if total[1] else 0.0


class MeanLog(Metric):
    """The mean of -log p of the right class: of probabilities, and infinite where they are 0."""

    key = "log_loss"
    greater_is_better: ClassVar[bool] = False

    def sums(self, outputs: Array, targets: Array) -> Array:
        if targets.shape != (len(outputs), *outputs.shape[2:]):
            raise ValueError("class indices")
        p = np.take_along_axis(outputs, targets[:, np.newaxis], axis=1)
        return np.array([-np.log(p).sum(dtype=np.float64), targets.size])

    def value(self, total: Array) -> float:
        return float(total[0] / total[1])


class LabelLog(MeanLog):
    """The same of labels."""

    def sums(self, outputs: Array, targets: Array) -> Array:
        if not np.isin(targets, (0, 1)).all() or targets.shape != outputs.shape:
            raise ValueError("labels")
        return np.array([-np.log(np.where(targets == 1, outputs, 1 - outputs)).sum(dtype=np.float64), targets.size])


class Strict(MeanLog):
    """Refuses what does not add up to 1."""

    def sums(self, outputs: Array, targets: Array) -> Array:
        if not np.allclose(outputs.sum(axis=1), 1, atol=1e-5):
            raise ValueError("probabilities")
        return super().sums(outputs, targets)


class Divergence(Strict):
    """From shares of the classes."""

    def sums(self, outputs: Array, targets: Array) -> Array:
        if targets.shape != outputs.shape or not np.allclose(targets.sum(axis=1), 1, atol=1e-5):
            raise ValueError("shares")
        super().sums(outputs, outputs.argmax(axis=1))
        return np.array([(targets * np.log(targets / outputs)).sum(dtype=np.float64), len(targets)])


RIGHT: list[tuple[Metric, Shape]] = [
    (Right(), (5,)),
    (Right(), (4, 3, 2)),
    (Confusion(), (5,)),
    (AbsoluteDifference(), (1,)),
    (Explained(), (3,)),
    (Confidence(), (5,)),
    (OneClass(), (5,)),
    (MeanLog(), (5,)),
    (MeanLog(), (3, 4, 2)),
    (LabelLog(), (5,)),
    (Strict(), (5,)),
    (Divergence(), (5,)),
    (MedianRank(), (5,)),
    (MedianRank(), (4, 3, 2)),
]


@pytest.mark.parametrize(("metric", "out_shape"), RIGHT, ids=[f"{type(m).__name__}-{s}" for m, s in RIGHT])
def test_none_that_is_right_is_refused(metric: Metric, out_shape: Shape) -> None:
    check_metric(metric, out_shape)


def test_outputs_may_be_given() -> None:
    check_metric(MeanLog(), (2,), outputs=np.linspace(0.1, 2.0, 24).reshape(12, 2))
    logits = np.linspace(-5, 5, 24).reshape(12, 2)
    with pytest.raises(
        CheckError, match=r"shape \(2,\) \(given\), .* fails the check 'sums': sums must be finite.*nan"
    ):
        check_metric(MeanLog(), (2,), outputs=logits)
    with pytest.raises(CheckError, match=r"expected outputs of shape \(N, \*out_shape\), \(12, 5\), got \(12, 2\)$"):
        check_metric(MeanLog(), outputs=logits)


def test_targets_may_be_given() -> None:
    check_metric(AbsoluteDifference(), (2,), targets=np.linspace(-5, 5, 24).reshape(12, 2))
    with pytest.raises(ComponentError, match="there is no metric named 'Acuracy'"):
        check_metric("Acuracy()")
    with pytest.raises(CheckError, match=r"targets are given, fails the check .*: ValueError: class indices"):
        check_metric(Right(), (5,), targets=np.zeros((12, 5)))
