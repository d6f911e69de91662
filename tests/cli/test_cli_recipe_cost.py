"""A recipe that asks for more than can be trained is refused before its weights are drawn, by every command."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

DRIVER = Path(__file__).with_name("recipe_cost_driver.py")
MEMORY = 100 * 2**20
WEIGHTS = 57_600_010 * 4


def drive(folder: Path, mode: str) -> Any:
    command = [sys.executable, str(DRIVER), mode]
    environment = {"CNNKIT_DATA_DIR": str(folder), "CNNKIT_REGISTRY": str(folder / "registry"), "PATH": ""}
    done = subprocess.run(command, capture_output=True, text=True, cwd=folder, env=environment, check=True)
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return drive(tmp_path_factory.mktemp("recipe"), "guarded")


@pytest.mark.parametrize("command", ["train", "train --dry-run", "compare"])
def test_it_is_refused(result: Any, command: str) -> None:
    code, said = result["said"][command]
    assert (code, "error: layer upsample2d_1 = Upsample2D(300) takes too long: the network's loops" in said) == (
        2,
        True,
    )


def test_a_summary_needs_no_weights(result: Any) -> None:
    code, said = result["said"]["summary"]
    assert (code, "57,600,010 parameters" in said) == (0, True)


def test_a_check_of_gradients_takes_no_layer_of_any_size(result: Any) -> None:
    code, said = result["said"]["gradcheck"]
    assert (code, "it asks for 57,600,000 numbers, more than remain of the 16,777,216" in said) == (2, True)


def test_none_of_it_takes_memory(result: Any) -> None:
    assert result["memory"] < MEMORY


def test_positive_control_else_the_weights_are_drawn(tmp_path: Path) -> None:
    assert drive(tmp_path, "careless")["memory"] > WEIGHTS
