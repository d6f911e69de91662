"""Losses: closed forms, finite differences, parity with PyTorch, and what they refuse."""

from __future__ import annotations

import math

import numpy as np
import pytest

from cnnkit.components import Loss
from cnnkit.errors import ShapeError
from cnnkit.losses import LOSSES, MSE, BinaryCrossEntropy, CrossEntropy, cross_entropy
from cnnkit.types import Array, Task


def outputs_and_classes(dtype: str = "float64", n: int = 7, k: int = 5) -> tuple[Array, Array]:
    rng = np.random.default_rng(0)
    return (3 * rng.standard_normal((n, k))).astype(dtype), rng.integers(0, k, n)


def worst_gradient_error(loss: Loss, outputs: Array, targets: Array, gradient: Array) -> float:
    """Largest difference between a gradient of 0.3 * sum(losses) and central differences."""
    h, worst = 1e-6, 0.0
    for index in np.ndindex(*outputs.shape):
        up, down = outputs.copy(), outputs.copy()
        up[index] += h
        down[index] -= h
        slope = 0.3 * (loss.forward(up, targets)[0] - loss.forward(down, targets)[0]).sum() / (2 * h)
        worst = max(worst, abs(slope - gradient[index]))
    return worst


CASES = [CrossEntropy(), CrossEntropy(label_smoothing=0.1), MSE()]
BASIC = (BinaryCrossEntropy, CrossEntropy, MSE)
"""One of each task; the others are tested on their examples, too."""


@pytest.mark.parametrize("loss", CASES, ids=repr)
def test_the_gradient_equals_finite_differences(loss: Loss) -> None:
    outputs, targets = outputs_and_classes()
    gradient = loss.backward(loss.forward(outputs, targets)[1], 0.3)
    assert worst_gradient_error(loss, outputs, targets, gradient) < 1e-8


def test_the_finite_differences_catch_a_wrong_gradient() -> None:
    outputs, targets = outputs_and_classes()
    gradient = CrossEntropy().backward(CrossEntropy().forward(outputs, targets)[1], 0.3)
    assert worst_gradient_error(CrossEntropy(), outputs, targets, gradient * 1.0005) > 1e-6


def test_mse_with_values_has_the_gradient_of_finite_differences() -> None:
    outputs, _ = outputs_and_classes()
    targets = np.random.default_rng(1).standard_normal(outputs.shape)
    gradient = MSE().backward(MSE().forward(outputs, targets)[1], 0.3)
    assert worst_gradient_error(MSE(), outputs, targets, gradient) < 1e-8


def test_cross_entropy_of_equal_logits_is_the_log_of_the_number_of_classes() -> None:
    losses, cache = CrossEntropy().forward(np.zeros((2, 4)), np.array([0, 3]))
    np.testing.assert_allclose(losses, [math.log(4)] * 2)
    np.testing.assert_allclose(
        CrossEntropy().backward(cache, 0.5), [[-0.375, 0.125, 0.125, 0.125], [0.125, 0.125, 0.125, -0.375]]
    )


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_extreme_logits_do_not_overflow(dtype: str, smoothing: float) -> None:
    outputs = np.array([[1e4, -1e4, 0.0], [1e4, -1e4, 0.0]], dtype)
    loss = CrossEntropy(smoothing)
    losses, cache = loss.forward(outputs, np.array([0, 1]))
    mean_gap = 1e4  # of the logits below the largest: (0 + 20,000 + 10,000) / 3
    np.testing.assert_allclose(losses, [smoothing * mean_gap, (1 - smoothing) * 2e4 + smoothing * mean_gap], rtol=1e-6)
    assert np.isfinite(loss.backward(cache, 1.0)).all()


def test_mse_averages_over_the_features() -> None:
    losses, cache = MSE().forward(np.array([[1.0, 2.0], [0.0, 0.0]]), np.array([[0.0, 0.0], [3.0, 1.0]]))
    np.testing.assert_allclose(losses, [2.5, 5.0])
    np.testing.assert_allclose(MSE().backward(cache, 2.0), [[2.0, 4.0], [-6.0, -2.0]])


def test_mse_takes_class_indices_as_one_hot() -> None:
    outputs, classes = outputs_and_classes()
    by_class, by_value = MSE().forward(outputs, classes), MSE().forward(outputs, np.eye(5)[classes])
    np.testing.assert_array_equal(by_class[0], by_value[0])
    np.testing.assert_array_equal(MSE().backward(by_class[1], 1.0), MSE().backward(by_value[1], 1.0))


@pytest.mark.parametrize("loss", CASES, ids=repr)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_dtype_and_the_inputs_are_kept(loss: Loss, dtype: str) -> None:
    outputs, targets = outputs_and_classes(dtype)
    before = outputs.copy()
    losses, cache = loss.forward(outputs, targets)
    first = loss.backward(cache, 0.5)
    assert losses.dtype == first.dtype == np.dtype(dtype)
    np.testing.assert_array_equal(outputs, before)
    np.testing.assert_array_equal(loss.backward(cache, 0.5), first)


def test_mse_with_float64_values_keeps_float32() -> None:
    losses, cache = MSE().forward(np.ones((2, 3), np.float32), np.zeros((2, 3)))
    assert losses.dtype == MSE().backward(cache, 1.0).dtype == np.float32


@pytest.mark.parametrize("loss", CASES, ids=repr)
def test_strides_do_not_matter_and_are_kept(loss: Loss) -> None:
    outputs, targets = outputs_and_classes()
    plain, samples_fastest = loss.forward(outputs, targets), loss.forward(np.asfortranarray(outputs), targets)
    np.testing.assert_allclose(samples_fastest[0], plain[0], rtol=1e-14)
    gradient = loss.backward(samples_fastest[1], 1.0)
    np.testing.assert_allclose(gradient, loss.backward(plain[1], 1.0), rtol=1e-14)
    assert gradient.flags.f_contiguous


@pytest.mark.parametrize("shape", [(0, 3), (0, 3, 2, 4)], ids=["samples", "pixels"])
@pytest.mark.parametrize("loss", BASIC)
def test_no_samples_give_no_losses(loss: type[Loss], shape: tuple[int, ...]) -> None:
    targets = np.empty((0, *shape[2:]), np.int64) if loss is CrossEntropy else np.empty(shape)
    losses, cache = loss().forward(np.empty(shape), targets)
    assert losses.shape == (0,)
    assert loss().backward(cache, 1.0).shape == shape


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.9])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_cross_entropy_equals_pytorch(smoothing: float, dtype: str) -> None:
    torch = pytest.importorskip("torch", reason="torch==2.13.0 is not installed")
    outputs, targets = outputs_and_classes(dtype, n=64, k=10)
    theirs = torch.tensor(outputs, requires_grad=True)
    expected = torch.nn.CrossEntropyLoss(label_smoothing=smoothing)(theirs, torch.tensor(targets))
    expected.backward()
    losses, cache = CrossEntropy(smoothing).forward(outputs, targets)
    tolerance = 1e-6 if dtype == "float32" else 1e-14
    np.testing.assert_allclose(losses.mean(), expected.item(), rtol=tolerance)
    gradient = CrossEntropy(smoothing).backward(cache, 1 / 64)
    np.testing.assert_allclose(gradient, theirs.grad.numpy(), rtol=0, atol=tolerance)


def test_mse_equals_pytorch() -> None:
    torch = pytest.importorskip("torch", reason="torch==2.13.0 is not installed")
    outputs, _ = outputs_and_classes("float32", n=64)
    targets = np.random.default_rng(1).standard_normal(outputs.shape).astype("float32")
    theirs = torch.tensor(outputs, requires_grad=True)
    expected = torch.nn.MSELoss()(theirs, torch.tensor(targets))
    expected.backward()
    losses, cache = MSE().forward(outputs, targets)
    np.testing.assert_allclose(losses.mean(), expected.item(), rtol=1e-6)
    np.testing.assert_allclose(MSE().backward(cache, 1 / 64), theirs.grad.numpy(), rtol=1e-6)


@pytest.mark.parametrize("loss", [CrossEntropy, MSE])
@pytest.mark.parametrize(("index", "where"), [(5, 1), (-1, 1)])
def test_a_class_index_out_of_range_is_named(loss: type[Loss], index: int, where: int) -> None:
    with pytest.raises(ShapeError) as error:
        loss().forward(np.zeros((3, 5)), np.array([0, index, 4]))
    assert str(error.value) == (
        f"the network has 5 outputs, so class indices must be 0 to 4; target {where} is {index}: "
        "give the last layer one output for each class, or correct the targets"
    )


@pytest.mark.parametrize(
    "targets", [np.zeros(3, np.int64), np.zeros(2), np.zeros((2, 4))], ids=["count", "dtype", "2d"]
)
def test_cross_entropy_refuses_targets_that_are_not_class_indices(targets: Array) -> None:
    with pytest.raises(ShapeError) as error:
        CrossEntropy().forward(np.zeros((2, 5)), targets)
    assert str(error.value) == (
        "the targets must be class indices, integers of shape (2,) for outputs of shape (2, 5); "
        f"got {targets.dtype} of shape {targets.shape}"
    )


@pytest.mark.parametrize("targets", [np.zeros(2), np.zeros((2, 4))], ids=["1d floats", "features"])
def test_mse_refuses_targets_of_another_shape(targets: Array) -> None:
    with pytest.raises(ShapeError) as error:
        MSE().forward(np.zeros((2, 5)), targets)
    assert str(error.value) == (
        "the targets must have the shape (2, 5) of the outputs, or be class indices, integers of shape (2,); "
        f"got float64 of shape {targets.shape}: reshape them, or change the last layer"
    )


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("shape", [(2,), (2, 0), (2, 3, 0), (2, 3, 0, 4), (2, 3, 4, 5, 6)])
def test_outputs_that_are_neither_scores_nor_images_are_refused(loss: type[Loss], shape: tuple[int, ...]) -> None:
    with pytest.raises(ShapeError) as error:
        loss().forward(np.zeros(shape), np.zeros(2, np.int64))
    assert str(error.value) == (
        "a loss needs network outputs of shape (N, K), or (N, K, L) for each step of a signal, or (N, K, H, W) for "
        f"each pixel, got {shape}: end the network with a Flatten() or Dense(...) layer"
    )


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("has_shares", [False, True])
def test_many_pixels_are_computed_some_at_a_time(
    smoothing: float, has_shares: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(0)
    outputs = rng.standard_normal((9, 5, 8, 7)).astype(np.float32)
    classes = rng.integers(0, 5, (9, 8, 7))
    targets: Array = np.eye(5, dtype=np.float32)[classes].transpose(0, 3, 1, 2) if has_shares else classes
    loss, found = CrossEntropy(smoothing), []
    for rows in (1_000, 100):  # of 504
        monkeypatch.setattr(cross_entropy, "AT_ONCE", rows)
        losses, cache = loss.forward(outputs, targets)
        found.append((losses.tobytes(), loss.backward(cache, 0.3).tobytes()))
    assert found[0] == found[1]


def test_a_loss_of_pixels_is_the_mean_over_them() -> None:
    rng = np.random.default_rng(5)
    outputs, classes = rng.normal(size=(3, 4, 2, 5)), rng.integers(0, 4, (3, 2, 5))
    losses, cache = CrossEntropy(0.1).forward(outputs, classes)
    gradient = CrossEntropy(0.1).backward(cache, 0.5)
    for i, j in np.ndindex(2, 5):
        one, one_cache = CrossEntropy(0.1).forward(outputs[:, :, i, j], classes[:, i, j])
        losses -= one / 10
        np.testing.assert_allclose(gradient[:, :, i, j], CrossEntropy(0.1).backward(one_cache, 0.05), atol=1e-15)
    np.testing.assert_allclose(losses, 0, atol=1e-14)


@pytest.mark.parametrize("shape", [(6, 3), (6, 3, 4, 2)], ids=["samples", "pixels"])
@pytest.mark.parametrize("loss", BASIC)
def test_losses_equal_pytorch_for_samples_and_pixels(loss: type[Loss], shape: tuple[int, ...]) -> None:
    torch = pytest.importorskip("torch", reason="torch==2.13.0 is not installed")
    rng = np.random.default_rng(2)
    outputs = (3 * rng.normal(size=shape)).astype(np.float32)
    targets: Array = rng.integers(0, 3, (6, *shape[2:]))
    twin = torch.nn.CrossEntropyLoss
    if loss is BinaryCrossEntropy:
        targets, twin = rng.integers(0, 2, shape).astype(np.float32), torch.nn.BCEWithLogitsLoss
    elif loss is MSE:
        targets, twin = rng.normal(size=shape).astype(np.float32), torch.nn.MSELoss
    theirs = torch.tensor(outputs, requires_grad=True)
    expected = twin()(theirs, torch.tensor(targets))
    expected.backward()
    losses, cache = loss().forward(outputs, targets)
    np.testing.assert_allclose(losses.mean(), expected.item(), rtol=1e-6)
    np.testing.assert_allclose(loss().backward(cache, 1 / 6), theirs.grad.numpy(), rtol=1e-5, atol=1e-7)


def test_extreme_logits_of_labels_do_not_overflow() -> None:
    outputs, targets = np.array([[1e4, -1e4], [1e4, -1e4]], np.float32), np.array([[1, 0], [0, 1]])
    losses, cache = BinaryCrossEntropy().forward(outputs, targets)
    np.testing.assert_array_equal(losses, [0, 1e4])
    np.testing.assert_array_equal(BinaryCrossEntropy().backward(cache, 2.0), [[0, 0], [1, -1]])


@pytest.mark.parametrize(
    ("targets", "expected"),
    [
        (
            np.zeros(2, np.int64),
            "the targets must say of each label whether it is there, zeros and ones of the outputs' shape (2, 3); "
            "got int64 of shape (2,): for one class of several, use the loss CrossEntropy()",
        ),
        (
            np.array([[0, 1, 0], [0, 2, 0]]),
            "the targets must be 0 to 1, one for each label; target 1 is [0 2 0]: for values to regress, use the loss "
            "MSE()",
        ),
    ],
    ids=["classes", "counts"],
)
def test_targets_that_are_no_labels_are_refused(targets: Array, expected: str) -> None:
    with pytest.raises(ShapeError) as error:
        BinaryCrossEntropy().forward(np.zeros((2, 3)), targets)
    assert str(error.value) == expected


def test_a_class_of_a_pixel_out_of_range_is_named_with_its_pixel() -> None:
    targets = np.zeros((2, 3, 4), np.int64)
    targets[1, 2, 3] = 9
    with pytest.raises(ShapeError, match=r"target 1 at pixel \(2, 3\) is 9"):
        CrossEntropy().forward(np.zeros((2, 5, 3, 4)), targets)


class Counts(MSE):
    """Values that happen to be whole numbers, such as those of a Poisson regression."""

    gives = "values"
    task = Loss.task


INDICES, PIXELS = np.zeros(3, np.int64), np.zeros((3, 2, 2), np.int64)


@pytest.mark.parametrize(
    ("loss", "targets", "outputs", "task"),
    [
        (CrossEntropy(), INDICES, (4,), Task("classes", from_logits=True)),
        (CrossEntropy(), np.zeros((3, 4)), (4,), Task("classes", from_logits=True)),
        (CrossEntropy(), PIXELS, (4, 2, 2), Task("classes", from_logits=True)),
        (BinaryCrossEntropy(), np.zeros((3, 4), np.int64), (4,), Task("labels", from_logits=True)),
        (MSE(), np.zeros((3, 4)), (4,), Task("values")),
        (MSE(), np.zeros((3, 4), np.int64), (4,), Task("values")),
        (MSE(), INDICES, (4,), Task("classes")),
        (MSE(), np.zeros((3, 1, 2, 2), np.uint8), (1, 2, 2), Task("values")),
        (MSE(), np.zeros((3, 4, 2, 2), np.int64), (4, 2, 2), Task("values")),
        (Counts(), INDICES, (1,), Task("values")),
        (Loss(), np.zeros((3, 4)), (4,), Task("values")),
        (Loss(), INDICES, (4,), Task("classes")),
    ],
)
def test_a_loss_says_what_a_network_is_for(loss: Loss, targets: Array, outputs: tuple[int, ...], task: Task) -> None:
    assert loss.task(targets, outputs) == task


def test_each_loss_says_its_task_and_whether_it_takes_logits() -> None:
    assert {loss.__name__: (loss.gives, loss.from_logits) for loss in LOSSES} == {
        "BinaryCrossEntropy": ("labels", True),
        "CrossEntropy": ("classes", True),
        "Dice": ("classes", True),
        "Focal": ("classes", True),
        "Hinge": ("classes", False),
        "Huber": ("values", False),
        "Jaccard": ("classes", True),
        "KLDiv": ("classes", True),
        "LogCosh": ("values", False),
        "MAE": ("values", False),
        "MSE": ("values", False),
        "NLL": ("classes", True),
        "SupCon": ("values", False),
    }
