"""`export --fp16` and `--int8`: a smaller file if it loses little, and a table of what it loses."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import onnx
import pytest

from cnnkit.onnx.precision import export
from cnnkit.onnx.precision.int8 import to_int8

pytest.importorskip("onnxruntime")


@pytest.mark.parametrize(("option", "precision"), [("--fp16", "float16"), ("--int8", "int8")])
def test_export_shows_what_a_smaller_file_loses(trained: Any, tmp_path: Path, option: str, precision: str) -> None:
    result = trained("export", "tiny@1", option, "-o", "small.onnx")
    assert result.code == 0, result.err
    assert "measured on 360 test samples of Digits(), after 512 training samples" in result.err
    assert f"only this layer in {precision}" in result.out
    assert "accuracy" in result.out
    assert "of 360 answers are different ones" in result.out
    assert (tmp_path / "small.onnx").exists()
    assert trained("models", "show", "tiny@1", "--json").document["verdict"] is None


@pytest.mark.parametrize("option", ["--fp16", "--int8"])
def test_a_smaller_file_has_the_outputs_and_the_batch_that_are_chosen(
    trained: Any, tmp_path: Path, option: str
) -> None:
    result = trained("export", "tiny@1", option, "-o", "small.onnx", "--batch", "4", "--outputs", "logits, label")
    assert result.code == 0, result.err
    declared = {value.name: value for value in onnx.load(tmp_path / "small.onnx").graph.output}
    assert list(declared) == ["logits", "label"]
    assert declared["logits"].type.tensor_type.shape.dim[0].dim_value == 4
    assert trained("selftest", "small.onnx", "--runtime", "OnnxRuntime").code == 0


def test_export_of_a_smaller_file_as_json(trained: Any, tmp_path: Path) -> None:
    result = trained("export", "tiny@1", "--int8", "--json", "--opset", "13")
    document = result.document
    assert (document["ref"], document["path"], document["opset"]) == ("tiny@1", "tiny-1.onnx", 13)
    assert document["precision"]["precision"] == "int8"
    assert document["precision"]["bytes"] == (tmp_path / "tiny-1.onnx").stat().st_size
    assert list(document["precision"]["layers"]) == ["dense_1"]


def test_a_file_that_loses_too_much_is_not_written(
    trained: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        export,
        "to_int8",
        lambda proto, layers, some, ranges: to_int8(proto, layers, some, dict.fromkeys(ranges, (0.0, 0.01))),
    )
    result = trained("export", "tiny@1", "--int8")
    assert result.code == 1
    assert "error: tiny-1.onnx was not written: in int8 the accuracy falls by" in result.err
    assert "and may fall by 1: keep layers that lose most in float32, such as dense_1" in result.err
    assert not (tmp_path / "tiny-1.onnx").exists()
    result = trained("export", "tiny@1", "--int8", "--max-loss", "100", "--json")
    assert (result.code, result.document["path"]) == (0, "tiny-1.onnx")
    assert result.document["precision"]["loss"] > 1


def test_validate_says_what_a_smaller_file_is(trained: Any) -> None:
    trained("export", "tiny@1", "--fp16", "-o", "half.onnx")
    result = trained("validate", "half.onnx", "tiny@1")
    assert result.code == 0, result.err
    assert "the file is in float16, so 0.01 is allowed" in result.out
    assert "the verdict is not stored: half.onnx differs from the export of tiny@1" in result.err
    trained("export", "tiny@1", "--int8", "-o", "small.onnx", "--max-loss", "100")
    result = trained("validate", "small.onnx", "tiny@1", "--runtime", "OnnxRuntime", "--json")
    assert (result.code, result.document["precision"]) == (1, "int8")
    assert "error: small.onnx is in int8 and does not give the answers of tiny@1" in result.err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--fp16", "--int8"], "--fp16 and --int8 give two different files: remove one of them"),
        (["--keep", "dense_1"], "--keep names layers that stay in float32 in a file with --fp16 or --int8: add one of"),
        (["--max-loss", "2"], "--max-loss is how much a file with --int8 may lose: add that, or remove --max-loss"),
        (["--fp16", "--max-loss", "2"], "--max-loss is how much a file with --int8 may lose"),
        (["--int8", "--no-validate"], "a file with --fp16 or --int8 is always measured, by ONNX Runtime: remove"),
        (["--int8", "--runtime", "OnnxRuntime"], "a file with --fp16 or --int8 is always measured, by ONNX Runtime"),
        (
            ["--int8", "--outputs", "values"],
            "the outputs of its file must be one or more of logits, probabilities, label",
        ),
        (["--int8", "--keep", "dense_2"], "the model has no layer 'dense_2' to keep in float32; did you mean dense_1?"),
        (["--int8", "--keep", "dense_1"], "no layer would be in int8: each is kept in float32, or can be in nothing"),
        (["--int8", "--max-loss", "-1"], "max_loss must be a number, 0 or above, got -1.0"),
    ],
)
def test_options_that_make_no_sense(trained: Any, tmp_path: Path, arguments: list[str], message: str) -> None:
    result = trained("export", "tiny@1", *arguments)
    assert result.code == 2
    assert message in result.err
    assert list(tmp_path.glob("*.onnx")) == []


def test_samples_are_needed(cli: Any, tmp_path: Path) -> None:
    import numpy as np

    rng = np.random.default_rng(0)
    np.savez(tmp_path / "mine.npz", x=rng.integers(256, size=(40, 1, 4, 4), dtype=np.uint8), y=np.arange(40) % 10)
    cli("train", "tiny.toml", "--set", "data.dataset=Arrays('mine.npz')")
    result = cli("export", "tiny@1", "--int8")
    assert result.code == 2
    assert "pass --dataset 'Arrays(\"mine.npz\")'" in result.err
    result = cli("export", "tiny@1", "--int8", "--dataset", "Arrays('mine.npz')", "--max-loss", "100")
    assert result.code == 0, result.err
