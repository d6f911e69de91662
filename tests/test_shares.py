"""Targets that are shares of classes, as mixing gives them: losses and metrics by hand, and against PyTorch."""

from __future__ import annotations

import math

import numpy as np
import pytest

from cnnkit.components.checks import are_shares
from cnnkit.errors import ShapeError
from cnnkit.losses import MSE, CrossEntropy
from cnnkit.metrics import Accuracy
from cnnkit.types import Array

SMOOTHING = [0.0, 0.1]


def case(dtype: str = "float64", n: int = 64, k: int = 10) -> tuple[Array, Array]:
    rng = np.random.default_rng(0)
    return (3 * rng.standard_normal((n, k))).astype(dtype), rng.dirichlet(np.full(k, 0.3), n).astype(dtype)


@pytest.mark.parametrize("smoothing", SMOOTHING)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_cross_entropy_equals_pytorch(smoothing: float, dtype: str) -> None:
    torch = pytest.importorskip("torch", reason="torch==2.13.0 is not installed")
    outputs, shares = case(dtype)
    theirs = torch.tensor(outputs, requires_grad=True)
    expected = torch.nn.CrossEntropyLoss(label_smoothing=smoothing)(theirs, torch.tensor(shares))
    expected.backward()
    losses, cache = CrossEntropy(smoothing).forward(outputs, shares)
    tolerance = 1e-6 if dtype == "float32" else 1e-14
    np.testing.assert_allclose(losses.mean(), expected.item(), rtol=tolerance)
    gradient = CrossEntropy(smoothing).backward(cache, 1 / 64)
    np.testing.assert_allclose(gradient, theirs.grad.numpy(), rtol=0, atol=tolerance)


def test_cross_entropy_by_hand() -> None:
    outputs = np.log([[1.0, 3.0, 4.0]])  # probabilities 1/8, 3/8, 1/2
    losses, cache = CrossEntropy().forward(outputs, np.array([[0.25, 0.75, 0.0]]))
    np.testing.assert_allclose(losses, [0.25 * math.log(8) + 0.75 * math.log(8 / 3)])
    np.testing.assert_allclose(CrossEntropy().backward(cache, 2.0), [[-0.25, -0.75, 1.0]])


@pytest.mark.parametrize("smoothing", SMOOTHING)
@pytest.mark.parametrize("targets", ["float32", "float64", "int64", "bool"])
def test_whole_shares_are_class_indices(smoothing: float, targets: str) -> None:
    outputs, shares = case("float32")
    classes, loss = shares.argmax(axis=1), CrossEntropy(smoothing)
    by_class, by_share = loss.forward(outputs, classes), loss.forward(outputs, np.eye(10)[classes].astype(targets))
    assert by_share[0].dtype == np.float32
    np.testing.assert_allclose(by_share[0], by_class[0], rtol=1e-6)
    gradient = loss.backward(by_share[1], 0.5)
    assert gradient.dtype == np.float32
    np.testing.assert_allclose(gradient, loss.backward(by_class[1], 0.5), atol=1e-7)


@pytest.mark.parametrize("smoothing", SMOOTHING)
def test_inputs_and_strides_are_kept(smoothing: float) -> None:
    outputs, shares = case()
    before, loss = (outputs.copy(), shares.copy()), CrossEntropy(smoothing)
    losses, cache = loss.forward(np.asfortranarray(outputs), shares)
    gradient = loss.backward(cache, 0.3)
    assert gradient.flags.f_contiguous
    plain = loss.forward(outputs, shares)
    np.testing.assert_allclose(losses, plain[0], rtol=1e-13)
    np.testing.assert_allclose(gradient, loss.backward(plain[1], 0.3), atol=1e-15)
    np.testing.assert_array_equal(outputs, before[0])
    np.testing.assert_array_equal(shares, before[1])


def test_extreme_logits_do_not_overflow() -> None:
    losses, cache = CrossEntropy().forward(np.array([[1e4, -1e4, 0.0]], "f4"), np.array([[0.5, 0.25, 0.25]], "f4"))
    np.testing.assert_allclose(losses, [0.25 * 2e4 + 0.25 * 1e4])
    assert np.isfinite(CrossEntropy().backward(cache, 1.0)).all()


@pytest.mark.parametrize(
    "row", [[0.5, 0.5, 0.5], [1.5, -0.5, 0.0], [0.0, 0.0, 0.0], [math.nan, 0.5, 0.5], [math.inf, 0.0, 0.0]]
)
def test_what_cannot_be_shares_is_refused(row: list[float]) -> None:
    targets = np.array([[0.25, 0.25, 0.5], row])
    assert are_shares(targets).tolist() == [True, False]
    with pytest.raises(ShapeError) as caught:
        CrossEntropy().forward(np.zeros((2, 3)), targets)
    assert str(caught.value) == (
        "the targets must be class indices, or for each sample shares of the classes that add up to 1; target 1 is "
        f"{targets[1]}: for values to regress, use the loss MSE()"
    )
    with pytest.raises(ShapeError, match="remove Accuracy\\(\\) from the metrics"):
        Accuracy().sums(np.zeros((2, 3)), targets)


def test_shares_of_many_classes_add_up_although_they_are_rounded() -> None:
    shares = np.random.default_rng(0).dirichlet(np.ones(1000), 50).astype(np.float32)
    assert are_shares(shares).all()
    assert are_shares(shares.astype(np.float16).astype(np.float32)).all()
    assert not are_shares(1.002 * shares).any()


def test_accuracy_takes_the_largest_share() -> None:
    outputs = np.array([[0.1, 0.9], [5.0, -1.0], [0.2, 0.3], [2.0, 1.0]], np.float32)
    shares = np.array([[0.4, 0.6], [0.9, 0.1], [0.0, 1.0], [0.2, 0.8]])
    assert Accuracy().sums(outputs, shares).tolist() == [3.0, 4.0]


def test_mse_takes_shares_as_values() -> None:
    losses, _ = MSE().forward(np.array([[1.0, 0.0]]), np.array([[0.25, 0.75]]))
    np.testing.assert_allclose(losses, [(0.75**2 + 0.75**2) / 2])
