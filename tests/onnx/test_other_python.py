"""ONNX Runtime of another environment, in a process of its Python."""

from __future__ import annotations

import gc
import os
import sys
import venv
from pathlib import Path

import numpy as np
import pytest

from cnnkit.components import installed_catalog
from cnnkit.errors import ConfigError, OnnxError
from cnnkit.network import Sequential
from cnnkit.onnx import other_python
from cnnkit.onnx.export import to_onnx
from cnnkit.onnx.other_python import OtherPython
from cnnkit.onnx.runtimes import OnnxRuntime, is_installed, prepared
from cnnkit.onnx.validate import validate_onnx, validate_proto
from cnnkit.testing import check_runtime

MODEL = Sequential(["Dense(3)"], (4,))
X = np.random.default_rng(0).random((5, 4), np.float32)

needs_onnxruntime = pytest.mark.skipif(not is_installed(OnnxRuntime), reason="onnxruntime is not installed")


@pytest.fixture
def python(tmp_path: Path) -> str:
    """This very environment, whose Python is told where its packages are: `-I` ignores PYTHONPATH."""
    script = tmp_path / "python"
    code = f"import runpy, sys; sys.path[:] = {sys.path!r}; sys.argv = sys.argv[1:]; "
    code += "runpy.run_path(sys.argv[0], run_name='__main__')"
    script.write_text(f'#!/bin/sh\nshift\nexec "{sys.executable}" -I -c "{code}" "$@"\n')
    script.chmod(0o755)
    return str(script)


@needs_onnxruntime
def test_it_is_a_runtime_like_any_other(python: str) -> None:
    check_runtime(OnnxRuntime(python))


@needs_onnxruntime
def test_its_version_and_answers_are_those_of_the_environment(python: str, tmp_path: Path) -> None:
    import onnxruntime

    report = validate_proto(to_onnx(MODEL), tmp_path, MODEL, X, ["OnnxRuntime", f"OnnxRuntime(python={python!r})"])
    here, there = report.results
    assert (there.verdict, there.version, there.max_relative) == ("pass", onnxruntime.__version__, here.max_relative)
    assert there.runtime == repr(OnnxRuntime(python))
    assert installed_catalog().build("runtime", there.runtime) == OnnxRuntime(python)


@needs_onnxruntime
def test_a_strangers_file_runs_there_under_its_limits(python: str, tmp_path: Path) -> None:
    proto = to_onnx(MODEL)
    proto.graph.name = "foreign"
    (tmp_path / "m.onnx").write_bytes(proto.SerializeToString())
    report = validate_onnx(tmp_path / "m.onnx", MODEL, X, [OnnxRuntime(python)], latency=True)
    assert (report.ok, report.exported) == (True, False), str(report)
    assert report.results[0].latency is not None


@needs_onnxruntime
@pytest.mark.skipif(sys.platform != "linux", reason="the memory of a process is limited on Linux alone")
def test_the_limit_of_memory_holds_in_the_process(python: str, monkeypatch: pytest.MonkeyPatch) -> None:
    model = Sequential(["Dense(3)"], (2**20,))
    x = np.zeros((64, 2**20), np.float32)  # 256 MiB
    data = to_onnx(model).SerializeToString()
    assert len(OnnxRuntime(python).run(data, {"input": x})["logits"]) == 64
    monkeypatch.setattr(other_python, "further_memory", lambda: 128 * 2**20)
    with pytest.raises(OnnxError, match=r"cannot execute the model|without an answer$"):
        OnnxRuntime(python).run(data, {"input": x})


@needs_onnxruntime
def test_its_process_ends_when_nobody_refers_to_it(python: str) -> None:
    run = prepared(OnnxRuntime(python), to_onnx(MODEL).SerializeToString())
    assert len(run({"input": X})["logits"]) == 5
    process = OtherPython(python, "name", to_onnx(MODEL).SerializeToString())
    number = process._process.pid
    os.kill(number, 0)
    del process
    gc.collect()
    with pytest.raises(ProcessLookupError):
        os.kill(number, 0)


def test_where_it_is_missing_the_message_says_so(tmp_path: Path) -> None:
    missing = str(tmp_path / "nowhere" / "python")
    with pytest.raises(OnnxError, match=r"cannot start .*nowhere/python: No such file or directory; expected the Py"):
        OnnxRuntime(missing).run(b"", {})
    with pytest.raises(OnnxError, match=r"cannot start .*: Permission denied; expected the Python of an env"):
        OnnxRuntime(str(tmp_path)).version()
    venv.create(tmp_path / "bare")
    bare = str(tmp_path / "bare" / "bin" / "python")
    with pytest.raises(OnnxError, match=rf"{bare} has no ONNX Runtime \(No module named '\w+'\); run: {bare} -m pip"):
        OnnxRuntime(bare).version()  # not even NumPy


def test_an_environment_without_onnx_runtime_is_told_with_the_command(tmp_path: Path) -> None:
    script = tmp_path / "python"
    code = f"import sys; sys.path[:0] = {[path for path in sys.path if path]!r}; sys.modules['onnxruntime'] = None; "
    code += "import runpy; sys.argv = sys.argv[1:]; runpy.run_path(sys.argv[0], run_name='__main__')"
    script.write_text(f'#!/bin/sh\nshift\nexec "{sys.executable}" -I -c "{code}" "$@"\n')
    script.chmod(0o755)
    with pytest.raises(OnnxError, match=rf"has no ONNX Runtime \(.*\); run: {script} -m pip install onnxruntime$"):
        OnnxRuntime(str(script)).version()
    (result,) = validate_proto(to_onnx(MODEL), tmp_path, MODEL, X, [OnnxRuntime(str(script))]).results
    assert (result.verdict, result.version) == ("cannot", "")


@pytest.mark.parametrize("python", ["python3", "./bin/python", "", 3])
def test_the_path_must_be_absolute(python: str) -> None:
    with pytest.raises(
        ConfigError, match=r"^python must be the absolute path of an environment's Python, or begin with"
    ):
        OnnxRuntime(python)
