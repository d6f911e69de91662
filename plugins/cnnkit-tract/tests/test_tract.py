"""tract: its contract, that exports give the model's answers, and that it says what it cannot do."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from cnnkit_tract import Tract

from cnnkit import Sequential, Trainer, export_onnx, load_dataset, validate_onnx
from cnnkit.plugin import OnnxError
from cnnkit.testing import check_runtime


def test_contract() -> None:
    check_runtime(Tract())


def test_it_is_found_by_its_name_with_its_version(tmp_path: Path) -> None:
    model = Sequential(["Dense(3)"], (4,))
    report = validate_onnx(export_onnx(model, tmp_path / "model.onnx"), model, runtimes=["cnnkit-tract:Tract"])
    (result,) = report.results
    assert (result.ok, result.runtime) == (True, "Tract()")
    assert result.version


@pytest.mark.parametrize("opset", [13, 17, 21])
def test_a_trained_network_keeps_its_labels(tmp_path: Path, opset: int) -> None:
    data = load_dataset("Digits()")
    layers = ["Conv2D(8, 3)", "BatchNorm2D()", "ReLU()", "MaxPool2D(2)", "Flatten()", "Dense(10)"]
    model = Sequential(layers, data.input_shape, preprocessing=data.preprocessing, input_dtype="uint8")
    Trainer(epochs=2, progress=False).fit(model, data)
    report = validate_onnx(export_onnx(model, tmp_path / "m.onnx", opset=opset), model, data.test.x, [Tract()])
    (result,) = report.results
    assert (result.verdict, result.flips, result.samples) == ("pass", (), 360), str(report)


def test_what_it_cannot_execute_it_says_in_one_line() -> None:
    for data in (b"not a model", b""):
        with pytest.raises(OnnxError, match=r"^Tract\(\) cannot execute the model: \w+: .+$") as caught:
            Tract().run(data, {"input": np.zeros((2, 4), np.float32)})
        assert "\n" not in str(caught.value)
        assert "backtrace" not in str(caught.value)


def test_of_a_strangers_file_it_says_that_it_cannot(tmp_path: Path) -> None:
    model = Sequential(["Dense(3)"], (4,))
    proto = onnx.load(export_onnx(model, tmp_path / "m.onnx"))
    proto.graph.name = "foreign"
    onnx.save(proto, tmp_path / "m.onnx")
    report = validate_onnx(tmp_path / "m.onnx", model, runtimes=["Tract", "ReferenceEvaluator"])
    assert [result.verdict for result in report.results] == ["cannot", "pass"]
    assert report.results[0].error.startswith(
        "Tract() cannot execute the model: RuntimeError: it reads files alone, and here none can be written: "
    )
