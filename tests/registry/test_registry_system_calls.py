"""Changes of a registry that are killed or refused at their system calls: every third one of a save by default, and
every one of each change in full. It needs strace; test_registry_failures.py does the same with the operations of
`Files`, everywhere."""

from __future__ import annotations

import functools
import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from states import ACTIONS  # type: ignore[import-not-found]  # beside this file

DRIVER = Path(__file__).with_name("system_call_driver.py")
HOW = pytest.mark.parametrize("how", ["kill", "error"])


@functools.cache
def may_trace() -> bool:
    command = ["strace", "-o", "/dev/null", "-e", "inject=close:signal=KILL:when=10000", "true"]
    return shutil.which("strace") is not None and subprocess.run(command, capture_output=True).returncode == 0


needs_strace = pytest.mark.skipif(not may_trace(), reason="strace is not installed, or may not trace")


def drive(action: str, how: str, folder: Path, step: int) -> dict[str, Any]:
    command = [sys.executable, str(DRIVER), action, how, str(folder), str(step)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout))


def check(action: str, how: str, folder: Path, step: int) -> None:
    result = drive(action, how, folder, step)
    assert result["wrong"] == []
    assert result["met"] >= result["calls"] // step > 0


@needs_strace
@HOW
def test_a_save_that_meets_a_fault_at_a_system_call_is_old_or_new(tmp_path: Path, how: str) -> None:
    check("save", how, tmp_path, 3)


@needs_strace
@pytest.mark.full
@HOW
@pytest.mark.parametrize("action", [*ACTIONS, "gc"])
def test_a_change_that_meets_a_fault_at_a_system_call_is_old_or_new_full(tmp_path: Path, action: str, how: str) -> None:
    check(action, how, tmp_path, 1)


@needs_strace
def test_positive_control_a_writer_in_place_is_caught(tmp_path: Path) -> None:
    wrong = drive("save in place", "kill", tmp_path, 1)["wrong"]
    assert any("is damaged: it should have" in text for text in wrong), wrong
