"""An exported file gives what its model is for, on every runtime, and a validation compares that."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cnnkit import export_onnx, validate_onnx
from cnnkit.components import Runtime
from cnnkit.layers import Softmax
from cnnkit.network import Sequential
from cnnkit.onnx.export import to_onnx
from cnnkit.onnx.runtimes import OnnxRuntime, ReferenceEvaluator
from cnnkit.types import Array, Task

SHAPE = (2, 5, 4)
LABELS, SCORES, VALUES = Task("labels", from_logits=True), Task("classes"), Task("values")
CLASSES = Task("classes", from_logits=True)
VECTOR, PIXELS = ["Conv2D(3, (5, 4))", "Flatten()"], ["Conv2D(3, 1)"]


class Cool(Softmax):
    """softmax(x / 10)."""

    def forward(self, x: Array, ctx: Any) -> tuple[Array, Any]:
        return super().forward(x / np.float32(10), ctx)

    def lower(self, graph: Any, x: str) -> str:
        return str(graph.add("Softmax", graph.add("Div", x, np.float32(10)), axis=1))


def network(layers: list[Any], task: Task, shape: tuple[int, ...] = SHAPE) -> Sequential:
    model = Sequential(layers, shape, task=task, seed=3)
    rng = np.random.default_rng(0)
    model.load_state({name: 3 * rng.normal(size=array.shape) for name, array in model.state().items()})
    return model


def inputs(shape: tuple[int, ...] = SHAPE) -> Array:
    return np.random.default_rng(1).normal(size=(9, *shape)).astype(np.float32)


CASES = {
    "classes": (network(VECTOR, CLASSES), ["logits", "probabilities"]),
    "classes of pixels": (network(PIXELS, CLASSES), ["logits", "probabilities"]),
    "softmax at the end": (network([*VECTOR, "Softmax()"], CLASSES), ["logits", "probabilities"]),
    "softmax before flatten": (
        network(["Conv2D(3, (5, 4))", "Softmax()", "Flatten()"], CLASSES),
        ["logits", "probabilities"],
    ),
    "derived softmax": (network([*VECTOR, Cool()], CLASSES), ["logits", "probabilities"]),
    "softmax alone": (network(["Softmax()"], CLASSES, (5,)), ["logits", "probabilities"]),
    "scores": (network(VECTOR, SCORES), ["scores"]),
    "labels": (network(VECTOR, LABELS), ["logits", "probabilities"]),
    "labels of pixels": (network(PIXELS, LABELS), ["logits", "probabilities"]),
    "values": (network(VECTOR, VALUES), ["values"]),
    "values of pixels": (network(PIXELS, VALUES), ["values"]),
    "values after a softmax": (network([*VECTOR, "Softmax()"], VALUES), ["values"]),
}


@pytest.mark.parametrize("runtime", [ReferenceEvaluator(), OnnxRuntime()], ids=repr)
@pytest.mark.parametrize("opset", [13, 17, 22])
@pytest.mark.parametrize("case", CASES)
def test_a_file_gives_what_its_model_is_for(case: str, opset: int, runtime: Runtime) -> None:
    model, names = CASES[case]
    x = inputs(model.input_shape)
    outputs = runtime.run(to_onnx(model, opset=opset).SerializeToString(), {"input": x})
    assert list(outputs) == names
    expected = {"scores": model.outputs, "values": model.predict, "logits": model.logits}
    for name in names:
        own = model.predict_proba(x) if name == "probabilities" else expected[name](x)
        np.testing.assert_allclose(outputs[name], own, rtol=1e-4, atol=1e-5, err_msg=name)


@pytest.mark.parametrize("case", CASES)
def test_it_validates(case: str, tmp_path: Path) -> None:
    model, _ = CASES[case]
    report = validate_onnx(export_onnx(model, tmp_path / "m.onnx"), model, inputs(model.input_shape))
    assert [(result.ok, result.flips) for result in report.results] == [(True, ()), (True, ())]


class Off(Runtime):
    """Moves one output by a constant."""

    def __init__(self, name: str, by: float) -> None:
        self.name = name
        self.by = by

    def run(self, model: bytes, inputs: Mapping[str, Array]) -> dict[str, Array]:
        outputs = ReferenceEvaluator().run(model, inputs)
        return outputs | {self.name: outputs[self.name] + np.float32(self.by)}


@pytest.mark.parametrize(
    ("case", "name", "flips"),
    [
        ("values", "values", False),
        ("scores", "scores", False),
        ("labels", "logits", False),
        ("labels", "probabilities", True),
        ("classes of pixels", "probabilities", False),
    ],
)
def test_a_wrong_output_is_found(case: str, name: str, flips: bool, tmp_path: Path) -> None:
    model, _ = CASES[case]
    path = export_onnx(model, tmp_path / "m.onnx")
    (result,) = validate_onnx(path, model, inputs(), [Off(name, 0.4)]).results
    assert not result.ok
    assert result.divergence is not None
    assert result.divergence.where == f"the output {name}"
    assert bool(result.flips) == flips


def test_labels_that_flip_are_named() -> None:
    model = network(VECTOR, LABELS)
    x = inputs()
    moved = Off("logits", -2.0)
    (result,) = validate(model, x, moved).results
    logits = model.outputs(x)
    near = np.flatnonzero(((logits >= 0) & (logits < 2)).any(axis=1))
    assert near.size
    assert set(result.flips) >= set(near.tolist())


def validate(model: Sequential, x: Array, runtime: Runtime) -> Any:
    from cnnkit.onnx.validate import validate_proto

    return validate_proto(to_onnx(model), Path("m.onnx"), model, x, [runtime])
