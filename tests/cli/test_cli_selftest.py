"""`selftest`: a file that was exported is checked by itself, far from its registry."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import onnx
from onnx import numpy_helper


def test_a_file_passes_alone_until_it_is_changed(trained: Any, tmp_path: Path) -> None:
    assert trained("export", "tiny@latest", "-o", "one.onnx", "--outputs", "logits,label", "--batch", "2").code == 0
    metadata = {entry.key: entry.value for entry in onnx.load(tmp_path / "one.onnx").metadata_props}
    assert '"about": "the first of 360 test samples of Digits()"' in metadata["golden"]
    assert '"accuracy": ' in metadata["metrics"]
    result = trained("selftest", "one.onnx", "--json")
    assert (result.code, result.document["ok"], len(result.document["results"])) == (0, True, 2)
    result = trained("selftest", "one.onnx", "--runtime", "OnnxRuntime")
    assert "compared on the golden pair of the file" in result.err
    assert "pass" in result.out

    proto = onnx.load(tmp_path / "one.onnx")
    weight = next(tensor for tensor in proto.graph.initializer if tensor.name == "dense_1.weight")
    weight.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(weight) * 1.01, weight.name))
    onnx.save(proto, tmp_path / "one.onnx")
    result = trained("selftest", "one.onnx")
    assert result.code == 1
    assert "one.onnx does not give the answers that its golden pair says" in result.err


def test_what_cannot_be_tested_exits_with_2(cli: Any, tmp_path: Path) -> None:
    (tmp_path / "one.onnx").write_bytes(b"text")
    for file, message in (("one.onnx", "it is damaged, or not an ONNX file"), ("none.onnx", "there is no such file")):
        result = cli("selftest", file)
        assert (result.code, result.out) == (2, "")
        assert message in result.err


def test_a_form_that_cannot_be_is_refused(trained: Any, tmp_path: Path) -> None:
    for arguments, message in (
        (("--batch", "0"), "batch must be a whole number"),
        (
            ("--outputs", "label,logits"),
            "the outputs of its file must be one or more of logits, probabilities, label, in this order",
        ),
    ):
        result = trained("export", "tiny@latest", *arguments)
        assert result.code == 2
        assert message in result.err
    assert not list(tmp_path.glob("*.onnx"))
