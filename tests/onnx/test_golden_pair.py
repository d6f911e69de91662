"""The golden pair that a file brings along: what is written, and what a reader takes from strangers."""

from __future__ import annotations

import base64
import json
import math
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import ModelProto

from cnnkit import export_onnx
from cnnkit.errors import ConfigError, OnnxError, ShapeError
from cnnkit.network import Sequential
from cnnkit.onnx.export import to_onnx
from cnnkit.onnx.file_content import digest, metadata_entry
from cnnkit.onnx.golden_pair import MAX_PAIR_BYTES, GoldenPair, _rounded_up, add_golden_pair, read_golden_pair
from cnnkit.types import Array, Preprocessing, Task

MODEL = Sequential(
    ["Conv2D(4, 3)", "BatchNorm2D()", "Flatten()", "Dense(3)"],
    (1, 6, 6),
    input_dtype="uint8",
    preprocessing=Preprocessing(1 / 255),
    seed=3,
)
X = np.random.default_rng(0).integers(0, 256, (4, 1, 6, 6), np.uint8)


def pair_of(proto: ModelProto) -> GoldenPair:
    return read_golden_pair(next(entry.value for entry in proto.metadata_props if entry.key == "golden"))


def with_pair(model: Sequential, x: Array, **form: Any) -> ModelProto:
    proto = to_onnx(model, **form)
    add_golden_pair(proto, model, x, "a test")
    return proto


def test_it_is_the_first_sample_with_the_answers_of_the_model() -> None:
    pair = pair_of(with_pair(MODEL, X, outputs=["logits", "probabilities", "label"]))
    np.testing.assert_array_equal(pair.input, X[:1])
    np.testing.assert_allclose(pair.outputs["logits"], MODEL.logits(X[:1]), rtol=1e-5)
    np.testing.assert_allclose(pair.outputs["probabilities"], MODEL.predict_proba(X[:1]), rtol=1e-5)
    np.testing.assert_array_equal(pair.outputs["label"], MODEL.predict(X[:1]))
    assert [pair.input.dtype, *(array.dtype for array in pair.outputs.values())] == [
        *(np.uint8, np.float32, np.float32, np.int64)
    ]
    assert (pair.tolerance, pair.about) == (1e-5, "a test")


def test_it_is_written_as_documented() -> None:
    content = json.loads(next(e.value for e in with_pair(MODEL, X).metadata_props if e.key == "golden"))
    assert list(content) == ["input", "outputs", "tolerance", "about"]
    assert content["input"] == {
        "dtype": "uint8",
        "shape": [1, 1, 6, 6],
        "data": base64.b64encode(zlib.compress(X[:1].tobytes(), 9)).decode(),
    }
    logits = content["outputs"]["logits"]
    plain = np.frombuffer(zlib.decompress(base64.b64decode(logits["data"])), "<f4")
    np.testing.assert_allclose(plain, MODEL.logits(X[:1])[0], rtol=1e-5)


def test_a_file_that_takes_float32_has_a_sample_of_that() -> None:
    pair = pair_of(with_pair(MODEL, X, input_dtype="float32", batch=4))
    assert pair.input.dtype == np.float32
    np.testing.assert_array_equal(pair.input, X[:1])


def test_it_is_no_part_of_what_is_executed_and_replaces_the_one_before() -> None:
    proto = with_pair(MODEL, X)
    assert digest(proto.SerializeToString()) == digest(to_onnx(MODEL).SerializeToString())
    add_golden_pair(proto, MODEL, X[1:], "another", tolerance=0.01)
    assert [entry.key for entry in proto.metadata_props].count("golden") == 1
    assert (pair_of(proto).about, pair_of(proto).tolerance) == ("another", 0.01)
    np.testing.assert_array_equal(pair_of(proto).input, X[1:2])


def test_export_puts_in_a_given_sample_or_a_random_one(tmp_path: Path) -> None:
    given = export_onnx(MODEL, tmp_path / "given.onnx", sample=X[2]).read_bytes()
    assert given == export_onnx(MODEL, tmp_path / "again.onnx", sample=X[2]).read_bytes()
    pair = read_golden_pair(metadata_entry(given, "golden", 10_000) or "")
    np.testing.assert_array_equal(pair.input, X[2:3])
    path = export_onnx(MODEL, tmp_path / "random.onnx")
    assert path.read_bytes() == export_onnx(MODEL, tmp_path / "twice.onnx").read_bytes()
    assert read_golden_pair(metadata_entry(path.read_bytes(), "golden", 10_000) or "").about == "a random sample"


@pytest.mark.parametrize(("sample", "error"), [(X, ShapeError), (X[0].astype(np.float32), ConfigError)])
def test_a_sample_that_does_not_fit_is_refused(sample: Array, error: type[Exception], tmp_path: Path) -> None:
    with pytest.raises(error, match="expected x of"):
        export_onnx(MODEL, tmp_path / "m.onnx", sample=sample)
    assert not list(tmp_path.iterdir())


def test_a_label_that_rounding_may_turn_is_left_out() -> None:
    tied = Sequential(["Dense(2, bias=False)"], (1,))
    tied.load_state({"dense_1.weight": np.ones((2, 1))})
    x: Array = np.ones((1, 1), np.float32)
    assert list(pair_of(with_pair(tied, x, outputs=["logits", "label"])).outputs) == ["logits"]
    assert "golden" not in [entry.key for entry in with_pair(tied, x, outputs=["label"]).metadata_props]
    labels = Sequential(["Dense(2, bias=False)"], (1,), task=Task("labels", from_logits=True))
    labels.load_state({"dense_1.weight": np.array([[0.0], [1.0]])})
    assert list(pair_of(with_pair(labels, x, outputs=["logits", "label"])).outputs) == ["logits"]


def test_a_file_of_large_samples_or_of_answers_that_are_not_finite_has_none() -> None:
    large = Sequential(["GlobalAvgPool2D()"], (1, 512, 513))
    assert "golden" not in [e.key for e in with_pair(large, np.ones((1, 1, 512, 513), np.float32)).metadata_props]
    dense = Sequential(["Dense(2)"], (1,))
    assert "golden" not in [e.key for e in with_pair(dense, np.full((1, 1), np.nan, np.float32)).metadata_props]


def array(**changes: Any) -> dict[str, Any]:
    plain: dict[str, Any] = {"dtype": "uint8", "shape": [1, 3], "data": packed(b"abc")}
    return plain | changes


def packed(data: bytes) -> str:
    return base64.b64encode(zlib.compress(data)).decode()


def text(**changes: Any) -> str:
    content = {"input": array(), "outputs": {"logits": array()}, "tolerance": 1e-5, "about": "x"}
    return json.dumps(content | changes)


def test_the_text_that_the_malformed_ones_are_made_of_is_right() -> None:
    pair = read_golden_pair(text())
    assert (pair.input.tobytes(), list(pair.outputs)) == (b"abc", ["logits"])


HUGE = 10**9
MALFORMED = {
    "no JSON": ("{", "malformed: Expecting property name"),
    "a list": ("[]", "expected an object"),
    "deep": ("[" * 100_000, "malformed"),
    "too long": (" " * 2**22, "characters, more than"),
    "no input": (json.dumps({"outputs": {}}), "there is no 'tolerance'"),
    "no outputs": (text(outputs={}), "expected 1 to 8 outputs"),
    "many outputs": (text(outputs={f"o{at}": array() for at in range(9)}), "expected 1 to 8 outputs"),
    "a name that steers": (text(outputs={"\x1b[2J": array()}), "with names of letters and digits"),
    "a tolerance of text": (text(tolerance="1"), "expected a tolerance above 0, up to 0.1"),
    "no tolerance": (text(tolerance=0.0), "expected a tolerance above 0"),
    "any tolerance": (text(tolerance=1e9), "expected a tolerance above 0"),
    "tolerance not a number": (text(tolerance=float("nan")), "expected a tolerance above 0"),
    "objects": (text(input=array(dtype="|O")), "expected a dtype of uint8, float32, int64"),
    "a dtype of a list": (text(input=array(dtype=["uint8"])), "expected a dtype of"),
    "no axes": (text(input=array(shape=[])), "expected the shape of one sample"),
    "two samples": (text(input=array(shape=[3, 1])), "expected the shape of one sample"),
    "a negative size": (text(input=array(shape=[1, -3])), "expected the shape of one sample"),
    "a fraction": (text(input=array(shape=[1, 3.0])), "expected the shape of one sample"),
    "huge sizes": (text(input=array(shape=[1, HUGE, HUGE])), "expected the shape of one sample"),
    "large together": (text(input=array(shape=[1, 2**20, 2**20])), "more than 1,048,576 bytes"),
    "a bomb": (text(input=array(data=packed(bytes(50_000_000)))), "expected 3 bytes"),
    "too little": (text(input=array(data=packed(b"ab"))), "expected 3 bytes"),
    "cut off": (text(input=array(data=base64.b64encode(zlib.compress(b"abc")[:-2]).decode())), "expected 3 bytes"),
    "no base64": (text(input=array(data="\x1b!")), "malformed"),
    "no zlib": (text(input=array(data="QUJD")), "malformed: Error -3"),
    "not finite": (text(input=array(dtype="float32", shape=[1, 1], data=packed(b"\0\0\xc0\x7f"))), "finite numbers"),
    "scales of no output": (text(scales={"more": [1.0]}), "there is no 'more'"),
    "scales of a number": (text(scales=3), "malformed"),
    "too few scales": (text(scales={"logits": [1.0, 1.0]}), "expected 3 numbers for scales"),
    "whole scales": (text(scales={"logits": [1.0, 1, 1.0]}), "expected 3 numbers for scales"),
    "a scale of 0": (text(scales={"logits": [1.0, 0.0, 1.0]}), "expected scales above 0"),
    "endless scales": (text(scales={"logits": [1.0, math.inf, 1.0]}), "expected scales above 0"),
    "data of numbers": (text(input=array(data=5)), "malformed"),
}


@pytest.mark.parametrize("case", MALFORMED)
def test_a_malformed_pair_is_refused_in_one_line(case: str) -> None:
    given, message = MALFORMED[case]
    with pytest.raises(OnnxError, match=message) as caught:
        read_golden_pair(given)
    assert len(str(caught.value)) < 300
    assert "\x1b" not in str(caught.value)


def test_all_arrays_together_are_bounded() -> None:
    half = array(shape=[1, MAX_PAIR_BYTES // 2], data=packed(bytes(MAX_PAIR_BYTES // 2)))
    assert read_golden_pair(text(input=half, outputs={"a": half})).input.size == MAX_PAIR_BYTES // 2
    with pytest.raises(OnnxError, match="more than 1,048,576 bytes"):
        read_golden_pair(text(input=half, outputs={"a": half, "b": array()}))


def test_values_have_scales_of_their_own_only_where_they_are_far_apart() -> None:
    x: Array = np.ones((1, 2), np.float32)
    for weights, scales in (((1.0, 2.0), 0), ((1.0, 1000.0), 2), ((0.0, 1.0), 2)):
        model = Sequential(["Dense(2, bias=False)"], (2,), task=Task("values"))
        model.load_state({"dense_1.weight": np.array(weights)[:, None] * [[1, 0.5]]})
        pair = pair_of(with_pair(model, x))
        assert len(pair.scales.get("values", ())) == scales
        assert all(scale > 0 for scale in pair.scales.get("values", ()))
        assert read_golden_pair(pair.to_json()).scales == pair.scales
    assert not pair_of(with_pair(Sequential(["Dense(1)"], (2,), task=Task("values")), x)).scales
    assert not pair_of(with_pair(Sequential(["Dense(2)"], (2,)), x)).scales


def test_a_tolerance_is_rounded_up() -> None:
    for number in (1e-5, 1.04e-5, 1.05e-5, 9.94e-4, 9.96e-4, 0.0999, 1.0000001e-5):
        assert number <= _rounded_up(number) <= 1.1 * number
    assert _rounded_up(1e-5) == 1e-5
