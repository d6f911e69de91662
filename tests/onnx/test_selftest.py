"""A file is checked by its own golden pair, in a process apart, with nothing else."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from cnnkit import export_onnx
from cnnkit.errors import OnnxError
from cnnkit.network import Sequential
from cnnkit.onnx.golden_pair import read_golden_pair
from cnnkit.onnx.selftest import selftest
from cnnkit.types import Preprocessing, Task

CLASSES = Sequential(
    ["Conv2D(4, 3)", "BatchNorm2D()", "ReLU()", "Flatten()", "Dense(3)"],
    (1, 6, 6),
    input_dtype="uint8",
    preprocessing=Preprocessing(1 / 255),
    seed=3,
)
LABELS = Sequential(["Conv2D(2, 3)"], (1, 6, 6), task=Task("labels", from_logits=True))
VALUES = Sequential(["Dense(2)"], (4,), task=Task("values"))


@pytest.mark.parametrize(
    ("model", "form"),
    [
        (CLASSES, {}),
        (CLASSES, {"fold": False, "opset": 13}),
        (CLASSES, {"batch": 4, "outputs": ["logits", "probabilities", "label"]}),
        (CLASSES, {"outputs": ["label"], "input_dtype": "float32", "opset": 21}),
        (LABELS, {}),
        (VALUES, {"batch": 1}),
    ],
)
def test_every_form_passes_on_every_runtime(model: Sequential, form: dict[str, Any], tmp_path: Path) -> None:
    report = selftest(export_onnx(model, tmp_path / "m.onnx", **form))
    assert [(result.ok, result.samples) for result in report.results] == [(True, 1), (True, 1)], str(report)
    assert all(result.version and 0 <= result.budget <= 1 for result in report.results)
    assert report.ok


def changed(tmp_path: Path, name: str, factor: float, **form: Any) -> Path:
    path = export_onnx(CLASSES, tmp_path / "m.onnx", **form)
    proto = onnx.load(path)
    (tensor,) = (tensor for tensor in proto.graph.initializer if tensor.name == name)
    tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor) * np.float32(factor), name))
    onnx.save(proto, path)
    return path


def test_a_damaged_weight_is_found(tmp_path: Path) -> None:
    report = selftest(changed(tmp_path, "conv2d_1.folded_weight", 1.001))
    assert not report.ok
    assert all(result.max_relative > 1e-5 and not result.flips for result in report.results)


def test_another_label_is_found(tmp_path: Path) -> None:
    report = selftest(changed(tmp_path, "dense_1.weight", -1, outputs=["label"]), ["OnnxRuntime()"])
    assert [result.flips for result in report.results] == [(0,)]
    assert not report.ok


def test_a_file_without_a_pair_says_how_to_get_one(tmp_path: Path) -> None:
    path = export_onnx(CLASSES, tmp_path / "m.onnx")
    proto = onnx.load(path)
    del proto.metadata_props[:]
    onnx.save(proto, path)
    with pytest.raises(OnnxError, match=r"has no golden pair, .*: export the model again"):
        selftest(path)


def entry(path: Path, value: str) -> None:
    proto = onnx.load(path)
    next(entry for entry in proto.metadata_props if entry.key == "golden").value = value
    onnx.save(proto, path)


def test_a_pair_that_does_not_fit_the_file_fails_or_is_refused(tmp_path: Path) -> None:
    path = export_onnx(CLASSES, tmp_path / "m.onnx")
    text = next(one.value for one in onnx.load(path).metadata_props if one.key == "golden")
    content = json.loads(text)
    content["outputs"]["scores"] = content["outputs"].pop("logits")
    entry(path, json.dumps(content))
    assert "the file has no output 'scores'" in selftest(path, ["OnnxRuntime()"]).results[0].error
    content["outputs"] = {"logits": content["outputs"]["scores"] | {"shape": [1, 3, 1]}}
    entry(path, json.dumps(content))
    assert "logits have shape (1, 3)" in selftest(path, ["OnnxRuntime()"]).results[0].error
    entry(path, "{")
    with pytest.raises(OnnxError, match=r"m\.onnx: its golden pair is malformed"):
        selftest(path)


def test_a_fixed_batch_cannot_ask_for_any_memory(tmp_path: Path) -> None:
    path = export_onnx(CLASSES, tmp_path / "m.onnx", batch=1)
    proto = onnx.load(path)
    text = json.loads(next(one.value for one in proto.metadata_props if one.key == "golden"))
    assert text["input"]["shape"] == [1, 1, 6, 6]
    proto.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 65_536
    onnx.save(proto, path)
    with pytest.raises(OnnxError):  # refused by the check of its shapes
        selftest(path)
    large = Sequential(["GlobalAvgPool2D()"], (1, 100, 100))
    with pytest.raises(OnnxError, match=r"takes batches of 65,536 samples, 2,621,440,000 bytes; expected 67,108,864"):
        selftest(export_onnx(large, tmp_path / "large.onnx", batch=65_536))


def two_values(bias: tuple[float, float]) -> Sequential:
    """Two values to regress, the first a million times the second."""
    model = Sequential(["Dense(2)"], (4,), task=Task("values"), seed=0)
    weight = model.state()["dense_1.weight"] * [[1e6], [1]]
    model.load_state({"dense_1.weight": weight, "dense_1.bias": np.array(bias)})
    return model


@pytest.mark.parametrize("form", [{}, {"batch": 2}])
@pytest.mark.parametrize("bias", [(0, 1), (0, 0)])
def test_a_large_value_does_not_hide_that_a_small_one_is_wrong(
    bias: tuple[float, float], form: dict[str, Any], tmp_path: Path
) -> None:
    path = export_onnx(two_values(bias), tmp_path / "m.onnx", **form)
    assert selftest(path).ok
    proto = onnx.load(path)
    for tensor in proto.graph.initializer:
        values = numpy_helper.to_array(tensor).copy()
        if values.ndim and len(values) == 2:
            values[1] *= 1.001
            tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))
    onnx.save(proto, path)
    report = selftest(path)
    assert [result.ok for result in report.results] == [False, False]
    content = json.loads(next(one.value for one in proto.metadata_props if one.key == "golden"))
    assert len(content.pop("scales")["values"]) == 2
    entry(path, json.dumps(content))
    assert selftest(path).ok  # a pair without scales is judged as it was written


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_runtime_or_a_pair_whose_numbers_are_not_finite_never_passes(value: float, tmp_path: Path) -> None:
    path = export_onnx(CLASSES, tmp_path / "m.onnx")
    text = next(one.value for one in onnx.load(path).metadata_props if one.key == "golden")
    pair = read_golden_pair(text)
    wrong = np.full_like(pair.outputs["probabilities"], value)
    entry(path, replace(pair, outputs=pair.outputs | {"probabilities": wrong}).to_json())
    with pytest.raises(OnnxError, match="its golden pair is malformed: expected finite numbers"):
        selftest(path)
    assert pair.relative("probabilities", wrong) == np.inf
    entry(path, text)
    proto = onnx.load(path)
    bias = next(tensor for tensor in proto.graph.initializer if tensor.name == "dense_1.bias")
    bias.CopyFrom(numpy_helper.from_array(np.array([0, value, 0], np.float32), bias.name))
    onnx.save(proto, path)
    assert [(result.ok, result.max_relative) for result in selftest(path).results] == [(False, np.inf)] * 2


def test_a_file_with_other_operators_is_not_run(tmp_path: Path) -> None:
    path = export_onnx(CLASSES, tmp_path / "m.onnx")
    proto = onnx.load(path)
    proto.graph.node.append(helper.make_node("StringNormalizer", ["logits"], ["text"]))
    onnx.save(proto, path)
    with pytest.raises(OnnxError, match="uses StringNormalizer"):
        selftest(path)


@pytest.mark.parametrize("data", [b"", b"text", b"\x0a\xff\xff\xff\xff\x7f"])
def test_what_is_no_onnx_file_is_refused(data: bytes, tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    path.write_bytes(data)
    with pytest.raises(OnnxError, match=r"m\.onnx"):
        selftest(path)
