"""`export` and `validate`: a file is kept if it gives the model's answers, and only then."""

from __future__ import annotations

import json
import os
import re
import signal
import types
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import onnx
import pytest
from onnx import numpy_helper

import cnnkit.onnx.export
import cnnkit.onnx.file_content
from cnnkit.components import Catalog, Plugin, hookimpl
from cnnkit.components.plugin_metadata import installed_plugins
from cnnkit.network import Sequential
from cnnkit.onnx.runtimes import ReferenceEvaluator
from cnnkit.types import Array


def _damaged(proto: onnx.ModelProto) -> onnx.ModelProto:
    """Change a weight of an exported model."""
    weight = next(tensor for tensor in proto.graph.initializer if tensor.name == "dense_1.weight")
    weight.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(weight) * 1.01, weight.name))
    return proto


@pytest.fixture
def wrong_export(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every exported file have a wrong weight."""
    original = cnnkit.onnx.export.to_onnx

    def wrong(*arguments: Any, **options: Any) -> onnx.ModelProto:
        return _damaged(original(*arguments, **options))

    for user in (cnnkit.onnx.export, cnnkit.onnx.file_content):
        monkeypatch.setattr(user, "to_onnx", wrong)


def test_export_writes_a_validated_file(trained: Any, tmp_path: Path) -> None:
    result = trained("export", "tiny@latest")
    assert result.code == 0, result.err
    assert "compared on 360 test samples of Digits()" in result.err
    assert "ReferenceEvaluator()" in result.out
    assert "pass" in result.out
    proto = onnx.load(tmp_path / "tiny-1.onnx")
    metadata = {entry.key: entry.value for entry in proto.metadata_props}
    assert (metadata["reference"], metadata["dataset"]) == ("tiny@1", "Digits()")
    assert json.loads(metadata["recipe"])["model"]["name"] == "tiny"
    assert list(tmp_path.glob(".*onnx*")) == []


def test_export_with_options(trained: Any, tmp_path: Path) -> None:
    result = trained("export", "tiny@1", "-o", "other.onnx", "--opset", "13", "--no-validate", "--json")
    assert result.document == {"ref": "tiny@1", "path": "other.onnx", "opset": 13, "validation": None}
    assert onnx.load(tmp_path / "other.onnx").opset_import[0].version == 13
    assert trained("validate", "other.onnx", "tiny@1").code == 0


def test_a_wrong_file_is_not_kept(trained: Any, tmp_path: Path, wrong_export: None) -> None:
    before = sorted(tmp_path.iterdir())
    result = trained("export", "tiny@1", "-o", "wrong.onnx")
    assert result.code == 1
    assert "FAIL" in result.out
    assert "error: wrong.onnx was not written: its answers would differ from those of tiny@1" in result.err
    assert sorted(tmp_path.iterdir()) == before


def test_a_wrong_file_does_not_replace_a_right_one(trained: Any, tmp_path: Path, wrong_export: None) -> None:
    (tmp_path / "model.onnx").write_bytes(b"\x08\x08\x12\x03old")
    result = trained("export", "tiny@1", "-o", "model.onnx", "--json")
    assert result.code == 1
    assert (result.document["path"], result.document["validation"]["ok"]) == (None, False)
    assert (tmp_path / "model.onnx").read_bytes() == b"\x08\x08\x12\x03old"


def test_validate_finds_a_changed_weight(trained: Any, tmp_path: Path) -> None:
    trained("export", "tiny@1", "-o", "model.onnx")
    right = trained("validate", "model.onnx", "tiny@1", "--json")
    assert (right.code, right.document["ok"]) == (0, True)
    onnx.save(_damaged(onnx.load(tmp_path / "model.onnx")), tmp_path / "model.onnx")
    wrong = trained("validate", "model.onnx", "tiny@1", "--json")
    assert (wrong.code, wrong.document["ok"]) == (1, False)
    assert "error: model.onnx does not give the answers of tiny@1" in wrong.err
    assert (tmp_path / "model.onnx").exists()


def test_without_its_dataset_a_model_is_compared_on_random_inputs(cli: Any, tmp_path: Path) -> None:
    import numpy as np

    rng = np.random.default_rng(0)
    np.savez(tmp_path / "mine.npz", x=rng.integers(256, size=(40, 1, 4, 4), dtype=np.uint8), y=np.arange(40) % 10)
    cli("train", "tiny.toml", "--set", "data.dataset=Arrays('mine.npz')")
    hint = "pass --dataset 'Arrays(\"mine.npz\")'"
    for command in (("export", "tiny@1"), ("validate", "tiny-1.onnx", "tiny@1")):
        result = cli(*command)
        assert result.code == 0
        assert 'compared on random inputs (the model was trained on Arrays("mine.npz"), which a model' in result.err
        assert hint in result.err
        result = cli(*command, "--dataset", "Arrays('mine.npz')")
        assert 'compared on 8 test samples of Arrays("mine.npz")' in result.err


def test_a_signal_while_writing_leaves_nothing(trained: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = sorted(tmp_path.iterdir())
    monkeypatch.setattr(os, "fsync", lambda descriptor: os.kill(os.getpid(), signal.SIGTERM))
    result = trained("export", "tiny@1", "--no-validate")
    assert (result.code, result.out) == (143, "")
    assert sorted(tmp_path.iterdir()) == before
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("-o", "no/such/folder.onnx"), "cannot write no/such/folder.onnx: expected the name of a file in a folder"),
        (("-o", "registry"), "cannot write registry: expected the name of a file in a folder that exists"),
        (("--opset", "3"), "opset must be a whole number from 13 to 23, got 3"),
        (
            ("--input", "float16"),
            "the input of the file can be float32 or what the model's dataset gives, uint8, got 'fl",
        ),
        (("--runtime", "Nowhere"), "there is no runtime named 'Nowhere'"),
        (
            ("--runtime", "OnnxRuntime", "--no-validate"),
            "--runtime chooses where to validate, but --no-va",
        ),
    ],
)
def test_export_refuses(trained: Any, tmp_path: Path, arguments: tuple[str, ...], message: str) -> None:
    before = sorted(tmp_path.iterdir())
    result = trained("export", "tiny@1", *arguments)
    assert (result.code, result.out) == (2, "")
    assert message in result.err
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.parametrize(
    ("command", "what"),
    [
        (("export", "large@1", "-o", "m.onnx"), "m.onnx was not written, large@1 cannot be validated"),
        (("models", "export-bundle", "large@1", "-o", "m.zip"), "m.zip was not written, large@1 cannot be validated"),
        (("validate", "large-1.onnx", "large@1", "--picture", "m.png"), "large-1.onnx cannot be compared with large@1"),
    ],
)
def test_answers_that_are_not_finite_are_one_line(
    cli: Any, tmp_path: Path, command: tuple[str, ...], what: str
) -> None:
    Sequential(["Flatten()", *["Residual(ReLU())"] * 200, "Dense(10)"], (1, 8, 8)).save("large")
    assert cli("export", "large@1", "--no-validate").code == 0
    result = cli(*command, "--dataset", "Digits()")
    why = (  # of 16, the largest number in a sample, 124 doublings make 2^128
        "the model's own answers are NaN or infinite for 360 of 360 samples, first in the values of layer "
        "residual_124 = Residual(ReLU()), so no runtime can agree with them"
    )
    assert (result.code, result.out, result.err) == (1, "", f"error: {what}: {why}\n")
    assert "FAILED" in cli("models", "show", "large@1").out
    assert not list(tmp_path.glob("m.*"))


def test_validate_needs_an_onnx_file(trained: Any, tmp_path: Path) -> None:
    result = trained("validate", "tiny.toml", "tiny@1")
    assert (result.code, result.out) == (2, "")
    assert "tiny.toml" in result.err


def test_the_verdict_is_kept_with_the_version(trained: Any, tmp_path: Path) -> None:
    assert trained("models", "show", "tiny@1", "--json").document["verdict"] is None
    trained("export", "tiny@1", "--no-validate", "-o", "model.onnx")
    assert trained("models", "show", "tiny@1", "--json").document["verdict"] is None
    trained("export", "tiny@1")
    shown = trained("models", "show", "tiny@1", "--json").document
    verdict = shown["verdict"]
    assert (verdict["ok"], verdict["digest"], verdict["flips"]) == (True, shown["digest"], 0)
    assert f"ReferenceEvaluator() {onnx.__version__}" in verdict["runtimes"]
    assert 0 <= verdict["max_relative"] < 1e-5
    trained("train", "tiny.toml", "--seed", "1")
    trained("export", "tiny@2", "--no-validate", "--opset", "13", "--input", "float32")
    validated = trained("validate", "tiny-2.onnx", "tiny@2", "--json")
    assert (validated.code, validated.document["exported"]) == (0, True)
    assert trained("models", "show", "tiny@2", "--json").document["verdict"]["ok"]


def test_a_failed_validation_of_an_export_is_kept(trained: Any, wrong_export: None) -> None:
    trained("export", "tiny@1", "--no-validate")
    assert trained("validate", "tiny-1.onnx", "tiny@1").code == 1
    verdict = trained("models", "show", "tiny@1", "--json").document["verdict"]
    assert (verdict["ok"], verdict["max_relative"] > 1e-5) == (False, True)
    assert "validation     FAILED on " in trained("models", "show", "tiny@1").out


NOT_KEPT = (
    r"the verdict is not stored: model\.onnx differs from the export of tiny@1; `cnnkit export tiny@1` validates that"
)


@pytest.mark.parametrize("validated", [True, False])
def test_a_digest_that_was_copied_into_another_file_is_no_proof(trained: Any, tmp_path: Path, validated: bool) -> None:
    trained("export", "tiny@1", *([] if validated else ["--no-validate"]), "-o", "model.onnx")
    before = trained("models", "show", "tiny@1", "--json").document["verdict"]
    proto = onnx.load(tmp_path / "model.onnx")
    assert "digest" in {entry.key for entry in proto.metadata_props}
    onnx.save(_damaged(proto), tmp_path / "model.onnx")
    failed = trained("validate", "model.onnx", "tiny@1")
    assert failed.code == 1
    assert re.search(NOT_KEPT, failed.err)
    assert trained("models", "show", "tiny@1", "--json").document["verdict"] == before


def test_a_right_file_that_is_not_the_export_passes_and_says_nothing_of_the_version(
    trained: Any, tmp_path: Path
) -> None:
    trained("export", "tiny@1", "--no-validate", "-o", "model.onnx")
    proto = onnx.load(tmp_path / "model.onnx")
    proto.graph.name = "mine"
    onnx.save(proto, tmp_path / "model.onnx")
    result = trained("validate", "model.onnx", "tiny@1", "--json")
    assert (result.code, result.document["ok"], result.document["exported"]) == (0, True, False)
    assert re.search(NOT_KEPT, result.err)
    assert trained("models", "show", "tiny@1", "--json").document["verdict"] is None


def test_operators_that_no_layer_is_exported_with_are_refused_by_name(trained: Any, tmp_path: Path) -> None:
    trained("export", "tiny@1", "--no-validate", "-o", "model.onnx")
    proto = onnx.load(tmp_path / "model.onnx")
    proto.graph.node[0].op_type = "ImageDecoder"
    onnx.save(proto, tmp_path / "model.onnx")
    result = trained("validate", "model.onnx", "tiny@1")
    assert (result.code, result.out) == (2, "")
    assert "error: model.onnx uses ImageDecoder; of a file that is not the model's own export, only " in result.err


def test_a_file_of_another_version_says_nothing_of_this_one(trained: Any, tmp_path: Path) -> None:
    trained("train", "tiny.toml", "--seed", "1")
    trained("export", "tiny@2", "--no-validate")
    assert trained("validate", "tiny-2.onnx", "tiny@1").code == 1
    assert trained("models", "show", "tiny@1", "--json").document["verdict"] is None


def test_the_metadata_decides_nothing(trained: Any, tmp_path: Path) -> None:
    trained("export", "tiny@1", "--no-validate")
    proto = onnx.load(tmp_path / "tiny-1.onnx")
    del proto.metadata_props[:]
    proto.producer_version = "0.0.1"
    onnx.save(proto, tmp_path / "plain.onnx")
    assert trained("validate", "plain.onnx", "tiny@1").code == 0
    assert trained("models", "show", "tiny@1", "--json").document["verdict"]["ok"]


def test_a_failed_export_is_kept_too_and_a_protected_alias_refuses_it(trained: Any, wrong_export: None) -> None:
    trained("export", "tiny@1")
    refused = trained("models", "alias", "set", "tiny@1", "production", "--require", "validated")
    assert refused.code == 2
    assert (
        "tiny@production requires a validated version, and tiny@1 is not: its last validation failed (" in refused.err
    )


def test_a_protected_alias(trained: Any) -> None:
    trained("train", "tiny.toml")
    trained("export", "tiny@1")
    set_alias = ("models", "alias", "set")
    assert trained(*set_alias, "tiny@1", "production", "--require", "validated").code == 0
    assert "aliases        production (requires validated)\n" in trained("models", "show", "tiny@1").out
    refused = trained(*set_alias, "tiny@2", "production", "--yes")
    assert (refused.code, refused.out) == (2, "")
    assert "tiny@2 is not: it was never validated; run `cnnkit export tiny@2`, or lift the requirement" in refused.err
    asked = trained(*set_alias, "tiny@1", "production", "--require", "none")
    assert asked.code == 2
    assert (
        "this would let tiny@production accept versions that are not validated, but there is no terminal" in asked.err
    )
    lifted = trained(*set_alias, "tiny@2", "production", "--require", "none", "--yes", "--json")
    assert lifted.document == {"alias": "production", "ref": "tiny@2", "require": "none"}
    wrong = trained(*set_alias, "tiny@2", "production", "--require", "perfect")
    assert "an alias can require 'validated' or 'none', got 'perfect'" in wrong.err


def test_a_registry_that_cannot_be_written_to_is_no_reason_not_to_export(
    trained: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from cnnkit.errors import RegistryError
    from cnnkit.registry import Registry

    def refuse(*arguments: Any) -> None:
        raise RegistryError("cannot store the verdict of tiny@1: Read-only file system")

    monkeypatch.setattr(Registry, "set_verdict", refuse)
    result = trained("export", "tiny@1")
    assert result.code == 0
    assert "warning: the verdict is not stored: cannot store the verdict of tiny@1: Read-only" in result.err
    assert (tmp_path / "tiny-1.onnx").exists()


class Wrong(ReferenceEvaluator):
    """A plugin's runtime with other answers than everyone's."""

    def run(self, model: bytes, inputs: Mapping[str, Array]) -> dict[str, Array]:
        outputs = super().run(model, inputs)
        return outputs | {"logits": -outputs["logits"]}


@pytest.fixture
def with_a_plugin(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a plugin be installed that provides `Wrong`."""
    module = types.ModuleType("cnnkit_wrong")
    module.cnnkit_runtimes = hookimpl(lambda: [Wrong])  # type: ignore[attr-defined]  # of a module that is made here
    catalog = Catalog([*installed_plugins(), Plugin("cnnkit-wrong", "1.0", "cnnkit_wrong", lambda: module)])
    for user in ("cnnkit.onnx.available_runtimes", "cnnkit.components"):
        monkeypatch.setattr(f"{user}.installed_catalog", lambda: catalog)


FAULT = (
    r"warning: Wrong\(\) [0-9.]+ gives other answers\. The runtime is at fault, since ReferenceEvaluator\(\) "
    r".*the model's answers"
)


def test_a_runtime_at_fault_is_a_warning_and_the_file_is_written(
    trained: Any, tmp_path: Path, with_a_plugin: None
) -> None:
    result = trained("export", "tiny@1")
    assert result.code == 0
    assert re.search(FAULT, result.err)
    assert re.search(r"^Wrong\(\) .* FAIL$", result.out, re.MULTILINE)
    assert (tmp_path / "tiny-1.onnx").exists()
    verdict = trained("models", "show", "tiny@1", "--json").document["verdict"]
    assert (verdict["ok"], verdict["flips"], "Wrong" in str(verdict["runtimes"])) == (True, 0, False)
    validated = trained("validate", "tiny-1.onnx", "tiny@1", "--json")
    assert (validated.code, len(validated.document["faults"])) == (0, 1)
    assert re.search(FAULT, validated.err)
    assert re.search(FAULT, trained("models", "export-bundle", "tiny@1").err)


def test_runtimes_can_be_chosen(trained: Any, tmp_path: Path, with_a_plugin: None) -> None:
    one = trained("export", "tiny@1", "--runtime", "ReferenceEvaluator", "--json").document["validation"]
    assert [result["runtime"] for result in one["results"]] == ["ReferenceEvaluator()"]
    two = ("--runtimes", "ReferenceEvaluator()", "--runtimes", "Wrong")
    results = trained("validate", "tiny-1.onnx", "tiny@1", *two, "--json").document["results"]
    assert [(result["runtime"], result["ok"]) for result in results] == [
        ("ReferenceEvaluator()", True),
        ("Wrong()", False),
    ]
    alone = trained("export", "tiny@1", "-o", "other.onnx", "--runtime", "Wrong")
    assert alone.code == 1
    assert "error: other.onnx was not written" in alone.err
    assert not (tmp_path / "other.onnx").exists()
    assert "Wrong (cnnkit-wrong 1.0; does not work)" in trained("doctor", "--json").document["runtimes"]


def test_a_dataset_of_bytes_can_have_an_input_of_float32(trained: Any, tmp_path: Path) -> None:
    assert trained("export", "tiny@1", "--input", "float32").code == 0
    graph = onnx.load(tmp_path / "tiny-1.onnx").graph
    assert graph.input[0].type.tensor_type.elem_type == onnx.TensorProto.FLOAT
    assert "Cast" not in [node.op_type for node in graph.node]
    assert trained("validate", "tiny-1.onnx", "tiny@1").code == 0
