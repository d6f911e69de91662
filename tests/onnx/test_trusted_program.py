"""The file of an export that runtimes read: where it is, how they are given it, and that it is gone afterwards."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest

from cnnkit.components import Runtime
from cnnkit.errors import OnnxError
from cnnkit.network import Sequential
from cnnkit.onnx.executable_model import TrustedProgram
from cnnkit.onnx.export import to_onnx
from cnnkit.onnx.runtimes import RUNTIMES, OnnxRuntime, ReferenceEvaluator, is_installed, prepared
from cnnkit.types import Array

MODEL = Sequential(["Flatten()", "Dense(3)"], (1, 2, 2))
X = np.random.default_rng(0).normal(size=(5, 1, 2, 2)).astype(np.float32)
Run = Callable[[Mapping[str, Array]], dict[str, Array]]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


@pytest.mark.parametrize("runtime", [cls() for cls in RUNTIMES if is_installed(cls)], ids=repr)
def test_runtimes_read_the_file(runtime: Runtime, folder: Path) -> None:
    with TrustedProgram(to_onnx(MODEL)) as program:
        assert program.file.read_bytes() == to_onnx(MODEL).SerializeToString(deterministic=True)
        for x in (X, X[:2]):
            np.testing.assert_allclose(program.run(runtime, x)["logits"], MODEL.logits(x), rtol=1e-5)
        program.rest()
        np.testing.assert_allclose(program.run(runtime, X)["logits"], MODEL.logits(X), rtol=1e-5)
        assert len(list(folder.rglob("*.onnx"))) == 1
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize("runtime", [cls() for cls in RUNTIMES if is_installed(cls)], ids=repr)
def test_a_file_that_a_runtime_cannot_execute_is_refused_in_one_line(runtime: Runtime, tmp_path: Path) -> None:
    proto = to_onnx(MODEL)
    proto.graph.node[-1].op_type = "Nothing"
    (tmp_path / "m.onnx").write_bytes(proto.SerializeToString())
    with pytest.raises(OnnxError, match=r"^\w+\(\) cannot execute the model: .*Nothing.*$"):
        prepared(runtime, tmp_path / "m.onnx")({"input": X})
    run = prepared(runtime, _written(tmp_path / "n.onnx"))
    with pytest.raises(OnnxError, match=r"^\w+\(\) cannot execute the model: .*$"):
        run({"input": X[:, :, :1]})


def test_without_room_for_the_file_the_message_says_what_to_do(folder: Path) -> None:
    folder.rmdir()
    with pytest.raises(
        OnnxError, match=r"^cannot write the [\d,]+ bytes of the ONNX file to a temporary one, which .*: "
    ):
        TrustedProgram(to_onnx(MODEL))


class OwnRun(OnnxRuntime):
    def run(self, model: bytes, inputs: Mapping[str, Array]) -> dict[str, Array]:
        return {"who": np.array("run"), "bytes": np.array(len(model))}


class OwnPrepare(ReferenceEvaluator):
    def prepare(self, model: bytes) -> Run:
        return lambda inputs: {"who": np.array("prepare"), "bytes": np.array(len(model))}


class OwnPrepareFile(OwnRun):
    def prepare_file(self, path: Path) -> Run:
        return lambda inputs: {"who": np.array("prepare_file"), "bytes": np.array(path.stat().st_size)}


@pytest.mark.parametrize(
    ("runtime", "who"), [(OwnRun(), "run"), (OwnPrepare(), "prepare"), (OwnPrepareFile(), "prepare_file")]
)
def test_what_a_derived_runtime_defines_is_what_runs(runtime: Runtime, who: str, tmp_path: Path) -> None:
    path = _written(tmp_path / "m.onnx")
    assert prepared(runtime, path)({}) == {"who": who, "bytes": path.stat().st_size}


def test_a_runtime_is_given_the_bytes_of_a_file_unless_it_reads_files(tmp_path: Path) -> None:
    path = _written(tmp_path / "m.onnx")
    assert OwnPrepare.prepare_file is not Runtime.prepare_file
    assert Runtime.prepare_file(OwnPrepare(), path)({}) == {"who": "prepare", "bytes": path.stat().st_size}


def _written(path: Path) -> Path:
    path.write_bytes(to_onnx(MODEL).SerializeToString())
    return path
