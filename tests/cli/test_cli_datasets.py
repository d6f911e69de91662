"""`datasets list`, `fetch` and `show`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from cnnkit.cli.datasets import _preprocessing
from cnnkit.data import MNIST
from cnnkit.types import Preprocessing


def test_the_list_says_whether_files_are_in_place(cli: Any, tmp_path: Path) -> None:
    def in_place() -> dict[str, bool | None]:
        return {entry["name"]: entry["in_place"] for entry in cli("datasets", "list", "--json").document}

    assert in_place() == {
        "Arrays": None,  # needs a path
        "CIFAR10": False,
        "CIFAR100": False,
        "Digits": True,
        "EMNIST": False,
        "FashionMNIST": False,
        "ImageFolder": None,
        "KMNIST": False,
        "MNIST": False,
        "Table": None,
        **dict.fromkeys(("Autoencoding", "Denoising", "MeanInk", "Overlapping")),  # need another dataset
        "Waveforms": True,
    }
    (tmp_path / "data" / "mnist").mkdir(parents=True)
    for name in MNIST.hashes:
        (tmp_path / "data" / "mnist" / f"{name}.gz").touch()
    assert in_place()["MNIST"] is True
    result = cli("datasets", "list", "--data-dir", tmp_path / "empty")
    assert result.err == f"data folder: {tmp_path / 'empty'}\n"
    lines = {line.split()[0]: line for line in result.out.splitlines()}
    assert " missing " in lines["MNIST"]
    assert " in place " in lines["Digits"]


def test_show_counts_the_samples_of_each_class(cli: Any) -> None:
    result = cli("datasets", "show", "Digits()")
    assert result.code == 0
    assert "input_range    train 0 to 16, test 0 to 16\npreprocessing  x / 16\nclasses        10\n" in result.out
    assert "\nclass  train  share  test  share\n0        145  10.1%    33  9.2%\n" in result.out
    document = cli("datasets", "show", "Digits()", "--json").document
    assert document["classes"][0]["train"] == {"samples": 145, "share": 145 / 1437}


@pytest.mark.parametrize(
    ("highest", "shown"), [(1, "none"), (15, "x / 15"), (255, "x / 255")], ids=["masks", "levels", "bytes"]
)
def test_show_says_what_bytes_are_divided_by(cli: Any, tmp_path: Path, highest: int, shown: str) -> None:
    x = np.tile(np.array([0, highest], np.uint8), (30, 5))
    np.savez(tmp_path / "mine.npz", x=x, y=np.arange(30) % 3)
    result = cli("datasets", "show", 'Arrays("mine.npz")')
    assert f"\npreprocessing  {shown}\n" in result.out


def test_show_of_means_for_each_channel() -> None:
    assert _preprocessing(Preprocessing(1 / 255, (0.5, 0.25), (0.2, 0.1))) == (
        "(x / 255 - mean) / std, mean 0.5, 0.25, std 0.2, 0.1"
    )
    assert _preprocessing(Preprocessing(2.0)) == "x * 2"


def test_show_draws_samples(cli: Any, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    document = cli("datasets", "show", "Digits()", "-o", "digits.png", "--json").document
    assert document["picture"] == "digits.png"
    assert (tmp_path / "digits.png").read_bytes().startswith(b"\x89PNG")


def test_show_of_values_to_regress(cli: Any, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    np.savez(tmp_path / "mine.npz", x=rng.random((10, 3), np.float32), y=np.linspace(0, 1, 10))
    result = cli("datasets", "show", 'Arrays("mine.npz")')
    assert (result.code, result.err) == (0, "")
    assert "preprocessing  none\n" in result.out
    assert "target_range   train 0.111111 to 1, test 0 to 0.222222\n" in result.out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("Nothing()",), "there is no dataset named 'Nothing'"),
        (("Digits()", "-o", "a.txt"), "cannot write a.txt: expected a name that ends in .png, .svg, .pdf"),
        (("EMNIST(split='x')",), "split must be one of 'balanced', "),
        (("CIFAR100(labels=3)",), "labels must be one of 'fine', 'coarse', got 3"),
    ],
)
def test_what_cannot_be_shown(cli: Any, arguments: tuple[str, ...], message: str) -> None:
    result = cli("datasets", "show", *arguments)
    assert (result.code, result.out) == (2, "")
    assert message in result.err


def test_samples_are_shown_augmented(cli: Any, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    plain = cli("datasets", "show", "Digits()", "-o", "plain.png")
    shown = cli("datasets", "show", "Digits()", "--augment", "Shift(2)", "--augment", "Rotate(10)", "-o", "shown.png")
    assert (plain.code, shown.code) == (0, 0)
    assert (tmp_path / "plain.png").read_bytes() != (tmp_path / "shown.png").read_bytes()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--augment", "Shift(2)"], "--augment changes the picture: choose its file with -o"),
        (["--augment", "Shfit(2)", "-o", "a.png"], "Shift"),
        (["--augment", "Shift(9)", "-o", "a.png"], "8"),
        (["-o", "a.gif"], "cannot write a.gif: expected a name that ends in .png, .svg, .pdf"),
    ],
)
def test_pictures_that_cannot_be(cli: Any, tmp_path: Path, arguments: list[str], message: str) -> None:
    result = cli("datasets", "show", "Digits()", *arguments)
    assert (result.code, result.out) == (2, "")
    assert message in result.err
    assert not (tmp_path / "a.png").exists()


@pytest.mark.parametrize("name", ["mine.npz", "mine.h5", "x.npy"])
def test_show_of_arrays_in_files(cli: Any, tmp_path: Path, name: str) -> None:
    rng = np.random.default_rng(0)
    x, y = rng.integers(3, 200, (40, 1, 6, 6), dtype=np.uint8), np.arange(40) % 4
    np.savez(tmp_path / "mine.npz", x=x, y=y)
    np.save(tmp_path / "x.npy", x)
    np.save(tmp_path / "y.npy", y)
    with h5py.File(tmp_path / "mine.h5", "w") as file:
        file["x"], file["y"] = x, y
    targets = ', targets="y.npy"' if name == "x.npy" else ""
    shown = cli("datasets", "show", f'Arrays("{name}"{targets})', "-o", "a.png", "--augment", "Shift(1)", "--json")
    assert shown.code == 0, shown.err
    ranges = shown.document["input_range"]
    lows, highs = zip(*ranges.values(), strict=True)
    assert (min(lows), max(highs)) == (x.min(), x.max())
    assert (tmp_path / "a.png").exists()


def test_channels_that_come_last_are_told(cli: Any, tmp_path: Path) -> None:
    np.savez(tmp_path / "mine.npz", x=np.zeros((10, 20, 20, 3), np.uint8), y=np.arange(10) % 2)
    result = cli("datasets", "show", 'Arrays("mine.npz")')
    assert result.code == 2
    assert (
        "(20, 20, 3) seems to be (height, width, channels), and channels come first: write x.transpose(0" in result.err
    )
