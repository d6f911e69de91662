"""A file runs on one sample and on many: a batch that is frozen in it is seen, and memory bounds the others."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import ModelProto, helper, numpy_helper

from cnnkit.layers import Conv2D, Dense, Flatten, MaxPool2D, ReLU
from cnnkit.network import Sequential
from cnnkit.onnx import executable_model
from cnnkit.onnx.export import export_onnx, to_onnx
from cnnkit.onnx.runtimes import OnnxRuntime, ReferenceEvaluator, is_installed
from cnnkit.onnx.validate import validate_onnx
from cnnkit.types import Array


@pytest.fixture
def model() -> Sequential:
    return Sequential([Conv2D(5, 3, padding=1), ReLU(), MaxPool2D(2), Flatten(), Dense(10)], (1, 8, 8))


def inputs(n: int) -> Array:
    return np.random.default_rng(5).integers(0, 17, (n, 1, 8, 8)).astype(np.float32)


def save(proto: ModelProto, path: Path) -> Path:
    onnx.save(proto, path)
    return path


@pytest.mark.skipif(not is_installed(OnnxRuntime), reason="onnxruntime is not installed")
def test_a_frozen_batch_axis_that_is_not_declared_fails(model: Sequential, tmp_path: Path) -> None:
    proto = to_onnx(model)
    flatten = next(node for node in proto.graph.node if node.op_type == "Flatten")
    frozen = numpy_helper.from_array(np.array([1, 5 * 4 * 4]), "frozen")
    proto.graph.initializer.append(frozen)
    flatten.CopyFrom(helper.make_node("Reshape", [flatten.input[0], "frozen"], flatten.output, flatten.name))
    report = validate_onnx(save(proto, tmp_path / "model.onnx"), model, inputs(8), [OnnxRuntime()])
    assert not report.ok
    assert "input_shape_size == requested_shape_size was false" in report.results[0].error


@pytest.mark.skipif(not is_installed(OnnxRuntime), reason="onnxruntime is not installed")
def test_a_single_sample_shows_a_frozen_batch_axis(tmp_path: Path) -> None:
    model = Sequential([Flatten(), Dense(3)], (1, 4, 4))
    assert validate_onnx(export_onnx(model, tmp_path / "right.onnx"), model, np.ones((1, 1, 4, 4), np.float32)).ok
    proto = to_onnx(model)
    flatten = next(node for node in proto.graph.node if node.op_type == "Flatten")
    proto.graph.initializer.append(numpy_helper.from_array(np.array([1, 16]), "frozen"))
    flatten.CopyFrom(helper.make_node("Reshape", [flatten.input[0], "frozen"], flatten.output, flatten.name))
    report = validate_onnx(save(proto, tmp_path / "m.onnx"), model, np.ones((1, 1, 4, 4), np.float32), [OnnxRuntime()])
    assert not report.ok
    assert "input_shape_size == requested_shape_size was false" in report.results[0].error


def test_a_single_sample_runs_alone_and_as_a_batch_of_two(model: Sequential, tmp_path: Path) -> None:
    sizes: list[int] = []

    class WrongTogether(ReferenceEvaluator):
        def run(self, model: bytes, inputs: Mapping[str, Array]) -> dict[str, Array]:
            outputs = super().run(model, inputs)
            sizes.append(len(inputs["input"]))
            if len(sizes) == 2:
                outputs["logits"][1] *= -1
                outputs["probabilities"][1] = outputs["probabilities"][1][::-1]
            return outputs

    path = export_onnx(model, tmp_path / "model.onnx")
    report = validate_onnx(path, model, inputs(1), [WrongTogether()])
    assert sizes[:2] == [1, 2]
    assert (report.results[0].ok, report.results[0].flips, report.results[0].samples) == (False, (0,), 1)
    fixed = export_onnx(model, tmp_path / "fixed.onnx", batch=1)
    sizes.clear()
    assert validate_onnx(fixed, model, inputs(1), [WrongTogether()]).ok
    assert sizes == [1]


def test_large_batches_run_in_parts(model: Sequential, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = []

    class Counting(ReferenceEvaluator):
        def run(self, model: bytes, inputs: Mapping[str, Array]) -> dict[str, Array]:
            sizes.append(len(inputs["input"]))
            return super().run(model, inputs)

    monkeypatch.setattr(executable_model, "CHUNK_BYTES", 10 * executable_model.run_bytes(model))
    report = validate_onnx(export_onnx(model, tmp_path / "model.onnx"), model, inputs(25), [Counting()])
    assert report.ok
    assert sizes == [1, 10, 10, 4]
