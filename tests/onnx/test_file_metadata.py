"""What a file says of its model must be true, for readers rely on it: labels, preprocessing, version, answers."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import ModelProto

from cnnkit.errors import OnnxError
from cnnkit.network import Sequential
from cnnkit.onnx.export import export_onnx
from cnnkit.onnx.golden_pair import GoldenPair, read_golden_pair
from cnnkit.onnx.report import ValidationReport
from cnnkit.onnx.validate import validate_onnx
from cnnkit.types import Array, Preprocessing

MODEL = Sequential(
    ["Conv2D(4, 3)", "ReLU()", "Flatten()", "Dense(3)"],
    (1, 6, 6),
    input_dtype="uint8",
    preprocessing=Preprocessing(1 / 255),
    labels=["benign", "malign", "unknown"],
    seed=3,
)
VERSION = {"reference": "tumour@3", "digest": "a" * 64}
ALL_OUTPUTS = ["logits", "probabilities", "label"]


def changed(path: Path, change: Callable[[ModelProto], None], model: Sequential = MODEL, **form: Any) -> Path:
    """An export whose metadata alone are other ones."""
    proto = onnx.load(export_onnx(model, path, metadata=VERSION, **form))
    change(proto)
    onnx.save(proto, path)
    return path


def entry(key: str, change: Callable[[Any], Any]) -> Callable[[ModelProto], None]:
    """Change one entry, as JSON."""

    def changed(proto: ModelProto) -> None:
        (one,) = (one for one in proto.metadata_props if one.key == key)
        one.value = json.dumps(change(json.loads(one.value)))

    return changed


def validated(path: Path, model: Sequential = MODEL) -> ValidationReport:
    return validate_onnx(path, model, runtimes=["ReferenceEvaluator()"], metadata=VERSION)


CONTRADICTIONS: dict[str, tuple[Callable[[ModelProto], None], str]] = {
    "labels": (
        entry("labels", lambda labels: labels[::-1]),
        'the file says labels = ["unknown", "malign", "benign"], expected ["benign", "malign", "unknown"]',
    ),
    "preprocessing": (entry("preprocessing", lambda own: own | {"scale": 77.0}), 'says preprocessing = {"scale": 77'),
    "range": (entry("input", lambda own: own | {"range": [0, 1]}), "the file says input = "),
    "labels of another kind": (entry("labels", len), "the file says labels = 3, expected"),
    "labels that steer": (entry("labels", lambda _: "\x1b[2J" * 100), r'says labels = "\u001b[2J'),
}


@pytest.mark.parametrize("is_foreign", [False, True])
@pytest.mark.parametrize("case", CONTRADICTIONS)
def test_what_contradicts_the_model_is_told_and_fails(case: str, is_foreign: bool, tmp_path: Path) -> None:
    change, message = CONTRADICTIONS[case]
    path = changed(tmp_path / "m.onnx", change)
    if is_foreign:
        proto = onnx.load(path)
        proto.graph.doc_string = "x"
        onnx.save(proto, path)
    report = validated(path)
    assert [result.ok for result in report.results] == [True]  # its graph is right
    assert message in report.problem
    assert (report.ok, report.exported) == (False, False)
    assert "\x1b" not in str(report)


@pytest.mark.parametrize("key", VERSION)
def test_a_file_that_says_that_it_is_of_another_version_fails(key: str, tmp_path: Path) -> None:
    def other(proto: ModelProto) -> None:
        (one,) = (one for one in proto.metadata_props if one.key == key)
        one.value = "another"

    report = validated(changed(tmp_path / "m.onnx", other))
    assert report.problem == f"the file says {key} = another, expected {VERSION[key]}"
    assert (report.ok, report.exported) == (False, False)


def pair(change: Callable[[GoldenPair], GoldenPair]) -> Callable[[ModelProto], None]:
    """Change the golden pair."""

    def changed(proto: ModelProto) -> None:
        (one,) = (one for one in proto.metadata_props if one.key == "golden")
        one.value = change(read_golden_pair(one.value)).to_json()

    return changed


def answers(**outputs: Callable[[Array], Array]) -> Callable[[ModelProto], None]:
    """Change outputs of the golden pair."""
    return pair(lambda own: replace(own, outputs={**own.outputs, **{k: f(own.outputs[k]) for k, f in outputs.items()}}))


OTHER_MODEL = "the golden pair of the file is none of this model"
PAIRS: dict[str, tuple[Callable[[ModelProto], None], str]] = {
    "a number": (
        answers(logits=lambda own: own * np.array([1, 1, 1.001], np.float32)),
        "the golden pair of the file has other logits than the model gives for its sample",
    ),
    "a label": (answers(label=lambda own: (own + 1) % 3), "the golden pair of the file has other label than"),
    "a shape": (answers(logits=lambda own: own[:, :2]), "has logits of shape (1, 2), expected (1, 3)"),
    "an output": (pair(lambda own: replace(own, outputs={"more": own.outputs["logits"]})), OTHER_MODEL),
    "a sample": (pair(lambda own: replace(own, input=255 - own.input)), "has other logits than the model gives"),
    "a smaller sample": (pair(lambda own: replace(own, input=own.input[..., :3])), OTHER_MODEL),
    "fractions": (pair(lambda own: replace(own, input=np.full((1, 1, 6, 6), 0.5, np.float32))), OTHER_MODEL),
    "no pair": (entry("golden", lambda _: []), "of the file, its golden pair is malformed: expected an object"),
}


@pytest.mark.parametrize("case", PAIRS)
def test_a_golden_pair_that_is_not_the_models_fails(case: str, tmp_path: Path) -> None:
    change, message = PAIRS[case]
    report = validated(changed(tmp_path / "m.onnx", change, outputs=ALL_OUTPUTS))
    assert message in report.problem
    assert (report.ok, report.exported) == (False, False)


@pytest.mark.parametrize("form", [{}, {"outputs": ALL_OUTPUTS, "batch": 3}, {"input_dtype": "float32"}])
def test_what_says_nothing_wrong_passes(form: dict[str, Any], tmp_path: Path) -> None:
    for change in (
        lambda _: None,
        entry("input", lambda own: {"later": 1, **{key: own[key] for key in reversed(own)}}),
        lambda proto: proto.ClearField("metadata_props"),
    ):
        report = validated(changed(tmp_path / "m.onnx", change, **form))
        assert (report.ok, report.exported, report.problem) == (True, True, "")


def test_endless_metadata_are_refused(tmp_path: Path) -> None:
    path = changed(tmp_path / "m.onnx", entry("labels", lambda _: "x" * 10_000))
    with pytest.raises(OnnxError, match=r"m\.onnx: its metadata 'labels' have 10,002 bytes, more than"):
        validated(path)
