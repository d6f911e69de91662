from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from cnnkit.data import Digits
from cnnkit.errors import ConfigError


@pytest.mark.parametrize(("test", "seed"), [(0.2, 42), (0.25, 0), (0.1, 2**32 - 1)])
def test_values_and_split_are_those_of_scikit_learn(test: float, seed: int, tmp_path: Path) -> None:
    datasets = pytest.importorskip("sklearn.datasets", reason="scikit-learn is not installed")
    from sklearn.model_selection import train_test_split

    digits = datasets.load_digits()
    expected = train_test_split(digits.images, digits.target, test_size=test, random_state=seed)
    data = Digits(test, seed).load(tmp_path)
    for got, want in zip((data.train.x[:, 0], data.test.x[:, 0], data.train.y, data.test.y), expected, strict=True):
        assert_array_equal(got, want)


def test_what_comes_with_the_package(tmp_path: Path) -> None:
    data = Digits().load(tmp_path / "absent")
    assert (data.train.x.shape, data.test.x.shape) == ((1437, 1, 8, 8), (360, 1, 8, 8))
    assert data.train.x.dtype == np.uint8
    assert data.train.y.dtype == np.int64
    assert (np.min(data.train.x), np.max(data.train.x)) == (0, 16)
    assert data.labels == ("0", "1", "2", "3", "4", "5", "6", "7", "8", "9")
    assert data.preprocessing.scale == 1 / 16
    assert data.test.y[:5].tolist() == [6, 9, 3, 7, 2]


def test_the_source_and_the_licence_lie_beside_the_file() -> None:
    from importlib import resources

    text = resources.files("cnnkit.data.datasets").joinpath("digits-LICENSE.txt").read_text(encoding="utf-8")
    assert "CC BY 4.0" in text
    assert "Alpaydin" in text


def test_repr_is_the_expression() -> None:
    assert repr(Digits()) == "Digits()"
    assert repr(Digits(0.5, seed=1)) == "Digits(test=0.5, seed=1)"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"test": 0.0}, "test must be a number above 0, got 0.0"),
        ({"test": 1.0}, "test must be a number with 0 <= test < 1, got 1.0"),
        ({"test": "half"}, "test must be a number above 0, got 'half'"),
        ({"seed": -1}, "seed must be a whole number, 0 or above, got -1"),
        ({"seed": 2**32}, "seed must be a number with 0 <= seed < 4.29497e+09, got 4294967296"),
    ],
)
def test_arguments_that_are_refused(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Digits(**arguments)
    assert str(caught.value) == message
