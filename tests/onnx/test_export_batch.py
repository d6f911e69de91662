"""Files that take a fixed number of samples at once."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import onnx
import pytest

from cnnkit import export_onnx, validate_onnx
from cnnkit.components import Runtime
from cnnkit.errors import ConfigError, OnnxError
from cnnkit.network import Sequential
from cnnkit.onnx import executable_model
from cnnkit.onnx.export import to_onnx
from cnnkit.onnx.report import ValidationReport
from cnnkit.onnx.runtimes import OnnxRuntime, ReferenceEvaluator
from cnnkit.onnx.validate import validate_proto
from cnnkit.types import Array

MODEL = Sequential(["Conv2D(4, 3)", "BatchNorm2D()", "ReLU()", "Flatten()", "Dense(3)"], (1, 6, 6))
X = np.random.default_rng(0).normal(size=(7, 1, 6, 6)).astype(np.float32)


class Counting(ReferenceEvaluator):
    """Keeps how many samples it was given at once."""

    def __init__(self) -> None:
        self.sizes: list[int] = []

    def run(self, model: bytes, inputs: Mapping[str, Array]) -> dict[str, Array]:
        self.sizes.append(len(inputs["input"]))
        return super().run(model, inputs)


def validate(batch: int, runtime: Runtime) -> ValidationReport:
    return validate_proto(to_onnx(MODEL, batch=batch), Path("m.onnx"), MODEL, X, [runtime])


@pytest.mark.parametrize("batch", [1, 3])
def test_all_that_a_file_declares_has_its_batch(batch: int) -> None:
    graph = onnx.shape_inference.infer_shapes(to_onnx(MODEL, batch=batch), strict_mode=True).graph
    values = [*graph.input, *graph.output, *graph.value_info]
    assert {value.type.tensor_type.shape.dim[0].dim_value for value in values} == {batch}


@pytest.mark.parametrize(("batch", "sizes"), [(1, [1] * 7), (3, [3, 3, 3]), (7, [7]), (20, [20])])
def test_samples_come_in_batches_of_its_size_and_the_last_is_filled_up(batch: int, sizes: list[int]) -> None:
    runtime = Counting()
    report = validate(batch, runtime)
    assert (report.ok, report.results[0].samples, runtime.sizes) == (True, 7, sizes)
    assert validate(batch, OnnxRuntime()).ok


@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("own", [True, False])
def test_a_file_is_validated_whoever_made_it(batch: int, own: bool, tmp_path: Path) -> None:
    path = export_onnx(MODEL, tmp_path / "m.onnx", batch=batch)
    if not own:
        proto = onnx.load(path)
        proto.graph.name = "foreign"
        onnx.save(proto, path)
    report = validate_onnx(path, MODEL, X)
    assert (report.ok, report.exported, report.problem) == (True, own, "")
    assert [result.ok for result in report.results] == [True, True]


class First(Runtime):
    """Gives the answers for the first sample of a batch alone."""

    def run(self, model: bytes, inputs: Mapping[str, Array]) -> dict[str, Array]:
        return {name: output[:1] for name, output in ReferenceEvaluator().run(model, inputs).items()}


class Mixed(Runtime):
    """Moves the answers of the last sample of a batch."""

    def run(self, model: bytes, inputs: Mapping[str, Array]) -> dict[str, Array]:
        outputs = ReferenceEvaluator().run(model, inputs)
        outputs["logits"][-1] += 1
        return outputs


def test_wrong_answers_in_a_batch_are_found() -> None:
    assert "logits have shape (1, 3) for a batch of 3" in validate(3, First()).results[0].error
    report = validate(3, Mixed())
    assert not report.ok
    assert report.results[0].worst_sample in (2, 5)


@pytest.mark.parametrize("batch", [0, -1, 65_537, 2.5, True, "4"])
def test_a_batch_is_a_number_of_samples(batch: object) -> None:
    with pytest.raises(ConfigError, match="batch must be a whole number"):
        to_onnx(MODEL, batch=batch)  # type: ignore[arg-type]  # wrong on purpose


def test_a_batch_beyond_memory_is_not_run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(executable_model, "VALUE_BYTES", 10_000)
    message = r"the file takes batches of 64 samples, which need about .* of memory .* export it with a smaller batch"
    with pytest.raises(OnnxError, match=message):
        validate(64, OnnxRuntime())
    with pytest.raises(OnnxError, match=message):
        validate_onnx(export_onnx(MODEL, tmp_path / "m.onnx", batch=64), MODEL, X)
