"""What the registry's answers look like: values to read, differences as JSON, and another environment in words."""

from __future__ import annotations

import json

import numpy as np

from cnnkit.network import Sequential
from cnnkit.registry.environment import deciding, differences
from cnnkit.registry.manifest_rows import shown
from cnnkit.registry.prediction_diff import diff_predictions
from cnnkit.types import Samples


def test_values_to_read() -> None:
    assert [shown(value) for value in (None, "ü", ["ü", 1.5])] == ["-", "ü", '["ü", 1.5]']


def test_another_environment_is_told_in_words() -> None:
    here = deciding()
    assert differences(here) == []
    assert differences(here | {"numpy": "0.1"}) == [f"numpy was 0.1, it is {np.__version__}"]
    assert differences(None)[1] == f"numpy was unknown, it is {np.__version__}"


def test_differences_of_predictions_as_json() -> None:
    a, b = (Sequential(["Dense(2)"], (3,), seed=seed) for seed in (0, 1))
    x = np.random.default_rng(0).random((8, 3), np.float32)
    for y in (np.zeros(8, np.int64), np.zeros((8, 2), np.float32)):
        document = json.loads(json.dumps(diff_predictions(a, b, Samples(x, y)).to_dict()))
        assert document["samples"] == 8
        assert "accuracy" not in document
