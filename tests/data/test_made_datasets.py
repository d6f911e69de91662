"""Datasets that are made of others, and signals that are computed."""

from __future__ import annotations

import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cnnkit.components import Dataset, installed_catalog
from cnnkit.data import (
    Autoencoding,
    Denoising,
    Digits,
    MeanInk,
    Overlapping,
    Waveforms,
    describe,
    load_dataset,
)
from cnnkit.data.datasets import light_images, overlapping
from cnnkit.data.datasets.overlapping import _pairs
from cnnkit.errors import ConfigError, DataError
from cnnkit.testing import check_dataset
from cnnkit.types import Data, Framing, Preprocessing, Samples

WHITE = Preprocessing(scale=1 / 255)
MADE = [
    "Autoencoding(Digits())",
    "Denoising(Digits(), stddev=0.3)",
    "MeanInk(Digits())",
    "Overlapping(Digits(), train=200, test=40)",
    'Overlapping(Digits(), targets="labels", train=200, test=40)',
    "Waveforms(train=60, test=20)",
    "Denoising(Autoencoding(Digits()))",
]


class Given(Dataset):
    """Two training samples and a test and validation sample as they are."""

    def __init__(self, data: Data) -> None:
        self.data = data

    def __repr__(self) -> str:
        return "Given()"

    def load(self, data_dir: Path) -> Data:
        return self.data


class Counting(np.random.Generator):
    """Counts how often indices are drawn."""

    calls = 0

    def integers(self, *args: Any, **options: Any) -> Any:
        self.calls += 1
        return super().integers(*args, **options)


def given(x: Any, y: Any = (0, 1), **options: Any) -> Given:
    samples = Samples(np.asarray(x), np.asarray(y))
    return Given(Data(samples, samples, **options))


@pytest.mark.parametrize("expression", MADE)
def test_each_keeps_the_contract(expression: str, tmp_path: Path) -> None:
    check_dataset(expression, tmp_path)
    made = installed_catalog().build("dataset", expression)
    assert repr(made) == expression
    assert made.is_complete(tmp_path) is True  # type: ignore[attr-defined]  # a dataset


def test_a_dataset_of_files_that_are_missing_is_not_complete(tmp_path: Path) -> None:
    for cls in ("Autoencoding", "Denoising", "MeanInk", "Overlapping"):
        made = installed_catalog().build("dataset", f"{cls}(MNIST())")
        assert made.is_complete(tmp_path) is False  # type: ignore[attr-defined]  # a dataset
        mine = installed_catalog().build("dataset", f'{cls}(Arrays("mine.npz"))')
        assert mine.is_complete(tmp_path) is None  # type: ignore[attr-defined]  # a dataset


def test_autoencoding_gives_back_its_inputs(tmp_path: Path) -> None:
    digits, data = Digits().load(tmp_path), Autoencoding(Digits()).load(tmp_path)
    for part, made in ((digits.train, data.train), (digits.test, data.test)):
        np.testing.assert_array_equal(made.x, np.rint(np.asarray(part.x) * (255 / 16)))
        np.testing.assert_array_equal(made.y, np.asarray(made.x, np.float32) / np.float32(255))
    assert (data.framing, data.preprocessing.scale, data.labels) == (Framing(content=8), 1 / 255, ())


def test_values_just_above_white_are_white(tmp_path: Path) -> None:
    x = np.nextafter(np.full((2, 1, 3, 3), 255.5, np.float32), np.float32(0))
    data = Autoencoding(given(x, preprocessing=WHITE)).load(tmp_path)
    assert (np.asarray(data.train.x) == 255).all()


def test_noise_is_of_its_size_and_another_for_each_part_and_seed(tmp_path: Path) -> None:
    grey = np.full((50, 1, 20, 20), 128, np.uint8)
    whole = given(grey, np.zeros(50), preprocessing=WHITE)
    one, other = (Denoising(whole, stddev=0.1, seed=seed).load(tmp_path) for seed in (0, 1))
    noise = (np.asarray(one.train.x) - 128.0) / 255
    assert abs(noise.std() - 0.1) < 0.002
    assert abs(noise.mean()) < 0.003
    assert (one.train.y == 128 / np.float32(255)).all()
    assert (np.asarray(one.train.x) != one.test.x).mean() > 0.9
    assert (np.asarray(one.train.x) != other.train.x).mean() > 0.9


def test_noise_does_not_depend_on_how_much_is_made_at_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from cnnkit.data.datasets import restoration

    whole = Denoising(Digits()).load(tmp_path)
    monkeypatch.setattr(restoration, "BLOCK_BYTES", 4 * 64 * 7)
    np.testing.assert_array_equal(Denoising(Digits()).load(tmp_path).train.x, whole.train.x)


def test_overlapping_against_a_plain_loop(tmp_path: Path) -> None:
    """Each image is found again from the random numbers, one pixel after the other."""
    digits = Digits().load(tmp_path)
    pixels = Overlapping(Digits(), train=30, test=5, seed=3).load(tmp_path)
    labels = Overlapping(Digits(), "labels", train=30, test=5, seed=3).load(tmp_path)
    np.testing.assert_array_equal(pixels.train.x, labels.train.x)
    assert (pixels.input_shape, pixels.labels) == ((1, 12, 12), ("background", *"0123456789"))
    assert labels.labels == tuple("0123456789")
    rng = np.random.default_rng([3, 0])
    pairs = _pairs(digits.train.y, 30, rng)
    places = np.stack([rng.integers(0, 5, (30, 2)), rng.integers(0, 5, (30, 2))], axis=2)
    for n in range(30):
        x, y, lightest = np.zeros((12, 12)), np.zeros((12, 12), int), np.zeros((12, 12))
        for k in (0, 1):
            image = np.rint(np.asarray(digits.train.x[pairs[n, k], 0]) * (255 / 16))
            top, left = places[n, k]
            for row, column in np.ndindex(8, 8):
                at = top + row, left + column
                x[at] = max(x[at], image[row, column])
                if image[row, column] > max(lightest[at], 127):
                    y[at], lightest[at] = 1 + digits.train.y[pairs[n, k]], image[row, column]
        np.testing.assert_array_equal(pixels.train.x[n, 0], x)
        np.testing.assert_array_equal(pixels.train.y[n], y)
        assert sorted(np.flatnonzero(labels.train.y[n])) == sorted(digits.train.y[pairs[n]])
    assert (labels.train.y.sum(axis=1) == 2).all()


def test_pairs_are_those_of_rejection() -> None:
    """Datasets that are made of even classes, as MNIST, stay as they are."""
    classes = np.random.default_rng(0).integers(0, 10, 1000)
    rng = np.random.default_rng(1)
    expected = rng.integers(0, 1000, (500, 2))
    while (alike := np.flatnonzero(np.equal(*classes[expected].T))).size:
        expected[alike, 1] = rng.integers(0, 1000, alike.size)
    again = np.random.default_rng(1)
    np.testing.assert_array_equal(_pairs(classes, 500, again), expected)
    assert again.random() == rng.random()


def test_pairs_of_a_rare_class_are_drawn_directly(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the other classes, each sample is as probable as any other; no more is drawn, however rare they are."""
    classes = np.array([0, 1, 0, 2, 0, 1, 0])
    monkeypatch.setattr(overlapping, "REJECTED", 0)
    first, second = _pairs(classes, 70_000, np.random.default_rng(0)).T
    for one in range(7):
        others = classes != classes[one]
        share = np.bincount(second[first == one], minlength=7) / (first == one).sum()
        np.testing.assert_allclose(share, others / others.sum(), atol=0.02)
        assert not share[~others & (np.arange(7) != one)].any()
    monkeypatch.undo()
    rare = np.zeros(100_000, np.int64)
    rare[70_000] = 1
    rng = Counting(np.random.PCG64(0))
    pairs = _pairs(rare, 100, rng)
    assert (rare[pairs].sum(axis=1) == 1).all()
    assert rng.calls < 50


def test_images_in_colour_and_of_two_classes_without_names_overlap(tmp_path: Path) -> None:
    x = np.zeros((2, 3, 5, 10), np.uint8)
    x[0, 1], x[1, 2] = 200, 255
    data = Overlapping(given(x, preprocessing=WHITE), train=9, test=2).load(tmp_path)
    assert (data.input_shape, data.labels) == ((3, 8, 16), ("background", "0", "1"))
    blue = np.asarray(data.train.x[:, 2]) == 255
    np.testing.assert_array_equal(data.train.y == 2, blue)
    np.testing.assert_array_equal(data.train.y == 1, (np.asarray(data.train.x[:, 1]) == 200) & ~blue)


def test_mean_ink(tmp_path: Path) -> None:
    digits, data = Digits().load(tmp_path), MeanInk(Digits()).load(tmp_path)
    assert data.train.y.shape == (1437, 1)
    np.testing.assert_allclose(
        data.train.y[:, 0], np.asarray(digits.train.x).mean(axis=(1, 2, 3)) * (100 / 16), atol=0.1
    )
    assert describe(data)["target_range"]["train"] == [float(data.train.y.min()), float(data.train.y.max())]


def test_waveforms_are_what_their_formulas_say(tmp_path: Path) -> None:
    data = Waveforms(train=400, test=10, length=64, noise=0.0).load(tmp_path)
    x, y = np.asarray(data.train.x)[:, 0], data.train.y
    assert data.labels == ("sine", "square", "triangle", "sawtooth")
    assert np.abs(x).max() <= 1
    assert (np.bincount(y) > 70).all()
    sine, square, triangle, sawtooth = (x[y == k] for k in range(4))
    assert set(np.unique(square)) == {-1, 1}
    steps = np.abs(np.diff(triangle))
    assert steps.max() <= 4 * 6 / 64 + 1e-6
    assert ((np.diff(sawtooth) > 0).mean(axis=1) > 0.88).all()  # it rises, but where it begins anew
    second = sine[:, 2:] + sine[:, :-2]  # 2 cos(2 pi f / L) times what is between
    np.testing.assert_allclose(np.corrcoef(second.ravel(), sine[:, 1:-1].ravel())[0, 1], 1, atol=0.02)


def test_validation_samples_go_with_the_others(tmp_path: Path) -> None:
    samples = Samples(np.full((3, 1, 2, 2), 7, np.uint8), np.zeros(3, np.int64))
    data = Data(samples, samples, samples, preprocessing=WHITE, warnings=("few",))
    for cls in (Autoencoding, Denoising, MeanInk):
        made = cls(Given(data)).load(tmp_path)
        assert made.validation is not None
        assert len(made.validation) == 3
        assert made.warnings == ("few",)


COLUMNS, IMAGES = np.zeros((2, 4), np.float32), np.zeros((2, 1, 4, 4), np.uint8)


@pytest.mark.parametrize(
    ("made", "message"),
    [
        (Denoising(given(COLUMNS)), r"is made from images \(C, H, W\), and Given\(\) has inputs of shape \(4,\)"),
        (
            Autoencoding(given(IMAGES.astype(np.float32) - 1)),
            r"images from 0 \(black\) to 1 \(white\), as their preprocessing says, and these go from -1 to -1: scale",
        ),
        (
            Autoencoding(given(IMAGES + np.float32(255.5), preprocessing=WHITE)),
            r"to 255 \(white\), .* 255\.5 to 255\.5",
        ),
        (MeanInk(given(IMAGES + np.uint8(2))), r"from 0 \(black\) to 1 \(white\), .* these go from 2 to 2: scale them"),
        (Overlapping(given(IMAGES, (1, 1))), r"two or more classes, and Given\(\) has targets of shape \(2,\), int64"),
        (
            Overlapping(given(IMAGES[:, :, :2])),
            r"is made from images of 3 x 3 pixels or more, and those of Given\(\) have 2 x 4: choose a dataset of",
        ),
        (
            Overlapping(given(IMAGES, labels=("one",)), "labels"),
            r"classes from 0 to 0, and the targets of Given\(\) go from 0 to 1: correct them, or give each class",
        ),
        (
            Overlapping(given(IMAGES, (-1, 1)), "labels"),
            r"from 0 to 1, and the targets of Given\(\) go from -1 to 1",
        ),
        (Overlapping(Autoencoding(given(IMAGES))), r"has targets of shape \(2, 1, 4, 4\), float32: choose a dataset"),
    ],
)
def test_data_that_is_refused(made: Dataset, message: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=message):
        made.load(tmp_path)


@pytest.mark.parametrize(
    ("expression", "message"),
    [
        ("Denoising(3)", r"of must be a dataset to make Denoising from, as in Denoising\(MNIST\(\)\), got 3"),
        ("Denoising(Digits(), stddev=-1)", r"stddev must be a number, 0 or above, got -1"),
        ('Overlapping(Digits(), targets="boxes")', r"targets must be one of 'pixels', 'labels', got 'boxes'"),
        ("Overlapping(Digits(), train=0)", r"train must be a whole number, 1 or above, got 0"),
        ("Waveforms(length=8)", r"length must be a whole number, 16 or above, got 8"),
        ("Waveforms(train=10000000)", r"would take 57\.2 GiB of memory, with 10,001,000 samples of shape \(1, 128\)"),
    ],
)
def test_arguments_that_are_refused(expression: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        installed_catalog().build("dataset", expression)


def test_signals_take_no_more_than_is_counted(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    tracemalloc.start()
    Waveforms(train=500, test=1, length=1000).load(tmp_path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    monkeypatch.setattr(light_images, "MOST_BYTES", int(0.95 * peak))  # 5 % for what is not the signals
    with pytest.raises(ConfigError, match="would take"):
        Waveforms(train=500, test=1, length=1000)
    monkeypatch.setattr(light_images, "MOST_BYTES", int(1.05 * peak))
    Waveforms(train=500, test=1, length=1000)


def test_what_would_not_fit_into_memory_is_refused_before_it_is_made(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=r"would take .* samples of shape \(1, 12, 12\); it must be at most 2 GiB"):
        load_dataset("Overlapping(Digits(), train=100000000)", tmp_path)
    monkeypatch.setattr(light_images, "MOST_BYTES", 100_000)
    for expression in ("Denoising(Digits())", "Autoencoding(Digits())", "MeanInk(Digits())"):
        with pytest.raises(ConfigError, match=r"with 1,797 samples of shape \(1, 8, 8\)"):
            load_dataset(expression, tmp_path)
