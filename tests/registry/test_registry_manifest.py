"""The manifest and its closed set of keys."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cnnkit.errors import RegistryError
from cnnkit.network import Sequential
from cnnkit.registry import Registry
from cnnkit.registry.format import manifest, sealing
from cnnkit.registry.format.contents import unpack_any
from cnnkit.registry.format.manifest import Manifest, Origin
from cnnkit.types import Preprocessing

MANIFEST = Manifest(
    name="digits",
    created="2026-03-01T12:00:00+00:00",
    layers=("Dense(3)",),
    components={"Dense": Origin("cnnkit", "0.1.0")},
    input_shape=(4,),
    input_dtype="uint8",
    labels=("a", "ü", "c"),
    preprocessing=Preprocessing(1 / 255, (0.1, 0.2), (1.0, 2.0)),
    seed=2**100,
    dtype="float32",
    state=("dense_1.weight",),
    versions={"python": "3.13"},
    environment={"cores": "2"},
    recipe={"train": {"epochs": 3}},
    history={"loss": [1.5, math.inf]},
    metrics={"accuracy": 0.5},
    dataset={"name": "MNIST()", "digest": "00"},
    settings={"workers": 2},
)


def test_what_is_written_is_read_again() -> None:
    assert manifest.decode(MANIFEST.encode()) == MANIFEST


def damaged(**changes: Any) -> bytes:
    return json.dumps(json.loads(MANIFEST.encode()) | changes).encode()


@pytest.mark.parametrize(
    "changes",
    [
        {"format": "other"},
        {"format_version": 3},
        {"format_version": True},
        {"name": "../x"},
        {"created": "yesterday"},
        {"created": 3},
        {"created": "2026-13-01T12:00:00+00:00"},
        {"created": "2026-02-30T12:00:00+00:00"},
        {"created": "2026-03-01T25:00:00+00:00"},
        {"created": "٢٠٢٦-03-01T12:00:00+00:00"},
        {"layers": []},
        {"layers": [3]},
        {"components": {"Dense": {"distribution": "x"}}},
        {"components": {"Dense": {"distribution": "x", "version": 1}}},
        {"components": {"Dense": {"distribution": "x; rm -rf ~", "version": "1"}}},
        {"components": {"Dense": {"distribution": "--index-url=http://x", "version": "1"}}},
        {"components": []},
        {"input_shape": [1.0]},
        {"input_shape": []},
        {"input_shape": [-1]},
        {"input_dtype": "object"},
        {"labels": "abc"},
        {"preprocessing": {"scale": 1, "mean": [0], "std": [0]}},
        {"preprocessing": {"scale": 1, "mean": [0, 1], "std": [1]}},
        {"preprocessing": {"scale": {"$float": "nan"}, "mean": [0], "std": [1]}},
        {"preprocessing": {"scale": 10**300, "mean": [0], "std": [1]}},
        {"preprocessing": {"scale": True, "mean": [0], "std": [1]}},
        {"preprocessing": None},
        {"seed": -1},
        {"dtype": "float16"},
        {"state": ["a.b", "a.b"]},
        {"versions": {"python": 3}},
        {"environment": {"cores": 2}},
        {"environment": None},
        {"recipe": []},
        {"recipe": {"train": 3}},
        {"history": None},
        {"history": {"loss": 3}},
        {"history": {"loss": ["low"]}},
        {"metrics": []},
        {"metrics": {"accuracy": {"b": 1}}},
        {"metrics": {"accuracy": True}},
        {"dataset": {"name": "x"}},
        {"settings": "x"},
        {"input_range": 3},
        {"input_range": [0]},
        {"input_range": [1, 0]},
        {"input_range": [0, None]},
        {"input_range": ["0", "1"]},
    ],
    ids=str,
)
def test_values_of_another_kind_are_refused_with_their_key(changes: dict[str, Any]) -> None:
    key = next(iter(changes))
    with pytest.raises(RegistryError, match=f"its manifest has {key} = .*; expected"):
        manifest.decode(damaged(**changes))


def test_unknown_and_missing_keys_are_refused() -> None:
    with pytest.raises(RegistryError, match="missing or unexpected keys: 'code'"):
        manifest.decode(damaged(code="import os"))
    with pytest.raises(RegistryError, match="missing or unexpected keys: 'components', 'created', "):
        manifest.decode(b'{"format": ""}')
    with pytest.raises(RegistryError, match="its manifest must be a JSON object, got list"):
        manifest.decode(b"[]")


def test_a_key_that_came_later_may_be_missing() -> None:
    assert manifest.decode(damaged()).input_range is None
    assert manifest.decode(damaged(input_range=[0, 255])).input_range == (0.0, 255.0)


def test_arrays_of_another_type_than_the_manifest_says_are_refused() -> None:
    data = sealing.pack(MANIFEST.encode(), {"dense_1.weight": np.zeros((4, 3))})
    expected = "its manifest says that it computes in float32, its array dense_1.weight is float64"
    with pytest.raises(RegistryError, match=f"^{expected}$"):
        unpack_any(bytes(data))


@pytest.mark.parametrize("dtype", ["int64", "uint8"])
def test_parameters_that_are_no_floats_are_refused(tmp_path: Path, dtype: str) -> None:
    registry = Registry(tmp_path)
    registry.save(Sequential(["Residual(Dense(3))", "Dense(2)"], (3,)), "net")
    record = registry.read("net")
    record.state["dense_2.bias"] = record.state["dense_2.bias"].astype(dtype)
    expected = f"its parameter dense_2.bias must be of float32, it is of {dtype}"
    with pytest.raises(RegistryError, match=f"^net@1 cannot be loaded: {expected}$"):
        record.model()
