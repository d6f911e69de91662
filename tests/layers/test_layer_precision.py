"""Precision: what layers and losses give in float32 is within a few units in the last place of what float64 says."""

from __future__ import annotations

import numpy as np
import pytest

from cnnkit.components import Layer, Loss
from cnnkit.layers import AvgPool2D, LPPool2D, MaxPool2D, Softmax
from cnnkit.losses import MSE, BinaryCrossEntropy, CrossEntropy
from cnnkit.network import Sequential
from cnnkit.testing import PlainContext
from cnnkit.types import Array, Shape

FEW = 4
"""Units in the last place."""
RNG = np.random.default_rng


def units(actual: Array, exact: Array) -> float:
    """The largest error, in units of the last place of float32."""
    assert actual.dtype == np.float32
    return float((np.abs(actual - exact) / np.spacing(np.abs(exact).astype("f4"))).max())


def there_and_back(layer: Layer, x: Array, dy: Array) -> tuple[Array, Array]:
    ctx = PlainContext(dtype=x.dtype)
    y, cache = layer.forward(x, ctx)
    return y, layer.backward(dy, cache, ctx)[0]


def in_both(layer: Layer, x: Array, dy: Array) -> tuple[tuple[Array, Array], tuple[Array, Array]]:
    """Forward and backward in float32 and in float64."""
    return there_and_back(layer, x, dy), there_and_back(layer, x.astype("f8"), dy.astype("f8"))


@pytest.mark.parametrize("classes", [10, 1000, 100_000])
def test_softmax_over_many_classes(classes: int) -> None:
    x = np.asfortranarray(RNG(0).integers(-2, 2, (8, classes)).astype("f4"))  # as the kernels keep them
    dy = np.asfortranarray(RNG(1).uniform(size=(8, classes)).astype("f4"))
    (y, dx), (y_exact, dx_exact) = in_both(Softmax(), x, dy)
    assert units(y, y_exact) <= FEW
    # dx / y is a difference of numbers of the size of dy.
    assert np.abs(dx / y - dx_exact / y_exact).max() <= FEW * np.spacing(np.float32(1))


def test_probabilities_of_pixels_with_many_classes() -> None:
    model = Sequential(["Conv2D(3000, 1)"], (2, 1, 2))
    x = RNG(0).normal(size=(3, 2, 1, 2)).astype("f4")
    powers = np.exp((logits := model.logits(x)) - logits.max(axis=1, keepdims=True))
    exact = powers / powers.sum(axis=1, keepdims=True, dtype=np.float64)
    assert units(model.predict_proba(x), exact) <= 1


@pytest.mark.parametrize("loss", [CrossEntropy(), CrossEntropy(label_smoothing=0.5), MSE()], ids=repr)
@pytest.mark.parametrize("targets", ["classes", "shares"])
@pytest.mark.parametrize("count", [10, 1000, 100_000])
def test_losses_of_many_outputs(loss: Loss, targets: str, count: int) -> None:
    outputs = np.asfortranarray(RNG(0).integers(-6, 6, (8, count)).astype("f4")) / 3
    t = RNG(1).integers(0, count, 8) if targets == "classes" else RNG(1).dirichlet(np.ones(count), 8)
    losses, cache = loss.forward(outputs, t)
    exact, exact_cache = loss.forward(outputs.astype("f8"), t)
    assert units(losses, exact) <= FEW
    if isinstance(loss, CrossEntropy):
        assert units(cache[0][0], exact_cache[0][0]) <= FEW


@pytest.mark.parametrize("loss", [BinaryCrossEntropy(), CrossEntropy(), CrossEntropy(0.5), MSE()], ids=repr)
def test_losses_of_pixels(loss: Loss) -> None:
    outputs = (RNG(0).integers(-6, 6, (50, 60, 40, 8)).astype("f4") / 3).transpose(
        3, 2, 0, 1
    )  # as the kernels keep them
    t = RNG(1).integers(0, 40, (8, 50, 60)) if isinstance(loss, CrossEntropy) else RNG(1).integers(0, 2, outputs.shape)
    assert units(loss.forward(outputs, t)[0], loss.forward(outputs.astype("f8"), t)[0]) <= FEW


def test_norms_of_numbers_whose_powers_would_overflow() -> None:
    for size, norm in ((1e30, 4.0), (1e-30, 4.0), (1e30, 2), (1e-40, 3)):
        x = np.full((1, 1, 2, 2), size, "f4")
        layer = LPPool2D(norm, 2)
        layer.build((1, 2, 2), RNG(0))
        y, dx = there_and_back(layer, x, np.ones((1, 1, 1, 1), "f4"))
        np.testing.assert_allclose(y, float(x.flat[0]) * 4 ** (1 / norm), rtol=1e-4 if size == 1e-40 else 1e-6)
        np.testing.assert_allclose(dx, 4 ** (1 / norm - 1), rtol=1e-4 if size == 1e-40 else 1e-6)


def pooled(layer: Layer, shape: Shape) -> tuple[Array, Array]:
    """Inputs and gradients above 0; one number of each channel is larger than all others."""
    out_shape = layer.build(shape, RNG(0))
    x = RNG(0).uniform(size=(4, *shape)).astype("f4")
    x[:, :, shape[1] // 2, shape[2] // 2] = 2
    return x, RNG(1).uniform(size=(4, *out_shape)).astype("f4")


@pytest.mark.parametrize("layer", [AvgPool2D(100), AvgPool2D(40, 1), MaxPool2D(40, 1), AvgPool2D(3, 2)], ids=repr)
def test_pooling_over_large_windows(layer: Layer) -> None:
    (y, dx), (y_exact, dx_exact) = in_both(layer, *pooled(layer, (2, 100, 100)))
    assert units(y, y_exact) <= FEW
    assert units(dx, dx_exact) <= FEW


@pytest.mark.parametrize("size", [8, 32, 33, 56, 224])
def test_average_pooling_over_whole_images(size: int) -> None:
    x = RNG(0).uniform(size=(2, 3, size, size)).astype("f4")
    exact = x.mean(axis=(2, 3), keepdims=True, dtype=np.float64)
    for layer in (f"AvgPool2D({size})", "GlobalAvgPool2D(keepdims=True)"):
        assert units(Sequential([layer], (3, size, size)).logits(x), exact) <= FEW
