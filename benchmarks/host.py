"""Whether the host gives two processors: what two independent processes do in a moment, against one alone."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType

ROOT = Path(__file__).parents[1]
ENOUGH = 1.7
"""With a lower factor, two workers cannot show what they are worth."""
START, WINDOW, TIMES = 0.006, 0.025, 2
"""Seconds from an order to its beginning, in which the processor wakes up; those in which work is counted; and how
often that is done, for each process alone and for both at once."""
ONE_THREAD = dict.fromkeys(
    ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS"), "1"
)


class Host:
    """Two processes that do the same short work, each on its own core where the system can keep it there.

    A measurement takes six windows of time, whatever the host does: 0.2 s.
    """

    def __init__(self, cores: Sequence[int]) -> None:
        """cores: the numbers of two."""
        self.processes = [
            subprocess.Popen(
                [sys.executable, "-m", "benchmarks.host_child", str(core)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                cwd=ROOT,
                env=os.environ | ONE_THREAD,
            )
            for core in cores
        ]
        self.work(*self.processes)  # they have started when they answer

    def factor(self) -> float:
        """The work of both at once, divided by the most that one of them did alone: 2 on two processors."""
        alone, both = [], 0.0
        for _ in range(TIMES):
            alone += [self.work(one)[0] for one in self.processes]
            both += sum(self.work(*self.processes)) / TIMES
        return both / max(alone) if any(alone) else 0.0

    def work(self, *workers: subprocess.Popen[str]) -> list[float]:
        """What each did in a second, all of them in the same window of time."""
        start = time.monotonic() + START  # one clock for all processes
        for one in workers:
            assert one.stdin
            print(json.dumps([start, start + WINDOW]), file=one.stdin, flush=True)
        return [self._heard(one) for one in workers]

    @staticmethod
    def _heard(process: subprocess.Popen[str]) -> float:
        assert process.stdout
        if not (line := process.stdout.readline()):
            raise RuntimeError(f"a process that measures the host ended with {process.wait()}")
        return float(line)

    def __enter__(self) -> Host:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End the processes: they find no further order."""
        for one in self.processes:
            one.communicate()


def two_cores(workers: int) -> list[int]:
    """Two of the cores that so many workers are kept on, far from each other in their order; none if there is one.

    Neighbours may be two threads of one core.
    """
    if hasattr(os, "sched_getaffinity"):
        cores = sorted(os.sched_getaffinity(0))[:workers]
    else:
        cores = list(range(min(workers, os.cpu_count() or 1)))
    return [cores[0], cores[len(cores) // 2]] if len(cores) > 1 else []
