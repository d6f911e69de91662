"""Any number of samples is compared, block by block; latencies are measured and judge nothing."""

from __future__ import annotations

import tracemalloc
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cnnkit.network import Sequential
from cnnkit.onnx import executable_model, expected_answers
from cnnkit.onnx.export import to_onnx
from cnnkit.onnx.report import LATENCIES
from cnnkit.onnx.runtimes import ReferenceEvaluator
from cnnkit.onnx.validate import validate_onnx, validate_proto
from cnnkit.types import Array, Rows, Shape

MODEL = Sequential(["Flatten()", "Dense(10)"], (1, 16, 16), input_dtype="uint8")


class Computed:
    """Rows of any number that are nowhere."""

    def __init__(self, count: int) -> None:
        self.count = count

    shape = property(lambda self: (self.count, 1, 16, 16))
    ndim = 4
    dtype = np.dtype(np.uint8)
    nbytes = 0

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: Any) -> Array:
        numbers = np.arange(*index.indices(self.count))
        return (numbers[:, None] * np.arange(1, 257) % 251).astype(np.uint8).reshape(-1, 1, 16, 16)

    def __array__(self, dtype: np.dtype[Any] | None = None, copy: bool | None = None) -> Array:
        raise AssertionError("all samples at once")

    def select(self, index: Any) -> Computed:
        raise AssertionError("not needed")

    def read(self, positions: Array, out: Array) -> Array:
        raise AssertionError("not needed")


class WrongAt(ReferenceEvaluator):
    """Wrong for the samples with these numbers."""

    def __init__(self, *numbers: int) -> None:
        self.numbers, self.first = numbers, 0

    def __repr__(self) -> str:
        return "WrongAt()"

    def run(self, model: bytes, inputs: Mapping[str, Array]) -> dict[str, Array]:
        outputs = super().run(model, inputs)
        count = len(outputs["logits"])
        for number in self.numbers:
            if self.first <= number < self.first + count:
                outputs["logits"][number - self.first] *= -1 - number / 100
        self.first += count
        return outputs


def peak(count: int, tmp_path: Path) -> int:
    tracemalloc.start()
    try:
        assert isinstance(Computed(count), Rows)
        report = validate_proto(to_onnx(MODEL), tmp_path, MODEL, Computed(count), ["ReferenceEvaluator"])
        assert (report.ok, report.results[0].samples) == (True, count)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_memory_does_not_grow_with_the_samples(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(executable_model, "MAX_SAMPLES", 50)
    monkeypatch.setattr(expected_answers, "KEPT_BYTES", 0)
    monkeypatch.setattr(expected_answers, "MEDIAN_SAMPLES", 50)
    peak(100, tmp_path)  # what is imported
    few, many = peak(500, tmp_path), peak(10_000, tmp_path)
    assert many < 1.2 * few
    monkeypatch.setattr(executable_model, "MAX_SAMPLES", 10_000)
    assert peak(10_000, tmp_path) > 3 * few  # it could fail


@pytest.mark.parametrize("kept", [0, 2**26])
def test_blocks_change_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kept: int) -> None:
    proto, x = to_onnx(MODEL), Computed(333)[:]
    whole = validate_proto(proto, tmp_path, MODEL, x, [WrongAt(7, 200, 332)])
    monkeypatch.setattr(executable_model, "MAX_SAMPLES", 50)
    monkeypatch.setattr(expected_answers, "KEPT_BYTES", kept)
    parts = validate_proto(proto, tmp_path, MODEL, x, [WrongAt(7, 200, 332)])
    for one, other in zip(whole.results, parts.results, strict=True):
        assert one.flips == other.flips == (7, 200, 332)
        assert one.worst_sample == other.worst_sample == 332
        # A product of other sizes is summed up in another order.
        assert other.max_absolute == pytest.approx(one.max_absolute, rel=1e-5)
        assert other.max_relative == pytest.approx(one.max_relative, rel=1e-5)
        assert other.budget == pytest.approx(one.budget, rel=1e-5)
    assert parts.rounding == pytest.approx(whole.rounding, rel=0.1)


@pytest.mark.parametrize("own", [True, False])
def test_latencies_are_shown_and_judge_nothing(tmp_path: Path, own: bool) -> None:
    proto, x = to_onnx(MODEL), Computed(100)[:]
    proto.graph.name = "cnnkit" if own else "foreign"
    (tmp_path / "m.onnx").write_bytes(proto.SerializeToString())
    report = validate_onnx(tmp_path / "m.onnx", MODEL, x, ["ReferenceEvaluator"], latency=True)
    (result,) = report.results
    assert (report.ok, report.exported) == (True, own)
    assert result.latency is not None
    assert (result.latency.samples, result.latency.one > 0, result.latency.batch > 0) == (64, True, True)
    assert report.columns[-3:-1] == LATENCIES
    assert all(float(cell) > 0 for cell in report.rows()[0][-3:-1])
    assert report.to_dict()["results"][0]["latency"]["samples"] == 64
    plain = validate_onnx(tmp_path / "m.onnx", MODEL, x, ["ReferenceEvaluator"])
    assert (plain.results[0].latency, len(plain.rows()[0])) == (None, len(plain.columns))


def test_the_shape_of_rows_is_checked_unread(tmp_path: Path) -> None:
    shape: Shape = Computed(3).shape
    assert shape == (3, 1, 16, 16)
    assert validate_proto(to_onnx(MODEL), tmp_path, MODEL, Computed(3), ["ReferenceEvaluator"]).ok
