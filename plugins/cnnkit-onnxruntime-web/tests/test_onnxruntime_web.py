"""ONNX Runtime in WebAssembly: its contract, its answers, and what it says where Node or the package is missing."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import numpy as np
import onnx
import pytest
from cnnkit_onnxruntime_web import PACKAGE, VARIABLE, OnnxRuntimeWeb

from cnnkit import Sequential, Trainer, export_onnx, load_dataset, validate_onnx
from cnnkit.plugin import OnnxError
from cnnkit.testing import check_runtime

FOLDER = os.environ.get(VARIABLE)
needs_node = pytest.mark.skipif(
    FOLDER is None or shutil.which("node") is None, reason=f"{VARIABLE} names no folder with the package, or no Node"
)


@needs_node
def test_contract() -> None:
    check_runtime(OnnxRuntimeWeb(FOLDER))


@needs_node
def test_it_is_found_by_its_name_with_its_version(tmp_path: Path) -> None:
    model = Sequential(["Dense(3)"], (4,))
    report = validate_onnx(export_onnx(model, tmp_path / "model.onnx"), model, runtimes=["OnnxRuntimeWeb"])
    (result,) = report.results
    assert (result.ok, result.runtime) == (True, "OnnxRuntimeWeb()")
    assert result.version == OnnxRuntimeWeb(FOLDER).version() != ""


@needs_node
@pytest.mark.parametrize("opset", [13, 17, 21])
def test_a_trained_network_keeps_its_labels(tmp_path: Path, opset: int) -> None:
    data = load_dataset("Digits()")
    layers = ["Conv2D(8, 3)", "BatchNorm2D()", "ReLU()", "MaxPool2D(2)", "Flatten()", "Dense(10)"]
    model = Sequential(layers, data.input_shape, preprocessing=data.preprocessing, input_dtype="uint8")
    Trainer(epochs=2, progress=False).fit(model, data)
    path = export_onnx(model, tmp_path / "m.onnx", opset=opset)
    report = validate_onnx(path, model, data.test.x, [OnnxRuntimeWeb(FOLDER)])
    (result,) = report.results
    assert (result.verdict, result.flips, result.samples) == ("pass", (), 360), str(report)


@needs_node
def test_a_strangers_file_runs_in_its_own_process(tmp_path: Path) -> None:
    model = Sequential(["Conv2D(4, 3)", "ReLU()", "Flatten()", "Dense(3)"], (1, 8, 8))
    proto = onnx.load(export_onnx(model, tmp_path / "m.onnx"))
    proto.graph.name = "foreign"
    onnx.save(proto, tmp_path / "m.onnx")
    report = validate_onnx(tmp_path / "m.onnx", model, runtimes=["OnnxRuntimeWeb"], latency=True)
    assert (report.ok, report.exported) == (True, False), str(report)


def installed_in(folder: Path) -> Path:
    """What npm leaves there, without the package's content."""
    package = folder / "node_modules" / PACKAGE
    (package / "dist").mkdir(parents=True)
    (package / "dist" / "ort.wasm.min.mjs").write_text("")
    (package / "package.json").write_text(json.dumps({"version": "1.2.3"}))
    return package


def test_the_package_is_found_in_the_folder_or_is_the_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = installed_in(tmp_path)
    monkeypatch.setenv(VARIABLE, str(tmp_path))
    for one in (OnnxRuntimeWeb(), OnnxRuntimeWeb(str(tmp_path)), OnnxRuntimeWeb(str(package))):
        assert one.version() == "1.2.3"


def test_where_the_package_is_missing_it_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    with pytest.raises(
        OnnxError, match=rf"run `npm install {PACKAGE}` in a folder, and name that in {VARIABLE} or as OnnxRuntimeWeb"
    ):
        OnnxRuntimeWeb().version()
    with pytest.raises(OnnxError, match=rf"there is no {PACKAGE} in {tmp_path}; run there: npm install {PACKAGE}$"):
        OnnxRuntimeWeb(str(tmp_path)).version()
    model = Sequential(["Dense(3)"], (4,))
    path = export_onnx(model, tmp_path / "m.onnx")
    report = validate_onnx(path, model, runtimes=["OnnxRuntimeWeb", "ReferenceEvaluator"])
    assert [result.verdict for result in report.results] == ["cannot", "pass"]
    assert (report.ok, report.faults()) == (True, [])


def test_where_node_is_missing_it_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    installed_in(tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(OnnxError, match=r"needs Node, and no folder in PATH has it: install Node 18 or newer"):
        OnnxRuntimeWeb(str(tmp_path)).run(b"", {})


@pytest.mark.skipif(shutil.which("node") is None, reason="there is no Node")
def test_a_damaged_package_is_an_error_of_one_line(tmp_path: Path) -> None:
    installed_in(tmp_path)
    with pytest.raises(OnnxError, match=r"Node ended with exit code 1 and without an answer$"):
        OnnxRuntimeWeb(str(tmp_path)).run(b"", {"input": np.zeros(1, np.float32)})
