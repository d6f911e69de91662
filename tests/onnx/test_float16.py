"""Files in float16: half the size, the same answers, and a refusal that names the layer where float16 cannot do it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto

import cnnkit.onnx.precision.float16
from cnnkit import export_float16, export_onnx, load_dataset, validate_onnx
from cnnkit.components import Runtime
from cnnkit.errors import CheckError, ConfigError, OnnxError
from cnnkit.network import Sequential
from cnnkit.onnx.precision.basis import basis_of
from cnnkit.onnx.precision.export import float16_file
from cnnkit.onnx.precision.float16 import rounded_in_float32
from cnnkit.onnx.runtimes import OnnxRuntime, ReferenceEvaluator
from cnnkit.onnx.selftest import selftest
from cnnkit.onnx.validate import validate_proto
from cnnkit.types import Array, Data, Samples, Task

pytest.importorskip("onnxruntime")
LAYERS = ["Conv2D(4, 3, padding=1)", "BatchNorm2D()", "ReLU()", "Upsample2D(2)", "Flatten()", "Dense(9)", "ReLU()"]


@pytest.fixture(scope="module")
def data() -> Data:
    return load_dataset("Digits()")


def network(data: Data, layers: list[Any] | None = None, **options: Any) -> Sequential:
    known = {"labels": data.labels, "preprocessing": data.preprocessing, "input_dtype": "uint8", "seed": 1}
    return Sequential([*(layers or LAYERS), "Dense(10)"], data.input_shape, **{**known, **options})


def changed(model: Sequential, **arrays: Array) -> Sequential:
    """The model with other parameters: dense_1__bias is that of dense_1."""
    model.load_state({**model.state(), **{name.replace("__", "."): array for name, array in arrays.items()}})
    return model


def test_weights_and_values_are_float16_and_inputs_and_outputs_stay(data: Data, tmp_path: Path) -> None:
    model = network(data)
    report = export_float16(model, tmp_path / "half.onnx", data, fold=False)
    file = onnx.load(tmp_path / "half.onnx")
    kinds = {value.name: value.type.tensor_type.elem_type for value in (*file.graph.input, *file.graph.output)}
    assert kinds == {"input": TensorProto.UINT8, "logits": TensorProto.FLOAT, "probabilities": TensorProto.FLOAT}
    weights = {tensor.name: tensor.data_type for tensor in file.graph.initializer}
    assert weights["conv2d_1.weight.float16"] == weights["dense_1.bias.float16"] == TensorProto.FLOAT16
    assert weights["batch_norm2d_1.gamma"] == TensorProto.FLOAT
    assert "dense_1.weight" not in weights
    assert report.in_float32 == ("batch_norm2d_1",)
    assert set(report.layers) == {"conv2d_1", "dense_1", "dense_2"}
    assert (report.ok, report.flips, report.samples, report.calibration) == (True, 0, 360, 512)
    assert report.bytes == (tmp_path / "half.onnx").stat().st_size
    export_onnx(model, tmp_path / "single.onnx")
    assert report.bytes < 0.6 * (tmp_path / "single.onnx").stat().st_size
    assert {entry.key: entry.value for entry in file.metadata_props}["precision"] == "float16"


def test_a_validation_says_that_a_file_is_float16(data: Data, tmp_path: Path) -> None:
    model = network(data)
    export_float16(model, tmp_path / "half.onnx", data, input_dtype="float32")
    report = validate_onnx(tmp_path / "half.onnx", model, data.test.x[:20])
    assert (report.ok, report.exported, report.precision, report.tolerance) == (True, False, "float16", 1e-2)
    assert report.remarks()[0] == "the file is in float16, so 0.01 is allowed"
    assert max(result.max_relative for result in report.results) > 1e-4
    assert selftest(tmp_path / "half.onnx").ok
    other = network(data, seed=2)
    assert not validate_onnx(tmp_path / "half.onnx", other, data.test.x[:20]).ok


def test_the_same_model_gives_the_same_bytes(data: Data) -> None:
    files = [float16_file(network(data), data, Path("x.onnx"))[0].SerializeToString() for _ in range(2)]
    assert files[0] == files[1]


def test_a_kept_layer_stays_in_float32(data: Data) -> None:
    file, report = float16_file(network(data), data, Path("x.onnx"), keep=["dense_1"])
    weights = {tensor.name: tensor.data_type for tensor in file.graph.initializer}
    assert weights["dense_1.weight"] == TensorProto.FLOAT
    assert weights["dense_2.weight.float16"] == TensorProto.FLOAT16
    assert report.in_float32 == ("dense_1",)
    with pytest.raises(
        ConfigError, match=r"batch_norm2d_1 cannot be kept in float32: it computes nothing, or is folded"
    ):
        float16_file(network(data), data, Path("x.onnx"), keep=["batch_norm2d_1"])
    assert "dense_1" not in report.layers
    with pytest.raises(ConfigError, match=r"no layer 'dense_7' to keep in float32; did you mean dense_2 or dense_1\?"):
        float16_file(network(data), data, Path("x.onnx"), keep=["dense_7"])
    with pytest.raises(
        ConfigError, match="no layer would be in float16: each is kept in float32, or can be in nothing"
    ):
        float16_file(network(data, ["Flatten()"]), data, Path("x.onnx"), keep=["dense_1"])


def test_numbers_that_float16_cannot_hold_are_refused_with_their_layers(data: Data, tmp_path: Path) -> None:
    layers = ["Flatten()", "Dense(9)", "ReLU()"]
    large = changed(network(data, layers), dense_1__bias=np.full(9, 1e5))
    message = r"float16 cannot hold the numbers of dense_1 \(1\.0e\+05\), relu_1 \(1\.0e\+05\), dense_2 \(1\.5e\+05\), "
    with pytest.raises(OnnxError, match=message + r"which are beyond 65,504.* with --keep dense_1 --keep relu_1"):
        export_float16(large, tmp_path / "x.onnx", data)
    assert list(tmp_path.iterdir()) == []
    small = network(data, layers)
    small = changed(small, dense_1__weight=1e-6 * small.state()["dense_1.weight"])
    with pytest.raises(
        OnnxError, match=r"numbers of dense_1 \(.*\), which are below 6\.1e-05.*: keep .*--keep dense_1 --keep relu_1"
    ):
        export_float16(small, tmp_path / "x.onnx", data)


def test_a_file_that_loses_too_many_digits_is_not_written(data: Data, tmp_path: Path) -> None:
    """Positive control: beside 30,000, float16 has no digits for differences of 1."""
    model = network(data, ["Flatten()", "Dense(9)", "ReLU()"])
    shift = np.full(9, 3e4)
    model = changed(model, dense_1__bias=shift, dense_2__bias=-model.state()["dense_2.weight"] @ shift)
    with pytest.raises(
        CheckError, match=r"x\.onnx was not written: in float16 an output differs by .*, where 0\.01 is"
    ):
        export_float16(model, tmp_path / "x.onnx", data)
    assert not (tmp_path / "x.onnx").exists()


def test_what_is_measured_is_what_a_runtime_gives_that_computes_in_float16(data: Data) -> None:
    model = network(data)
    file, _ = float16_file(model, data, Path("x.onnx"))
    x = np.asarray(data.test.x[:20])
    half = ReferenceEvaluator().run(file.SerializeToString(), {"input": x})["logits"]
    rounded = rounded_in_float32(file)
    kinds = {tensor.data_type for tensor in rounded.graph.initializer}
    assert TensorProto.FLOAT16 not in kinds
    measured = OnnxRuntime().run(rounded.SerializeToString(), {"input": x})["logits"]
    plain = OnnxRuntime().run(file.SerializeToString(), {"input": x})["logits"]
    apart, wide = np.abs(measured - half).max(), np.abs(plain - half).max()
    assert apart < 0.5 * np.abs(half).max() * 2**-10
    assert apart < wide


def with_large_values(test_factor: float) -> tuple[Sequential, Data]:
    """A network of which dense_1 gives up to 25,000 in training, and so many times as much in the test."""
    rng = np.random.default_rng(0)
    x = rng.uniform(0, 1, (60, 5)).astype(np.float32)
    x[40:] *= test_factor
    data = Data(Samples(x[:40], x[:40].sum(1)[:, None]), Samples(x[40:], x[40:].sum(1)[:, None]))
    model = Sequential(["Dense(3)", "Dense(1)"], (5,), task=Task("values"), seed=1)
    return changed(model, dense_1__weight=np.full((3, 5), 6e3), dense_2__weight=np.full((1, 3), 1e-4)), data


@pytest.mark.parametrize(("test_factor", "largest"), [(1.6, r"4\.0e\+04"), (3, r"7\.6e\+04")])
def test_test_samples_beyond_half_of_float16_are_refused(test_factor: float, largest: str, tmp_path: Path) -> None:
    model, data = with_large_values(test_factor)
    message = rf"hold the numbers of dense_1 \({largest}\), .* are beyond 65,504, .*, or values beyond half of it"
    with pytest.raises(OnnxError, match=message):
        export_float16(model, tmp_path / "x.onnx", data)
    assert list(tmp_path.iterdir()) == []
    assert float16_file(*with_large_values(1), tmp_path / "x.onnx")[1].ok


def test_a_value_beyond_float16_is_infinite_in_what_is_measured() -> None:
    file = float16_file(*with_large_values(1), Path("x.onnx"))[0]
    x = np.asarray(with_large_values(3)[1].test.x)
    half, measured = (
        runtime.run(one.SerializeToString(), {"input": x})["values"]
        for runtime, one in ((ReferenceEvaluator(), file), (OnnxRuntime(), rounded_in_float32(file)))
    )
    assert 0 < np.isinf(half).sum() < half.size
    np.testing.assert_array_equal(np.isinf(measured), np.isinf(half))
    assert np.isfinite(OnnxRuntime().run(file.SerializeToString(), {"input": x})["values"]).all()


def test_no_runtime_is_blamed_for_what_float16_rounds(data: Data, tmp_path: Path) -> None:
    model = network(data)
    export_float16(model, tmp_path / "half.onnx", data)

    class Coarse(Runtime):
        def run(self, file: bytes, inputs: Mapping[str, Array]) -> dict[str, Array]:
            return {name: 1.1 * y for name, y in OnnxRuntime().run(file, inputs).items()}

    report = validate_proto(
        onnx.load(tmp_path / "half.onnx"), tmp_path, model, data.test.x[:9], [OnnxRuntime(), Coarse()]
    )
    assert [result.verdict for result in report.results] == ["pass", "FAIL"]
    assert report.faults() == []


def test_layers_are_compared_on_samples_that_gave_no_ranges(data: Data) -> None:
    basis = basis_of(network(data), data, Path("x.onnx"), "float16", (), {})
    assert (len(basis.x), len(basis.compared)) == (512, 128)
    ranged, compared = ({row.tobytes() for row in np.asarray(x)} for x in (basis.x, basis.compared))
    assert ranged.isdisjoint(compared)
    few = Data(data.train.take(slice(50)), data.test, name="few")
    basis = basis_of(network(data), few, Path("x.onnx"), "float16", (), {})
    np.testing.assert_array_equal(basis.compared, basis.x)
    validated = Data(few.train, few.test, data.train.take(slice(900, 910)), name="validated")
    basis = basis_of(network(data), validated, Path("x.onnx"), "float16", (), {})
    np.testing.assert_array_equal(basis.compared, data.train.x[900:910])


def test_normalisations_stay_in_float32_because_their_sums_do_not_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(0, 400, (60, 3, 4, 4)).astype(np.float32)
    y = x.mean(axis=(2, 3))
    data = Data(Samples(x[:40], y[:40]), Samples(x[40:], y[40:]))
    layers = ["LayerNorm()", "Conv2D(4, 3)", "GroupNorm(2)", "Flatten()", "Dense(3)"]
    model = Sequential(layers, (3, 4, 4), task=Task("values"), input_dtype="float32", seed=1)
    _, report = float16_file(model, data, Path("x.onnx"))
    assert report.in_float32 == ("layer_norm_1", "group_norm_1")
    assert (report.ok, report.score, report.answers) == (True, "r2", 0)
    monkeypatch.setattr(cnnkit.onnx.precision.float16, "SENSITIVE", frozenset())
    with pytest.raises(OnnxError, match=r"float16 cannot hold the numbers of layer_norm_1 \(.*beyond 65,504"):
        float16_file(model, data, Path("x.onnx"))
