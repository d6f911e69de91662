"""The forecast of a training's memory against the peak of the training itself, in a process of its own."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from benchmarks.networks import NETWORKS
from tests.network.one_training import Training

ROOT = Path(__file__).parents[2]
EVERY = 0.002
"""Seconds between two looks."""
WITHIN = 0.25


def measure(training: Training) -> tuple[dict[str, int], int]:
    """The forecast's parts, and the peak, in bytes."""
    command = [sys.executable, "-m", "tests.network.one_training", training.to_json()]
    peak = 0
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT) as child:
        assert child.stdout
        assert child.stdin
        parts: dict[str, int] = json.loads(child.stdout.readline())
        print(file=child.stdin, flush=True)
        while child.poll() is None:
            peak = max(peak, bytes_of_all(child.pid))
            time.sleep(EVERY)
    assert child.returncode == 0
    return parts, peak


def bytes_of_all(process: int) -> int:
    """What a process has in memory, and its children have beside: what they share counts once."""
    try:
        children = Path(f"/proc/{process}/task/{process}/children").read_text().split()
        return sizes(process)["Rss"] + sum(
            sum(size for name, size in sizes(int(child)).items() if name.startswith("Private_")) for child in children
        )
    except (FileNotFoundError, ProcessLookupError, KeyError):  # one has ended meanwhile
        return 0


def sizes(process: int) -> dict[str, int]:
    lines = Path(f"/proc/{process}/smaps_rollup").read_text().splitlines()[1:]
    return {name: 1024 * int(rest.split()[0]) for name, _, rest in (line.partition(":") for line in lines)}
