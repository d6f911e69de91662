"""Whose fault it is when runtimes disagree: the file's, or one runtime's own."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import onnx
import pytest

from cnnkit.components import Runtime
from cnnkit.errors import OnnxError
from cnnkit.layers import Dense, Flatten
from cnnkit.network import Sequential
from cnnkit.onnx.export import export_onnx, to_onnx
from cnnkit.onnx.runtimes import ReferenceEvaluator
from cnnkit.onnx.validate import validate_onnx
from cnnkit.types import Array

MODEL = Sequential([Flatten(), Dense(10)], (1, 4, 4))


class Wrong(ReferenceEvaluator):
    """Other logits than everyone's."""

    def run(self, model: bytes, inputs: Mapping[str, Array]) -> dict[str, Array]:
        outputs = super().run(model, inputs)
        return outputs | {"logits": outputs["logits"] + 0.1}


class Refusing(Runtime):
    def run(self, model: bytes, inputs: Mapping[str, Array]) -> dict[str, Array]:
        raise OnnxError("Refusing() cannot execute the model: no such operator")


class Crashing(Runtime):
    """A plugin's runtime that does not keep to its contract."""

    def run(self, model: bytes, inputs: Mapping[str, Array]) -> dict[str, Array]:
        raise ZeroDivisionError("division by zero")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return export_onnx(MODEL, tmp_path / "model.onnx")


def test_a_runtime_that_is_wrong_where_another_agrees_is_named(path: Path) -> None:
    report = validate_onnx(path, MODEL, runtimes=[Wrong(), ReferenceEvaluator()])
    assert report.ok
    assert [result.ok for result in report.results] == [False, True]
    fault = (
        f"Wrong() {onnx.__version__} gives other answers. The runtime is at fault, since ReferenceEvaluator() "
        f"{onnx.__version__} gives the model's answers: do not run the file on this version of it"
    )
    assert report.faults() == [fault]
    assert str(report).startswith(f"{path} passed")
    assert str(report).endswith(fault)
    assert report.to_dict()["faults"] == [fault]
    assert [result.runtime for result in report.decisive()] == ["ReferenceEvaluator()"]


def test_a_runtime_that_cannot_run_the_file_says_so_and_is_not_wrong(path: Path) -> None:
    report = validate_onnx(path, MODEL, runtimes=[Refusing(), ReferenceEvaluator(), Crashing()])
    assert report.ok
    assert [result.verdict for result in report.results] == ["cannot", "pass", "cannot"]
    assert report.results[0].row() == ("Refusing()", *["-"] * 6, "cannot")
    assert report.faults() == []
    assert report.remarks() == [
        "Refusing() cannot execute the model: no such operator",
        "Crashing() cannot execute the model: ZeroDivisionError: division by zero",
    ]


@pytest.mark.parametrize("runtimes", [[Wrong()], [Refusing()], [Wrong(), Refusing(), Crashing()]])
def test_a_file_that_no_runtime_agrees_on_is_at_fault(path: Path, runtimes: list[Runtime]) -> None:
    report = validate_onnx(path, MODEL, runtimes=runtimes)
    assert not report.ok
    assert report.faults() == []
    assert report.decisive() == report.results


def test_a_file_whose_input_does_not_fit_is_at_fault_though_a_runtime_takes_no_notice(tmp_path: Path) -> None:
    proto = to_onnx(MODEL)
    proto.graph.input[0].type.tensor_type.shape.dim[3].dim_value = 5
    del proto.graph.node[:]  # only the declaration is looked at
    del proto.graph.value_info[:]
    for output in proto.graph.output:
        proto.graph.node.append(onnx.helper.make_node("Flatten", ["input"], [output.name]))
        output.type.tensor_type.shape.dim[1].dim_value = 20
    onnx.save(proto, tmp_path / "fixed.onnx")
    report = validate_onnx(tmp_path / "fixed.onnx", MODEL, np.zeros((5, 1, 4, 4), np.float32), [ReferenceEvaluator()])
    assert not report.ok
    assert [result.ok for result in report.results] == [False]
    assert report.faults() == []
    problem = (
        "the file declares an input of float32 (N, 1, 4, 5), expected float32 (N, 1, 4, 4) with a batch axis of any "
        "size"
    )
    assert (report.remarks()[0], report.to_dict()["problem"]) == (problem, problem)


def test_a_file_that_takes_another_dtype_is_at_fault_though_a_runtime_takes_no_notice(tmp_path: Path) -> None:
    bytes_model = Sequential([Flatten(), Dense(10)], (1, 4, 4), input_dtype="uint8")
    bytes_model.load_state(MODEL.state())
    report = validate_onnx(export_onnx(bytes_model, tmp_path / "bytes.onnx"), MODEL, runtimes=[ReferenceEvaluator()])
    assert not report.ok
    declared, described = report.remarks()[0].split("; ")
    assert declared == (
        "the file declares an input of uint8 (N, 1, 4, 4), expected float32 (N, 1, 4, 4) with a batch axis of any size"
    )
    assert described.startswith('the file says input = {"dtype": "uint8", ')
