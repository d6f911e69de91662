"""The command line as a process: signals, pipes, and what stands in a terminal's absence."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import signal
import subprocess
import sys
import termios
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


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_the_training_and_keeps_a_checkpoint(cli: Any, tmp_path: Path, number: signal.Signals) -> None:
    process = _start("train", "tiny.toml", "--epochs", "1000000", "--json", cwd=tmp_path)
    assert process.stderr
    first = [process.stderr.readline() for _ in range(3)]  # what is trained, how, and the first epoch
    process.send_signal(number)
    out, err = process.communicate(timeout=600)
    assert first[-1].startswith("epoch "), first
    assert process.returncode == 128 + number, err
    document = json.loads(out)
    assert (document["ref"], document["reason"]) == (None, "stopped by the user")
    assert document["epochs"] >= 1
    assert (tmp_path / "registry" / ".runs" / document["run"] / "checkpoint.h5").exists()
    assert cli("models", "verify").code == 0


def _hung_up(sign: str, *command: str) -> int:
    """The exit code of a command whose terminal is closed once it has shown the sign."""
    terminal, end = pty.openpty()
    process = subprocess.Popen(
        command,
        stdin=end,
        stdout=end,
        stderr=end,
        start_new_session=True,
        preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
    )
    os.close(end)
    shown = b""
    while sign.encode() not in shown:
        shown += os.read(terminal, 1000)
    os.close(terminal)
    return process.wait(timeout=600)


def test_a_terminal_that_is_closed_ends_the_training_and_keeps_a_checkpoint(cli: Any, tmp_path: Path) -> None:
    assert _hung_up("epoch", *COMMAND, "train", "tiny.toml", "--epochs", "1000000") == 128 + signal.SIGHUP
    (place,) = (tmp_path / "registry" / ".runs").iterdir()
    assert (place / "checkpoint.h5").exists()


WAITING = """
import time
from cnnkit.cli import main, plugins
plugins.app.command()(lambda: (print("here", flush=True), time.sleep(600)))
main(["plugins", "<lambda>"])
"""


def test_other_commands_end_with_their_terminal_too() -> None:
    assert _hung_up("here", sys.executable, "-c", WAITING) == 128 + signal.SIGHUP


def test_nohup_lets_a_training_go_on(cli: Any, tmp_path: Path) -> None:
    process = subprocess.Popen(
        [*COMMAND, "train", "tiny.toml", "--epochs", "30", "--json"],
        cwd=tmp_path,
        preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr
    process.stderr.readline()
    process.send_signal(signal.SIGHUP)
    out, err = process.communicate(timeout=600)
    assert (process.returncode, json.loads(out)["ref"]) == (0, "tiny@1"), err


def test_a_label_that_the_output_cannot_show(trained: Any, tmp_path: Path) -> None:
    os.rename(tmp_path / "registry", tmp_path / "größe")
    process = _start(
        "models", "show", "tiny", "--registry", "größe", cwd=tmp_path, PYTHONIOENCODING="ascii:strict", PYTHONUTF8="0"
    )
    out, err = process.communicate(timeout=600)
    assert (process.returncode, err) == (0, "")
    assert "gr\\xf6\\xdfe/tiny/v000001.h5" in out
