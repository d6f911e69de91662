"""The golden pair of a file in int8: right files pass on all runtimes, and small faults do not."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from cnnkit import export_int8
from cnnkit.network import Sequential
from cnnkit.onnx.golden_pair import GoldenPair, read_golden_pair
from cnnkit.onnx.precision.export import int8_file
from cnnkit.onnx.selftest import selftest
from cnnkit.types import Array, Data, Samples, Task

pytest.importorskip("onnxruntime")
RUNTIMES = ["OnnxRuntime()", "ReferenceEvaluator()"]


def digits_like(
    layers: list[str], task: Task, shape: tuple[int, ...] = (6,), first: float = 1.0
) -> tuple[Sequential, Data]:
    """A network with its own answers for targets; first: a factor of the first test sample."""
    rng = np.random.default_rng(0)
    model = Sequential(layers, shape, task=task, seed=0)
    state = model.state()
    model.load_state({name: rng.normal(0, 0.1, a.shape) if "bias" in name else a for name, a in state.items()})
    x = rng.normal(size=(700, *shape)).astype(np.float32)
    x[600] *= first
    y: Array = model.outputs(x)
    if task.gives == "classes":
        y = y.argmax(axis=1)
    elif task.gives == "labels":
        y = (y > 0).astype(np.uint8)
    return model, Data(Samples(x[:600], y[:600]), Samples(x[600:], y[600:]))


DENSE = ["Dense(16)", "ReLU()", "Dense(16)", "ReLU()", "Dense(3)"]
IMAGES = ["Conv2D(4, 3, padding=1)", "ReLU()", "Conv2D(3, 1)"]
CLASSES = Task("classes", from_logits=True)


def pair_of(path: Path) -> GoldenPair:
    return read_golden_pair(next(entry.value for entry in onnx.load(path).metadata_props if entry.key == "golden"))


@pytest.mark.parametrize(
    ("layers", "shape", "task"),
    [
        (DENSE, (6,), CLASSES),
        (DENSE, (6,), Task("labels", from_logits=True)),
        (DENSE, (6,), Task("values")),
        (IMAGES, (2, 5, 5), CLASSES),
    ],
)
@pytest.mark.parametrize("first", [0.02, 1.0])
def test_a_right_file_passes_and_a_scale_that_is_wrong_by_six_percent_does_not(
    layers: list[str], shape: tuple[int, ...], task: Task, first: float, tmp_path: Path
) -> None:
    model, data = digits_like(layers, task, shape, first)
    export_int8(model, tmp_path / "x.onnx", data, max_loss=20, opset=19)
    report = selftest(tmp_path / "x.onnx", RUNTIMES)
    assert report.ok, report
    assert [result.verdict for result in report.results] == ["pass", "pass"]
    assert max(result.budget for result in report.results) < 0.5
    if first < 1:
        return  # what is small in one sample is no measure of the others
    file = onnx.load(tmp_path / "x.onnx")
    last = list(model.state())[-1].rpartition(".")[0]
    (scale,) = [tensor for tensor in file.graph.initializer if tensor.name == f"{last}.weight_scale"]
    scale.CopyFrom(numpy_helper.from_array(1.06 * numpy_helper.to_array(scale), scale.name))
    onnx.save(file, tmp_path / "wrong.onnx")
    assert not selftest(tmp_path / "wrong.onnx", RUNTIMES).ok


def test_its_answers_are_its_own_and_may_be_a_step_off(tmp_path: Path) -> None:
    model, data = digits_like(DENSE, CLASSES)
    export_int8(model, tmp_path / "x.onnx", data, max_loss=20, opset=19)
    pair = pair_of(tmp_path / "x.onnx")
    assert (pair.tolerance, pair.about) == (0.004, "the first test sample")
    outputs = model.logits(data.train.x)
    spread = np.ptp(outputs, axis=0)
    assert np.all(np.abs(pair.outputs["logits"] - model.logits(pair.input)) > 1e-5), "they are not those of the model"
    assert np.all((pair.scales["logits"] > 0.5 * spread) & (pair.scales["logits"] < 1.1 * spread))
    step = 0.004 * max(pair.scales["logits"])
    logits = pair.outputs["logits"].astype(np.float64)
    for k in range(3):
        moved = logits + step * np.where(np.arange(3) == k, 0.9, -0.9)
        probabilities = np.exp(moved) / np.exp(moved).sum()
        assert pair.agrees("probabilities", probabilities)
        assert not pair.agrees("probabilities", pair.outputs["probabilities"] + 3 * step)


def test_a_sample_that_is_too_large_gives_no_pair(monkeypatch: pytest.MonkeyPatch) -> None:
    model, data = digits_like(DENSE, CLASSES)
    assert "golden" in {entry.key for entry in int8_file(model, data, Path("x.onnx"), max_loss=20)[0].metadata_props}
    monkeypatch.setattr("cnnkit.onnx.precision.int8_pair.MAX_PAIR_BYTES", 30)
    assert "golden" not in {
        entry.key for entry in int8_file(model, data, Path("x.onnx"), max_loss=20)[0].metadata_props
    }
