from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Literal

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from cnnkit.components import Layer
from cnnkit.errors import ConfigError, OnnxError
from cnnkit.layers import BatchNorm2D, Conv2D, Dense, Dropout, Flatten, ReLU, Residual, Softmax
from cnnkit.network import Sequential
from cnnkit.onnx import export
from cnnkit.onnx.export import export_onnx, to_onnx
from cnnkit.onnx.runtimes import ReferenceEvaluator
from cnnkit.onnx.validate import validate_onnx
from cnnkit.types import Array, Cache, Context, OnnxGraph, Preprocessing

OLD = b"\x08\x08\x12\x03old"
"""The beginning of an ONNX file."""


def small(*end: Layer) -> Sequential:
    return Sequential(
        [Conv2D(4, 3), BatchNorm2D(), ReLU(), Dropout(0.5), Flatten(), Dense(3), *end],
        (2, 5, 5),
        labels=("cat", "dog", "Bär"),
        preprocessing=Preprocessing(1 / 255, (0.5, 0.4), (0.25, 0.2)),
        input_dtype="uint8",
    )


def pixels(n: int) -> Array:
    return np.random.default_rng(1).integers(0, 256, (n, 2, 5, 5), np.uint8)


def dims(value: onnx.ValueInfoProto) -> list[str | int]:
    return [dim.dim_param or dim.dim_value for dim in value.type.tensor_type.shape.dim]


def test_inputs_and_outputs_have_fixed_names_and_a_dynamic_batch() -> None:
    graph = to_onnx(small()).graph
    assert [(value.name, dims(value)) for value in graph.input] == [("input", ["N", 2, 5, 5])]
    assert graph.input[0].type.tensor_type.elem_type == onnx.TensorProto.UINT8
    assert [(v.name, dims(v)) for v in graph.output] == [("logits", ["N", 3]), ("probabilities", ["N", 3])]


def test_preprocessing_is_inside_and_training_is_not() -> None:
    operators = [node.op_type for node in to_onnx(small(), fold=False).graph.node]
    assert operators == [
        *("Cast", "Mul", "Add", "Conv", "BatchNormalization", "Relu", "Flatten", "Gemm", "Identity", "Softmax")
    ]


UNFOLDED = """
preprocessing = Cast(input)
preprocessing.1 = Mul(preprocessing, preprocessing.factor)
preprocessing.2 = Add(preprocessing.1, preprocessing.offset)
conv2d_1 = Conv(preprocessing.2, conv2d_1.weight, conv2d_1.bias)
batch_norm2d_1 = BatchNormalization(conv2d_1, batch_norm2d_1.gamma, batch_norm2d_1.beta, batch_norm2d_1.running_mean, \
batch_norm2d_1.running_var)
relu_1 = Relu(batch_norm2d_1)
flatten_1 = Flatten(relu_1)
dense_1 = Gemm(flatten_1, dense_1.weight, dense_1.bias)
logits = Identity(dense_1)
probabilities = Softmax(dense_1)
"""
FOLDED = """
preprocessing = Cast(input)
preprocessing.1 = Mul(preprocessing, preprocessing.factor)
preprocessing.2 = Add(preprocessing.1, preprocessing.offset)
batch_norm2d_1 = Conv(preprocessing.2, conv2d_1.folded_weight, conv2d_1.folded_bias)
relu_1 = Relu(batch_norm2d_1)
flatten_1 = Flatten(relu_1)
dense_1 = Gemm(flatten_1, dense_1.weight, dense_1.bias)
logits = Identity(dense_1)
probabilities = Softmax(dense_1)
"""


@pytest.mark.parametrize(("fold", "written"), [(True, FOLDED), (False, UNFOLDED)])
@pytest.mark.parametrize("opset", [13, 17, 23])
def test_the_graph_is_as_it_always_was(fold: bool, written: str, opset: int) -> None:
    nodes = to_onnx(small(), fold=fold, opset=opset).graph.node
    lines = [f"{node.output[0]} = {node.op_type}({', '.join(node.input)})" for node in nodes]
    assert lines == written.strip().split("\n")


def test_the_input_can_be_float32_for_a_dataset_of_bytes(tmp_path: Path) -> None:
    model = small()
    proto = to_onnx(model, input_dtype="float32")
    assert proto.graph.input[0].type.tensor_type.elem_type == onnx.TensorProto.FLOAT
    assert [node.op_type for node in proto.graph.node][:3] == ["Mul", "Add", "Conv"]
    assert to_onnx(model, input_dtype="uint8") == to_onnx(model)
    path = export_onnx(model, tmp_path / "float.onnx", input_dtype="float32")
    report = validate_onnx(path, model, pixels(20))
    assert [result.ok for result in report.results] == [True] * len(report.results)
    weight = next(tensor for tensor in proto.graph.initializer if tensor.name == "conv2d_1.folded_weight")
    weight.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(weight) * np.float32(1.01), weight.name))
    onnx.save(proto, path)
    for result in validate_onnx(path, model, pixels(20)).results:
        assert str(result.divergence).startswith(
            "layer conv2d_1 = Conv2D(4, 3) with layer batch_norm2d_1 = BatchNorm2D() is the first to differ"
        )


@pytest.mark.parametrize(("own", "wanted"), [("uint8", "float16"), ("float32", "uint8")])
def test_the_input_holds_what_the_dataset_gives(own: Literal["uint8", "float32"], wanted: str) -> None:
    message = f"the input of the file can be float32 or what the model's dataset gives, {own}, got '{wanted}'"
    with pytest.raises(ConfigError, match=message):
        to_onnx(Sequential([Dense(3)], (4,), input_dtype=own), input_dtype=wanted)


def test_preprocessing_that_changes_nothing_is_left_out() -> None:
    graph = to_onnx(Sequential([Dense(3)], (4,))).graph
    assert [node.op_type for node in graph.node] == ["Gemm", "Identity", "Softmax"]
    assert graph.input[0].type.tensor_type.elem_type == onnx.TensorProto.FLOAT


def test_initializers_are_the_models_state_by_name() -> None:
    model = small()
    tensors = {t.name: numpy_helper.to_array(t) for t in to_onnx(model, fold=False).graph.initializer}
    assert set(tensors) == {*model.state(), "preprocessing.factor", "preprocessing.offset"}
    for name, array in model.state().items():
        np.testing.assert_array_equal(tensors[name], array)


def test_a_final_softmax_is_the_probabilities() -> None:
    model = small(Softmax())
    proto = to_onnx(model)
    assert [node.op_type for node in proto.graph.node].count("Softmax") == 1
    outputs = ReferenceEvaluator().run(proto.SerializeToString(), {"input": pixels(5)})
    np.testing.assert_allclose(outputs["logits"], model.logits(pixels(5)), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(outputs["probabilities"], model.predict_proba(pixels(5)), rtol=1e-5)


@pytest.mark.parametrize("end", [[], [Softmax()]])
def test_no_node_reads_an_output_of_the_file(end: list[Layer]) -> None:
    graph = to_onnx(small(*end)).graph
    assert not {output.name for output in graph.output} & {name for node in graph.node for name in node.input}


def test_a_float64_model_is_written_as_float32() -> None:
    proto = to_onnx(Sequential([Conv2D(2, 3), ReLU()], (1, 4, 4), dtype="float64"))
    assert {tensor.data_type for tensor in proto.graph.initializer} == {onnx.TensorProto.FLOAT}
    assert dims(proto.graph.output[0]) == ["N", 2, 2, 2]


@pytest.mark.parametrize(("opset", "ir_version"), [(13, 7), (15, 8), (17, 8), (20, 9), (22, 10), (23, 11)])
def test_the_ir_version_is_the_lowest_for_the_opset(opset: int, ir_version: int) -> None:
    proto = to_onnx(small(), opset=opset)
    assert (proto.opset_import[0].version, proto.ir_version) == (opset, ir_version)


@pytest.mark.parametrize("opset", [12, 24])
def test_opsets_outside_the_range_are_refused(opset: int) -> None:
    with pytest.raises(ConfigError, match=f"opset must be a whole number from 13 to 23, got {opset}"):
        to_onnx(small(), opset=opset)


def test_the_file_explains_itself_to_a_program_without_cnnkit(tmp_path: Path) -> None:
    onnxruntime = pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
    model = small()
    path = export_onnx(model, tmp_path / "pets.onnx", metadata={"reference": "pets@3"})

    session = onnxruntime.InferenceSession(path)
    labels = json.loads(session.get_modelmeta().custom_metadata_map["labels"])
    (probabilities,) = session.run(["probabilities"], {"input": pixels(4)})
    names = [labels[i] for i in probabilities.argmax(axis=1)]

    assert names == [model.labels[i] for i in model.predict(pixels(4))]
    meta = session.get_modelmeta().custom_metadata_map
    assert meta["reference"] == "pets@3"
    assert json.loads(meta["preprocessing"]) == {"scale": 1 / 255, "mean": [0.5, 0.4], "std": [0.25, 0.2]}
    assert set(meta) == {"labels", "preprocessing", "cnnkit_version", "input", "reference", "golden"}
    assert json.loads(meta["input"]) == {
        "dtype": "uint8",
        "layout": "NCHW",
        "shape": [2, 5, 5],
        "range": None,
        "framing": {"resize": "fit", "content": 0, "centre": "box"},
    }


def test_inputs_and_outputs_are_explained_in_words() -> None:
    proto = to_onnx(small(), outputs=["logits", "probabilities", "label"])
    assert proto.doc_string == "a network that gives 3 classes"
    assert {value.name: value.doc_string for value in (*proto.graph.input, *proto.graph.output)} == {
        "input": "samples as the dataset gives them, N by C=2, H=5, W=5; the preprocessing is inside",
        "logits": "the values of classes before the softmax, on axis 1",
        "probabilities": "the probabilities of classes, on axis 1",
        "label": "the index of the class",
    }


@pytest.mark.parametrize("metadata", [{"labels": "[]"}, {"epochs": 3}, {"golden": "{}"}])
def test_metadata_is_text_and_does_not_replace_the_models_own(metadata: dict[str, str]) -> None:
    with pytest.raises(ConfigError, match="metadata must be text under keys other than labels, preprocessing, cnnkit_"):
        to_onnx(small(), metadata=metadata)


def test_equal_models_give_equal_bytes(tmp_path: Path) -> None:
    first, second = (export_onnx(small(), tmp_path / name).read_bytes() for name in ("a.onnx", "b.onnx"))
    assert first == second


class Quiet(Layer):
    """No lowering."""

    def forward(self, x: Array, ctx: Context) -> tuple[Array, Cache]:
        return x, None


class Forgetful(Quiet):
    def lower(self, graph: OnnxGraph, x: str) -> str:
        graph.add("Relu", x)
        return None  # type: ignore[return-value]  # wrong on purpose


class Widening(Quiet):
    def lower(self, graph: OnnxGraph, x: str) -> str:
        return graph.add("Concat", x, x, axis=1)


class Mistaken(Quiet):
    def lower(self, graph: OnnxGraph, x: str) -> str:
        return graph.add("Relu", x, slope=0.1)


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        (Quiet(), "Quiet has no lower"),
        (Forgetful(), "there is no value None in the graph"),
        (Widening(), r"its outputs have shape \(4,\), but \(8,\) when lowered to ONNX"),
        (Mistaken(), "Relu does not take these inputs or attributes: Unrecognized attribute: slope"),
    ],
)
def test_a_layer_that_cannot_be_lowered_is_named(layer: Layer, message: str) -> None:
    name = type(layer).__name__
    with pytest.raises(OnnxError, match=rf"layer {name.lower()}_1 = {name}\(\): .*{message}"):
        to_onnx(Sequential([Residual(layer)], (4,)))


def test_models_that_a_file_cannot_hold_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(export, "MAX_ONNX_FILE_BYTES", 100)
    with pytest.raises(OnnxError, match=r"bytes of weights; an ONNX file can hold 100"):
        to_onnx(small())


def test_writing_replaces_the_file_and_leaves_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(OLD)
    assert export_onnx(small(), path) == path
    onnx.checker.check_model(onnx.load(path))
    assert [file.name for file in tmp_path.iterdir()] == ["model.onnx"]


def test_a_failed_write_keeps_the_old_file_and_leaves_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(OLD)

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OnnxError, match=r"cannot write .*model\.onnx: No space left on device"):
        export_onnx(small(), path)
    assert [(file.name, file.read_bytes()) for file in tmp_path.iterdir()] == [("model.onnx", OLD)]


def test_a_file_of_another_kind_is_not_replaced(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    for content, kind in ((b"\x89PNG\r\n\x1a\n", "a PNG image"), (b"notes", "text"), (b"\0\1\2", "something else")):
        path.write_bytes(content)
        with pytest.raises(OnnxError, match=f"a file of that name already, and this seems to be {kind};"):
            export_onnx(small(), path)
        assert path.read_bytes() == content
    path.write_bytes(b"")
    assert export_onnx(small(), path) == path
    assert export_onnx(small(), path) == path


@pytest.mark.parametrize("name", ["model.png", "model", "model.onnx.bak"])
def test_the_name_of_an_onnx_file_ends_so(tmp_path: Path, name: str) -> None:
    with pytest.raises(OnnxError, match=r"expected the name of an ONNX file, which ends in \.onnx$"):
        export_onnx(small(), tmp_path / name)
    assert not list(tmp_path.iterdir())


def test_a_name_may_be_as_long_as_the_file_system_takes(tmp_path: Path) -> None:
    longest = "x" * 250 + ".onnx"
    assert export_onnx(small(), tmp_path / longest).name == longest
    with pytest.raises(OnnxError, match=r"cannot write .*xx\.onnx: File name too long"):
        export_onnx(small(), tmp_path / f"x{longest}")
    assert [file.name for file in tmp_path.iterdir()] == [longest]


def test_a_folder_that_does_not_exist_is_said(tmp_path: Path) -> None:
    with pytest.raises(
        OnnxError, match=r"cannot write .*model\.onnx: expected the name of a file in a folder that exists"
    ):
        export_onnx(small(), tmp_path / "nowhere" / "model.onnx")
