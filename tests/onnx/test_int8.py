"""Files in int8: a quarter of the size, a measured loss, and a report of the layer to blame for it."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, numpy_helper

import cnnkit.onnx.runtimes
from cnnkit import Trainer, export_int8, load_dataset, validate_onnx
from cnnkit.errors import CheckError, ConfigError, DataError, OnnxError, ShapeError
from cnnkit.network import Sequential
from cnnkit.onnx.precision.export import int8_file
from cnnkit.onnx.selftest import selftest
from cnnkit.types import Array, Data, Samples, Task

pytest.importorskip("onnxruntime")
X = Path("x.onnx")
LAYERS = ["Conv2D(4, 3)", "ReLU()", "MaxPool2D(2)", "Tanh()", "Flatten()", "Dense(16)", "ReLU()", "Dense(10)"]
DENSE = ["Flatten()", "Dense(16)", "ReLU()", "Dense(16)", "ReLU()", "Dense(10)"]


@pytest.fixture(scope="module")
def data() -> Data:
    return load_dataset("Digits()")


def network(data: Data, layers: list[Any], epochs: int = 0) -> Sequential:
    options: dict[str, Any] = {"labels": data.labels, "preprocessing": data.preprocessing, "input_dtype": "uint8"}
    model = Sequential(layers, data.input_shape, seed=1, **options)
    if epochs:
        Trainer(optimizer="Adam(0.01)", epochs=epochs, progress=None).fit(model, data)
    return model


@pytest.fixture(scope="module")
def unbalanced(data: Data) -> Sequential:
    """A trained network in which dense_2 has a large weight for a value that is always zero.

    It changes no answer, but it sets the scale of the other weights, which are rounded to zero.
    """
    model = network(data, DENSE, epochs=8)
    state = model.state()
    bias, weight = state["dense_1.bias"].copy(), state["dense_2.weight"].copy()
    bias[0], weight[:, 0] = -1e3, 100
    model.load_state({**state, "dense_1.bias": bias, "dense_2.weight": weight})
    return model


def weights_of(file: onnx.ModelProto) -> dict[str, Array]:
    return {tensor.name: numpy_helper.to_array(tensor) for tensor in file.graph.initializer}


def test_weights_are_int8_and_inputs_and_outputs_stay(data: Data, tmp_path: Path) -> None:
    model = network(data, LAYERS, epochs=3)
    report = export_int8(model, tmp_path / "small.onnx", data)
    file = onnx.load(tmp_path / "small.onnx")
    kinds = {value.name: value.type.tensor_type.elem_type for value in (*file.graph.input, *file.graph.output)}
    assert kinds == {"input": TensorProto.UINT8, "logits": TensorProto.FLOAT, "probabilities": TensorProto.FLOAT}
    weights = weights_of(file)
    for layer, channels in (("conv2d_1", 4), ("dense_1", 16), ("dense_2", 10)):
        weight = weights[f"{layer}.weight_quantized"]
        assert weight.dtype == np.int8
        assert np.abs(weight).max() == 64
        assert weights[f"{layer}.weight_scale"].shape == (channels,)
        assert weights[f"{layer}.bias_quantized"].dtype == np.int32
    readers = {name: node.op_type for node in file.graph.node for name in node.input}
    producers = {name: node.op_type for node in file.graph.node for name in node.output}
    assert producers["dense_2"] == "Gemm"
    assert readers["dense_2"] in ("Identity", "Softmax"), "what the file gives is not rounded once more"
    assert readers["preprocessing.1"] == "QuantizeLinear"
    assert report.in_float32 == ("tanh_1",)
    assert list(report.layers.values()) == sorted(report.layers.values(), reverse=True)
    assert set(report.layers) == {"conv2d_1", "dense_1", "dense_2"}
    assert report.bytes == (tmp_path / "small.onnx").stat().st_size
    about = {entry.key: entry.value for entry in file.metadata_props}
    assert (file.producer_name, about["precision"]) == ("cnnkit", "int8")
    assert about["calibration"] == "512 training samples of Digits()"
    accuracy = model.evaluate(data.test.x, data.test.y)["accuracy"]
    assert (report.score, report.samples) == ("accuracy", 360)
    assert report.before == pytest.approx(accuracy)
    assert report.before > 0.8
    assert abs(report.loss) < 1


def test_the_layer_that_loses_most_is_named_and_can_be_kept(data: Data, unbalanced: Sequential, tmp_path: Path) -> None:
    """Positive control: a layer whose weights are badly scaled."""
    message = r"x\.onnx was not written: in int8 the accuracy falls by .* points, and may fall by 1: .* such as dense_2"
    with pytest.raises(CheckError, match=message):
        export_int8(unbalanced, tmp_path / "x.onnx", data)
    assert not (tmp_path / "x.onnx").exists()
    allowed = export_int8(unbalanced, tmp_path / "x.onnx", data, max_loss=100)
    worst, second, *_ = allowed.layers.items()
    assert worst[0] == "dense_2"
    assert worst[1] > 0.2 > 10 * second[1]
    assert allowed.loss > 5
    kept = export_int8(unbalanced, tmp_path / "x.onnx", data, keep=["dense_2"])
    assert abs(kept.loss) < 1
    assert kept.in_float32 == ("dense_2",)
    assert weights_of(onnx.load(tmp_path / "x.onnx"))["dense_2.weight"].dtype == np.float32


def test_the_same_model_gives_the_same_bytes_whatever_the_test_samples(data: Data) -> None:
    model = network(data, LAYERS)
    first, _ = int8_file(model, data, X, max_loss=100)
    other = dataclasses.replace(data, test=Samples(255 - np.asarray(data.test.x), data.test.y))
    second, _ = int8_file(model, other, X, max_loss=100)
    assert first.graph.SerializeToString() == second.graph.SerializeToString()
    train = Samples(np.asarray(data.train.x) // 2, data.train.y)
    third, _ = int8_file(model, dataclasses.replace(data, train=train), X, max_loss=100)
    assert first.graph.SerializeToString() != third.graph.SerializeToString(), "training samples give the ranges"


def test_a_validation_says_that_a_file_is_int8(data: Data, tmp_path: Path) -> None:
    model = network(data, DENSE)
    export_int8(model, tmp_path / "small.onnx", data, max_loss=100)
    report = validate_onnx(tmp_path / "small.onnx", model, data.test.x[:20], ["OnnxRuntime()"])
    assert (report.ok, report.exported, report.precision, report.problem) == (False, False, "int8", "")
    assert report.remarks()[0].startswith("the file is in int8, and cannot give the model's answers to 1e-05: export")
    assert selftest(tmp_path / "small.onnx", ["OnnxRuntime()"]).ok
    assert any("is the first to differ" in remark for remark in report.remarks())


@pytest.mark.parametrize(
    ("layers", "task", "score"),
    [
        (["Conv2D(4, 3, padding=1)", "ReLU()", "Conv2D(3, 1)"], Task("classes", from_logits=True), "accuracy"),
        (["Conv2D(4, 3)", "Flatten()", "Dense(5)"], Task("labels", from_logits=True), "f1"),
        (["Conv2D(4, 3)", "Flatten()", "Dense(5)", "Sigmoid()"], Task("labels"), "f1"),
        (["ConvTranspose2D(4, 2)", "Flatten()", "Dense(5)"], Task("values"), "r2"),
        (["Upsample2D(2)", "Conv2D(4, 3)", "GlobalAvgPool2D()", "Dense(5)"], Task("classes"), "accuracy"),
        (["Residual(Conv2D(2, 3, padding=1), ReLU())", "Concat([], [ReLU()])", "Flatten()"], Task("values"), "r2"),
    ],
)
def test_every_task_and_float32_inputs(layers: list[str], task: Task, score: str) -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(0, 1, (60, 2, 6, 6)).astype(np.float32)
    model = Sequential(layers, (2, 6, 6), task=task, input_dtype="float32", seed=1)
    y: Array = model.outputs(x)
    if task.gives == "classes":
        y = y.argmax(axis=1)
    elif task.gives == "labels":
        y = (y > np.median(y)).astype(np.uint8)
    data = Data(Samples(x[:40], y[:40]), Samples(x[40:], y[40:]))
    _, report = int8_file(model, data, X, max_loss=20)
    assert report.score == score
    assert report.ok, report
    assert 1e-4 < next(iter(report.layers.values())) < 0.1
    assert report.answers == {"r2": 0, "f1": 100, "accuracy": y[40:].size}[score]


def test_what_cannot_be_is_refused(data: Data, monkeypatch: pytest.MonkeyPatch) -> None:
    model = network(data, DENSE)
    with pytest.raises(
        ConfigError, match="no layer 'conv' to keep in float32; its layers are dense_1, dense_2, dense_3"
    ):
        int8_file(model, data, X, keep=["conv"])
    with pytest.raises(ConfigError, match="max_loss must be a number, 0 or above, got -1"):
        int8_file(model, data, X, max_loss=-1)
    with pytest.raises(ShapeError, match=r"inputs of shape \(1, 8, 8\), the training samples have \(64,\): give the"):
        int8_file(
            model, dataclasses.replace(data, train=Samples(np.asarray(data.train.x).reshape(-1, 64), data.train.y)), X
        )
    with pytest.raises(DataError, match="expected test samples, got none"):
        int8_file(model, dataclasses.replace(data, test=data.test.take(slice(0))), X)
    monkeypatch.setattr(cnnkit.onnx.runtimes, "is_installed", lambda runtime: False)
    with pytest.raises(
        OnnxError, match=r"needs onnxruntime, which is not installed; run: pip install .cnnkit\[runtimes"
    ):
        int8_file(model, data, X)
