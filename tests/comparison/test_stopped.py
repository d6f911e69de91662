"""Comparisons that are killed or interrupted, as processes: only what was lost is trained again."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cnnkit.registry import Comparisons, Registry

ROOT = Path(__file__).parents[2]
DRIVER = Path(__file__).with_name("counting_driver.py")
CODES = ("c4p", "c2", "p")
KEYS = {f"{position}-{seed}" for position in range(len(CODES)) for seed in range(2)}
ARGUMENTS = (*CODES, "--base", "digits", "--seeds", "2", "--epochs", "1", "--register", "all")


class Process:
    """`cnnkit compare` in a session of its own, as in a terminal of its own."""

    def __init__(self, folder: Path, *arguments: str, log: str = "log") -> None:
        self.log = folder / log
        self.err = folder / f"{log}.err"
        self.log.touch()
        with self.err.open("w") as err:
            self.process = subprocess.Popen(
                [sys.executable, str(DRIVER), str(self.log), "compare", *arguments, "--json"],
                cwd=folder,
                env=os.environ | {"PYTHONPATH": str(ROOT), "CNNKIT_REGISTRY": str(folder / "registry")},
                stdout=subprocess.PIPE,
                stderr=err,
                text=True,
                start_new_session=True,
            )

    def begun(self) -> list[str]:
        """The runs that were begun."""
        return self.log.read_text().split()

    def kill_group(self, number: signal.Signals) -> None:
        os.killpg(self.process.pid, number)

    def end(self) -> tuple[int, str]:
        """Its exit code and what it printed."""
        out, _ = self.process.communicate(timeout=600)
        return self.process.returncode, out

    def has_left_processes(self) -> bool:
        """Whether one of its group is there after a moment."""
        until = time.monotonic() + 600
        with contextlib.suppress(ProcessLookupError):
            while time.monotonic() < until:
                os.killpg(self.process.pid, 0)
                time.sleep(0.02)
            return True
        return False


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Any]:
    started: list[Process] = []

    def begin(*arguments: str, log: str = "log") -> Process:
        started.append(Process(tmp_path, *arguments, log=log))
        return started[-1]

    yield begin
    for process in started:
        with contextlib.suppress(ProcessLookupError):
            process.kill_group(signal.SIGKILL)


def kept(registry: Path) -> set[str]:
    """The runs of the one comparison that are kept."""
    return {path.stem for path in registry.glob(".comparisons/*/*.h5")}


def wait_for(registry: Path, process: Process, count: int) -> None:
    """Until so many runs are kept."""
    until = time.monotonic() + 600
    while len(kept(registry)) < count:
        assert process.process.poll() is None, process.err.read_text()
        assert time.monotonic() < until
        time.sleep(0.01)


def numbers(document: Any) -> Any:
    """Everything but names and times."""
    return [
        [
            row["name"],
            row["metrics"],
            [[run["seed"], run["metrics"], {**run["history"], "seconds": 0}] for run in row["runs"]],
        ]
        for row in document["configurations"]
    ]


def bits(registry: Path) -> dict[str, bytes]:
    """All arrays of all versions."""
    store = Registry(registry)
    return {
        f"{version.ref} {name}": array.tobytes()
        for model in store.models()
        for version in store.versions(model)
        for name, array in store.read(version.ref).state.items()
    }


@pytest.mark.parametrize("jobs", [pytest.param("1", marks=pytest.mark.full), "2"])
def test_a_comparison_that_is_killed_redoes_what_was_lost_and_nothing_else(
    tmp_path: Path, start: Any, jobs: str
) -> None:
    registry = tmp_path / "registry"
    process = start(*ARGUMENTS, "--jobs", jobs)
    wait_for(registry, process, 2)
    process.kill_group(signal.SIGKILL)
    assert process.end()[0] == -signal.SIGKILL
    done = kept(registry)
    assert 2 <= len(done) < len(KEYS)
    assert Registry(registry).models() == []

    again = start("--resume", "latest", "--jobs", "2", log="again")
    code, out = again.end()
    assert code == 0, again.err.read_text()
    assert sorted(again.begun()) == sorted(KEYS - done)
    assert f"{len(done)} of {len(KEYS)} runs were finished before" in again.err.read_text()
    assert not list((registry / ".comparisons").iterdir())

    # The control: without --resume all are trained, to the same numbers.
    whole = start(*ARGUMENTS, "--jobs", "2", "--registry", "elsewhere", log="whole")
    code, expected = whole.end()
    assert code == 0, whole.err.read_text()
    assert sorted(whole.begun()) == sorted(KEYS)
    assert numbers(json.loads(out)) == numbers(json.loads(expected))
    assert bits(registry) == bits(tmp_path / "elsewhere")
    assert len(json.loads(out)["registered"]) == len(KEYS)
    assert Registry(registry).verify() == []


def test_two_comparisons_at_once_and_one_is_killed(tmp_path: Path, start: Any) -> None:
    registry = tmp_path / "registry"
    one, other = (start(*ARGUMENTS, "--jobs", "1", log=log) for log in ("one", "other"))
    wait_for(registry, one, 2)
    one.kill_group(signal.SIGKILL)
    one.end()
    code, out = other.end()
    assert code == 0, other.err.read_text()
    assert sorted(other.begun()) == sorted(KEYS)
    (name,) = Comparisons(registry).names()
    assert name != json.loads(out)["name"]
    again = start("--resume", name, log="again")
    code, rest = again.end()
    assert code == 0, again.err.read_text()
    assert numbers(json.loads(rest)) == numbers(json.loads(out))
    assert len(bits(registry)) > 0
    assert Registry(registry).verify() == []


@pytest.mark.parametrize(
    ("number", "jobs"),
    [
        (signal.SIGINT, "2"),
        (signal.SIGTERM, "1"),
        pytest.param(signal.SIGINT, "1", marks=pytest.mark.full),
        pytest.param(signal.SIGTERM, "2", marks=pytest.mark.full),
    ],
)
def test_an_interrupted_comparison_says_how_to_go_on(
    tmp_path: Path, start: Any, number: signal.Signals, jobs: str
) -> None:
    registry = tmp_path / "registry"
    process = start(*ARGUMENTS, "--jobs", jobs)
    wait_for(registry, process, 2)
    if number == signal.SIGINT:
        process.kill_group(number)  # as a terminal does
    else:
        process.process.send_signal(number)
    code, out = process.end()
    err = process.err.read_text()
    assert (code, out) == (128 + number, "")
    assert not process.has_left_processes()
    (name,) = Comparisons(registry).names()
    assert "interrupted\n" in err
    assert err.endswith(f"finished runs are kept; to continue: cnnkit compare --resume {name}\n")
    assert "Traceback" not in err
    assert "Warning" not in err
    done = kept(registry)
    again = start("--resume", name, log="again")
    assert again.end()[0] == 0, again.err.read_text()
    assert sorted(again.begun()) == sorted(KEYS - done)
