"""Warnings point at the line of the program, and never into the library."""

from __future__ import annotations

import re
import warnings
from pathlib import Path

import numpy as np
import pytest

import cnnkit
from cnnkit import Sequential, Trainer, caller_warnings, load_dataset


def marked(text: str) -> int:
    """The number of the line of this file that ends in a comment."""
    lines = Path(__file__).read_text().splitlines()
    return next(number for number, line in enumerate(lines, start=1) if line.endswith(f"  # {text}"))


def test_a_training_warns_at_the_line_that_trains() -> None:
    train = load_dataset("Digits()").train
    model = Sequential(["Flatten()", "Dense(10)"], (1, 8, 8))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        Trainer(epochs=1).fit(model, (train.x, train.y))  # training
        Trainer(epochs=1).fit(model, (np.asarray(train.x) / 100, train.y))  # in other units
    lines = {(Path(one.filename).name, one.lineno) for one in caught}
    assert lines == {(Path(__file__).name, marked("training")), (Path(__file__).name, marked("in other units"))}


def test_a_line_of_a_program_is_one() -> None:
    here = caller_warnings.line()  # here
    assert (Path(here[0]).name, here[1]) == (Path(__file__).name, marked("here"))
    with pytest.warns(RuntimeWarning, match="that") as caught:
        caller_warnings.warn("that", RuntimeWarning)  # there
    assert (Path(caught[0].filename).name, caught[0].lineno) == (Path(__file__).name, marked("there"))


def test_nothing_warns_in_another_way() -> None:
    package = Path(cnnkit.__file__).parent
    found = [path for path in package.rglob("*.py") if re.search(r"\bwarnings\.warn\(", path.read_text("utf-8"))]
    assert found == [package / "caller_warnings.py"]
