"""Elastic: its fields, its images, its contract, and that networks learn from them."""

from __future__ import annotations

import os

import numpy as np
import pytest
from cnnkit_elastic import Elastic, smoothing

from cnnkit import Augmented, Sequential, Trainer, load_dataset
from cnnkit.plugin import Array, Augmentation, ConfigError, Draws, Shape
from cnnkit.testing import check_augmentation

ndimage = pytest.importorskip("scipy.ndimage", reason="scipy, which comes with scikit-learn, is not installed")


class Noise(Augmentation):
    """The random numbers that another augmentation is given in the same place."""

    def apply(self, x: Array, draws: Draws) -> Array:
        return draws.uniform(-1.0, 1.0, *x.shape[1:])


def applied(one: Augmentation, x: Array) -> Array:
    """What becomes of images in the first epoch."""
    return Augmented(x, np.zeros(len(x), np.int64), [one]).at(np.arange(len(x)), seed=0, epoch=0).x


def images(samples: int, *shape: int) -> Array:
    return np.random.default_rng(0).uniform(0, 255, (samples, *shape)).astype(np.float32)


@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 32, 32), (2, 9, 14), (1, 1, 6), (1, 1, 1)], ids=str)
@pytest.mark.parametrize("text", ["Elastic()", "Elastic(alpha=8, sigma=1.5, fill=3.0)"])
def test_contract(text: str, shape: Shape) -> None:
    check_augmentation(text, shape)


@pytest.mark.parametrize(("alpha", "sigma"), [(34.0, 4.0), (8.0, 1.0), (100.0, 10.0)])
def test_images_are_those_of_scipy(alpha: float, sigma: float) -> None:
    x = images(3, 2, 20, 15)
    noise = applied(Noise(), x)  # two fields for each image, one for each channel here
    rows, columns = np.indices((20, 15))
    expected = np.empty_like(x)
    for i in range(3):
        u, v = (alpha * ndimage.gaussian_filter(field, sigma, mode="constant") for field in noise[i])
        for c in range(2):
            places = [rows + u, columns + v]
            expected[i, c] = ndimage.map_coordinates(x[i, c], places, order=1, mode="grid-constant", cval=9.0)
    np.testing.assert_allclose(applied(Elastic(alpha, sigma, fill=9.0), x), expected, atol=0.01)


@pytest.mark.parametrize("size", [1, 2, 9, 40])
@pytest.mark.parametrize("sigma", [1e-9, 0.3, 1.0, 4.0, 50.0])
def test_smoothing_is_scipys_gaussian(size: int, sigma: float) -> None:
    expected = ndimage.gaussian_filter1d(np.eye(size), sigma, axis=0, mode="constant")
    np.testing.assert_allclose(smoothing(size, sigma), expected, atol=1e-7)


def displacements(one: Elastic, samples: int, size: int) -> Array:
    """How far the middle of a ramp along the columns is moved, for each image."""
    ramp = np.broadcast_to(np.arange(size, dtype=np.float32), (samples, 1, size, size))
    return np.asarray(applied(one, ramp)[:, 0, size // 2] - np.arange(size, dtype=np.float32))


def test_displacements_are_as_large_as_said_and_smooth() -> None:
    found = displacements(Elastic(34.0, 4.0), 2000, 40)
    middle = found[:, 20]
    assert abs(middle.mean()) < 5 * 1.4 / np.sqrt(2000)
    assert abs(middle.std() / (34 / (6.1 * 4)) - 1) < 0.1
    # The autocorrelation of smoothed noise is exp(-d^2 / (4 sigma^2)).
    for distance in (1, 4, 8):
        correlation = np.corrcoef(middle, found[:, 20 + distance])[0, 1]
        assert abs(correlation - np.exp(-(distance**2) / 64)) < 0.08


@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 9, 14)], ids=str)
def test_without_strength_nothing_changes(shape: Shape) -> None:
    x = images(50, *shape)
    np.testing.assert_array_equal(applied(Elastic(0.0), x), x)
    assert (applied(Elastic(1.0), x) != x).any(axis=(1, 2, 3)).all()


def test_no_value_comes_from_elsewhere() -> None:
    y = applied(Elastic(200.0, 2.0, fill=2.0), np.full((60, 1, 28, 28), 7, np.float32))
    assert 2 <= y.min() < y.max() <= 7
    x = np.full((60, 1, 28, 28), 2, np.float32)
    x[1::2] = np.nan
    assert (applied(Elastic(200.0, 2.0, fill=2.0), x)[::2] == 2).all()


def test_wrong_arguments_are_explained() -> None:
    for alpha, sigma, message in (
        (-1.0, 4.0, "alpha must be a number with 0 <= alpha < 1e+06, got -1.0"),
        (34.0, 0.0, "sigma must be a number above 0, got 0.0"),
        (34.0, 1e9, "sigma must be a number with 0 <= sigma < 1000, got 1000000000.0"),
    ):
        with pytest.raises(ConfigError) as caught:
            Elastic(alpha, sigma)
        assert str(caught.value) == message
    with pytest.raises(ConfigError, match=r"^fill must be a finite number, got nan$"):
        Elastic(fill=float("nan"))


def test_it_is_found_by_its_name() -> None:
    expressions = ["Elastic(20, sigma=3)", "cnnkit-elastic:Elastic(20, sigma=3)"]
    assert Trainer(augmentations=expressions).augmentations == [Elastic(20, sigma=3)] * 2


def test_large_tiles_give_the_same_bits_as_small_ones() -> None:
    data = load_dataset("Digits()")
    samples = Augmented(data.train.x, data.train.y, [Elastic(8.0, 2.0)])
    whole = samples.at(np.arange(1000), 0, 0).x
    parts = [samples.at(np.arange(i, min(i + 37, 1000)), 0, 0).x for i in range(0, 1000, 37)]
    np.testing.assert_array_equal(np.concatenate(parts), whole)


def test_it_learns_the_digits_with_any_number_of_workers() -> None:
    data = load_dataset("Digits()")
    vectors = []
    for workers in (1, 2, 3):
        layers = ["Conv2D(8, 3)", "ReLU()", "MaxPool2D(2)", "Flatten()", "Dense(10)"]
        model = Sequential(layers, data.input_shape, preprocessing=data.preprocessing)
        trainer = Trainer(
            optimizer="Adam(0.01)", epochs=10, batch_size=128, workers=workers, augmentations=["Elastic(4, sigma=2)"]
        )
        run = trainer.fit(model, data)
        assert run.metrics["accuracy"] >= 0.9
        vectors.append(model.parameters.vector.copy())
    np.testing.assert_array_equal(vectors[1], vectors[0])
    np.testing.assert_array_equal(vectors[2], vectors[0])


@pytest.mark.skipif("CNNKIT_DATA_DIR" not in os.environ, reason="CNNKIT_DATA_DIR does not name a folder with MNIST")
def test_it_helps_where_there_are_few_samples_of_mnist() -> None:
    data = load_dataset("MNIST()")
    few = data.train.take(slice(1000))
    accuracies = []
    for augmentations in ([], ["Elastic()"]):
        layers = ["Conv2D(8, 3)", "ReLU()", "MaxPool2D(2)", "Conv2D(16, 3)", "ReLU()", "MaxPool2D(2)", "Flatten()"]
        model = Sequential([*layers, "Dense(10)"], data.input_shape, preprocessing=data.preprocessing)
        trainer = Trainer(optimizer="Adam(0.003)", epochs=20, batch_size=64, augmentations=augmentations)
        trainer.fit(model, few)
        accuracies.append(trainer.evaluate(model, data.test.take(slice(5000)))["accuracy"])
    assert accuracies[1] > accuracies[0] + 0.005
