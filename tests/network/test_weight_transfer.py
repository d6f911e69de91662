"""Weights that a network takes over from another: by name and shape, with an account of what was not."""

from __future__ import annotations

import numpy as np
import pytest

from cnnkit import Sequential
from cnnkit.errors import ConfigError
from cnnkit.types import Preprocessing

OLD = Sequential(
    ["Conv2D(4, 3)", "BatchNorm2D()", "ReLU()", "Flatten()", "Dense(10)"],
    (1, 6, 6),
    preprocessing=Preprocessing(1 / 255),
    input_dtype="uint8",
)
OLD.nodes[1].layer.buffers["running_mean"][...] = 3.0


def test_a_network_with_another_end_takes_the_rest() -> None:
    before = OLD.state()
    new = Sequential([*OLD.layers[:-1], "Dense(3)"], weights=OLD, labels=("a", "b", "c"), seed=7)
    assert (new.input_shape, new.preprocessing, new.input_dtype) == (OLD.input_shape, OLD.preprocessing, "uint8")
    for name, value in new.state().items():
        if not name.startswith("dense"):
            assert (value == before[name]).all()
    assert list(new.taken.left) == ["dense_1.weight", "dense_1.bias"]
    assert repr(new.taken).splitlines() == [
        "taken: conv2d_1.weight, conv2d_1.bias, batch_norm2d_1.gamma, batch_norm2d_1.beta, "
        "batch_norm2d_1.running_mean, batch_norm2d_1.running_var",
        "not taken: dense_1.weight, which has shape (10, 64) there and (3, 64) here",
        "not taken: dense_1.bias, which has shape (10,) there and (3,) here",
    ]
    new.parameters.vector[...] = 0
    assert all((OLD.state()[name] == value).all() for name, value in before.items())
    x = np.zeros((2, 1, 6, 6), np.uint8)
    assert new.outputs(x).shape == (2, 3)


def test_what_only_one_of_them_has_is_told() -> None:
    new = Sequential(["Conv2D(4, 3)", "Conv2D(2, 3)"], weights=OLD)
    assert new.taken.left["conv2d_2.weight"] == "which only the new network has"
    assert new.taken.left["dense_1.weight"] == "which the new network does not have"


def test_nothing_to_take_is_an_error() -> None:
    with pytest.raises(ConfigError, match="no weight can be taken over by name and shape: expected one of conv2d_1"):
        Sequential(["Conv2D(5, 2)"], weights=OLD)
    with pytest.raises(ConfigError, match="expected input_shape, such as"):
        Sequential(["Dense(3)"])


def test_what_has_no_weights_is_an_error() -> None:
    with pytest.raises(ConfigError, match=r"weights must be a network, got \{'conv2d_1.weight': array"):
        Sequential(["Dense(3)"], weights=OLD.state())  # type: ignore[arg-type]  # wrong on purpose
    with pytest.raises(ConfigError, match=r"expected arrays by name, such as model.state\(\), got Sequential"):
        OLD.take_weights(OLD)  # type: ignore[arg-type]  # wrong on purpose
