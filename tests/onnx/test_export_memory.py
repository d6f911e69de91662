"""An export and its validation take a few times the memory of the weights, whatever runs in between."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

DRIVER = Path(__file__).with_name("memory_driver.py")


def drive(folder: Path, mode: str) -> list[float]:
    command = [sys.executable, str(DRIVER), mode]
    done = subprocess.run(command, capture_output=True, text=True, cwd=folder, check=True)
    found: list[float] = json.loads(done.stdout)
    return found


def test_the_weights_are_in_memory_a_few_times(tmp_path: Path) -> None:
    """An export has its file three times while it is checked; a validation the model in float64, or a runtime's."""
    export, validation = drive(tmp_path, "lean")
    assert export < 3.5
    assert validation < 3


def test_positive_control_files_that_stay_are_seen(tmp_path: Path) -> None:
    _, validation = drive(tmp_path, "keeping")
    assert validation > 3
