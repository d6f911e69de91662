"""stdin, stdout and stderr of the process: closed, full, or without anybody at the other end."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import select
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from cnnkit.cli import main
from cnnkit.cli.streams import Stream

COMMAND = [sys.executable, "-m", "cnnkit.cli"]
FULL = "error: the answer cannot be written to stdout: No space left on device\n"
TRAIN = ("train", "tiny.toml", "--epochs", "3")
no_full_disk = pytest.mark.skipif(not os.path.exists("/dev/full"), reason="there is no /dev/full")


@contextmanager
def unread() -> Iterator[int]:
    """A pipe that nobody reads any more."""
    read, write = os.pipe()
    os.close(read)
    yield write
    os.close(write)


@contextmanager
def full() -> Iterator[int]:
    """A file on a disk that is full."""
    with open("/dev/full", "wb") as file:
        yield file.fileno()


def closing(*numbers: int) -> Callable[[], None]:
    """What closes some of the streams just before the command starts."""

    def close() -> None:
        for number in numbers:
            os.close(number)

    return close


def run(folder: Path, *arguments: str, **streams: Any) -> subprocess.CompletedProcess[str]:
    given: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "stdin": subprocess.DEVNULL}
    return subprocess.run([*COMMAND, *arguments], cwd=folder, text=True, timeout=600, check=False, **given | streams)


@pytest.mark.parametrize("end", [unread, pytest.param(full, marks=no_full_disk)])
def test_a_training_goes_on_when_its_progress_cannot_be_shown(cli: Any, tmp_path: Path, end: Any) -> None:
    with end() as write:
        done = run(tmp_path, *TRAIN, "--json", stderr=write)
    assert done.returncode == 0
    assert (json.loads(done.stdout)["ref"], json.loads(done.stdout)["epochs"]) == ("tiny@1", 3)


def test_a_training_goes_on_when_nobody_reads_its_output_any_more(cli: Any, tmp_path: Path) -> None:
    with unread() as write:
        assert run(tmp_path, *TRAIN, stdout=write, stderr=write).returncode == 0
    assert cli("models", "list", "--json").document[0]["epochs"] == 3


def test_a_training_without_any_stream(cli: Any, tmp_path: Path) -> None:
    done = run(tmp_path, *TRAIN, preexec_fn=closing(0, 1, 2))
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert cli("models", "verify").code == 0  # nothing was written into a file that had a stream's number


@no_full_disk
def test_what_was_trained_is_registered_although_the_answer_is_lost(cli: Any, tmp_path: Path) -> None:
    with full() as write:
        done = run(tmp_path, *TRAIN, stdout=write)
    assert (done.returncode, done.stderr.splitlines(keepends=True)[-1]) == (2, FULL)
    assert cli("models", "list", "--json").document[0]["ref"] == "tiny@1"


@no_full_disk
@pytest.mark.parametrize("arguments", [("models", "list"), ("models", "list", "--json"), ("--help",), ("doctor",)])
def test_a_full_disk_behind_the_output_is_said(trained: Any, tmp_path: Path, arguments: tuple[str, ...]) -> None:
    with full() as write:
        done = run(tmp_path, *arguments, stdout=write)
    assert (done.returncode, done.stderr) == (2, FULL)


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("models", "list"), 0, ""),
        (("--help",), 0, ""),
        (("models", "show", "tiny@2"), 2, "error: tiny@2 does not exist; the only version is 1\n"),
    ],
)
def test_a_reader_that_goes_away_changes_no_exit_code(
    trained: Any, tmp_path: Path, arguments: tuple[str, ...], code: int, message: str
) -> None:
    with unread() as write:
        done = run(tmp_path, *arguments, stdout=write)
    assert done.returncode == code
    assert done.stderr.startswith(message)
    assert bool(done.stderr) == bool(message)


def test_a_check_has_failed_although_nobody_reads_it(trained: Any, tmp_path: Path) -> None:
    (tmp_path / "registry" / "tiny" / "v000001.h5").write_bytes(b"damaged")
    with unread() as write:
        assert run(tmp_path, "models", "verify", stdout=write).returncode == 1


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_counts_although_the_reader_got_it_too(cli: Any, tmp_path: Path, number: signal.Signals) -> None:
    """Ctrl-C in `train | tee`: both get the signal, and tee is gone before the training ends."""
    read, write = os.pipe()
    process = subprocess.Popen(
        [*COMMAND, "train", "tiny.toml", "--epochs", "1000000"],
        cwd=tmp_path,
        stdout=write,
        stderr=write,
    )
    os.close(write)
    while b"epoch" not in os.read(read, 100):
        pass
    process.send_signal(number)
    os.close(read)
    assert process.wait(timeout=600) == 128 + number
    (place,) = (tmp_path / "registry" / ".runs").iterdir()
    assert (place / "checkpoint.h5").exists()


@pytest.mark.parametrize("how", [{"stdin": subprocess.DEVNULL}, {"preexec_fn": closing(0)}])
def test_without_anybody_to_ask_nothing_is_deleted(trained: Any, tmp_path: Path, how: dict[str, Any]) -> None:
    done = run(tmp_path, "models", "delete", "tiny@1", **how)
    assert (done.returncode, done.stdout) == (2, "")
    assert "there is no terminal to ask for confirmation: add --yes to do it" in done.stderr
    assert trained("models", "list", "--json").document[0]["ref"] == "tiny@1"


@pytest.mark.parametrize(("answer", "code"), [(b"\x04", 1), (b"\xff\xfe\n", 1), (b"n\n", 1), (b"y\n", 0)])
def test_an_answer_in_a_terminal(trained: Any, tmp_path: Path, answer: bytes, code: int) -> None:
    terminal, end = pty.openpty()
    os.write(terminal, answer)
    done = run(tmp_path, "models", "delete", "tiny@1", stdin=end)
    os.close(end)
    os.close(terminal)
    assert done.returncode == code, done.stderr
    assert ("error: nothing was done" in done.stderr) == bool(code)


def test_a_terminal_that_gives_no_answer_is_a_no(trained: Any, tmp_path: Path) -> None:
    terminal, end = pty.openpty()
    writing = os.open(os.ttyname(end), os.O_WRONLY | os.O_NOCTTY)
    done = run(tmp_path, "models", "delete", "tiny@1", stdin=writing)
    for each in (terminal, end, writing):
        os.close(each)
    assert (done.returncode, done.stderr.splitlines()[-1]) == (1, "error: nothing was done")


def test_a_pipe_that_would_block_is_waited_for() -> None:
    read, write = os.pipe()
    fcntl.fcntl(write, fcntl.F_SETFL, fcntl.fcntl(write, fcntl.F_GETFL) | os.O_NONBLOCK)
    data = bytes(500_000)  # more than a pipe takes
    with open(read, "rb") as file, Stream(write, "w") as stream:
        rest = memoryview(data)
        reader = threading.Timer(0.3, lambda: file.read(len(data)))
        reader.start()
        while rest:
            count = stream.write(rest)
            assert 0 < count < len(data)
            rest = rest[count:]
        assert stream.failure is None
        reader.join()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_reader_that_stands_still_does_not_keep_a_training_from_its_end(
    cli: Any, tmp_path: Path, number: signal.Signals
) -> None:
    read, write = os.pipe()
    room = select.poll()
    room.register(write, select.POLLOUT)
    process = subprocess.Popen([*COMMAND, "train", "tiny.toml", "--epochs", "1000000"], cwd=tmp_path, stderr=write)
    while room.poll(0):  # until the lines of its epochs have filled the pipe
        time.sleep(0.1)
    process.send_signal(number)
    assert process.wait(timeout=30) == 128 + number
    os.close(read)
    os.close(write)
    (place,) = (tmp_path / "registry" / ".runs").iterdir()
    assert (place / "checkpoint.h5").exists()


def test_a_reader_that_stands_still_does_not_keep_a_command_from_its_end(trained: Any, tmp_path: Path) -> None:
    read, write = os.pipe()
    os.set_blocking(write, False)
    with suppress(BlockingIOError):
        while True:
            os.write(write, b"x")
    os.set_blocking(write, True)
    program = "import sys; from cnnkit.cli import main; sys.stderr.write('ready'); sys.stderr.flush(); main()"
    command = [sys.executable, "-c", program, "models", "list"]
    process = subprocess.Popen(command, cwd=tmp_path, stdout=write, stderr=subprocess.PIPE)
    with process:
        assert process.stderr is not None
        assert process.stderr.read(5) == b"ready"
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(timeout=2)
        process.send_signal(signal.SIGINT)
        try:
            assert process.wait(timeout=30) == 130
        finally:
            process.kill()
    os.close(read)
    os.close(write)


@pytest.mark.parametrize("kind", ["file", "pipe"])
def test_a_stream_that_is_open_for_reading_alone_is_said(trained: Any, tmp_path: Path, kind: str) -> None:
    read, write = os.pipe()
    if kind == "file":
        os.close(read)
        read = os.open(os.devnull, os.O_RDONLY)
    done = run(tmp_path, "models", "list", stdout=read)
    assert (done.returncode, done.stderr) == (2, "error: the answer cannot be written to stdout: Bad file descriptor\n")
    os.close(read)
    os.close(write)


def test_a_connection_that_is_reset_changes_no_exit_code(trained: Any, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()) as ours:
        theirs, _ = server.accept()
        theirs.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        theirs.close()  # which resets it
        done = run(tmp_path, "models", "list", stdout=ours)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("error", [BrokenPipeError(32, "of a worker"), EOFError("of a file"), SystemExit(0)])
def test_what_fails_inside_a_command_is_no_sign_of_the_user(
    cli: Any, monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    import cnnkit.registry

    def broken(*arguments: Any) -> None:
        raise error

    monkeypatch.setattr(cnnkit.registry.Registry, "search", broken)
    result = cli("models", "list")
    assert (result.code, result.out) == (2, "")
    assert result.err.startswith(f"internal error: RuntimeError: {type(error).__name__}: ")


def test_the_streams_of_a_test_or_notebook_stay(capsys: pytest.CaptureFixture[str]) -> None:
    before = sys.stdin, sys.stdout, sys.stderr
    with pytest.raises(SystemExit):
        main(["--version"])
    assert (sys.stdin, sys.stdout, sys.stderr) == before
    assert capsys.readouterr().out.startswith("cnnkit ")
