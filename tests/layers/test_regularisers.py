"""What layers that draw random numbers in training promise of these."""

from __future__ import annotations

import numpy as np
import pytest

from cnnkit.components import Layer, installed_catalog
from cnnkit.errors import ConfigError, ShapeError
from cnnkit.layers import AlphaDropout, Dropout, DropPath, GaussianNoise, SpatialDropout2D
from cnnkit.layers.dropout import LOW
from cnnkit.testing import PlainContext
from cnnkit.types import Array

ALL = [AlphaDropout(0.3), DropPath(0.3), Dropout(0.3), GaussianNoise(0.3), SpatialDropout2D(0.3)]
LEVEL = 2**-16


def trained(layer: Layer, x: Array, seed: int = 0) -> Array:
    return layer.forward(x, PlainContext(seed=seed, dtype=x.dtype))[0]


@pytest.mark.parametrize("layer", ALL, ids=repr)
def test_prediction_gives_the_input_itself(layer: Layer) -> None:
    x, ctx = np.ones((2, 3, 4, 5), "f4"), PlainContext(training=False, dtype="f4")
    y, cache = layer.forward(x, ctx)
    assert y is x
    assert layer.backward(x, cache, ctx)[0] is x


@pytest.mark.parametrize("layer", ALL, ids=repr)
def test_what_is_drawn_depends_on_the_generator_alone_and_on_no_memory_order(layer: Layer) -> None:
    x = np.random.default_rng(0).normal(size=(6, 3, 4, 5)).astype("f4")
    y = trained(layer, x, seed=1)
    np.testing.assert_array_equal(y, trained(layer, x, seed=1))
    assert not np.array_equal(y, trained(layer, x, seed=2))
    engines = np.ascontiguousarray(x.transpose(2, 3, 1, 0)).transpose(3, 2, 0, 1)
    np.testing.assert_array_equal(y, trained(layer, engines, seed=1))


@pytest.mark.parametrize(("layer", "alike"), [(SpatialDropout2D(0.25), (2, 3)), (DropPath(0.25), (1, 2, 3))], ids=repr)
def test_channels_and_samples_are_dropped_as_a_whole(layer: Layer, alike: tuple[int, ...]) -> None:
    x = np.random.default_rng(0).uniform(1, 2, (400, 10, 2, 3))
    factors = trained(layer, x) / x
    np.testing.assert_allclose(factors.min(axis=alike), factors.max(axis=alike), rtol=1e-12)
    each = factors.min(axis=alike)
    assert np.abs(each[each > 0] - 4 / 3).max() <= 1e-12
    assert abs((each == 0).mean() - 0.25) <= 5 * np.sqrt(0.25 * 0.75 / each.size)
    if each.ndim == 2:  # all channels of a sample, and all samples of a channel, are drawn apart
        assert len(np.unique(each, axis=0)) > 100
        assert len(np.unique(each, axis=1).T) == 10


def test_alpha_dropout_keeps_mean_and_variance() -> None:
    x = np.random.default_rng(0).normal(size=(400, 1000))
    for rate in (0.05, 0.3, 0.9):
        y = trained(AlphaDropout(rate), x)
        assert abs(y.mean()) <= 0.01
        assert abs(y.var() - 1) <= 0.02
        kept = 1 - round(rate / LEVEL) * LEVEL
        stretch = (kept + LOW**2 * kept * (1 - kept)) ** -0.5
        dropped = np.isclose(y, stretch * LOW * kept, rtol=1e-12)
        assert abs(dropped.mean() - rate) <= 5 * np.sqrt(rate / y.size)
        np.testing.assert_allclose(y[~dropped], (stretch * x - stretch * (1 - kept) * LOW)[~dropped], atol=1e-12)
    np.testing.assert_array_equal(trained(AlphaDropout(0), x), x)


def test_alpha_dropout_has_the_constants_of_pytorch() -> None:
    torch = pytest.importorskip("torch", reason="torch==2.13.0 is not installed")
    torch.manual_seed(0)
    y = torch.nn.AlphaDropout(0.25)(torch.zeros(1000, dtype=torch.float64)).numpy()
    ours = trained(AlphaDropout(0.25), np.zeros((1, 1000)))
    np.testing.assert_allclose(np.unique(ours), np.unique(y), rtol=1e-6)


def test_gaussian_noise() -> None:
    x = np.full((300, 1000), 2.0, "f4")
    noise = trained(GaussianNoise(0.5), x) - x
    assert noise.dtype == np.float32
    assert abs(noise.mean()) <= 0.005
    assert abs(noise.std() / 0.5 - 1) <= 0.01
    assert abs((np.abs(noise) < 0.5).mean() - 0.6827) <= 0.005
    np.testing.assert_array_equal(trained(GaussianNoise(0), x), x)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("AlphaDropout(1.0)", "rate must be a number with 0 <= rate < 1, got 1.0"),
        ("DropPath(-0.1)", "rate must be a number with 0 <= rate < 1, got -0.1"),
        ('SpatialDropout2D("0.5")', "rate must be a number with 0 <= rate < 1, got '0.5'"),
        ("GaussianNoise(-1)", "stddev must be a number, 0 or above, got -1"),
    ],
)
def test_bad_arguments(text: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        installed_catalog().build("layer", text)
    assert str(caught.value) == f"{text}: {message}"


def test_channels_are_dropped_of_images_only() -> None:
    with pytest.raises(ShapeError) as caught:
        SpatialDropout2D(0.5).build((10,), np.random.default_rng(0))
    assert str(caught.value) == (
        "SpatialDropout2D expects an input of shape (channels, height, width), got (10,); put SpatialDropout2D before "
        "Flatten() and Dense(...)"
    )
