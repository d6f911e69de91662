"""Smaller files with a fixed batch and chosen outputs have the answers of the one that was measured, and a pair."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

import cnnkit.onnx.precision.export
from cnnkit import export_float16, export_int8
from cnnkit.errors import CheckError
from cnnkit.network import Sequential
from cnnkit.onnx.precision.int8 import to_int8
from cnnkit.onnx.precision.report import PrecisionReport
from cnnkit.onnx.runtimes import OnnxRuntime
from cnnkit.onnx.selftest import selftest
from cnnkit.types import Array, Data, Samples, Task

pytest.importorskip("onnxruntime")
LAYERS = ["Conv2D(4, 3, padding=1)", "ReLU()", "Conv2D(6, 3)", "Flatten()", "Dense(5)"]
EXPORTS: list[Callable[..., PrecisionReport]] = [export_float16, functools.partial(export_int8, max_loss=10)]


@pytest.fixture(scope="module", params=["classes", "labels"])
def made(request: pytest.FixtureRequest) -> tuple[Sequential, Data]:
    x = np.random.default_rng(0).normal(size=(300, 2, 6, 6)).astype(np.float32)
    model = Sequential(LAYERS, (2, 6, 6), task=Task(request.param, from_logits=True), seed=1)
    logits: Array = model.outputs(x)
    y = logits.argmax(axis=1) if request.param == "classes" else (logits > 0).astype(np.uint8)
    return model, Data(Samples(x[:200], y[:200]), Samples(x[200:], y[200:]))


@pytest.mark.parametrize("export", EXPORTS)
@pytest.mark.parametrize("batch", [None, 1, 7])
@pytest.mark.parametrize("outputs", [["label"], ["probabilities"], ["logits", "label"]])
def test_a_smaller_file_has_the_outputs_and_the_batch_that_are_chosen(
    made: tuple[Sequential, Data],
    export: Callable[..., PrecisionReport],
    batch: int | None,
    outputs: list[str],
    tmp_path: Path,
) -> None:
    model, data = made
    usual = export(model, tmp_path / "usual.onnx", data)
    report = export(model, tmp_path / "x.onnx", data, batch=batch, outputs=outputs)
    assert report.layers == usual.layers
    assert (report.before, report.after, report.flips) == (usual.before, usual.after, usual.flips)
    assert report.bytes == (tmp_path / "x.onnx").stat().st_size
    file = onnx.load(tmp_path / "x.onnx")
    assert [value.name for value in file.graph.output] == outputs
    assert file.graph.input[0].type.tensor_type.shape.dim[0].dim_value == (batch or 0)
    x = np.asarray(data.test.x[: batch or 9])
    given = OnnxRuntime().run((tmp_path / "x.onnx").read_bytes(), {"input": x})
    expected = OnnxRuntime().run((tmp_path / "usual.onnx").read_bytes(), {"input": x})
    for name in {*outputs} - {"label"}:
        np.testing.assert_allclose(given[name], expected[name], atol=1e-2)
    if "label" in outputs:
        ours = expected["logits"].argmax(axis=1) if model.task.gives == "classes" else expected["logits"] >= 0
        np.testing.assert_array_equal(given["label"], ours)
    assert selftest(tmp_path / "x.onnx", ["OnnxRuntime()"]).ok


@pytest.mark.parametrize("outputs", [["label"], ["logits"]])
def test_a_file_with_other_answers_than_the_measured_one_is_not_written(
    made: tuple[Sequential, Data], outputs: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(proto: onnx.ModelProto, *arguments: Any) -> onnx.ModelProto:
        file = to_int8(proto, *arguments)
        if [value.name for value in proto.graph.output] == outputs:
            (bias,) = [tensor for tensor in file.graph.initializer if tensor.name == "dense_1.bias_quantized"]
            moved = numpy_helper.to_array(bias) + 2**20 * np.arange(5, dtype=np.int32)
            bias.CopyFrom(numpy_helper.from_array(moved, bias.name))
        return file

    monkeypatch.setattr(cnnkit.onnx.precision.export, "to_int8", broken)
    model, data = made
    with pytest.raises(CheckError, match=rf"x\.onnx was not written: its {outputs[0]} differ from those of the file"):
        export_int8(model, tmp_path / "x.onnx", data, outputs=outputs, max_loss=10)
    assert list(tmp_path.iterdir()) == []
