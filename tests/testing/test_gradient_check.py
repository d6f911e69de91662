"""The gradient check must accept right gradients and find wrong ones."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from cnnkit.components import Layer, Loss, Merge
from cnnkit.errors import CheckError, ConfigError, ShapeError
from cnnkit.layers import BatchNorm2D, Conv2D, Dense, MaxPool2D, ReLU, Residual
from cnnkit.losses import MSE, CrossEntropy
from cnnkit.testing import gradient_check
from cnnkit.types import Array, Cache, Context, Grads, Shape

IMAGE = (2, 6, 6)
INNER = ['1: WrongInput(2, 3, padding="same") x']
WHERE = ("", " with ties", " with large values", " in prediction", " at 0")
"""At which inputs a gradient is compared."""


class WrongInput(Conv2D):
    """dx is 0.05 % too large."""

    def backward(self, dy: Array, patches: Cache, ctx: Context) -> tuple[Array, Grads]:
        dx, grads = super().backward(dy, patches, ctx)
        return dx * 1.0005, grads


class WrongWeight(Dense):
    """dweight is 0.05 % too large."""

    def backward(self, dy: Array, x: Cache, ctx: Context) -> tuple[Array, Grads]:
        dx, grads = super().backward(dy, x, ctx)
        return dx, grads | {"weight": grads["weight"] * 1.0005}


class WrongElement(Dense):
    """One element of dx is 0.05 % too large."""

    def backward(self, dy: Array, x: Cache, ctx: Context) -> tuple[Array, Grads]:
        dx, grads = super().backward(dy, x, ctx)
        dx[0, 0] *= 1.0005
        return dx, grads


class EveryTie(MaxPool2D):
    """Each of several equal maxima gets the whole gradient."""

    def backward(self, dy: Array, cache: Cache, ctx: Context) -> tuple[Array, Grads]:
        padded, y = cache
        dpadded = self.window.padded_zeros(padded.shape[0], padded.shape[3], ctx)
        for _, _, met in self.window.slices():
            dpadded[met] += dy.transpose(1, 2, 3, 0) * (padded[met] == y)
        return self.window.crop(dpadded), {}


class Uncoupled(BatchNorm2D):
    """dx takes the tile's own sums for those of the batch."""

    def backward(self, dy: Array, cache: Cache, ctx: Context) -> tuple[Array, Grads]:
        ctx.total = ctx.partial  # type: ignore[misc]  # wrong on purpose
        return super().backward(dy, cache, ctx)


class ForgottenGamma(BatchNorm2D):
    """dx misses the factor gamma, which is 1 at the start."""

    def backward(self, dy: Array, cache: Cache, ctx: Context) -> tuple[Array, Grads]:
        dx, grads = super().backward(dy, cache, ctx)
        return dx / self.params["gamma"].reshape(-1, 1, 1), grads


class NoGradient(ReLU):
    """dx is not a number."""

    def backward(self, dy: Array, y: Cache, ctx: Context) -> tuple[Array, Grads]:
        return dy * np.nan, {}


class LopsidedResidual(Residual):
    """The shortcut gets half of its gradient."""

    def backward(self, dy: Array, cache: Cache, ctx: Context) -> Sequence[Array]:
        return dy, dy / 2


class WrongMSE(MSE):
    """The gradient is 0.05 % too large."""

    def backward(self, cache: Array, weight: float) -> Array:
        return super().backward(cache, weight) * 1.0005


@pytest.mark.parametrize(
    ("subject", "in_shape", "where"),
    [
        (WrongInput(3, 3), IMAGE, ["x"]),
        (WrongWeight(4), (7,), ["params.weight"]),
        (WrongElement(4), (7,), ["x"]),
        (EveryTie(2), IMAGE, ["x"]),
        (Uncoupled(), IMAGE, ["x"]),
        (ForgottenGamma(), IMAGE, ["x"]),
        (NoGradient(), IMAGE, ["x"]),
        (LopsidedResidual(ReLU()), IMAGE, ["xs[1]"]),
        (Residual(ReLU(), WrongInput(2, 3, padding="same")), IMAGE, INNER),
        (
            WrongMSE(),
            (5,),
            [
                f"outputs{where}, targets are {kind}"
                for where in ("", " with large values")
                for kind in ("classes", "values", "shares")
            ],
        ),
    ],
    ids=lambda value: type(value).__name__,
)
@pytest.mark.parametrize("seed", range(5))
def test_a_wrong_gradient_is_found_where_it_is(
    subject: Layer | Merge | Loss, in_shape: Shape, where: list[str], seed: int
) -> None:
    report = gradient_check(subject, in_shape, seed=seed)
    wrong = [name for name, error in report.errors.items() if not error <= report.threshold]
    assert not report.ok
    assert report.error > 1e-6
    assert wrong
    assert set(wrong) <= {f"{name}{place}" for name in where for place in WHERE}
    assert f"the gradient of {subject!r} is wrong" in str(report)


@pytest.mark.parametrize("in_shape", [(2,), (10,), (37,)])
@pytest.mark.parametrize("loss", [CrossEntropy(), CrossEntropy(label_smoothing=0.2), MSE()], ids=repr)
def test_losses(loss: Loss, in_shape: Shape) -> None:
    for seed in range(20):
        report = gradient_check(loss, in_shape, seed=seed)
        assert report.ok, str(report)
    assert "outputs, targets are classes" in report.errors
    assert "outputs, targets are shares" in report.errors
    assert ("outputs, targets are values" in report.errors) == isinstance(loss, MSE)


def test_a_loss_that_takes_no_targets_says_so() -> None:
    class Picky(MSE):
        def forward(self, outputs: Array, targets: Array) -> tuple[Array, Array]:
            raise ShapeError("expected targets of shape (N, 2, 2)")

    with pytest.raises(ShapeError, match=r"expected targets of shape \(N, 2, 2\)"):
        gradient_check(Picky(), (5,))


def test_large_inputs_stay_clear_of_kinks() -> None:
    for layer in (MaxPool2D(3, 2, 1), ReLU()):
        report = gradient_check(layer, (8, 32, 32))
        assert report.ok, str(report)


def test_a_kink_in_the_middle_of_a_layer_is_stepped_over() -> None:
    class DenseReLU(Dense):
        def forward(self, x: Array, ctx: Context) -> tuple[Array, Cache]:
            y, cache = super().forward(x, ctx)
            return np.maximum(y, 0), (y, cache)

        def backward(self, dy: Array, cache: Cache, ctx: Context) -> tuple[Array, Grads]:
            return super().backward(dy * (cache[0] > 0), cache[1], ctx)

    for seed in range(20):
        report = gradient_check(DenseReLU(20), (10,), seed=seed)
        assert report.ok, str(report)


def test_the_layer_is_left_alone() -> None:
    layer = Dense(3)
    layer.build((4,), np.random.default_rng(0))
    before = {name: value.copy() for name, value in layer.params.items()}
    gradient_check(layer, (4,))
    assert all(np.array_equal(value, before[name]) for name, value in layer.params.items())


def test_the_report_is_readable() -> None:
    report = gradient_check(Dense(3), (4,))
    lines = str(report).splitlines()
    assert lines[0].startswith("the gradient of Dense(3) is right (relative error ")
    assert lines[0].endswith(", 1e-06 allowed)")
    assert [line.split(":")[0].strip() for line in lines[1:]] == [
        *("x", "params.weight", "params.bias", "x with ties", "x with large values"),
        *("x in prediction", "params.weight in prediction", "params.bias in prediction", "x at 0"),
    ]


def test_missing_gradient_and_wrong_shape() -> None:
    class Forgetful(Dense):
        def backward(self, dy: Array, x: Cache, ctx: Context) -> tuple[Array, Grads]:
            dx, grads = super().backward(dy, x, ctx)
            return dx, {"weight": grads["weight"].T}

    with pytest.raises(CheckError) as caught:
        gradient_check(Forgetful(3), (4,), batch=2)
    assert str(caught.value) == (
        "Forgetful(3): backward must give gradients of the shapes "
        "{'x': (2, 4), 'params.weight': (3, 4), 'params.bias': (3,)}, "
        "it returned {'x': (2, 4), 'params.weight': (4, 3)}"
    )


def test_bad_arguments() -> None:
    with pytest.raises(ConfigError, match=r"batch must be a whole number, 2 or above, .*, got 1"):
        gradient_check(Dense(3), (4,), batch=1)
    with pytest.raises(ShapeError, match="Dense expects an input of shape"):
        gradient_check(Dense(3), (1, 4, 4))
