"""The forecast of a training's memory against the peak of the training itself, in a separate process."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

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


def off(expected: float, peak: int) -> float:
    return abs(expected / peak - 1)


BENCHMARKED = [(name, batch) for name in NETWORKS for batch in (64, 128, 512, 4096)]
LARGE_ONES = [("large", 4), ("large", 32), ("large-bn", 4), ("large-bn", 24), ("wide", 64), ("wide", 512)]


@pytest.mark.full
@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize(("network", "batch"), [*BENCHMARKED, *LARGE_ONES])
def test_the_forecast_is_near_the_peak(network: str, batch: int, workers: int) -> None:
    parts, peak = measure(Training(network, batch, workers))
    assert off(parts["total"], peak) < WITHIN


@pytest.mark.parametrize("workers", [1, 2])
def test_a_small_forecast_is_near_the_peak(workers: int) -> None:
    parts, peak = measure(Training("mnist-12k", 64, workers))
    assert off(parts["total"], peak) < WITHIN


@pytest.mark.full
def test_positive_control_a_forecast_without_the_workspaces_is_far_off() -> None:
    parts, peak = measure(Training("resnet-20", 128, 2))
    assert off(parts["total"], peak) < WITHIN < off(parts["total"] - parts["workspaces"], peak)
