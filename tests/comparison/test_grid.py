"""Grids: values at top-level commas, every combination, and the text of every error."""

from __future__ import annotations

from typing import Any

import pytest

from cnnkit.comparison.grid import points, read_grid
from cnnkit.errors import ConfigError


@pytest.mark.parametrize(
    ("text", "key", "values"),
    [
        ("train.batch_size=32,64", "train.batch_size", [32, 64]),
        ("batch_size = 32", "train.batch_size", [32]),
        ("train.optimizer=SGD(0.1, momentum=0.9),Adam(0.001)", "train.optimizer",
         ["SGD(0.1, momentum=0.9)", "Adam(0.001)"]),
        ('train.optimizer="SGD(0.1)","Adam()"', "train.optimizer", ["SGD(0.1)", "Adam()"]),
        ('data.dataset=Arrays("a,b.npz"),Arrays("(.npz")', "data.dataset", ['Arrays("a,b.npz")', 'Arrays("(.npz")']),
        (r'data.dataset=Arrays("a\",b"),Digits()', "data.dataset", [r'Arrays("a\",b")', "Digits()"]),
        ('model.layers=["Flatten()", "Dense(10)"],["Dense(10)"]', "model.layers",
         [["Flatten()", "Dense(10)"], ["Dense(10)"]]),
        ("train.keep=last,best", "train.keep", ["last", "best"]),
        ("x.y=a=b", "x.y", ["a=b"]),
    ],
)  # fmt: skip
def test_values_are_split_at_commas_outside_of_brackets(text: str, key: str, values: list[Any]) -> None:
    assert read_grid([text]) == {key: values}


@pytest.mark.parametrize(
    ("grid", "message"),
    [
        (["epochs"], 'a grid has the form key=value,value, such as "train.batch_size=32,64", got \'epochs\''),
        (["=3"], "a grid has the form key=value,value"),
        (["epochs="], "the grid 'epochs=' has an empty value: expected values with one comma between two of them"),
        (["epochs=1,,2"], "the grid 'epochs=1,,2' has an empty value"),
        (["optimizer=SGD(0.1,Adam()"], "in the grid 'optimizer=SGD(0.1,Adam()', the ( at position 14 is never closed"),
        (["optimizer=SGD(0.1])"], "in the grid 'optimizer=SGD(0.1])', the ] at position 18 has no opening bracket"),
        (["optimizer=a)"], "in the grid 'optimizer=a)', the ) at position 12 has no opening bracket"),
        (["keep='a,b"], "in the grid \"keep='a,b\", the ' at position 6 is never closed"),
        (["epochs=1", "train.epochs=2"], "the grid has train.epochs twice: give all of its values together"),
        (["train.seed=1,2"], "a grid cannot vary train.seed: set the seeds of all configurations with --seeds"),
        ({"epochs": 3}, "the grid must have a list of values for train.epochs, got 3"),
        ({"keep": "best"}, "the grid must have a list of values for train.keep, got 'best'"),
        ({"epochs": []}, "the grid must have a list of values for train.epochs, got []"),
    ],
)  # fmt: skip
def test_a_wrong_grid_is_refused(grid: Any, message: str) -> None:
    with pytest.raises(ConfigError) as error:
        read_grid(grid)
    assert str(error.value).startswith(message)


def test_every_combination_is_a_point() -> None:
    grid = read_grid({"epochs": [1, 2], "data.validation": [0.0, 0.1]})
    assert list(points(grid)) == [
        {"train.epochs": 1, "data.validation": 0.0},
        {"train.epochs": 1, "data.validation": 0.1},
        {"train.epochs": 2, "data.validation": 0.0},
        {"train.epochs": 2, "data.validation": 0.1},
    ]
    assert list(points({})) == [{}]
