"""How far answers may be from the model's: the tolerance has a reason where a network is ill-conditioned."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
from onnx import ModelProto, numpy_helper

from cnnkit.layers import BatchNorm2D, Conv2D, Dense, Flatten, ReLU, Sigmoid
from cnnkit.network import Network, Sequential
from cnnkit.onnx import expected_answers, validate
from cnnkit.onnx.expected_answers import Answers, ExpectedAnswers, allowed, in_dtype
from cnnkit.onnx.export import export_onnx, to_onnx
from cnnkit.onnx.runtimes import ReferenceEvaluator
from cnnkit.onnx.selftest import selftest
from cnnkit.onnx.validate import validate_onnx, validate_proto
from cnnkit.types import Array, Task


def ill_conditioned(spread: float) -> tuple[Sequential, Array]:
    """Images near 100 whose pixels differ by `spread`, all that is left of them after normalisation."""
    model = Sequential([Conv2D(8, 3), BatchNorm2D(epsilon=1e-12), ReLU(), Flatten(), Dense(10)], (1, 8, 8))
    x = (100 + np.random.default_rng(0).normal(size=(50, 1, 8, 8)) * spread).astype(np.float32)
    convolved = model.trace(x)[0].astype(np.float64)
    statistics = {"running_mean": convolved.mean(axis=(0, 2, 3)), "running_var": convolved.var(axis=(0, 2, 3))}
    model.load_state(model.state() | {f"batch_norm2d_1.{name}": array for name, array in statistics.items()})
    return model, x


def changed(proto: ModelProto, name: str, factor: float) -> ModelProto:
    tensor = next(tensor for tensor in proto.graph.initializer if tensor.name == name)
    tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor) * np.float32(factor), name))
    return proto


def test_a_right_file_of_an_ill_conditioned_network_passes_and_a_wrong_one_does_not(tmp_path: Path) -> None:
    model, x = ill_conditioned(0.1)
    right = validate_proto(to_onnx(model), tmp_path, model, x)
    assert right.ok
    assert [result.ok for result in right.results] == [True] * len(right.results)
    assert 1e-5 < right.rounding < 1e-3
    assert max(result.max_relative for result in right.results) > 1e-5  # so it needs its reason
    assert right.remarks() == [
        f"the network is ill-conditioned: its own answers in float32 are up to {right.rounding:.1e} off from those in "
        f"float64, so runtimes may be up to {10 * right.rounding:.1e} off"
    ]
    for name, factor in (("dense_1.weight", 1.01), ("batch_norm2d_1.gamma", 0.99)):
        wrong = validate_proto(changed(to_onnx(model, fold=False), name, factor), tmp_path, model, x)
        assert not wrong.ok
        for result in wrong.results:
            assert not result.ok
            assert result.divergence is not None
            assert result.divergence.where.startswith(f"layer {name.partition('.')[0]}")


def test_what_is_lost_in_float32_is_not_proved_by_losing_as_much(tmp_path: Path) -> None:
    model, x = ill_conditioned(1e-5)
    report = validate_proto(to_onnx(model), tmp_path, model, x)
    assert report.rounding > 0.1
    assert not report.ok
    assert "so runtimes may be up to 1.0e-01 off" in str(report)


def test_a_network_that_is_well_conditioned_keeps_the_tolerance(tmp_path: Path) -> None:
    model = Sequential([Dense(10)], (4,))
    x = np.random.default_rng(0).normal(size=(20, 4)).astype(np.float32)
    report = validate_proto(to_onnx(model), tmp_path, model, x)
    assert (report.ok, report.remarks()) == (True, [])
    assert 0 < report.rounding < 1e-6
    assert not validate_proto(changed(to_onnx(model), "dense_1.weight", 1.0001), tmp_path, model, x).ok


@pytest.mark.parametrize("block", [1, 2, 3, 9])
def test_the_rounding_is_what_the_documentation_says(block: int) -> None:
    model: Network = Sequential([Dense(1, bias=False)], (2,))
    model.load_state({"dense_1.weight": np.array([[1.0, -1.0]])})
    third = np.float32(1 / 3)
    model = in_dtype(model, "float64")
    model.load_state({"dense_1.weight": np.array([[1 / 3, 0.0]])})
    x = np.array([[3.0, 0], [6.0, 0], [12.0, 0]], np.float32)
    expected_answers = ExpectedAnswers(model, x, block)
    outputs, scale, rounding = (
        np.concatenate([getattr(part, name) for part in expected_answers]) for name in ("outputs", "scale", "rounding")
    )
    error = abs(float(third) - 1 / 3)  # of the weight, which float32 rounds
    np.testing.assert_allclose(outputs[:, 0], [1, 2, 4])
    mean = 7 / 3  # of the outputs; of the errors it is 7 times that of the weight
    np.testing.assert_allclose(scale[:, 0], [mean, mean, 4])
    expected = error * np.array([7 / mean, 7 / mean, 12 / 4])
    np.testing.assert_allclose(rounding[:, 0], expected, rtol=1e-2, atol=1e-7)
    assert expected_answers.largest_rounding == rounding.max()
    assert (expected_answers.single.dtype, expected_answers.double) == ("float32", model)


def test_the_rounding_of_a_pixel_is_the_largest_of_its_sample() -> None:
    """A pixel whose own error is small by chance allows a runtime as much as the others of its image do."""
    model: Network = in_dtype(Sequential([Conv2D(2, 1, bias=False)], (1, 2, 2)), "float64")
    model.load_state({"conv2d_1.weight": np.array([1 / 3, 1.0]).reshape(2, 1, 1, 1)})
    x = np.array([[1.0, 0, 0, 0], [2, 64, 0, 0]], np.float32).reshape(2, 1, 2, 2)
    (given,) = ExpectedAnswers(model, x, 2)
    error = abs(float(np.float32(1 / 3)) - 1 / 3)  # of the first weight; the other output has none
    floor = error * (1 + 2 + 64) / 8
    np.testing.assert_allclose((given.rounding * given.scale)[0, 0], np.full((2, 2), floor), rtol=0.02)
    np.testing.assert_allclose((given.rounding * given.scale)[1, 0], np.full((2, 2), 64 * error), rtol=0.02)
    assert not given.rounding[:, 1].any()


def answered(model: Network, x: Array, block: int = 1000) -> Answers:
    """The answers for all samples in one."""
    parts = list(ExpectedAnswers(model, x, block))
    names = ("x", "outputs", "scale", "rounding")
    return Answers(0, *(np.concatenate([getattr(part, name) for part in parts]) for name in names))


def test_one_sample_does_not_set_the_scale_of_the_others_and_keeps_its_own() -> None:
    model = Sequential([Dense(4), Dense(3)], (5,), seed=0)
    x = np.random.default_rng(0).normal(size=(100, 5)).astype(np.float32)
    alone = answered(model, x)
    x[50] = [1e8, -1e8, 1e8, 1e8, 1e8]
    found = answered(model, x)
    others = np.arange(100) != 50
    assert (found.scale[others] <= 4 * alone.scale[others]).all()
    assert (alone.scale[others] <= 2 * found.scale[others]).all()
    assert (found.rounding * found.scale)[others].max() <= 4 * (alone.rounding * alone.scale).max()
    beyond = np.abs(found.outputs[50]) / np.abs(alone.outputs).mean(axis=0)
    assert (found.scale[50] >= 0.99 * np.sort(beyond)[1] * np.abs(alone.outputs).mean(axis=0) / 4).all()


@pytest.mark.parametrize("block", [7, 100])
def test_an_outlier_does_not_hide_what_is_wrong_elsewhere(
    block: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(validate, "block_of", lambda model: block)
    model = Sequential([Dense(4), Dense(3)], (5,), seed=0)
    x = np.random.default_rng(0).normal(size=(100, 5)).astype(np.float32)
    x[50] = [1e8, -1e8, 1e8, 1e8, 1e8]
    assert validate_proto(to_onnx(model), tmp_path, model, x).ok
    proto = to_onnx(model)
    bias = next(tensor for tensor in proto.graph.initializer if tensor.name == "dense_2.bias")
    bias.CopyFrom(numpy_helper.from_array(np.array([0.5, -0.5, 0.2], np.float32), bias.name))
    report = validate_proto(proto, tmp_path, model, x)
    right = model.logits(x).argmax(axis=1)
    wrong = (model.logits(x) + np.array([0.5, -0.5, 0.2])).argmax(axis=1)
    assert len(report.results) == 2
    for result in report.results:
        assert not result.ok
        assert result.flips == tuple(np.flatnonzero(right != wrong))


def test_outputs_that_are_mostly_zero_have_a_scale() -> None:
    model = Sequential([Dense(2, bias=False), ReLU()], (2,), task=Task("values"))
    model.load_state({"dense_1.weight": np.eye(2)})
    x = np.zeros((100, 2), np.float32)
    x[::20, 0] = 3
    x[:, 1] = 1
    found = answered(model, x)
    np.testing.assert_allclose(found.scale[1::20, 0], 3 * 5 / 100)
    np.testing.assert_allclose(found.scale[::20, 0], 3)


def test_probabilities_have_no_outliers() -> None:
    """A label that is rare is near 0 nearly everywhere, and right to a share of what it is where it is there."""
    model = Sequential([Dense(1), Sigmoid()], (1,), task=Task("labels"))
    model.load_state({"dense_1.weight": np.ones((1, 1)), "dense_1.bias": np.zeros(1)})
    x = np.full((100, 1), -20, np.float32)
    x[:2] = 20
    np.testing.assert_allclose(answered(model, x).scale[2:], 0.02, rtol=1e-3)


class Flipping(ReferenceEvaluator):
    """Exchanges two classes of samples that begin with 0, by a change that is nothing beside the other samples."""

    def run(self, model: bytes, inputs: Mapping[str, Array]) -> dict[str, Array]:
        outputs = super().run(model, inputs)
        small = inputs["input"][:, 0] == 0
        outputs["logits"][small] = outputs["logits"][small][:, [1, 0]]
        return outputs


def test_a_tie_is_no_wider_than_the_samples_own_numbers(tmp_path: Path) -> None:
    model = Sequential([Dense(2, bias=False)], (2,))
    model.load_state({"dense_1.weight": np.array([[1.0, 1], [-1, 0]])})
    x = np.random.default_rng(0).normal(size=(20, 2)).astype(np.float32)
    x[3] = 0, 2e-6  # so its logits are 2e-6 and 0, where others are near 1
    proto = to_onnx(model, outputs=["logits"])
    report = validate_proto(proto, tmp_path, model, x, [Flipping()])
    assert [(result.flips, result.budget <= 1) for result in report.results] == [((3,), True)]
    x[3] = 0, 0
    assert validate_proto(proto, tmp_path, model, x, [Flipping()]).ok


class WrongPixel(ReferenceEvaluator):
    """Right but for one number, of images that begin with 9."""

    def run(self, model: bytes, inputs: Mapping[str, Array]) -> dict[str, Array]:
        outputs = super().run(model, inputs)
        first = next(iter(outputs))
        outputs[first][inputs["input"][:, 0, 0, 0] == 9, 1, 4, 4] += 2e-4
        return outputs


def test_one_wrong_pixel_is_found(tmp_path: Path) -> None:
    model = Sequential([Conv2D(4, 3, padding=1), ReLU(), Conv2D(3, 1)], (1, 9, 9))
    x = np.random.default_rng(0).normal(size=(20, 1, 9, 9)).astype(np.float32)
    assert validate_proto(to_onnx(model), tmp_path, model, x, [WrongPixel()]).ok
    x[7, 0, 0, 0] = 9
    report = validate_proto(to_onnx(model), tmp_path, model, x, [WrongPixel()])
    assert not report.ok
    assert report.results[0].worst_sample == 7


def test_what_is_allowed() -> None:
    rounding = np.array([0, 1e-6, 1e-4, 0.5, np.inf])
    np.testing.assert_allclose(allowed(rounding, 1e-5), [1e-5, 1e-5, 1e-3, 0.1, -1])
    np.testing.assert_allclose(allowed(rounding, 0.2), [0.2, 0.2, 0.2, 0.2, -1])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_models_of_either_dtype_are_compared(tmp_path: Path, dtype: str) -> None:
    model = Sequential([Dense(3)], (4,), dtype="float64" if dtype == "float64" else "float32")
    report = validate_proto(to_onnx(model), tmp_path, model)
    assert report.ok, str(report)
    assert model.dtype == dtype


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_model_whose_own_values_are_no_numbers_never_passes(tmp_path: Path, value: float) -> None:
    model = Sequential([Dense(3)], (4,))
    state = model.state()
    path = export_onnx(model, tmp_path / "right.onnx")
    model.load_state(state | {"dense_1.bias": np.array([0, value, 0])})
    x = np.random.default_rng(1).normal(size=(5, 4)).astype(np.float32)
    for file in (path, export_onnx(model, tmp_path / "model.onnx")):
        report = validate_onnx(file, model, x)
        assert (report.ok, report.results, report.to_dict()["rounding"]) == (False, (), None)
        assert report.remarks() == [
            "the model's own answers are NaN or infinite for 5 of 5 samples, first in the values of layer dense_1 = "
            "Dense(3), so no runtime can agree with them"
        ]
        assert str(report) == f"{file} FAILED (tolerance 1e-05)\n{report.problem}"


class NeverAsked(ReferenceEvaluator):
    def run(self, model: bytes, inputs: Mapping[str, Array]) -> dict[str, Array]:
        raise AssertionError


def test_answers_that_overflow_are_counted_and_nothing_else_is_computed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = Sequential(["Flatten()", *["Residual(ReLU())"] * 4, "Dense(3)"], (1, 2, 2))
    x = np.zeros((9, 1, 2, 2), np.float32)
    x[[3, 4, 8]] = 1e38
    made: list[str] = []

    def noted(model: Network, dtype: Literal["float32", "float64"]) -> Network:
        made.append(dtype)
        return in_dtype(model, dtype)

    monkeypatch.setattr(expected_answers, "in_dtype", noted)
    monkeypatch.setattr(validate, "block_of", lambda model: 2)
    report = validate_proto(to_onnx(model), tmp_path, model, x, [NeverAsked()])
    assert report.problem == (
        "the model's own answers are NaN or infinite for 3 of 9 samples, first in the values of layer residual_2 = "
        "Residual(ReLU()), so no runtime can agree with them"
    )
    assert made == ["float32", "float64"]  # the first block's answers are finite
    made.clear()
    validate_proto(to_onnx(model), tmp_path, model, x[3:], [NeverAsked()])
    assert made == ["float32"]


@pytest.mark.parametrize(
    ("layers", "shape", "mean", "spread"),
    [
        (["InstanceNorm2D()", "Conv2D(8, 3)", "ReLU()", "Flatten()"], (1, 8, 8), 100, 0.1),
        (["LayerNorm()", "Flatten()"], (1, 8, 8), 100, 0.1),
        (["InstanceNorm1D()", "Conv1D(8, 3)", "ReLU()", "GlobalAvgPool1D()"], (1, 64), 1013, 1),
        (["GroupNorm(1)", "Conv2D(8, 3)", "ReLU()", "Flatten()"], (2, 12, 12), 1000, 1),
    ],
)
@pytest.mark.parametrize("opset", [17, 18])
def test_a_file_subtracts_what_rounding_leaves_of_a_large_mean(
    layers: list[str], shape: tuple[int, ...], mean: float, spread: float, opset: int, tmp_path: Path
) -> None:
    """As the model does, or right runtimes lose hundreds of times as much as the model itself."""
    x = (mean + np.random.default_rng(0).uniform(-spread, spread, (50, *shape))).astype(np.float32)
    model = Sequential([*layers, "Dense(10)"], shape, seed=0)
    path = export_onnx(model, tmp_path / "m.onnx", sample=x[0], opset=opset)
    report = validate_onnx(path, model, x)
    assert [result.ok for result in report.results] == [True, True], str(report)
    assert max(result.max_relative for result in report.results) < 1e-5
    assert all(result.ok for result in selftest(path).results)
