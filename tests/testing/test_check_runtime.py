"""check_runtime must find each planted fault by name, and refuse no runtime that is right."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

from cnnkit.components import Runtime
from cnnkit.errors import CheckError, ComponentError, OnnxError
from cnnkit.onnx.runtimes import ReferenceEvaluator
from cnnkit.testing import check_runtime
from cnnkit.types import Array

Inputs = Mapping[str, Array]
Outputs = dict[str, Array]


class Right(ReferenceEvaluator):
    """The right runtime that the faulty ones are made from."""


class OneOutput(Right):
    def run(self, model: bytes, inputs: Inputs) -> Outputs:
        return dict(list(super().run(model, inputs).items())[:1])


class AList(Right):
    def run(self, model: bytes, inputs: Inputs) -> Outputs:
        return list(super().run(model, inputs).values())  # type: ignore[return-value]  # wrong on purpose


class Numbered(Right):
    def run(self, model: bytes, inputs: Inputs) -> Outputs:
        return {f"output_{i}": value for i, value in enumerate(super().run(model, inputs).values())}


class Exchanged(Right):
    def run(self, model: bytes, inputs: Inputs) -> Outputs:
        given = super().run(model, inputs)
        return dict(zip(given, list(given.values())[::-1], strict=True))


class Float64(Right):
    def run(self, model: bytes, inputs: Inputs) -> Outputs:
        return {name: value.astype(np.float64) for name, value in super().run(model, inputs).items()}


class Float16(Right):
    def run(self, model: bytes, inputs: Inputs) -> Outputs:
        return {
            name: value.astype(np.float16).astype(value.dtype) for name, value in super().run(model, inputs).items()
        }


class FirstSample(Right):
    def run(self, model: bytes, inputs: Inputs) -> Outputs:
        return {name: np.repeat(value[:1], len(value), axis=0) for name, value in super().run(model, inputs).items()}


class NoInfinity(Right):
    def run(self, model: bytes, inputs: Inputs) -> Outputs:
        return {name: np.nan_to_num(value) for name, value in super().run(model, inputs).items()}


class ByPosition(Right):
    def run(self, model: bytes, inputs: Inputs) -> Outputs:
        import onnx

        try:
            names = [value.name for value in onnx.load_model_from_string(model).graph.input]
        except Exception as error:
            raise OnnxError("no model") from error
        return super().run(model, dict(zip(names, inputs.values(), strict=False)))


class CastsInputs(Right):
    def run(self, model: bytes, inputs: Inputs) -> Outputs:
        return super().run(model, {name: value.astype(np.float32) for name, value in inputs.items()})


class InPlace(Right):
    def run(self, model: bytes, inputs: Inputs) -> Outputs:
        given = super().run(model, inputs)
        for value in inputs.values():
            value[...] = 0
        return given


class KeepsTheFirstModel(Right):
    def __init__(self) -> None:
        self.model: Any = {}

    def run(self, model: bytes, inputs: Inputs) -> Outputs:
        key = (len(model), *sorted(inputs))
        return super().run(self.model.setdefault(key, model), inputs)


class SharedMemory(Right):
    def __init__(self) -> None:
        self.kept: dict[Any, Array] = {}

    def run(self, model: bytes, inputs: Inputs) -> Outputs:
        found = {}
        for name, value in super().run(model, inputs).items():
            found[name] = self.kept.setdefault((name, value.shape, value.dtype), np.empty_like(value))
            found[name][...] = value
        return found


class RaisesItsOwn(Right):
    def run(self, model: bytes, inputs: Inputs) -> Outputs:
        try:
            return super().run(model, inputs)
        except OnnxError as error:
            raise RuntimeError("cannot run") from error


class AnswersNothing(Right):
    def run(self, model: bytes, inputs: Inputs) -> Outputs:
        try:
            return super().run(model, inputs)
        except OnnxError:
            return {}


FAULTS: list[tuple[Runtime, str, str]] = [
    (OneOutput(), "outputs", r"names of the outputs for 1 samples: expected \['logits', 'probabilities'\], got"),
    (AList(), "outputs", r"run must return the outputs as a dict of arrays by their names, it returned \["),
    (Numbered(), "outputs", r"got \['output_0', 'output_1'\]"),
    (Exchanged(), "outputs", "logits of 1 samples: expected the model's, they differ by up to"),
    (Float64(), "outputs", "dtype of the logits of 1 samples: expected float32, got float64"),
    (Float16(), "outputs", "logits of 1 samples: expected the model's, they differ by up to"),
    (FirstSample(), "outputs", "logits of 5 samples: expected the model's"),
    (NoInfinity(), "extremes", "a plus 0: expected the same values bit for bit"),
    (ByPosition(), "inputs by name", "first - second: expected the model's"),
    (CastsInputs(), "inputs by name", "uint8"),
    (InPlace(), "inputs unchanged", "inputs after run, which changed them in place"),
    (KeepsTheFirstModel(), "models apart", "logits of a second model; run the model that is given"),
    (SharedMemory(), "models apart", "logits of the first model after a second one was run"),
    (RaisesItsOwn(), "refusals", "bytes that are no model: expected an OnnxError, got RuntimeError: cannot run"),
    (AnswersNothing(), "refusals", r"bytes that are no model: expected an OnnxError, got \{\}"),
]


@pytest.mark.parametrize(("one", "check", "reason"), FAULTS, ids=[type(one).__name__ for one, *_ in FAULTS])
def test_each_fault_is_found_and_named(one: Runtime, check: str, reason: str) -> None:
    with pytest.raises(CheckError, match=reason) as caught:
        check_runtime(one)
    assert f"fails the check {check!r}: " in str(caught.value)


class KeepsSessions(Right):
    """Loads each model once, by its content."""

    def __init__(self) -> None:
        self.sessions: dict[bytes, Any] = {}

    def run(self, model: bytes, inputs: Inputs) -> Outputs:
        self.sessions.setdefault(model, len(self.sessions))
        return super().run(model, inputs)


@pytest.mark.parametrize("one", [Right(), KeepsSessions()], ids=repr)
def test_none_that_is_right_is_refused(one: Runtime) -> None:
    check_runtime(one)


def test_what_is_not_there_is_told() -> None:
    class Missing(Right):
        requires = "no-such-distribution"

    class Wrong(Right):
        requires = None  # type: ignore[assignment]  # wrong on purpose

    with pytest.raises(OnnxError, match=r"Missing\(\) needs no-such-distribution, which is not installed"):
        check_runtime(Missing())
    with pytest.raises(CheckError, match="requires must be the name of a distribution, or '', got None"):
        check_runtime(Wrong())
    with pytest.raises(ComponentError, match="there is no runtime named 'Onnx'"):
        check_runtime("Onnx()")
