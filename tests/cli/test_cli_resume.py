"""Trainings that are stopped, killed or run into a full disk, and go on: always to the same bits."""

from __future__ import annotations

import errno
import json
import os
import random
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cnnkit.errors import RegistryError
from cnnkit.registry import Files, Registry, RunFolder, Runs

DRIVER = Path(__file__).with_name("stopping_driver.py")
ROOT = Path(__file__).parents[2]
EPOCHS, STEPS = 4, 6
RECIPE = f"""\
[model]
name = "stoppable"
layers = ["Conv2D(4, 3)", "BatchNorm2D()", "ReLU()", "Flatten()", "Dropout(0.2)", "Dense(10)"]
[data]
dataset = "Digits()"
validation = 0.1
[train]
optimizer = "Adam(0.01)"
schedule = "Cosine()"
epochs = {EPOCHS}
batch_size = 256
keep = "best"
"""


def start(folder: Path, number: int, step: str, *arguments: str) -> subprocess.Popen[str]:
    """`cnnkit train` in a separate process, which gets this signal after this step; 0 for none."""
    (folder / "stoppable.toml").write_text(RECIPE)
    return subprocess.Popen(
        [sys.executable, str(DRIVER), str(number), step, "train", *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT), "CNNKIT_REGISTRY": str(folder / "registry")},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def train(folder: Path, number: int, step: int, *arguments: str) -> tuple[int, str]:
    """Its exit code and messages."""
    process = start(folder, number, str(step), *arguments)
    _, err = process.communicate(timeout=600)
    return process.returncode, err


def bits(folder: Path) -> dict[str, bytes]:
    return {name: array.tobytes() for name, array in Registry(folder / "registry").read("stoppable@1").state.items()}


@pytest.fixture(scope="session")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    folder = tmp_path_factory.mktemp("uninterrupted")
    code, err = train(folder, 0, 0, "stoppable.toml")
    assert code == 0, err
    return bits(folder)


def steps_done(folder: Path) -> int:
    """Of all steps, how many the latest checkpoint has."""
    runs = Runs(folder / "registry")
    place = runs.find("latest")
    record, _ = place.load()
    place.release()
    return int(record["position"]["epoch"] * STEPS + record["position"]["step"])


def check_stop(folder: Path, number: signal.Signals, step: int, expected: dict[str, bytes]) -> None:
    code, err = train(folder, number, step, "stoppable.toml", "--workers", "2")
    assert code == 128 + number, err
    assert steps_done(folder) == step
    assert not (folder / "registry" / "stoppable").exists()
    (name,) = Runs(folder / "registry").names()
    assert f"to continue: cnnkit train --resume {name}\n" in err
    code, err = train(folder, 0, 0, "--resume", name, "--workers", "1")
    assert code == 0, err
    assert bits(folder) == expected
    assert not list((folder / "registry" / ".runs").iterdir())


def check_kill(folder: Path, choice: random.Random, expected: dict[str, bytes]) -> int:
    """Kill a training again and again until it reaches its end; how often."""
    arguments, kills = ["stoppable.toml"], 0
    while True:
        step = choice.randrange(2, 14)
        code, err = train(folder, signal.SIGKILL, step, *arguments, "--checkpoint-steps", "2", "--workers", "2")
        if code == 0:
            break
        assert code == -signal.SIGKILL, err
        kills += 1
        if Runs(folder / "registry").names():  # else it was killed before its first checkpoint
            arguments = ["--resume", "latest"]
    assert bits(folder) == expected
    assert Registry(folder / "registry").verify() == []
    return kills


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_keeps_a_checkpoint_of_this_very_step(
    tmp_path: Path, uninterrupted: dict[str, bytes], number: signal.Signals
) -> None:
    check_stop(tmp_path, number, 9 if number == signal.SIGINT else 12, uninterrupted)


@pytest.mark.full
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("attempt", range(30))
def test_a_signal_at_any_step(
    tmp_path: Path, uninterrupted: dict[str, bytes], number: signal.Signals, attempt: int
) -> None:
    check_stop(tmp_path, number, random.Random(31 * attempt + number).randrange(1, EPOCHS * STEPS), uninterrupted)


def test_a_training_that_is_killed_goes_on_to_the_same_bits(tmp_path: Path, uninterrupted: dict[str, bytes]) -> None:
    assert check_kill(tmp_path, random.Random(0), uninterrupted) > 0


@pytest.mark.full
def test_fifty_kills(tmp_path: Path, uninterrupted: dict[str, bytes]) -> None:
    kills = 0
    for attempt in range(50):
        folder = tmp_path / str(attempt)
        folder.mkdir()
        kills += check_kill(folder, random.Random(attempt), uninterrupted)
    assert kills >= 50


def test_the_second_signal_ends_it_at_once(tmp_path: Path) -> None:
    process = start(tmp_path, signal.SIGTERM, "3hang", "stoppable.toml", "--workers", "2")
    assert process.stderr
    assert "hanging\n" in iter(process.stderr.readline, "")
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=600)
    assert process.returncode == 128 + signal.SIGTERM


def test_what_a_run_was_begun_with_cannot_be_changed(cli: Any, tmp_path: Path) -> None:
    train(tmp_path, signal.SIGINT, 3, "stoppable.toml")
    result = cli("train", "tiny.toml", "--resume", "latest", "--epochs", "3", "--lr", "0.1")
    assert result.code == 2
    assert "--resume uses the options that the run started with: remove RECIPE, --epochs, --lr" in result.err
    result = cli("train", "--resume", "stopable")
    assert result.code == 2
    assert "there is no interrupted run 'stopable'" in result.err


def test_a_run_is_trained_by_one_process_at_a_time(cli: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from cnnkit.registry import work_folders

    train(tmp_path, signal.SIGINT, 3, "stoppable.toml")
    monkeypatch.setattr(work_folders, "PATIENCE", 0.0)
    other = Runs(tmp_path / "registry").find("latest")
    other.load()
    result = cli("train", "--resume", "latest")
    assert (result.code, "is being trained by another process" in result.err) == (2, True)
    other.release()
    assert cli("train", "--resume", "latest").code == 0


def test_a_damaged_checkpoint_is_refused(cli: Any, tmp_path: Path) -> None:
    train(tmp_path, signal.SIGINT, 3, "stoppable.toml")
    (path,) = (tmp_path / "registry").glob(".runs/*/checkpoint.h5")
    data = bytearray(path.read_bytes())
    data[-100] ^= 1
    path.write_bytes(data)
    result = cli("train", "--resume", "latest")
    assert result.code == 2
    assert "cannot be used: its content does not have the sha256" in result.err


def test_a_resumed_run_warns_of_another_environment(cli: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    train(tmp_path, signal.SIGINT, 3, "stoppable.toml")
    monkeypatch.setattr(np, "__version__", "9.9.9")
    result = cli("train", "--resume", "latest")
    assert result.code == 0
    assert "it is 9.9.9: the result may differ in its last bits" in result.err


class Full(Files):
    """A disk without room, for some calls of `sync`."""

    left = 0

    def sync(self, file: int) -> None:
        if Full.left:
            Full.left -= 1
            raise OSError(errno.ENOSPC, "No space left on device", "file")
        super().sync(file)


def test_a_full_disk_is_waited_for(cli: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from cnnkit import registered_training
    from cnnkit.registry import store

    monkeypatch.setattr(registered_training, "PAUSE", 0.0)
    monkeypatch.setattr(store, "Files", Full)
    monkeypatch.setattr(Full, "left", 3)
    result = cli("train", "tiny.toml", "--json")
    assert (result.code, Full.left) == (0, 0)
    assert json.loads(result.out)["ref"] == "tiny@1"
    assert result.err.count("No space left on device") == 1
    assert "free some space, and it is registered" in result.err
    assert cli("models", "verify").code == 0


class NotDurable(Files):
    """A disk that fills up between a version and its record in the log."""

    def append(self, path: Path, line: bytes) -> None:
        if b"commit" in line:
            raise OSError(errno.ENOSPC, "No space left on device", "file")
        super().append(path, line)


def test_a_version_that_may_not_survive_is_registered_once(
    cli: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from cnnkit.registry import store

    monkeypatch.setattr(store, "Files", NotDurable)
    result = cli("train", "tiny.toml", "--json")
    assert (result.code, result.document["ref"]) == (0, "tiny@1")
    assert "tiny@1 was saved completely, but it may not survive a power failure" in result.err
    assert [version.number for version in Registry(tmp_path / "registry").versions("tiny")] == [1]


def test_a_model_that_cannot_be_registered_is_kept(cli: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "registry").mkdir()
    with monkeypatch.context() as failing:
        failing.setattr(Registry, "save", _refuse)
        result = cli("train", "tiny.toml", "--epochs", "3")
    assert result.code == 2
    (name,) = Runs(tmp_path / "registry").names()
    assert f"the trained model is kept; to register it: cnnkit train --resume {name}\n" in result.err
    assert cli("train", "tiny.toml", "--epochs", "3", "--registry", "elsewhere").code == 0
    assert cli("train", "--resume", name).code == 0
    kept, other = (Registry(tmp_path / folder).read("tiny@1") for folder in ("registry", "elsewhere"))
    assert all(array.tobytes() == other.state[name].tobytes() for name, array in kept.state.items())
    assert kept.manifest.metrics == other.manifest.metrics


def _refuse(*arguments: Any, **options: Any) -> None:
    raise RegistryError("cannot save tiny")


def test_a_run_that_was_killed_after_it_was_registered_is_not_registered_again(
    cli: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as killed:
        killed.setattr(RunFolder, "remove", lambda self: None)
        assert cli("train", "tiny.toml").code == 0
    assert cli("train", "--resume", "latest", "--json").document["ref"] == "tiny@1"
    assert cli("train", "tiny.toml", "--json").document["ref"] == "tiny@2"  # this is another training


def test_the_latest_run_is_one_that_nobody_trains(cli: Any, tmp_path: Path) -> None:
    train(tmp_path, signal.SIGINT, 3, "stoppable.toml")
    (first,) = Runs(tmp_path / "registry").names()
    train(tmp_path, signal.SIGINT, 3, "stoppable.toml")
    second = next(name for name in Runs(tmp_path / "registry").names() if name != first)
    with Runs(tmp_path / "registry").find(second) as other:
        other.load()
        assert Runs(tmp_path / "registry").find("latest").name == first


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")  # the child only waits
def test_a_worker_that_outlives_its_parent_keeps_no_run(tmp_path: Path) -> None:
    train(tmp_path, signal.SIGINT, 3, "stoppable.toml")
    place = Runs(tmp_path / "registry").find("latest")
    place.load()
    told, tell = os.pipe()
    ready, is_ready = os.pipe()
    if (child := os.fork()) == 0:
        os.close(tell)
        os.write(is_ready, b"x")
        os.read(told, 1)
        os._exit(0)
    os.read(ready, 1)
    place.release()
    free = Runs(tmp_path / "registry").find("latest").is_free()
    for end in (told, tell, ready, is_ready):  # which ends the child
        os.close(end)
    os.waitpid(child, 0)
    assert free


def test_a_signal_that_is_ignored_stays_ignored(tmp_path: Path) -> None:
    """As for a process that a shell has put into the background."""
    (tmp_path / "stoppable.toml").write_text(RECIPE)
    code = subprocess.run(
        [sys.executable, str(DRIVER), str(int(signal.SIGINT)), "3", "train", "stoppable.toml"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_IGN),
        capture_output=True,
        timeout=600,
    ).returncode
    assert code == 0


def test_a_disk_that_stays_full_is_told(cli: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from cnnkit import registered_training
    from cnnkit.registry import store

    monkeypatch.setattr(registered_training, "PATIENCE", 0.0)
    monkeypatch.setattr(store, "Files", Full)
    monkeypatch.setattr(Full, "left", 10**6)
    result = cli("train", "tiny.toml")
    assert result.code == 2
    assert "cannot save tiny" in result.err
    assert "No space left on device" in result.err
