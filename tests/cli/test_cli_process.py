"""The command line as a process: signals, pipes, and what stands in a terminal's absence."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

COMMAND = [sys.executable, "-m", "cnnkit.cli"]


def _start(*arguments: str, cwd: Path, **environment: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [*COMMAND, *arguments],
        cwd=cwd,
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_training_and_keeps_a_checkpoint(cli: Any, tmp_path: Path, number: signal.Signals) -> None:
    process = _start("train", "tiny.toml", "--epochs", "1000000", "--json", cwd=tmp_path)
    assert process.stderr
    first = process.stderr.readline()
    process.send_signal(number)
    out, err = process.communicate(timeout=60)
    assert first.startswith("epoch "), first
    assert process.returncode == 128 + number, err
    document = json.loads(out)
    assert (document["ref"], document["reason"]) == (None, "stopped by the user")
    assert document["epochs"] >= 1
    assert (tmp_path / "registry" / ".runs" / document["run"] / "checkpoint.h5").exists()
    assert cli("models", "verify").code == 0


def test_a_reader_that_goes_away_gets_no_message(trained: Any, tmp_path: Path) -> None:
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run([*COMMAND, "models", "list"], cwd=tmp_path, stdout=write, stderr=subprocess.PIPE, text=True)
    os.close(write)
    assert (done.returncode, done.stderr) == (1, "")


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="there is no /dev/full")
@pytest.mark.parametrize("as_json", [(), ("--json",)])
def test_a_full_disk_behind_the_output_is_said(trained: Any, tmp_path: Path, as_json: tuple[str, ...]) -> None:
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [*COMMAND, "models", "list", *as_json], cwd=tmp_path, stdout=full, stderr=subprocess.PIPE, text=True
        )
    assert (done.returncode, done.stderr) == (2, "error: [Errno 28] No space left on device\n")


def test_a_label_that_the_output_cannot_show(trained: Any, tmp_path: Path) -> None:
    os.rename(tmp_path / "registry", tmp_path / "größe")
    process = _start(
        "models", "list", "--registry", "größe", cwd=tmp_path, PYTHONIOENCODING="ascii:strict", PYTHONUTF8="0"
    )
    out, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (0, "")
    assert "gr\\xf6\\xdfe/tiny/v000001.h5" in out
