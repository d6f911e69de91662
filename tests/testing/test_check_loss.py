"""check_loss must find each planted fault by name, and refuse no loss that is right."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import pytest

from cnnkit.components import Loss
from cnnkit.errors import CheckError, ComponentError, ShapeError
from cnnkit.losses import MSE, CrossEntropy
from cnnkit.testing import check_loss, gradient_check
from cnnkit.types import Array, Cache, Shape


class Squares(Loss):
    """The right loss that the faulty ones are made from: the mean square over all but the samples."""

    def forward(self, outputs: Array, targets: Array) -> tuple[Array, Cache]:
        difference = (outputs - targets).astype(outputs.dtype)
        return np.square(difference).reshape(len(outputs), -1).mean(axis=1), difference

    def backward(self, cache: Cache, weight: float) -> Array:
        return np.asarray(cache * (2 * weight / cache[0].size))


class Scalar(Squares):
    def forward(self, outputs: Array, targets: Array) -> tuple[Array, Cache]:
        losses, cache = super().forward(outputs, targets)
        return losses.mean(), cache


class Unreduced(Squares):
    def forward(self, outputs: Array, targets: Array) -> tuple[Array, Cache]:
        _, cache = super().forward(outputs, targets)
        return cache**2, cache


class NoCache(Squares):
    def forward(self, outputs: Array, targets: Array) -> tuple[Array, Cache]:
        return super().forward(outputs, targets)[0]  # type: ignore[return-value]  # wrong on purpose


class IgnoresWeight(Squares):
    def backward(self, cache: Cache, weight: float) -> Array:
        return super().backward(cache, 0.25)


class HalfGradient(Squares):
    def backward(self, cache: Cache, weight: float) -> Array:
        return super().backward(cache, weight) / 2


class Float64Gradient(Squares):
    def backward(self, cache: Cache, weight: float) -> Array:
        return super().backward(cache, weight).astype(np.float64)


class InPlace(Squares):
    def forward(self, outputs: Array, targets: Array) -> tuple[Array, Cache]:
        outputs -= targets.astype(outputs.dtype)
        return np.square(outputs).mean(axis=1), outputs


class CentredOverTheBatch(Squares):
    def forward(self, outputs: Array, targets: Array) -> tuple[Array, Cache]:
        return super().forward(outputs - outputs.mean(axis=0), targets)


class KeptOnSelf(Squares):
    def forward(self, outputs: Array, targets: Array) -> tuple[Array, Cache]:
        losses, self.kept = super().forward(outputs, targets)
        return losses, None

    def backward(self, cache: Cache, weight: float) -> Array:
        return super().backward(self.kept, weight)


class Running(Squares):
    history: ClassVar[list[float]] = []

    def forward(self, outputs: Array, targets: Array) -> tuple[Array, Cache]:
        losses, cache = super().forward(outputs, targets)
        self.history.append(float(losses.mean()))
        return losses, cache


class MemoryOrder(Squares):
    def forward(self, outputs: Array, targets: Array) -> tuple[Array, Cache]:
        return super().forward(outputs.ravel(order="K").reshape(outputs.shape), targets)


class NaiveCrossEntropy(Loss):
    from_logits: ClassVar[bool] = True

    def forward(self, outputs: Array, targets: Array) -> tuple[Array, Cache]:
        p = np.exp(outputs) / np.exp(outputs).sum(axis=1, keepdims=True)
        return -np.log(p[np.arange(len(p)), targets]), (p, targets)

    def backward(self, cache: Cache, weight: float) -> Array:
        p, targets = cache
        dz = p.copy()
        dz[np.arange(len(p)), targets] -= 1
        return np.asarray(weight * dz)


class OpenHuber(Loss):
    """Its gradient grows on where the loss has become linear."""

    def forward(self, outputs: Array, targets: Array) -> tuple[Array, Cache]:
        d = (outputs - targets).astype(outputs.dtype)
        each = np.where(np.abs(d) <= 1, d * d / 2, np.abs(d) - 0.5)
        return each.mean(axis=1), d

    def backward(self, cache: Cache, weight: float) -> Array:
        return np.asarray(weight * cache / cache.shape[1])


class GlobalNoise(Squares):
    def forward(self, outputs: Array, targets: Array) -> tuple[Array, Cache]:
        np.random.random()
        return super().forward(outputs, targets)


class ReprLost(Squares):
    def __init__(self, factor: float = 1.0) -> None:
        self.weight = factor


class OfProbabilities(Squares):
    """Takes nothing but probabilities, and gives half of the gradient."""

    def forward(self, outputs: Array, targets: Array) -> tuple[Array, Cache]:
        if not np.allclose(outputs.sum(axis=1), 1):
            raise ShapeError("expected probabilities")
        return super().forward(outputs, targets)

    def backward(self, cache: Cache, weight: float) -> Array:
        return super().backward(cache, weight) / 2


FAULTS: list[tuple[Loss, str, str]] = [
    (Scalar(), "shapes", r"the loss must be an array of shape \(12,\) for 12 samples, got float32 of shape \(\)"),
    (
        Unreduced(),
        "shapes",
        r"for 12 samples, got ndarray of shape \(12, 5\); the mean over the batch",
    ),
    (NoCache(), "shapes", r"forward must return \(losses, cache\), it returned ndarray"),
    (IgnoresWeight(), "weight", "the gradient for three times the weight, and three times the gradient; multiply by"),
    (HalfGradient(), "gradient", "make backward the derivative of weight . sum"),
    (Float64Gradient(), "shapes", "dtype of the gradient: expected float32, got float64"),
    (InPlace(), "inputs unchanged", "outputs after forward and backward, which changed them in place"),
    (CentredOverTheBatch(), "samples", "the loss of samples in smaller tiles; a sample must not look at others"),
    (KeptOnSelf(), "no call state", "the gradient after another tile's forward and backward"),
    (Running(), "no call state", r"a call changed Running.history"),
    (MemoryOrder(), "memory order", "the loss for outputs whose samples are the fastest axis"),
    (NaiveCrossEntropy(), "finite", r"the loss is (nan|inf) for outputs of 0 and \+-100: take the largest output out"),
    (OpenHuber(), "gradient", "outputs with large values, targets are values: 1.2e[+]00: make backward"),
    (OfProbabilities(), "gradient", "outputs, targets are values: 5.0e-01"),
    (GlobalNoise(), "no call state", "global random numbers were drawn"),
    (ReprLost(), "no call state", "takes 'factor' but keeps no attribute of that name"),
]


@pytest.mark.parametrize(("loss", "check", "reason"), FAULTS, ids=[type(loss).__name__ for loss, *_ in FAULTS])
def test_each_fault_is_found_and_named(loss: Loss, check: str, reason: str) -> None:
    with pytest.raises(CheckError, match=reason) as caught:
        check_loss(loss)
    assert f"fails the check {check!r}: " in str(caught.value)


class Hinge(Loss):
    """Multi-class hinge on any scores."""

    def forward(self, outputs: Array, targets: Array) -> tuple[Array, Cache]:
        rows = np.arange(len(outputs))
        margin = 1 + outputs - outputs[rows, targets][:, None]
        margin[rows, targets] = 0
        return np.maximum(margin, 0).sum(axis=1), (margin > 0, targets)

    def backward(self, cache: Cache, weight: float) -> Array:
        active, targets = cache
        d = active.astype(np.float32)
        d[np.arange(len(d)), targets] = -active.sum(axis=1)
        return np.asarray(np.float32(weight) * d)


class ClippedNLL(Loss):
    """Takes probabilities, and keeps away from 0."""

    def forward(self, outputs: Array, targets: Array) -> tuple[Array, Cache]:
        p = np.clip(outputs, 1e-6, 1.0)
        rows = np.arange(len(p))
        return -np.log(p[rows, targets]), (p, targets)

    def backward(self, cache: Cache, weight: float) -> Array:
        p, targets = cache
        d = np.zeros_like(p)
        rows = np.arange(len(p))
        d[rows, targets] = -weight / p[rows, targets]
        return np.asarray(d)


class StrictNLL(ClippedNLL):
    """Takes probabilities that add up to 1, and no others."""

    def forward(self, outputs: Array, targets: Array) -> tuple[Array, Cache]:
        if not np.allclose(outputs.sum(axis=1), 1, atol=1e-5) or outputs.min() < 0:
            raise ShapeError("expected probabilities")
        return super().forward(outputs, targets)


class Labels(Loss):
    """Several labels for each sample, from logits."""

    from_logits: ClassVar[bool] = True

    def forward(self, outputs: Array, targets: Array) -> tuple[Array, Cache]:
        if targets.shape != outputs.shape or not np.isin(targets, (0, 1)).all():
            raise ShapeError("expected a 0 or 1 for each class")
        losses = np.logaddexp(0, outputs) - outputs * targets.astype(outputs.dtype)
        return losses.sum(axis=1), (1 / (1 + np.exp(-outputs)) - targets.astype(outputs.dtype))

    def backward(self, cache: Cache, weight: float) -> Array:
        return np.asarray(cache * weight)


class EachPixel(Loss):
    """Cross-entropy over axis 1, the mean over all pixels; a class of -1 counts nothing."""

    from_logits: ClassVar[bool] = True

    def forward(self, outputs: Array, targets: Array) -> tuple[Array, Cache]:
        if targets.shape != (len(outputs), *outputs.shape[2:]) or targets.dtype.kind not in "iu":
            raise ShapeError("expected a class for each pixel")
        z = outputs - outputs.max(axis=1, keepdims=True)
        log_p = z - np.log(np.exp(z).sum(axis=1, keepdims=True))
        right = (np.arange(outputs.shape[1]).reshape(-1, *(1 for _ in outputs.shape[2:])) == targets[:, None]) * 1
        counted = (targets >= 0)[:, None]
        losses = -(right * log_p).sum(axis=1).reshape(len(outputs), -1).mean(axis=1)
        slope = (np.exp(log_p) - right) * counted / (targets[0].size or 1)
        return losses.astype(outputs.dtype), slope.astype(outputs.dtype)

    def backward(self, cache: Cache, weight: float) -> Array:
        return np.asarray(cache * np.float32(weight))


class SpendsItsCache(Squares):
    """Its backward works in the memory of its cache."""

    def backward(self, cache: Cache, weight: float) -> Array:
        cache *= 2 * weight / cache[0].size
        return np.asarray(cache)


class Negative(Squares):
    """A reward: below 0."""

    def forward(self, outputs: Array, targets: Array) -> tuple[Array, Cache]:
        losses, cache = super().forward(outputs, targets)
        return -losses, cache

    def backward(self, cache: Cache, weight: float) -> Array:
        return -super().backward(cache, weight)


IGNORED = np.random.default_rng(0).integers(-1, 4, size=(6, 3, 2))
RIGHT: list[tuple[Loss, Shape, dict[str, Any]]] = [
    (Squares(), (5,), {}),
    (Squares(), (2, 3, 4), {}),
    (Hinge(), (4,), {}),
    (ClippedNLL(), (4,), {}),
    (StrictNLL(), (4,), {}),
    (CrossEntropy(), (2,), {"outputs": np.linspace(-50, 50, 24).reshape(12, 2)}),
    (Labels(), (4,), {}),
    (EachPixel(), (4,), {}),
    (EachPixel(), (4, 3, 2), {}),
    (EachPixel(), (4, 3, 2), {"targets": IGNORED}),
    (SpendsItsCache(), (5,), {}),
    (Negative(), (5,), {}),
    (MSE(), (3,), {"targets": np.linspace(-50, 50, 12).reshape(4, 3)}),
    (CrossEntropy(), (2,), {}),
]


@pytest.mark.parametrize(("loss", "out_shape", "options"), RIGHT, ids=[f"{loss!r}-{s}" for loss, s, _ in RIGHT])
def test_none_that_is_right_is_refused(loss: Loss, out_shape: Shape, options: dict[str, Any]) -> None:
    check_loss(loss, out_shape, **options)


def test_expressions_and_refusals() -> None:
    check_loss("CrossEntropy(label_smoothing=0.1)", (3,))
    with pytest.raises(ComponentError, match="there is no loss named 'CrossEntrpy'"):
        check_loss("CrossEntrpy()")
    check_loss("CrossEntropy()", (3, 2, 2))
    with pytest.raises(ShapeError, match=r"outputs of shape \(N, K\), or .*, got \(12, 3, 2, 2, 2\)"):
        check_loss("CrossEntropy()", (3, 2, 2, 2))
    with pytest.raises(CheckError, match=r"expected two samples or more, got 1$"):
        check_loss("MSE()", (3,), targets=np.zeros((1, 3)))
    with pytest.raises(CheckError, match=r"expected outputs of shape \(N, \*out_shape\), \(6, 3\), got \(6, 4\)$"):
        check_loss("MSE()", (3,), outputs=np.zeros((6, 4)))
    with pytest.raises(CheckError, match=r"expected as many targets as outputs, 6, got 5$"):
        check_loss("MSE()", (3,), outputs=np.zeros((6, 3)), targets=np.zeros((5, 3)))


class Bearing(Squares):
    """Of angles, which are refused outside of a half turn to both sides."""

    def forward(self, outputs: Array, targets: Array) -> tuple[Array, Cache]:
        if targets.shape != outputs.shape or not (np.abs(outputs) > 1).all():
            raise ShapeError("expected angles beyond 1")
        return super().forward(outputs, targets)


class HalfBearing(Bearing):
    def backward(self, cache: Cache, weight: float) -> Array:
        return super().backward(cache, weight) / 2


ANGLES = np.linspace(1.5, 3, 40).reshape(8, 5)


def test_outputs_may_be_given() -> None:
    with pytest.raises(ShapeError, match="expected angles beyond 1"):
        check_loss(Bearing())
    check_loss(Bearing(), outputs=ANGLES)
    check_loss(Bearing(), outputs=ANGLES, targets=-ANGLES)
    found = r"\(given\), targets are values, fails the check 'gradient'.*\n  outputs, targets are values: 5.0e-01: make"
    with pytest.raises(CheckError, match=found):
        check_loss(HalfBearing(), outputs=ANGLES)
    with pytest.raises(CheckError, match=r"outputs, targets are given: 5.0e-01: make"):
        check_loss(HalfBearing(), outputs=ANGLES, targets=-ANGLES)
    assert not gradient_check(HalfBearing(), (5,), outputs=ANGLES).ok
    assert gradient_check(Bearing(), (5,), outputs=ANGLES).ok


@pytest.mark.parametrize("seed", range(20))
def test_losses_of_almost_nothing_are_no_wrong_gradients(seed: int) -> None:
    """Of two classes and large logits, sometimes all are right and their losses far below what rounding takes."""
    assert gradient_check(CrossEntropy(), (2,), seed=seed).ok


def test_the_gradient_check_takes_targets() -> None:
    report = gradient_check(MSE(), (3,), targets=np.ones((5, 3)))
    assert list(report.errors) == ["outputs, targets are given", "outputs with large values, targets are given"]
    assert report.ok
