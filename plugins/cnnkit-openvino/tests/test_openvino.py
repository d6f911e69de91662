"""OpenVINO: its contract, that exports give the model's answers, and that it says what it cannot do."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import openvino
import pytest
from cnnkit_openvino import OpenVINO

from cnnkit import Sequential, Trainer, export_onnx, load_dataset, validate_onnx
from cnnkit.plugin import OnnxError
from cnnkit.testing import check_runtime


def test_contract() -> None:
    check_runtime(OpenVINO())


def test_it_is_found_by_its_name_with_its_version(tmp_path: Path) -> None:
    model = Sequential(["Dense(3)"], (4,))
    report = validate_onnx(export_onnx(model, tmp_path / "model.onnx"), model, runtimes=["cnnkit-openvino:OpenVINO"])
    (result,) = report.results
    assert (result.ok, result.runtime) == (True, "OpenVINO()")
    assert openvino.__version__.startswith(result.version)


@pytest.mark.parametrize("opset", [13, 17, 21])
def test_a_trained_network_keeps_its_labels_in_float32(tmp_path: Path, opset: int) -> None:
    data = load_dataset("Digits()")
    layers = ["Conv2D(8, 3)", "BatchNorm2D()", "ReLU()", "MaxPool2D(2)", "Flatten()", "Dense(10)"]
    model = Sequential(layers, data.input_shape, preprocessing=data.preprocessing, input_dtype="uint8")
    Trainer(epochs=2, progress=False).fit(model, data)
    report = validate_onnx(export_onnx(model, tmp_path / "m.onnx", opset=opset), model, data.test.x, [OpenVINO()])
    (result,) = report.results
    assert (result.verdict, result.flips, result.samples) == ("pass", (), 360), str(report)
    assert result.max_relative < 1e-5  # bfloat16 would be off by a hundredth


def test_a_strangers_file_runs_in_its_own_process(tmp_path: Path) -> None:
    model = Sequential(["Conv2D(4, 3)", "ReLU()", "Flatten()", "Dense(3)"], (1, 8, 8))
    proto = onnx.load(export_onnx(model, tmp_path / "m.onnx"))
    proto.graph.name = "foreign"
    onnx.save(proto, tmp_path / "m.onnx")
    report = validate_onnx(tmp_path / "m.onnx", model, runtimes=["OpenVINO"], latency=True)
    assert (report.ok, report.exported) == (True, False), str(report)


def test_a_quantised_file_whose_input_has_further_names(tmp_path: Path) -> None:
    helper, data = onnx.helper, onnx.TensorProto
    x = helper.make_tensor_value_info("input", data.UINT8, ("N", 4))
    y = helper.make_tensor_value_info("output", data.FLOAT, ("N", 4))
    constants = [
        helper.make_tensor("one", data.FLOAT, (), [1.0]),
        helper.make_tensor("zero", data.UINT8, (), [0]),
        helper.make_tensor("weight", data.FLOAT, (4, 4), 2 * np.eye(4, dtype=np.float32).ravel()),
    ]
    nodes = [
        helper.make_node("Cast", ["input"], ["float"], to=data.FLOAT),
        helper.make_node("QuantizeLinear", ["float", "one", "zero"], ["whole"]),
        helper.make_node("DequantizeLinear", ["whole", "one", "zero"], ["again"]),
        helper.make_node("MatMul", ["again", "weight"], ["output"]),
    ]
    graph = helper.make_graph(nodes, "quantised", [x], [y], constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 19)], ir_version=9)
    outputs = OpenVINO().run(model.SerializeToString(), {"input": np.array([[0, 1, 7, 255]], np.uint8)})
    np.testing.assert_array_equal(outputs["output"], [[0, 2, 14, 510]])


def test_where_memory_is_short_it_does_not_give_nothing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    model = export_onnx(Sequential(["Dense(3)"], (4,)), tmp_path / "m.onnx").read_bytes()
    run = OpenVINO().prepare(model)
    inputs = {"input": np.zeros((2, 4), np.float32)}
    assert run(inputs)["logits"].shape == (2, 3)

    def short_of_memory(compiled: object, inputs: object) -> list[np.ndarray]:
        return [np.empty((0, 3), np.float32)] * 2

    monkeypatch.setattr(openvino.CompiledModel, "__call__", short_of_memory)
    with pytest.raises(OnnxError, match="it gave no numbers, as it does where it gets no memory"):
        run(inputs)


def test_what_it_cannot_execute_it_says_in_one_line() -> None:
    helper = onnx.helper
    values = [helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, ("N", 4)) for name in ("input", "output")]
    node = helper.make_node("Unheard", ["input"], ["output"], domain="of")
    graph = helper.make_graph([node], "unknown", values[:1], values[1:])
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("of", 1)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=8)
    with pytest.raises(OnnxError, match=r"^OpenVINO\(\) cannot execute the model: \w+: .+$") as caught:
        OpenVINO().run(model.SerializeToString(), {"input": np.zeros((2, 4), np.float32)})
    assert "\n" not in str(caught.value)


def test_it_reads_files_by_itself(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    model = Sequential(["Conv2D(4, 3)", "ReLU()", "Flatten()", "Dense(3)"], (1, 8, 8))
    path = export_onnx(model, tmp_path / "model.onnx")
    inputs = {"input": np.random.default_rng(0).standard_normal((2, 1, 8, 8), np.float32)}
    expected = OpenVINO().run(path.read_bytes(), inputs)
    read, sources = openvino.Core.read_model, []

    def read_model(core: openvino.Core, source: object) -> openvino.Model:
        sources.append(source)
        return read(core, source)

    monkeypatch.setattr(openvino.Core, "read_model", read_model)
    outputs = OpenVINO().prepare_file(path)(inputs)
    assert sources == [path]
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
    with pytest.raises(OnnxError, match=r"^OpenVINO\(\) cannot execute the model: \w+: .+$") as caught:
        OpenVINO().prepare_file(path)
    assert "\n" not in str(caught.value)
    assert capfd.readouterr() == ("", "")
