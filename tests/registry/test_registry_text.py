"""The JSON inside a version."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cnnkit.errors import RegistryError
from cnnkit.registry.format import text

TEXTS = st.text(st.characters(exclude_categories=["Cs"]))
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXTS,
    lambda inner: st.lists(inner) | st.dictionaries(TEXTS.filter(lambda key: key != text.FLOAT), inner),
    max_leaves=10,
)


@given(VALUES)
def test_what_is_written_is_read_again(value: Any) -> None:
    assert repr(text.decode(text.encode(value, "value"))) == repr(value)


def test_numpy_numbers_become_numbers_and_tuples_lists() -> None:
    value = {"a": (np.float32(0.5), np.int64(3), np.bool_(True))}
    assert text.decode(text.encode(value, "value")) == {"a": [0.5, 3, True]}


def test_numbers_beyond_json_have_a_form_of_their_own() -> None:
    written = json.loads(text.encode([math.nan, math.inf, -math.inf], "value"))
    assert written == [{"$float": "nan"}, {"$float": "inf"}, {"$float": "-inf"}]


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({"train": {"path": Path("x")}}, "recipe.train.path must be None, a bool, .* got PosixPath"),
        ([[1], [{1, 2}]], r"recipe\[1\]\[0\] must be .* got set"),
        ({1: 2}, "the keys of recipe must be text .* got 1"),
        ({"$float": "nan"}, r"the keys of recipe must be text other than '\$float'"),
        ("\ud800", "recipe must be text that UTF-8 can hold"),
        (1 << 2000, "recipe must be a whole number of at most 1024 bits"),
        ("x" * (text.MAX_JSON_BYTES + 1), "recipe has .* bytes as JSON; at most"),
    ],
)
def test_other_values_are_refused_with_their_place(value: object, message: str) -> None:
    with pytest.raises(RegistryError, match=message):
        text.encode(value, "recipe")


def test_deep_values_are_refused() -> None:
    value: list[Any] = []
    for _ in range(text.MAX_DEPTH + 1):
        value = [value]
    with pytest.raises(RegistryError, match="nests deeper than 32 levels"):
        text.encode(value, "recipe")


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b'{"a": 1, "a": 2}', "the same key twice"),
        (b"[" * 100_000, "cannot be read"),
        (b"[" * 40 + b"]" * 40, "nests deeper"),
        (b"NaN", "NaN is not JSON"),
        (b"\xff", "cannot be read"),
        (b"{} {}", "Extra data"),
        (b"1" * 5000, "cannot be read"),
        (b"[1e999]", "cannot be read: 1e999 is more than a float holds"),
        (b"9" * 700, "cannot be read: a whole number has more than 1024 bits"),
        (b'"\\ud800"', "UTF-8 cannot hold"),
        (b'{"$float": "1"}', "expected one of nan, inf, -inf"),
        (b'{"$float": []}', "expected one of nan, inf, -inf"),
        (b'{"$float": "nan", "b": 1}', "expected one of nan, inf, -inf"),
        (b" " * (text.MAX_JSON_BYTES + 1), "at most"),
    ],
)
def test_hostile_text_is_refused(data: bytes, message: str) -> None:
    with pytest.raises(RegistryError, match=message):
        text.decode(data)
