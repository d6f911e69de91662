from __future__ import annotations

from pathlib import Path

import numpy as np

from cnnkit.data import describe, load_dataset
from cnnkit.types import Data, Samples


def test_digits_are_described(tmp_path: Path) -> None:
    data = load_dataset("Digits()", tmp_path)
    about = describe(data)
    assert about["samples"] == {"train": 1437, "test": 360}
    assert about["input_range"] == {"train": [0, 16], "test": [0, 16]}
    assert (about["input"], about["dtype"], about["digest"]) == ([1, 8, 8], "uint8", data.digest)
    assert [entry["label"] for entry in about["classes"]] == list("0123456789")
    assert [entry["train"]["samples"] for entry in about["classes"]] == np.bincount(data.train.y).tolist()
    assert about["classes"][3]["test"] == {"samples": 34, "share": 34 / 360}


def test_classes_without_samples_or_names_and_a_validation_part() -> None:
    x = np.zeros((3, 2), np.float32)
    train, test = Samples(x, np.array([0, 0, 10**12])), Samples(x[:1], np.array([2]))
    about = describe(Data(train, test, validation=test, labels=("a", "b")))
    assert [entry["label"] for entry in about["classes"]] == ["a", "b", "2", str(10**12)]
    assert [entry["train"]["samples"] for entry in about["classes"]] == [2, 0, 0, 1]
    assert [entry["validation"]["share"] for entry in about["classes"]] == [0, 0, 1, 0]


def test_targets_to_regress_have_a_range_and_no_classes() -> None:
    samples = Samples(np.ones((2, 3), np.float32), np.array([[-1.5], [2.0]], np.float32))
    about = describe(Data(samples, samples))
    assert about["target_range"] == {"train": [-1.5, 2.0], "test": [-1.5, 2.0]}
    assert about["classes"] == []


def test_classes_of_pixels_have_their_share_of_the_pixels() -> None:
    x, y = np.zeros((4, 1, 2, 2), np.float32), np.array([[[0, 0], [0, 1]]] * 4)
    classes = describe(Data(Samples(x, y), Samples(x, y)))["classes"]
    assert [one["train"] for one in classes] == [{"samples": 12, "share": 0.75}, {"samples": 4, "share": 0.25}]
