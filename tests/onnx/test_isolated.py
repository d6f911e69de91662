"""What a stranger's file gets: messages, limits, operators, and runtimes that another process can make."""

from __future__ import annotations

import io
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from benchmarks.geometries import geometries
from cnnkit.data import load_dataset
from cnnkit.errors import ConfigError
from cnnkit.layers import Conv2D, Dense, Flatten, MaxPool2D, ReLU, Softmax
from cnnkit.network import Sequential
from cnnkit.onnx import file_content, messages
from cnnkit.onnx.export import to_onnx
from cnnkit.onnx.isolated import start_process
from cnnkit.onnx.load import OPERATORS
from cnnkit.onnx.runtimes import ReferenceEvaluator
from cnnkit.onnx.validate import validate_onnx
from cnnkit.types import Array, Cache, Context, Task


class Tempered(Softmax):
    """A layer of a plugin, of whose probabilities the logarithm is taken."""

    def forward(self, x: Array, ctx: Context) -> tuple[Array, Cache]:
        return super().forward(x, ctx)


MODEL = Sequential([Flatten(), Dense(10)], (1, 4, 4))


def foreign(path: Path, model: Sequential, opset: int = 17) -> Path:
    """An export that a stranger has renamed."""
    proto = to_onnx(model, opset=opset)
    proto.graph.name = "foreign"
    path.write_bytes(proto.SerializeToString())
    return path


def test_the_operators_that_are_run_are_those_that_built_in_layers_are_exported_with() -> None:
    models = [geometry.model() for geometry in geometries() if geometry.layer != "HadamardDense"]
    models += [Sequential([Dense(3)], (4,), task=Task("labels", from_logits=True))]
    models += [Sequential([Dense(3), Tempered()], (4,))]
    forms = [(model, opset, None) for model in models for opset in (13, 23)] + [(models[-2], 17, ["label"])]
    forms += [(models[-1], 17, ["label"])]
    files = [to_onnx(model, opset=opset, outputs=outputs, fold=False) for model, opset, outputs in forms]
    used = {node.op_type for file in files for node in file.graph.node}
    assert used | {"DequantizeLinear", "QuantizeLinear"} == OPERATORS  # which files in int8 have beside them


@pytest.mark.parametrize("opset", [13, 21])
def test_a_right_file_of_a_stranger_passes_with_the_numbers_that_it_would_have_here(tmp_path: Path, opset: int) -> None:
    data = load_dataset("Digits()")
    model = Sequential(
        [Conv2D(8, 3), ReLU(), MaxPool2D(2), Flatten(), Dense(10)],
        data.input_shape,
        preprocessing=data.preprocessing,
        input_dtype="uint8",
    )
    report = validate_onnx(foreign(tmp_path / "model.onnx", model, opset), model, data.test.x)
    assert (report.ok, report.exported) == (True, False)
    (tmp_path / "model.onnx").write_bytes(to_onnx(model, opset=opset).SerializeToString())
    trusted = validate_onnx(tmp_path / "model.onnx", model, data.test.x)
    assert (trusted.ok, trusted.exported) == (True, True)
    assert [result.runtime for result in report.results] == [result.runtime for result in trusted.results]
    for one, other in zip(report.results, trusted.results, strict=True):
        assert one.max_relative == pytest.approx(other.max_relative, rel=2)


def test_wide_windows_have_room(tmp_path: Path) -> None:
    model = Sequential(
        [Conv2D(16, 9, padding=4), Conv2D(16, 9, padding=4), MaxPool2D(8), Flatten(), Dense(3)], (3, 64, 64)
    )
    report = validate_onnx(foreign(tmp_path / "model.onnx", model), model, np.ones((3, 3, 64, 64), np.float32))
    assert report.ok, str(report)


class Unknown(ReferenceEvaluator):
    """A runtime that no plugin provides."""


def test_a_runtime_that_no_plugin_brings_cannot_run_a_strangers_file(tmp_path: Path) -> None:
    path = foreign(tmp_path / "model.onnx", MODEL)
    with pytest.raises(
        ConfigError, match=r"^Unknown\(\) does not come from an installed plugin\. .*cnnkit_runtimes, or"
    ):
        validate_onnx(path, MODEL, runtimes=[Unknown()])
    path.write_bytes(to_onnx(MODEL).SerializeToString())
    assert validate_onnx(path, MODEL, runtimes=[Unknown()]).ok


def test_a_file_is_an_export_by_what_it_holds(tmp_path: Path) -> None:
    own = to_onnx(MODEL, metadata={"digest": "a"}).SerializeToString()
    other = to_onnx(MODEL, metadata={"digest": "b"})
    other.producer_version = "another"
    assert file_content.digest(own) == file_content.digest(other.SerializeToString()) != ""
    other.doc_string = "more"
    assert file_content.digest(own) != file_content.digest(other.SerializeToString())
    assert file_content.digest(own[:-3]) == ""
    assert file_content.digest(b"\x07") == ""
    assert file_content.digest(b"\x0a\x00" * 10_001) == ""
    assert file_content.digest(b"\xff" * 20) == ""
    assert file_content.digest(own) != file_content.digest(own + b"\x3a\x00")  # a second part of the graph
    assert file_content.digest(own) != file_content.digest(own + b"\xfa\x7f\x00")  # a field that ONNX does not know


def test_messages_come_as_they_were_sent() -> None:
    stream = io.BytesIO()
    arrays: dict[str, Array] = {
        "a": np.arange(6, dtype=np.float32).reshape(2, 3).T,
        "empty": np.zeros((0, 3), np.uint8),
        "single": np.array(True),
    }
    messages.write(stream, {"name": "ä", "number": 1}, arrays)
    stream.seek(0)
    facts, given = messages.read(stream, 100)
    assert facts == {"name": "ä", "number": 1}
    assert list(given) == list(arrays)
    for name, array in arrays.items():
        np.testing.assert_array_equal(given[name], array)
        assert given[name].dtype == array.dtype
    with pytest.raises(EOFError):
        messages.read(stream, 100)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"\xff" * 8, "bytes of facts, more than 16,777,216"),
        (b"\x02" + bytes(7) + b"[]", "indices must be integers"),
        (b"not a message at all", "bytes of facts"),
    ],
)
def test_messages_of_others_are_refused(data: bytes, message: str) -> None:
    with pytest.raises((ValueError, TypeError), match=message):
        messages.read(io.BytesIO(data), 100)


def test_messages_hold_numbers_and_no_more_than_was_asked_for() -> None:
    stream = io.BytesIO()
    with pytest.raises(ValueError, match="'a' holds object; expected numbers"):
        messages.write(stream, {}, {"a": np.array(["text", 1], object)})
    assert stream.getvalue() == b""
    messages.write(stream, {}, {"a": np.zeros(100)})
    stream.seek(0)
    with pytest.raises(ValueError, match="more bytes of arrays than were asked for"):
        messages.read(stream, 799)


def end_of(code: str) -> subprocess.CompletedProcess[str]:
    start = "from cnnkit.onnx.process_limits import *\n"
    return subprocess.run(
        [sys.executable, "-c", start + code], capture_output=True, text=True, check=False, timeout=600
    )


def test_limits_end_what_runs_for_ever_and_refuse_memory() -> None:
    endless = end_of("with limited(None, 0.1):\n    while True: pass")
    assert endless.returncode == -signal.SIGXCPU
    memory = end_of("with limited(address_space() + 2**26, 100):\n    bytes(2**25)\n    bytes(2**28)\nprint('never')")
    assert (memory.returncode, memory.stdout) == (1, "")
    assert memory.stderr.rstrip().endswith("MemoryError")
    assert end_of("with limited(address_space() + 2**26, 100): pass\nbytes(2**28)\nprint('done')").stdout == "done\n"


@pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="needs /proc")
def test_the_address_space_does_not_depend_on_how_threads_meet() -> None:
    """Else a runtime that starts threads gets no memory now and then, and OpenVINO gives outputs without numbers."""
    with start_process() as process:
        assert process.stdin
        process.stdin.write(b"[]\n")
        environment = Path(f"/proc/{process.pid}/environ").read_bytes().split(b"\0")
        process.kill()
    assert b"MALLOC_ARENA_MAX=1" in environment


def test_nothing_is_written(tmp_path: Path) -> None:
    done = end_of(f"forbid_writing()\nopen({str(tmp_path / 'file')!r}, 'w').write('text' * 10_000)")
    assert "OSError: [Errno 27] File too large" in done.stderr
    assert (tmp_path / "file").read_bytes() == b""
