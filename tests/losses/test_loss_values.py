"""What is special to single losses: what is ignored, weights, extremes, published values, and what they refuse."""

from __future__ import annotations

import math

import numpy as np
import pytest

from cnnkit.components import Loss, installed_catalog
from cnnkit.errors import ConfigError, ShapeError
from cnnkit.losses import MAE, NLL, BinaryCrossEntropy, CrossEntropy, Dice, Focal, Hinge, Huber, Jaccard, KLDiv, LogCosh
from cnnkit.losses.cross_entropy import WeightedCrossEntropy
from cnnkit.training.class_balance import weighted
from cnnkit.types import Array

RNG = np.random.default_rng(3)
IMAGES, MASKS = RNG.normal(size=(3, 4, 5, 2)), RNG.integers(0, 4, (3, 5, 2))
IGNORING: list[Loss] = [
    CrossEntropy(ignore_index=9),
    CrossEntropy(0.1, ignore_index=9),
    WeightedCrossEntropy([1.0, 2.0, 0.5, 3.0], ignore_index=9),
    Focal(ignore_index=9),
    NLL(ignore_index=9),
    Hinge(ignore_index=9),
]


@pytest.mark.parametrize("loss", IGNORING, ids=repr)
def test_ignored_pixels_have_no_part_in_loss_and_gradient(loss: Loss) -> None:
    masks = MASKS.copy()
    masks[0, 1:] = 9
    masks[1] = 9
    losses, cache = loss.forward(IMAGES, masks)
    gradient = loss.backward(cache, 2.0)
    few, few_cache = loss.forward(IMAGES[:1, :, :1], masks[:1, :1])
    all_counted, _ = loss.forward(IMAGES[2:], MASKS[2:])
    np.testing.assert_allclose(losses, [few[0], 0, all_counted[0]], rtol=1e-12)
    np.testing.assert_allclose(gradient[:1, :, :1], loss.backward(few_cache, 2.0), rtol=1e-12)
    assert not gradient[0, :, 1:].any()
    assert not gradient[1].any()


@pytest.mark.parametrize("loss", IGNORING, ids=repr)
def test_ignored_samples_lose_nothing(loss: Loss) -> None:
    outputs, targets = IMAGES[:, :, 0, 0], np.array([1, 9, 2])
    losses, cache = loss.forward(outputs, targets)
    some, _ = loss.forward(outputs[[0, 2]], targets[[0, 2]])
    np.testing.assert_allclose(losses, [some[0], 0, some[1]])
    assert not loss.backward(cache, 1.0)[1].any()


@pytest.mark.parametrize("loss", [Dice(ignore_index=9), Jaccard(ignore_index=9)], ids=repr)
def test_ignored_pixels_have_no_part_in_an_overlap(loss: Loss) -> None:
    masks = MASKS.copy()
    masks[:, 3:] = 9
    losses, cache = loss.forward(IMAGES, masks)
    expected, expected_cache = loss.forward(IMAGES[:, :, :3], masks[:, :3])
    np.testing.assert_allclose(losses, expected, rtol=1e-12)
    gradient = loss.backward(cache, 1.0)
    np.testing.assert_allclose(gradient[:, :, :3], loss.backward(expected_cache, 1.0), rtol=1e-9, atol=1e-15)
    assert not gradient[:, :, 3:].any()
    none, cache = loss.forward(IMAGES, np.full_like(masks, 9))
    assert not none.any()
    assert not loss.backward(cache, 1.0).any()


def test_ignored_targets_may_be_of_any_kind_of_integers() -> None:
    masks = MASKS.astype(np.uint8)
    masks[0] = 255
    assert CrossEntropy(ignore_index=255).forward(IMAGES, masks)[0][0] == 0
    np.testing.assert_allclose(
        CrossEntropy(ignore_index=-100).forward(IMAGES, masks % 4)[0],
        CrossEntropy().forward(IMAGES, masks % 4)[0],
        1e-14,
    )


def test_a_class_that_is_not_ignored_is_refused() -> None:
    with pytest.raises(ShapeError, match=r"class indices must be 0 to 3; target 0 at pixel .* is 8"):
        CrossEntropy(ignore_index=9).forward(IMAGES, np.where(MASKS == 1, 8, 9))


def test_weights_of_classes_keep_what_is_ignored() -> None:
    made = weighted(CrossEntropy(0.2, ignore_index=7), (1.0, 2.0))
    assert isinstance(made, WeightedCrossEntropy)
    assert (made.class_weight, made.label_smoothing, made.ignore_index) == ([1.0, 2.0], 0.2, 7)


def test_pixels_of_labels_are_weighted_by_channel() -> None:
    outputs, targets = RNG.normal(size=(4, 2, 3, 3)), RNG.integers(0, 2, (4, 2, 3, 3))
    both = BinaryCrossEntropy([0.5, 3.0]).forward(outputs, targets)[0]
    parts = [
        BinaryCrossEntropy(w).forward(outputs[:, [at]], targets[:, [at]])[0] / 2 for at, w in enumerate((0.5, 3.0))
    ]
    np.testing.assert_allclose(both, sum(parts), rtol=1e-12)


def test_another_number_of_weights_than_labels_is_refused() -> None:
    with pytest.raises(ShapeError) as caught:
        BinaryCrossEntropy([1.0, 2.0]).forward(np.zeros((2, 3)), np.zeros((2, 3)))
    assert str(caught.value) == (
        "pos_weight needs one weight for each of the 3 labels, or one for all of them; got 2: [1.0, 2.0]"
    )


EXTREMES = [Focal(), Focal(0.5), NLL(), BinaryCrossEntropy(3.0), Huber(), LogCosh(), MAE()]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("loss", EXTREMES, ids=repr)
def test_extreme_outputs_do_not_overflow(loss: Loss, dtype: str) -> None:
    outputs = np.array([[1e4, -1e4, 0.0], [-1e4, 1e4, 1e4], [0.0, 0.0, 0.0]], dtype)
    targets = np.array([[1, 0, 0], [1, 0, 0], [0, 1, 0]])
    losses, cache = loss.forward(outputs, targets)
    assert np.isfinite(losses).all()
    assert np.isfinite(loss.backward(cache, 1.0)).all()


def test_focal_without_focus_is_cross_entropy() -> None:
    one, other = Focal(0.0), CrossEntropy()
    (losses, cache), (expected, expected_cache) = (loss.forward(IMAGES, MASKS) for loss in (one, other))
    np.testing.assert_allclose(losses, expected, rtol=1e-12)
    np.testing.assert_allclose(one.backward(cache, 1.0), other.backward(expected_cache, 1.0), atol=1e-15)


def test_nll_of_a_log_softmax_is_cross_entropy() -> None:
    log_p = IMAGES - np.log(np.exp(IMAGES).sum(axis=1, keepdims=True))
    np.testing.assert_allclose(NLL().forward(log_p, MASKS)[0], CrossEntropy().forward(IMAGES, MASKS)[0])
    np.testing.assert_allclose(KLDiv().forward(log_p, MASKS)[0], CrossEntropy().forward(IMAGES, MASKS)[0])
    equal = np.exp(log_p[:, :, 0, 0])
    np.testing.assert_allclose(KLDiv().forward(np.log(equal), equal)[0], 0, atol=1e-15)


def test_hinge_is_0_ahead_of_the_margin() -> None:
    outputs = np.array([[3.0, 1.0, 2.5], [0.0, 0.0, 0.0]])
    losses, cache = Hinge().forward(outputs, np.array([0, 2]))
    np.testing.assert_allclose(losses, [0.5 / 3, 2 / 3])
    third = 1 / 3
    np.testing.assert_allclose(Hinge().backward(cache, 1.0), [[-third, 0, third], [third, third, -2 * third]])


def test_huber_and_log_cosh_are_squares_of_small_and_lines_of_large_differences() -> None:
    d = np.array([[1e-3, -1e-3], [30.0, -40.0]])
    np.testing.assert_allclose(Huber(2.0).forward(d, 0 * d)[0], [5e-7, (2 * 29 + 2 * 39) / 2])
    np.testing.assert_allclose(LogCosh().forward(d, 0 * d)[0], [5e-7, 35 - math.log(2)], rtol=1e-6)
    tiny = np.full((1, 1), 1e-3, np.float32)
    np.testing.assert_allclose(LogCosh().forward(tiny, 0 * tiny)[0], 5e-7, rtol=1e-5)


def test_overlaps_of_right_and_wrong_regions() -> None:
    right = 100.0 * (MASKS[:, None] == np.arange(4)[:, None, None])
    wrong = np.roll(right, 1, axis=1)
    for loss in (Dice(1e-6), Jaccard(1e-6)):
        np.testing.assert_allclose(loss.forward(right, MASKS)[0], 0, atol=1e-6)
        assert (loss.forward(wrong, MASKS)[0] > 0.99).all()


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("Focal(-1.0)", "gamma must be a number, 0 or above, got -1.0"),
        ("Hinge(0.0)", "margin must be a number above 0, got 0.0"),
        ("Hinge(p=3)", "p must be 1 or 2, got 3"),
        ("Hinge(p=0.5)", "p must be a whole number, 1 or above, got 0.5"),
        ("Huber(0)", "delta must be a number above 0, got 0"),
        ("Dice(0)", "smooth must be a number above 0, got 0"),
        ("Jaccard(True)", "smooth must be a number above 0, got True"),
        ("NLL(0.5)", "ignore_index must be a whole number, or None for none, got 0.5"),
        ("CrossEntropy(ignore_index=True)", "ignore_index must be a whole number, or None for none, got True"),
        ("BinaryCrossEntropy([1.0, -2.0])", "pos_weight[1] must be a number above 0, got -2.0"),
        ("BinaryCrossEntropy('all')", "pos_weight must be a number above 0, got 'all'"),
    ],
)
def test_wrong_arguments_are_named(expression: str, expected: str) -> None:
    with pytest.raises(ConfigError) as caught:
        installed_catalog().build("loss", expression)
    assert str(caught.value).endswith(expected)


@pytest.mark.parametrize(
    ("loss", "outputs", "targets", "expected"),
    [
        (
            Dice(),
            np.zeros((2, 3)),
            np.zeros(2, np.int64),
            "Dice compares regions of images, outputs of shape (N, K, H, W); got (2, 3): for one class of each sample, "
            "use the loss CrossEntropy()",
        ),
        (
            Hinge(),
            np.zeros((2, 3)),
            np.eye(3)[:2],
            "Hinge needs one right class, integers of shape (2,); got float64 of shape (2, 3): for shares of the "
            "classes, use the loss CrossEntropy()",
        ),
        (
            KLDiv(),
            np.zeros((2, 2)),
            np.array([[0.5, 0.5], [0.5, 0.6]]),
            "the targets must be class indices, or for each sample shares of the classes that add up to 1; target 1 is "
            "[0.5 0.6]: for values to regress, use the loss MSE()",
        ),
    ],
)
def test_what_does_not_fit_is_refused(loss: Loss, outputs: Array, targets: Array, expected: str) -> None:
    with pytest.raises(ShapeError) as caught:
        loss.forward(outputs, targets)
    assert str(caught.value) == expected
