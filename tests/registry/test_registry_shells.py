"""Two shells with `cnnkit train` at one registry, one of them killed with SIGKILL: 6 times by default, 60 in full."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

DRIVER = Path(__file__).with_name("shells_driver.py")


def drive(command: str, folder: Path, kills: int) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, str(DRIVER), command, str(folder), str(kills)], capture_output=True, text=True, timeout=600
    )
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout))


def check(folder: Path, kills: int) -> None:
    result = drive("safe", folder, kills)
    assert result["hit"] >= kills // 2
    assert result["acknowledged"] == result["numbers"] > 1
    assert (result["lost"], result["problems"], result["left"]) == ([], [], ["digests.log", "facts.log"])


def test_a_shell_that_is_killed_harms_neither_the_registry_nor_the_other(tmp_path: Path) -> None:
    check(tmp_path, 6)


@pytest.mark.full
def test_a_shell_that_is_killed_harms_neither_the_registry_nor_the_other_full(tmp_path: Path) -> None:
    check(tmp_path, 60)


def test_positive_control_a_naive_writer_is_caught(tmp_path: Path) -> None:
    """A kill seldom hits the moment of a write: there are several attempts, of which the first that does ends it."""
    folders = [tmp_path / str(attempt) for attempt in range(6)]
    for folder in folders:
        folder.mkdir()
    assert any(drive("naive", folder, 6)["problems"] for folder in folders)
