"""OpenCV: its contract, that exports give the model's answers, and that it says what it cannot do."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import onnx
import pytest
from cnnkit_opencv import OpenCV

from cnnkit import Sequential, Trainer, export_onnx, load_dataset, validate_onnx
from cnnkit.plugin import OnnxError
from cnnkit.testing import check_runtime


def test_contract() -> None:
    check_runtime(OpenCV())


def test_it_is_found_by_its_name_with_its_version(tmp_path: Path) -> None:
    model = Sequential(["Dense(3)"], (4,))
    report = validate_onnx(export_onnx(model, tmp_path / "model.onnx"), model, runtimes=["cnnkit-opencv:OpenCV"])
    (result,) = report.results
    assert (result.ok, result.runtime, result.version) == (True, "OpenCV()", cv2.__version__)


@pytest.mark.parametrize("opset", [13, 17, 21])
@pytest.mark.parametrize("dtype", ["uint8", "float32"])
def test_a_trained_network_keeps_its_labels(tmp_path: Path, opset: int, dtype: str) -> None:
    data = load_dataset("Digits()")
    layers = ["Conv2D(8, 3)", "BatchNorm2D()", "ReLU()", "MaxPool2D(2)", "Flatten()", "Dense(10)"]
    model = Sequential(layers, data.input_shape, preprocessing=data.preprocessing, input_dtype="uint8")
    Trainer(epochs=2, progress=False).fit(model, data)
    path = export_onnx(model, tmp_path / "m.onnx", opset=opset, input_dtype=dtype)
    report = validate_onnx(path, model, data.test.x, [OpenCV()])
    (result,) = report.results
    assert (result.verdict, result.flips, result.samples) == ("pass", (), 360), str(report)


def test_a_strangers_file_runs_in_its_own_process(tmp_path: Path) -> None:
    model = Sequential(["Conv2D(4, 3)", "ReLU()", "Flatten()", "Dense(3)"], (1, 8, 8))
    proto = onnx.load(export_onnx(model, tmp_path / "m.onnx"))
    proto.graph.name = "foreign"
    onnx.save(proto, tmp_path / "m.onnx")
    report = validate_onnx(tmp_path / "m.onnx", model, runtimes=["OpenCV"], latency=True)
    assert (report.ok, report.exported) == (True, False), str(report)


def test_what_it_cannot_execute_it_says_in_one_line_and_prints_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    helper = onnx.helper
    values = [helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, ("N", 4)) for name in ("input", "output")]
    node = helper.make_node("Unheard", ["input"], ["output"], domain="of")
    graph = helper.make_graph([node], "unknown", values[:1], values[1:])
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("of", 1)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=8)
    with pytest.raises(OnnxError, match=r"^OpenCV\(\) cannot execute the model: \w+: .+$") as caught:
        OpenCV().run(model.SerializeToString(), {"input": np.zeros((2, 4), np.float32)})
    assert "\n" not in str(caught.value)
    assert capfd.readouterr() == ("", "")


def test_the_programs_own_threads_and_log_stay_as_they_were(tmp_path: Path) -> None:
    before = cv2.getNumThreads(), cv2.utils.logging.getLogLevel()
    model = Sequential(["Dense(3)"], (4,))
    path = export_onnx(model, tmp_path / "model.onnx")
    OpenCV().run(path.read_bytes(), {"input": np.zeros((2, 4), np.float32)})
    assert (cv2.getNumThreads(), cv2.utils.logging.getLogLevel()) == before


def test_it_reads_files_by_itself(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    model = Sequential(["Conv2D(4, 3)", "ReLU()", "Flatten()", "Dense(3)"], (1, 8, 8))
    path = export_onnx(model, tmp_path / "model.onnx")
    inputs = {"input": np.random.default_rng(0).standard_normal((2, 1, 8, 8), np.float32)}
    expected = OpenCV().run(path.read_bytes(), inputs)
    read, sources = cv2.dnn.readNetFromONNX, []

    def read_net(source: object) -> object:
        sources.append(source)
        return read(source)

    monkeypatch.setattr(cv2.dnn, "readNetFromONNX", read_net)
    outputs = OpenCV().prepare_file(path)(inputs)
    assert sources == [str(path)]
    assert outputs.keys() == expected.keys()
    assert all(np.array_equal(outputs[name], expected[name]) for name in expected)


@pytest.mark.parametrize("name", ["model.onnx", "m\u00fc.onnx"])
@pytest.mark.parametrize("content", [b"", b"no model", None])
def test_a_file_that_is_none_of_a_model_is_refused(
    tmp_path: Path, name: str, content: bytes | None, capfd: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(OnnxError, match=r"^OpenCV\(\) cannot execute the model: \w+: .+$") as caught:
        OpenCV().prepare_file(path)
    assert "\n" not in str(caught.value)
    assert capfd.readouterr() == ("", "")


def test_a_file_that_it_may_not_find_is_given_as_bytes(tmp_path: Path) -> None:
    path = export_onnx(Sequential(["Dense(3)"], (4,)), tmp_path / "m\u00fc.onnx")
    inputs = {"input": np.ones((2, 4), np.float32)}
    outputs, expected = OpenCV().prepare_file(path)(inputs), OpenCV().run(path.read_bytes(), inputs)
    assert outputs.keys() == expected.keys()
    assert all(np.array_equal(outputs[name], expected[name]) for name in expected)
