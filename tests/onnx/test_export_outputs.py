"""Files with a choice of outputs, a label among them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from cnnkit import export_onnx, validate_onnx
from cnnkit.components import Runtime
from cnnkit.errors import ConfigError
from cnnkit.network import Sequential
from cnnkit.onnx.export import to_onnx
from cnnkit.onnx.outputs import possible_outputs
from cnnkit.onnx.runtimes import OnnxRuntime, ReferenceEvaluator
from cnnkit.onnx.validate import validate_proto
from cnnkit.types import Array, Task
from tests.onnx.test_onnx_tasks import CASES as TASKS
from tests.onnx.test_onnx_tasks import LABELS, VECTOR, inputs, network

PROBABILITIES = network([*VECTOR, "Sigmoid()"], Task("labels"))
MODELS = {name: model for name, (model, _) in TASKS.items()} | {
    "labels of probabilities": PROBABILITIES,
    "labels after a sigmoid": network([*VECTOR, "Sigmoid()"], LABELS),
}


def subsets(names: tuple[str, ...]) -> list[tuple[str, ...]]:
    chosen = [[name for at, name in enumerate(names) if bits >> at & 1] for bits in range(1, 2 ** len(names))]
    return [tuple(some) for some in chosen]


CASES = [(case, names) for case, model in MODELS.items() for names in subsets(possible_outputs(model))]


@pytest.mark.parametrize(("case", "names"), CASES)
def test_every_choice_gives_the_models_answers_and_validates(case: str, names: tuple[str, ...], tmp_path: Path) -> None:
    model = MODELS[case]
    x = inputs(model.input_shape)
    path = export_onnx(model, tmp_path / "m.onnx", outputs=names)
    for runtime in (ReferenceEvaluator(), OnnxRuntime()):
        outputs = runtime.run(path.read_bytes(), {"input": x})
        assert tuple(outputs) == names
        if "label" in names:
            assert outputs["label"].dtype == np.int64
            np.testing.assert_array_equal(outputs["label"], model.predict(x))
    report = validate_onnx(path, model, x)
    assert (report.exported, [result.ok for result in report.results]) == (True, [True, True])
    proto = onnx.load(path)
    used = {name for node in proto.graph.node for name in node.input}
    assert not used & set(names)
    assert used == {"input", *(t.name for t in proto.graph.initializer)} | used & {
        name for node in proto.graph.node for name in node.output
    }


@pytest.mark.parametrize(
    ("case", "outputs", "possible"),
    [
        ("classes", ["label", "logits"], "one or more of logits, probabilities, label, in this order"),
        ("classes", ["logits", "logits"], "one or more of logits, probabilities, label, in this order"),
        ("classes", [], "one or more of logits, probabilities, label, in this order, got none"),
        ("scores", ["logits"], "one or more of scores, label, in this order, got logits"),
        ("values", ["label"], "the network gives 3 values: the outputs of its file must be values alone, got label"),
        ("labels of probabilities", ["logits"], "one or more of probabilities, label, in this order, got logits"),
    ],
)
def test_a_choice_that_cannot_be_is_refused(case: str, outputs: list[str], possible: str) -> None:
    with pytest.raises(ConfigError, match=possible):
        to_onnx(MODELS[case], outputs=outputs)


class Next(Runtime):
    """Says another label than it is."""

    def run(self, model: bytes, inputs: Mapping[str, Array]) -> dict[str, Array]:
        outputs = ReferenceEvaluator().run(model, inputs)
        return outputs | {"label": np.asarray((outputs["label"] + 1) % 2)}


@pytest.mark.parametrize("outputs", [["label"], ["logits", "label"], ["probabilities", "label"]])
@pytest.mark.parametrize("case", ["classes", "labels", "classes of pixels"])
def test_a_wrong_label_is_a_flip(case: str, outputs: list[str]) -> None:
    model = MODELS[case]
    x = inputs(model.input_shape)
    (result,) = validate_proto(to_onnx(model, outputs=outputs), Path("m.onnx"), model, x, [Next()]).results
    assert not result.ok
    assert len(result.flips) >= 5


class Off(Runtime):
    """Moves the probabilities."""

    def run(self, model: bytes, inputs: Mapping[str, Array]) -> dict[str, Array]:
        outputs = ReferenceEvaluator().run(model, inputs)
        return outputs | {"probabilities": outputs["probabilities"] + np.float32(1e-4)}


@pytest.mark.parametrize("case", ["classes", "labels", "labels of probabilities"])
def test_probabilities_without_logits_are_compared_with_the_models(case: str) -> None:
    model = MODELS[case]
    proto = to_onnx(model, outputs=["probabilities"])
    (result,) = validate_proto(proto, Path("m.onnx"), model, inputs(model.input_shape), [Off()]).results
    assert (result.ok, result.flips) == (False, ())
    assert result.divergence is not None
    assert result.divergence.where == "the output probabilities"


def test_a_tie_may_be_either_label() -> None:
    model = Sequential(["Dense(2, bias=False)"], (1,))
    model.load_state({"dense_1.weight": np.ones((2, 1))})
    x: Any = np.ones((4, 1), np.float32)
    for outputs in (["label"], ["logits", "label"]):
        assert validate_proto(to_onnx(model, outputs=outputs), Path("m.onnx"), model, x, [Next()]).ok
