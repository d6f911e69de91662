"""ncnn: its contract, that exports give the model's answers, and that it says what it cannot do."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from cnnkit_ncnn import NCNN

from cnnkit import Sequential, Trainer, export_onnx, load_dataset, validate_onnx
from cnnkit.plugin import OnnxError
from cnnkit.testing import check_runtime


def test_contract() -> None:
    check_runtime(NCNN())


def test_it_is_found_by_its_name_with_its_version(tmp_path: Path) -> None:
    model = Sequential(["Dense(3)"], (4,))
    report = validate_onnx(export_onnx(model, tmp_path / "model.onnx"), model, runtimes=["cnnkit-ncnn:NCNN"])
    (result,) = report.results
    assert (result.ok, result.runtime) == (True, "NCNN()"), str(report)
    assert result.version


@pytest.mark.parametrize("opset", [13, 17, 21])
def test_a_trained_network_keeps_its_labels_in_float32(tmp_path: Path, opset: int) -> None:
    data = load_dataset("Digits()")
    layers = ["Conv2D(8, 3)", "BatchNorm2D()", "ReLU()", "MaxPool2D(2)", "Flatten()", "Dense(10)"]
    model = Sequential(layers, data.input_shape, preprocessing=data.preprocessing, input_dtype="uint8")
    Trainer(epochs=2, progress=False).fit(model, data)
    path = export_onnx(model, tmp_path / "m.onnx", opset=opset, input_dtype="float32")
    report = validate_onnx(path, model, data.test.x, [NCNN()])
    (result,) = report.results
    assert (result.verdict, result.flips, result.samples) == ("pass", (), 360), str(report)
    assert result.max_relative < 1e-5  # float16 would be off by a thousandth


def test_a_wrong_weight_is_found_in_its_layer(tmp_path: Path) -> None:
    model = Sequential(["Conv2D(4, 3)", "ReLU()", "Flatten()", "Dense(3)"], (1, 8, 8))
    path = export_onnx(model, tmp_path / "m.onnx")
    model.load_state(
        {name: 1.01 * array if name == "conv2d_1.weight" else array for name, array in model.state().items()}
    )
    data = path.read_bytes()
    x = np.random.default_rng(0).random((3, 1, 8, 8), np.float32)
    given = NCNN().run(data, {"input": x})["logits"]
    assert np.abs(given - model.logits(x)).max() > 1e-4


def test_of_uint8_it_says_what_to_do(tmp_path: Path) -> None:
    model = Sequential(["Flatten()", "Dense(3)"], (1, 4, 4), input_dtype="uint8")
    report = validate_onnx(export_onnx(model, tmp_path / "m.onnx"), model, runtimes=["NCNN", "ReferenceEvaluator"])
    assert [result.verdict for result in report.results] == ["cannot", "pass"]
    assert report.results[0].error == (
        "NCNN() cannot execute the model: ValueError: ncnn takes and gives float32 alone, and input is not: "
        "export with --input float32"
    )


def test_of_a_strangers_file_it_says_that_it_cannot(tmp_path: Path) -> None:
    model = Sequential(["Dense(3)"], (4,))
    proto = onnx.load(export_onnx(model, tmp_path / "m.onnx"))
    proto.graph.name = "foreign"
    onnx.save(proto, tmp_path / "m.onnx")
    report = validate_onnx(tmp_path / "m.onnx", model, runtimes=["NCNN", "ReferenceEvaluator"])
    assert [result.verdict for result in report.results] == ["cannot", "pass"]
    assert report.results[0].error.startswith("NCNN() cannot execute the model: ")


@pytest.mark.parametrize("data", [b"not a model", b""])
def test_what_it_cannot_execute_it_says_in_one_line(data: bytes) -> None:
    with pytest.raises(OnnxError, match=r"^NCNN\(\) cannot execute the model: \w+: .+$") as caught:
        NCNN().run(data, {"input": np.zeros((2, 4), np.float32)})
    assert "\n" not in str(caught.value)
