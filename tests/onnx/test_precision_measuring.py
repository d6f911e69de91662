"""What a file with less precision loses: over all samples alike, where targets vary, and a few samples at a time."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import cnnkit.onnx.precision.measuring
import cnnkit.onnx.precision.running
from cnnkit.errors import DataError
from cnnkit.network import Sequential
from cnnkit.onnx.export import to_onnx
from cnnkit.onnx.precision.export import int8_file
from cnnkit.onnx.precision.measuring import Loss, loss_of, score_of
from cnnkit.onnx.precision.ranges import value_ranges
from cnnkit.types import Array, Data, Samples, Task

pytest.importorskip("onnxruntime")
X = Path("x.onnx")


class CountedRows:
    """Inputs that are not in memory, and how many were read together at most."""

    def __init__(self, array: Array) -> None:
        self._array = array
        self.most = [0]

    shape = property(lambda self: self._array.shape)
    dtype = property(lambda self: self._array.dtype)
    ndim = property(lambda self: self._array.ndim)
    nbytes = 0

    def __len__(self) -> int:
        return len(self._array)

    def __getitem__(self, index: Any, /) -> Array:
        rows: Array = self._array[index]
        self.most[0] = max(self.most[0], len(rows))
        return rows

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Array:
        return self[:]

    def select(self, index: Any) -> CountedRows:
        rows = CountedRows(self._array[index])
        rows.most = self.most
        return rows

    def read(self, positions: Array, out: Array) -> Array:
        out[:] = self[positions]
        return out


def regression(**arrays: Array) -> Sequential:
    model = Sequential(["Dense(4)"], (6,), task=Task("values"), seed=0)
    model.load_state({**model.state(), **{f"dense_1.{name}": array for name, array in arrays.items()}})
    return model


def samples_of(model: Sequential, count: int = 700) -> Samples:
    x = np.random.default_rng(0).normal(size=(count, *model.input_shape)).astype(np.float32)
    return Samples(x, model.outputs(x))


def test_no_more_samples_are_read_together_than_a_block(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (cnnkit.onnx.precision.measuring, cnnkit.onnx.precision.running):
        monkeypatch.setattr(module, "block_of", lambda model: 16)
    monkeypatch.setattr("cnnkit.types.BLOCK_BYTES", 16 * 24)
    monkeypatch.setattr("cnnkit.onnx.validate.block_of", lambda model: 16)
    model = regression()
    given = samples_of(model)
    train, test = (CountedRows(given.x[part]) for part in (slice(600), slice(600, None)))
    rows = Data(Samples(train, given.y[:600]), Samples(test, given.y[600:]))
    _, report = int8_file(model, rows, X)
    assert (train.most[0], test.most[0]) == (16, 16)
    _, alike = int8_file(model, Data(given.take(slice(600)), given.take(slice(600, None))), X)
    assert report == alike


@pytest.mark.parametrize("kept_bytes", [0, 2**20])
def test_what_is_usual_is_that_of_all_samples_whatever_block_they_are_in(
    kept_bytes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = regression()
    x = samples_of(model, 60).x
    x = np.concatenate([1e-3 * np.asarray(x[:10]), x[10:]])
    samples = Samples(x, model.outputs(x))
    other = regression(bias=np.full(4, 1e-4))

    def loss() -> Loss:
        return loss_of(to_onnx(other), to_onnx(model), model, samples, score_of(model), 0.0)

    whole = loss()
    monkeypatch.setattr(cnnkit.onnx.precision.measuring, "block_of", lambda model: 10)
    monkeypatch.setattr(cnnkit.onnx.precision.measuring, "KEPT_BYTES", kept_bytes)
    parts = loss()
    assert whole.largest == pytest.approx(parts.largest)
    assert whole.largest < 1e-3, "the first block alone would have 0.1"
    assert (whole.before, whole.after) == pytest.approx((parts.before, parts.after))


def test_a_sample_of_small_outputs_has_small_ties() -> None:
    """What is a hundredth of other samples' outputs may be all of its own."""
    model = Sequential(["Dense(3)"], (6,), labels=list("abc"), seed=0)
    x = np.random.default_rng(0).normal(size=(60, 6)).astype(np.float32)
    x[0] *= 1e-3
    logits = model.logits(x)
    bias = np.zeros(3, np.float32)
    bias[logits[0].argmin()] = 2 * np.ptp(logits[0])
    other = Sequential(["Dense(3)"], (6,), labels=list("abc"), seed=0)
    other.load_state({**model.state(), "dense_1.bias": bias})
    loss = loss_of(to_onnx(other), to_onnx(model), model, Samples(x, logits.argmax(axis=1)), score_of(model), 0.01)
    assert loss.largest < 0.01
    assert (loss.flips, loss.answers) == (1, 60)


def test_values_whose_targets_are_constant_refuse_no_file() -> None:
    weight = regression().state()["dense_1.weight"].copy()
    weight[0] = 0
    model = regression(weight=weight, bias=np.array([0.7, 0, 0, 0], np.float32))
    given = samples_of(model)
    _, report = int8_file(model, Data(given.take(slice(600)), given.take(slice(600, None))), X)
    assert report.ok, report
    assert report.after == pytest.approx(1, abs=1e-3)
    constant = Samples(given.x, np.ones_like(given.y))
    with pytest.raises(
        DataError, match="expected test samples with different targets, got the same values for all: R2"
    ):
        int8_file(model, Data(given, constant), X)


def test_ranges_are_those_of_all_values() -> None:
    model = Sequential(["Conv2D(3, 3)", "ReLU()", "Flatten()", "Dense(4)"], (2, 6, 6), input_dtype="uint8", seed=1)
    x = np.random.default_rng(0).integers(0, 99, (50, 2, 6, 6)).astype(np.uint8)
    ranges = value_ranges(to_onnx(model), model, x)
    values = dict(zip(("conv2d_1", "relu_1", "flatten_1", "dense_1"), model.trace(x), strict=True))
    assert ranges["input"] == (x.min(), x.max())
    for name, value in values.items():
        assert ranges[name] == pytest.approx((value.min(), value.max()), rel=1e-5), name
    assert ranges["logits"] == ranges["dense_1"]
    assert set(ranges) == {"input", "preprocessing", *values, "logits", "probabilities"}
