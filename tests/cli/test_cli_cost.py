"""What a few bytes of a model ask for is computed at once or refused at once, by every command, in little memory."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

DRIVER = Path(__file__).with_name("cost_driver.py")
MEMORY = 200 * 2**20

REFUSED = {
    "image": "layer flatten_1 = Flatten() gives 1,000,000,000,000,000,000 values for each sample",
    "overflow": "layer flatten_1 = Flatten() gives 18,446,744,073,709,551,616 values for each sample",
    "padding": "layer conv2d_1 = Conv2D(1, 1, padding=5000) gives 1 x 10,008 x 10,008 values for each sample",
    "padding_twice": "layer conv2d_2 = Conv2D(1, 1, padding=900) gives 1 x 3,608 x 3,608 values for each sample",
    "doubling": "layer concat_28 = Concat([], []) gives 17,179,869,184 values for each sample",
    "branches": "layer concat_2 = Concat([], [], [], ",
    "dilation": "layer conv2d_1 = Conv2D(1, 2, padding=1000000, dilation=2000000) gives 1 x 8 x 8 values",
    "gaps": "layer conv2d_1 = Conv2D(10, 1, stride=500000000, padding=500000000) gives 10 x 3 x 3 values",
    "loops": "layer avg_pool2d_1 = AvgPool2D(600, stride=1) takes too long",
}
"""What the message says, by the case."""
RIGHT = ("stride", "stride_of_a_layer_inside", "average", "maximum", "layers")


def drive(folder: Path, *arguments: str) -> Any:
    command = [sys.executable, str(DRIVER), *arguments]
    environment = {"CNNKIT_DATA_DIR": str(folder), "CNNKIT_REGISTRY": str(folder / "registry"), "PATH": ""}
    done = subprocess.run(command, capture_output=True, text=True, cwd=folder, env=environment, check=False)
    assert done.returncode == 0, f"exit {done.returncode}: {done.stderr[-2000:]}"  # -14: a command did not end
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return drive(tmp_path_factory.mktemp("cost"), "guarded")


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_too_much_is_refused_by_every_command(result: Any, case: str) -> None:
    foreign = case in ("image", "overflow")  # the dataset has other samples, which is found first
    for command, (code, lines) in result["said"][case].items():
        assert (code, len(lines)) == (2, 1), command
        assert lines[0].startswith("error: ")
        if not (foreign and command not in ("predict", "export", "models export-bundle")):
            assert REFUSED[case] in lines[0] or "Integer overflow" in lines[0], command


@pytest.mark.parametrize("case", RIGHT)
def test_what_only_looks_like_much_is_computed(result: Any, case: str) -> None:
    assert {command: code for command, (code, _) in result["said"][case].items()} == dict.fromkeys(
        result["said"][case], 0
    )


def test_all_of_it_takes_little_memory(result: Any) -> None:
    assert result["memory"] < MEMORY


def test_positive_control_without_the_estimate_the_memory_is_taken(tmp_path: Path) -> None:
    assert drive(tmp_path, "careless", "padding")["memory"] > MEMORY
