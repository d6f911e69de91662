from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import ModelProto, helper, numpy_helper

from cnnkit.components import Runtime
from cnnkit.data import load_dataset
from cnnkit.errors import ConfigError, OnnxError, ShapeError
from cnnkit.layers import BatchNorm2D, Concat, Conv2D, Dense, Flatten, MaxPool2D, ReLU, Residual, Softmax
from cnnkit.network import Sequential
from cnnkit.onnx.export import export_onnx, to_onnx
from cnnkit.onnx.outputs import probabilities_of
from cnnkit.onnx.report import COLUMNS
from cnnkit.onnx.runtimes import RUNTIMES, OnnxRuntime, ReferenceEvaluator, is_installed
from cnnkit.onnx.validate import validate_onnx
from cnnkit.types import Array, Preprocessing

INSTALLED = [cls() for cls in RUNTIMES if is_installed(cls)]


@pytest.fixture
def model() -> Sequential:
    return Sequential(
        [
            *(Conv2D(4, 3, padding=1), BatchNorm2D(), ReLU(), MaxPool2D(2)),
            Residual(Conv2D(4, 3, padding=1), ReLU()),
            Concat([Conv2D(2, 1)], [Conv2D(3, 1)]),
            *(Flatten(), Dense(10)),
        ],
        (1, 8, 8),
        preprocessing=Preprocessing(1 / 16, (0.3,), (0.4,)),
    )


def inputs(n: int) -> Array:
    return np.random.default_rng(5).integers(0, 17, (n, 1, 8, 8)).astype(np.float32)


def change(proto: ModelProto, name: str, factor: float) -> None:
    tensor = next(tensor for tensor in proto.graph.initializer if tensor.name == name)
    tensor.CopyFrom(numpy_helper.from_array((numpy_helper.to_array(tensor) * factor).astype(np.float32), name))


def save(proto: ModelProto, path: Path) -> Path:
    onnx.save(proto, path)
    return path


def test_an_exported_file_passes_on_every_runtime(model: Sequential, tmp_path: Path) -> None:
    report = validate_onnx(export_onnx(model, tmp_path / "model.onnx"), model, inputs(40))
    assert report.ok
    assert [result.runtime for result in report.results] == [repr(runtime) for runtime in INSTALLED]
    for result in report.results:
        assert (result.samples, result.flips, result.divergence, result.error) == (40, (), None, "")
        assert 0 < result.max_relative < 1e-5
    assert "passed (tolerance 1e-05)" in str(report)


@pytest.mark.parametrize("runtime", INSTALLED)
@pytest.mark.parametrize(
    ("tensor", "where"),
    [
        ("preprocessing.offset", "the preprocessing = Preprocessing(scale=0.0625, mean=(0.3,), std=(0.4,))"),
        ("conv2d_1.weight", "layer conv2d_1 = Conv2D(4, 3, padding=1)"),
        ("batch_norm2d_1.running_var", "layer batch_norm2d_1 = BatchNorm2D()"),
        ("conv2d_2.weight", "layer conv2d_2 = Conv2D(4, 3, padding=1)"),
        ("conv2d_4.weight", "layer conv2d_4 = Conv2D(3, 1)"),
        ("dense_1.weight", "layer dense_1 = Dense(10)"),
    ],
)
def test_a_tensor_that_is_one_percent_off_fails_and_its_layer_is_named(
    model: Sequential, tmp_path: Path, runtime: Runtime, tensor: str, where: str
) -> None:
    proto = to_onnx(model, fold=False)
    change(proto, tensor, 1.01)
    report = validate_onnx(save(proto, tmp_path / "model.onnx"), model, inputs(20), [runtime])
    (result,) = report.results
    assert not report.ok
    assert not result.ok
    assert result.max_relative > 1e-4
    assert result.divergence is not None
    assert (result.divergence.where, result.divergence.sample) == (where, result.worst_sample)
    assert f"{runtime!r}: {where} is the first to differ, by " in str(report)


def test_outputs_that_are_wired_wrongly_are_named(model: Sequential, tmp_path: Path) -> None:
    proto = to_onnx(model)
    softmax = next(node for node in proto.graph.node if node.op_type == "Softmax")
    softmax.op_type = "Sigmoid"
    del softmax.attribute[:]
    (result,) = validate_onnx(save(proto, tmp_path / "model.onnx"), model, inputs(3), ["ReferenceEvaluator"]).results
    assert result.max_absolute < 1e-4
    assert result.max_relative > 0.1
    assert result.divergence is not None
    assert result.divergence.where == "the output probabilities"


def test_label_flips_are_counted_and_the_worst_sample_is_found(model: Sequential, tmp_path: Path) -> None:
    proto = to_onnx(model)
    change(proto, "dense_1.weight", -1)
    x = inputs(12)
    report = validate_onnx(save(proto, tmp_path / "model.onnx"), model, x, [ReferenceEvaluator()])
    logits = model.logits(x)
    (result,) = report.results
    assert result.flips == tuple(np.flatnonzero(logits.argmax(axis=1) != (-logits).argmax(axis=1)))
    assert len(result.flips) == 12
    assert "label flips at samples 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, ..." in str(report)


@pytest.mark.parametrize("tolerance", [0.01, 0.1])
def test_flips_between_classes_that_are_as_good_as_equal_do_not_count(tmp_path: Path, tolerance: float) -> None:
    model = Sequential([Dense(3)], (3,))
    model.load_state({"dense_1.weight": np.eye(3), "dense_1.bias": np.zeros(3)})
    path = export_onnx(model, tmp_path / "model.onnx")
    x = np.array([[1.0, 0.9, 0.0], [0.0, 1.0, 0.0]], np.float32)
    swapped = x[:, [1, 0, 2]]
    outputs = {"logits": swapped, "probabilities": model.predict_proba(swapped)}
    (result,) = validate_onnx(path, model, x, [Fake(outputs)], tolerance=tolerance).results
    assert result.max_absolute == 1
    assert result.flips == ((0, 1) if tolerance == 0.01 else (1,))
    outputs = {"logits": x, "probabilities": model.predict_proba(swapped)}
    (result,) = validate_onnx(path, model, x, [Fake(outputs)], tolerance=tolerance).results
    assert (result.max_absolute, result.flips) == (0, (0, 1) if tolerance == 0.01 else (1,))


def test_exact_ties_are_no_label_flips(tmp_path: Path) -> None:
    model = Sequential([Dense(33)], (333,))
    row = np.random.default_rng(0).normal(size=(1, 333))
    model.load_state({"dense_1.weight": np.repeat(row, 33, 0), "dense_1.bias": np.zeros(33)})
    x = np.random.default_rng(1).normal(size=(20, 333)).astype(np.float32)
    assert validate_onnx(export_onnx(model, tmp_path / "model.onnx"), model, x).ok
    moved = model.logits(x) * (1 + 1e-6 * np.random.default_rng(2).normal(size=(20, 33)))
    assert (moved.argmax(axis=1) != model.predict(x)).sum() > 10  # it could fail
    fake = Fake({"logits": moved, "probabilities": probabilities_of(model, moved)})
    assert validate_onnx(tmp_path / "model.onnx", model, x, [fake]).ok


def test_right_regressions_pass_though_some_outputs_are_near_zero(tmp_path: Path) -> None:
    x = np.random.default_rng(0).normal(size=(1000, 100)).astype(np.float32)
    for seed in range(3):
        model = Sequential([Dense(64), ReLU(), Dense(1)], (100,), seed=seed)
        report = validate_onnx(export_onnx(model, tmp_path / "model.onnx"), model, x)
        assert report.ok, str(report)
        assert np.abs(model.logits(x)).min() < 1e-2
        proto = to_onnx(model)
        change(proto, "dense_2.weight", 1.001)
        assert not validate_onnx(save(proto, tmp_path / "wrong.onnx"), model, x).ok


def test_wrong_probabilities_fail_however_large_the_logits_are(tmp_path: Path) -> None:
    model = Sequential([Dense(3)], (4,))
    weight = np.random.default_rng(0).normal(size=(3, 4)) * 1e6
    model.load_state({"dense_1.weight": weight, "dense_1.bias": np.zeros(3)})
    x = np.random.default_rng(1).normal(size=(20, 4)).astype(np.float32)
    assert validate_onnx(export_onnx(model, tmp_path / "right.onnx"), model, x).ok
    proto = to_onnx(model)
    softmax = next(node for node in proto.graph.node if node.op_type == "Softmax")
    proto.graph.initializer.append(numpy_helper.from_array(np.array(-1, np.float32), "minus_one"))
    negative = helper.make_node("Mul", [softmax.input[0], "minus_one"], ["negative"])
    softmax.input[0] = "negative"
    proto.graph.node.insert(list(proto.graph.node).index(softmax), negative)
    for result in validate_onnx(save(proto, tmp_path / "wrong.onnx"), model, x).results:
        assert (result.ok, len(result.flips)) == (False, 20)
        assert result.max_relative == pytest.approx(1)
        assert result.divergence is not None
        assert result.divergence.where == "the output probabilities"


def test_pixelwise_classes_are_on_axis_1(tmp_path: Path) -> None:
    model = Sequential([Conv2D(3, 1)], (2, 4, 5))
    x = np.random.default_rng(0).normal(size=(6, 2, 4, 5)).astype(np.float32)
    np.testing.assert_allclose(model.predict_proba(x).sum(axis=1), np.ones((6, 4, 5)), rtol=1e-5)
    np.testing.assert_array_equal(model.predict(x), model.logits(x).argmax(axis=1))
    assert validate_onnx(export_onnx(model, tmp_path / "model.onnx"), model, x).ok
    assert model.predict_proba(x).shape == (6, 3, 4, 5)
    with_softmax = Sequential([Conv2D(3, 1), Softmax()], (2, 4, 5))
    np.testing.assert_allclose(with_softmax.predict_proba(x), model.predict_proba(x), rtol=1e-5)
    assert validate_onnx(export_onnx(with_softmax, tmp_path / "model.onnx"), model, x).ok


class Fake(Runtime):
    """A runtime that gives chosen outputs, one sample of them after another, then the first ones again."""

    def __init__(self, outputs: Mapping[str, Array]) -> None:
        self.outputs = outputs
        self.given = 0

    def __repr__(self) -> str:
        return "Fake()"

    def run(self, model: bytes, inputs: Mapping[str, Array]) -> dict[str, Array]:
        start, self.given = self.given, self.given + len(inputs["input"])
        return {name: array[np.arange(start, self.given) % len(array)] for name, array in self.outputs.items()}


def test_differences_are_what_the_documentation_says(tmp_path: Path) -> None:
    model = Sequential([Dense(2)], (2,))
    model.load_state({"dense_1.weight": np.eye(2), "dense_1.bias": np.zeros(2)})
    path = export_onnx(model, tmp_path / "model.onnx")
    x = np.array([[4.0, -8.0]], np.float32)
    logits = x + np.array([0.5, -0.25])
    moved = {"logits": logits, "probabilities": model.predict_proba(logits)}
    (result,) = validate_onnx(path, model, x, [Fake(moved)]).results
    assert (result.max_absolute, result.max_relative) == (0.5, 0.5 / 4)
    x = np.array([[4.0, -8.0], [0.0, 1.0], [2.0, 0.0]], np.float32)  # the means are 2 and 3
    logits = x + np.array([[0, 0], [0, 0.5], [0, 0]])
    moved = {"logits": logits, "probabilities": model.predict_proba(logits)}
    (result,) = validate_onnx(path, model, x, [Fake(moved)]).results
    assert (result.max_absolute, result.max_relative, result.worst_sample) == (0.5, 0.5 / 3, 1)
    moved = {"logits": x, "probabilities": model.predict_proba(x) + np.array([0.04, 0])}
    (result,) = validate_onnx(path, model, x, [Fake(moved)]).results
    assert result.max_absolute == 0
    assert result.max_relative == pytest.approx(0.04 / model.predict_proba(x)[1].max(), rel=1e-4)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_values_that_are_no_numbers_fail_without_a_warning(model: Sequential, tmp_path: Path, value: float) -> None:
    outputs = {"logits": model.logits(inputs(1)), "probabilities": model.predict_proba(inputs(1))}
    path = export_onnx(model, tmp_path / "model.onnx")
    assert validate_onnx(path, model, inputs(1), [Fake(outputs)]).ok
    outputs["logits"][0, 4] = value
    report = validate_onnx(path, model, inputs(1), [Fake(outputs)])
    assert not report.ok
    assert report.results[0].max_relative == np.inf
    assert report.to_dict()["results"][0]["max_relative"] is None


@pytest.mark.parametrize(
    ("outputs", "message"),
    [
        ({"scores": np.zeros((9, 10))}, r"Fake\(\): the file has no output 'logits', only 'scores'"),
        (
            {"logits": np.zeros((9, 5)), "probabilities": np.zeros((9, 5))},
            r"Fake\(\): logits have shape \(1, 5\) for a batch of 1, expected \(1, 10\)",
        ),
    ],
)
def test_outputs_that_do_not_fit_are_reported(
    model: Sequential, tmp_path: Path, outputs: dict[str, Array], message: str
) -> None:
    report = validate_onnx(export_onnx(model, tmp_path / "model.onnx"), model, inputs(9), [Fake(outputs)])
    assert not report.ok
    assert report.results[0].row() == ("Fake()", *["-"] * 6, "FAIL")
    assert re.fullmatch(message, report.remarks()[0])


@pytest.mark.parametrize("factor", [0.997, 1.00003])
def test_probabilities_of_many_classes_are_small_and_must_be_right(factor: float, tmp_path: Path) -> None:
    model = Sequential([Flatten(), Dense(1000)], (1, 4, 4), seed=0)
    x = np.random.default_rng(0).random((20, 1, 4, 4)).astype(np.float32)
    proto = to_onnx(model)
    assert validate_onnx(save(proto, tmp_path / "right.onnx"), model, x).ok
    last = next(node for node in proto.graph.node if node.output[0] == "probabilities")
    last.output[0] = "before"
    proto.graph.initializer.append(numpy_helper.from_array(np.array(factor, np.float32), "factor"))
    proto.graph.node.append(helper.make_node("Mul", ["before", "factor"], ["probabilities"]))
    report = validate_onnx(save(proto, tmp_path / "wrong.onnx"), model, x)
    assert not report.ok
    for result in report.results:
        assert result.max_relative == pytest.approx(abs(factor - 1), rel=0.05)


@pytest.mark.parametrize("use", ["none", "a node that nothing reads", "a small one"])
def test_a_little_float16_does_not_widen_the_tolerance(use: str, tmp_path: Path) -> None:
    model = Sequential([Flatten(), Dense(10)], (1, 4, 4), seed=0)
    proto = to_onnx(model)
    change(proto, "dense_1.weight", 1.005)
    graph = proto.graph
    bias = next(tensor for tensor in graph.initializer if tensor.name == "dense_1.bias")
    if use == "a small one":
        half = numpy_helper.from_array(numpy_helper.to_array(bias).astype(np.float16), "half")
        graph.initializer.append(half)
        graph.initializer.remove(bias)
        graph.node.insert(0, helper.make_node("Cast", ["half"], ["dense_1.bias"], to=onnx.TensorProto.FLOAT))
    else:
        graph.initializer.append(numpy_helper.from_array(np.zeros(10_000, np.float16), "half"))
    if use == "a node that nothing reads":
        graph.node.append(helper.make_node("Cast", ["half"], ["unread"], to=onnx.TensorProto.FLOAT))
    report = validate_onnx(save(proto, tmp_path / "model.onnx"), model, inputs(20)[:, :, :4, :4])
    assert (report.ok, report.precision, report.tolerance) == (False, "float32", 1e-5)


@pytest.mark.parametrize(("input_dtype", "highest"), [("uint8", 255), ("float32", 16)])
def test_default_inputs_cover_the_datasets_range(
    tmp_path: Path, input_dtype: str, highest: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Array] = []

    class Looking(ReferenceEvaluator):
        def run(self, model: bytes, inputs: Mapping[str, Array]) -> dict[str, Array]:
            seen.append(inputs["input"])
            return super().run(model, inputs)

    model = Sequential(
        [Dense(3)],
        (40,),
        preprocessing=Preprocessing(1 / highest),
        input_dtype="uint8" if input_dtype == "uint8" else "float32",
    )
    assert validate_onnx(export_onnx(model, tmp_path / "model.onnx"), model, runtimes=[Looking()]).ok
    x = np.concatenate(seen)
    assert x.shape == (64, 40)
    assert x.dtype == np.dtype(input_dtype)
    assert x.min() >= 0
    assert 0.99 * highest < x.max() <= highest
    validate_onnx(tmp_path / "model.onnx", model, runtimes=[Looking()])
    np.testing.assert_array_equal(np.concatenate(seen)[64:], x)


@pytest.mark.parametrize(
    ("x", "error", "message"),
    [
        (
            np.zeros((1, 8, 8)),
            ShapeError,
            r"expected x of shape \(N, 1, 8, 8\) .*, got \(1, 8, 8\)",
        ),
        (np.zeros((0, 1, 8, 8)), ShapeError, r"with at least one sample, got \(0, 1, 8, 8\)"),
        (np.zeros((1, 1, 8, 8)), ConfigError, "expected x of uint8, what the model's dataset gives, got float64"),
    ],
)
def test_inputs_that_do_not_fit_are_refused(tmp_path: Path, x: Array, error: type[Exception], message: str) -> None:
    model = Sequential([Flatten(), Dense(3)], (1, 8, 8), input_dtype="uint8")
    with pytest.raises(error, match=message):
        validate_onnx(export_onnx(model, tmp_path / "model.onnx"), model, x)


def test_runtimes_are_needed_and_tolerances_positive(model: Sequential, tmp_path: Path) -> None:
    path = export_onnx(model, tmp_path / "model.onnx")
    with pytest.raises(ConfigError, match="at least one runtime, got an empty list"):
        validate_onnx(path, model, runtimes=[])
    with pytest.raises(ConfigError, match="tolerance must be a number above 0, got 0"):
        validate_onnx(path, model, tolerance=0)


def test_a_missing_runtime_is_left_out_by_default_and_an_error_by_name(
    model: Sequential, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = export_onnx(model, tmp_path / "model.onnx")
    monkeypatch.setattr(OnnxRuntime, "requires", "no-such-distribution")
    report = validate_onnx(path, model, inputs(2))
    assert [result.runtime for result in report.results] == ["ReferenceEvaluator()"]
    assert report.remarks() == [
        'OnnxRuntime was skipped: no-such-distribution is not installed; run: pip install "cnnkit[runtimes]"'
    ]
    with pytest.raises(OnnxError, match=r'OnnxRuntime\(\) needs .*; run: pip install "cnnkit\[runtimes\]"'):
        validate_onnx(path, model, inputs(2), ["OnnxRuntime()"])


def test_a_damaged_file_is_an_error_and_stays_as_it_is(model: Sequential, tmp_path: Path) -> None:
    path = export_onnx(model, tmp_path / "model.onnx")
    damaged = path.read_bytes()[:-200]
    path.write_bytes(damaged)
    with pytest.raises(OnnxError, match=r"model\.onnx is damaged or not an ONNX file"):
        validate_onnx(path, model)
    assert [(file.name, file.read_bytes()) for file in tmp_path.iterdir()] == [("model.onnx", damaged)]


def test_a_file_of_another_model_fails_without_an_exception(model: Sequential, tmp_path: Path) -> None:
    path = export_onnx(Sequential([Flatten(), Dense(10)], (1, 8, 8)), tmp_path / "other.onnx")
    report = validate_onnx(path, model, inputs(3))
    assert not report.ok
    for result in report.results:
        assert result.divergence is not None


def test_a_report_is_json_and_a_table(model: Sequential, tmp_path: Path) -> None:
    path = export_onnx(model, tmp_path / "model.onnx")
    report = validate_onnx(path, model, inputs(3), ["ReferenceEvaluator"])
    as_json = json.loads(json.dumps(report.to_dict(), allow_nan=False))
    assert (as_json["ok"], as_json["path"], as_json["tolerance"]) == (True, str(path), 1e-5)
    assert as_json["results"][0]["runtime"] == "ReferenceEvaluator()"
    (row,) = report.rows()
    assert len(row) == len(COLUMNS)
    assert row[:2] == ("ReferenceEvaluator()", onnx.__version__)
    assert row[-1] == "pass"


def test_the_whole_digits_test_set_keeps_its_labels(tmp_path: Path) -> None:
    data = load_dataset("Digits()")
    model = Sequential(
        [Conv2D(16, 3, padding="same"), ReLU(), MaxPool2D(2), Conv2D(32, 3), ReLU(), Flatten(), Dense(10)],
        data.input_shape,
        labels=data.labels,
        preprocessing=data.preprocessing,
        input_dtype="uint8" if data.test.x.dtype == np.uint8 else "float32",
    )
    report = validate_onnx(export_onnx(model, tmp_path / "digits.onnx"), model, data.test.x)
    assert report.ok, str(report)
    assert [(result.samples, result.flips) for result in report.results] == [(360, ())] * len(INSTALLED)
