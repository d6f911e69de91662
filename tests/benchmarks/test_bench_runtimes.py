"""Runtimes in other processes, and the table of what they make of the geometries."""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
import pytest

from benchmarks import runtimes
from benchmarks.geometries import Geometry
from benchmarks.runtimes import CONTROL, Elsewhere, Outcome, faults, installed, known_to_miscount, main, tables
from cnnkit.errors import OnnxError
from cnnkit.onnx.export import to_onnx
from cnnkit.onnx.runtimes import ReferenceEvaluator

DENSE = Geometry("Dense", ("Dense(3)",), (4,))
MEAN = Geometry("AvgPool2D", ("AvgPool2D(3, 1, 1)",))


@pytest.fixture
def reference() -> Iterator[Elsewhere]:
    runtime = Elsewhere(sys.executable, "reference")
    yield runtime
    runtime.close()


def test_a_runtime_elsewhere_gives_what_it_gives_here(reference: Elsewhere) -> None:
    assert repr(reference) == f"reference {onnx.__version__}"
    model, inputs = to_onnx(DENSE.model()).SerializeToString(), {"input": DENSE.inputs()}
    here = ReferenceEvaluator().run(model, inputs)
    for name, array in reference.run(model, inputs).items():
        np.testing.assert_array_equal(array, here[name])
    with pytest.raises(OnnxError, match=r"^reference [\d.]+ cannot execute the model: \w+: "):
        reference.run(b"garbage", inputs)


def test_a_runtime_that_dies_is_started_anew(reference: Elsewhere) -> None:
    model, inputs = to_onnx(DENSE.model()).SerializeToString(), {"input": DENSE.inputs()}
    assert reference.child
    os.kill(reference.child.pid, signal.SIGKILL)
    with pytest.raises(OnnxError, match=rf"^reference in {sys.executable} died with exit code -9$"):
        reference.run(model, inputs)
    assert "logits" in reference.run(model, inputs)


def test_an_environment_without_runtimes_is_refused(tmp_path: Path) -> None:
    python = tmp_path / "python"
    python.write_text("#!/bin/sh\n")
    python.chmod(0o755)
    with pytest.raises(SystemExit, match=r"python: expected one of onnxruntime, cv2, openvino, onnx to be installed"):
        installed(str(python))


def test_the_table_counts_what_is_wrong() -> None:
    def outcome(layer: str, verdict: str, relative: float, runtime: str = "reference 1.2") -> Outcome:
        return Outcome(layer, "one", 13, runtime, verdict, relative, "because")

    found = [outcome("Dense", "right", 1e-7), outcome("Dense", "right", 3e-6), outcome("ReLU", "refused", np.nan)]
    found += [outcome(CONTROL, "wrong", 0.5), outcome(CONTROL, "right", 1e-7, "OpenCV 4.14.0")]

    class Named(ReferenceEvaluator):
        def __init__(self, name: str) -> None:
            self.name = name

        def __repr__(self) -> str:
            return self.name

    table = tables(found, {13: [Named("reference 1.2")], 17: []})
    assert table.splitlines()[2:] == [
        "| Dense | 1 | 3e-06 |",
        "| ReLU | 1 | 1 refused |",
        "| control | 1 | 1 wrong |",
        "| newest opset that loads |  | 13 |",
    ]
    assert faults(found) == [
        "reference 1.2, opset 13, one: refused: because",
        "OpenCV 4.14.0: the control was not caught",
    ]


@pytest.mark.parametrize(
    ("runtime", "opset", "known"),
    [
        ("OpenCV 4.14.0", 13, True),
        ("OpenCV 5.0.0", 13, False),
        ("ONNX Runtime 1.23.2", 19, True),
        ("ONNX Runtime 1.23.2", 17, False),
        ("ONNX Runtime 1.20.1", 21, False),
        ("ONNX Runtime 1.32.0", 21, False),
        ("reference 1.23.2", 21, False),
    ],
)
def test_who_is_known_to_miscount_padding(runtime: str, opset: int, known: bool) -> None:
    assert known_to_miscount(runtime, opset) == known


def test_a_runtime_that_loads_nothing_is_not_left_out_silently(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runtimes, "loads", lambda runtime, opset: opset == 13 and runtime.name == "reference")
    monkeypatch.setattr(runtimes, "installed", lambda python: [Elsewhere(python, "reference")])
    with pytest.raises(SystemExit, match=r"^reference [\d.]+ loads none of the opsets 17, 21$"):
        main(["--opset", "17,21"])


def test_the_command_writes_its_tables(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(runtimes, "geometries", lambda: [DENSE, MEAN])
    code = main(["--opset", "13,17", "--json", str(tmp_path / "r.json"), "--markdown", str(tmp_path / "r.md")])
    assert code == 0
    text = (tmp_path / "r.md").read_text("utf-8")
    assert text in capsys.readouterr().out
    assert f"reference {onnx.__version__}" in text
    assert "\n| AvgPool2D | 1 | " in text
    assert "\n| control | 1 | " in text
    results = json.loads((tmp_path / "r.json").read_text("utf-8"))["results"]
    assert {(one["layer"], one["opset"], one["verdict"]) for one in results} == {
        (layer, opset, "right") for layer in ("Dense", "AvgPool2D", CONTROL) for opset in (13, 17)
    }
