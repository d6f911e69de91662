"""ONNX's own cases on the networks that an import makes: each gives the answer, or stands in a list with the reason.

A case counts if its operator is one that is imported, and its numbers are float32, as those of a network are.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import node_cases  # type: ignore[import-not-found]  # beside this file
import numpy as np
import onnx
import pytest
from onnx import ModelProto, TensorProto, helper, numpy_helper

from cnnkit.errors import CnnkitError, OnnxError
from cnnkit.onnx.backend import CnnkitBackend
from cnnkit.onnx.importing import translation  # noqa: F401  # fills the table
from cnnkit.onnx.importing.operators import TRANSLATIONS
from cnnkit.types import Array

LIST = Path(__file__).with_name("refused_cases.txt")
DATA = Path(onnx.__file__).parent / "backend/test/data"
RELATIVE, ABSOLUTE = 1e-3, 1e-7
"""The tolerance of ONNX's own test runner."""
SLOW = {"light_densenet121", "light_inception_v2", "light_resnet50"}


SCORES = {"light_inception_v1": "r143"}
"""Networks of which the last digits decide the probabilities, and the value before these: scores of 1e21 that are equal
but for rounding."""


class Case(NamedTuple):
    """A model with inputs and the outputs that it must give."""

    name: str
    model: ModelProto
    inputs: Sequence[Array]
    outputs: Sequence[Array]


def listed() -> dict[str, str]:
    """The cases that are refused, with the reasons."""
    found: dict[str, str] = {}
    for line in LIST.read_text().splitlines():
        if not line.startswith("#"):
            name, reason = line.split(": ", 1)
            assert name not in found, f"{name} stands there twice"
            found[name] = reason
    return found


def counts(model: ModelProto) -> bool:
    return bool(CnnkitBackend.is_compatible(model)) and all(
        node.op_type in TRANSLATIONS or node.op_type == "Constant" for node in model.graph.node
    )


def nodes() -> Iterator[Case]:
    for case in node_cases.cases():
        is_float = bool(case.inputs) and case.inputs[0].dtype == np.float32
        if is_float and counts(case.model) and not case.name.endswith("_expanded"):
            yield Case(case.name, case.model, case.inputs, case.outputs)


def recorded(kind: str) -> Iterator[Case]:
    """Models that PyTorch wrote, with what it answered."""
    for folder in sorted((DATA / kind).iterdir()):
        model = onnx.load(folder / "model.onnx")
        if counts(model):
            for answers in sorted(folder.glob("test_data_set_*")):
                inputs, outputs = _tensors(answers, "input"), _tensors(answers, "output")
                yield Case(f"{kind} {folder.name}", model, inputs, outputs)


def light(name: str) -> Case:
    """A known deep network with made-up weights, and the inputs that ONNX's own test runner gives it."""
    model = onnx.load(DATA / "light" / f"{name}.onnx")
    (value,) = (value for value in model.graph.input if value.name not in {t.name for t in model.graph.initializer})
    shape = tuple(size.dim_value for size in value.type.tensor_type.shape.dim)
    count = int(np.prod(shape))
    x = (np.arange(count).reshape(shape) / count).astype(np.float32)
    return Case(name, model, [x], [_tensor(DATA / "light" / f"{name}_output_0.pb")])


def _tensors(folder: Path, kind: str) -> list[Array]:
    return [_tensor(folder / f"{kind}_{at}.pb") for at in range(len(list(folder.glob(f"{kind}_*.pb"))))]


def _tensor(path: Path) -> Array:
    return numpy_helper.to_array(TensorProto.FromString(path.read_bytes()))


def refused(cases: Iterable[Case]) -> tuple[dict[str, str], int]:
    """The cases that are refused, with the messages, and how many are answered. Fails for a wrong answer."""
    found, answered = {}, 0
    for case in cases:
        try:
            given = CnnkitBackend.prepare(case.model).run(case.inputs)
        except CnnkitError as error:
            found[case.name] = str(error)
            continue
        for ours, expected in zip(given, case.outputs, strict=True):
            assert (ours.shape, ours.dtype) == (expected.shape, expected.dtype), case.name
            np.testing.assert_allclose(ours, expected, RELATIVE, ABSOLUTE, err_msg=case.name)
        answered += 1
    return found, answered


GROUPS: dict[str, tuple[Callable[[], Iterable[Case]], str, int]] = {
    "nodes": (nodes, "test_", 190),
    "converted": (lambda: recorded("pytorch-converted"), "pytorch-converted ", 60),
    "operators": (lambda: recorded("pytorch-operator"), "pytorch-operator ", 15),
}
"""Where cases come from, how their names begin, and how many must be answered at least."""


@pytest.mark.parametrize("group", GROUPS)
def test_every_case_is_answered_or_listed_with_the_reason(group: str) -> None:
    cases, prefix, least = GROUPS[group]
    found, answered = refused(cases())
    expected = {name: reason for name, reason in listed().items() if name.startswith(prefix)}
    assert not {name: found[name] for name in found.keys() - expected.keys()}, "refused, and not in the list"
    assert not expected.keys() - found.keys(), "in the list, and answered or no case"
    assert answered >= least


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(path.stem, marks=pytest.mark.full) if path.stem in SLOW else path.stem
        for path in sorted((DATA / "light").glob("*.onnx"))
    ],
)
def test_deep_networks_are_answered_or_listed_with_the_reason(name: str) -> None:
    case = light(name)
    if name in SCORES:
        runtime = pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
        del case.model.graph.output[:]
        case.model.graph.output.append(helper.make_tensor_value_info(SCORES[name], TensorProto.FLOAT, None))
        session = runtime.InferenceSession(case.model.SerializeToString(), providers=["CPUExecutionProvider"])
        case = case._replace(outputs=session.run(None, {session.get_inputs()[0].name: case.inputs[0]}))
    found, _ = refused([case])
    assert bool(found) == (name in listed()), found


def test_positive_control_a_wrong_answer_fails() -> None:
    case = light("light_squeezenet")
    with pytest.raises(AssertionError, match="light_squeezenet"):
        refused([case._replace(outputs=[case.outputs[0] * 1.01])])


def test_the_backend_says_what_it_takes() -> None:
    case = next(case for case in nodes() if case.name == "test_relu")
    assert CnnkitBackend.supports_device("CPU")
    assert not CnnkitBackend.supports_device("CUDA")
    assert not CnnkitBackend.is_compatible(case.model, "CUDA")
    with pytest.raises(OnnxError, match="expected the device CPU, got 'CUDA'"):
        CnnkitBackend.prepare(case.model, "CUDA")
    with pytest.raises(OnnxError, match="expected 1 inputs, got 2"):
        CnnkitBackend.prepare(case.model).run([case.inputs[0]] * 2)
    np.testing.assert_allclose(CnnkitBackend.run_model(case.model, case.inputs[0])[0], case.outputs[0])
