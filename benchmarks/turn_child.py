"""The child of a benchmark, `python -m benchmarks.turn_child MODULE JOB`: wait for a turn, do it, say how long."""

from __future__ import annotations

import importlib
import json
import os
import sys
import time
from collections.abc import Iterator
from typing import Any

from benchmarks.child_job import Job


class Turns:
    """The turns of one child: iterating waits for the parent, numbers them from 0 and starts the clock.

    While it waits the child is blocked on a read. The processor time that it nevertheless uses, in threads that spin,
    is reported as `idle_cpu` with each turn.
    """

    def __init__(self) -> None:
        # Frameworks print as they like; what the parent reads must be replies alone.
        self._replies = os.fdopen(os.dup(1), "w")
        os.dup2(2, 1)
        self._began = self._idle_since = self._idle_cpu = 0.0
        self.versions: dict[str, str] = {}
        """What took part, told to the parent when the first turn is waited for."""

    def __iter__(self) -> Iterator[int]:
        self._say({"versions": self.versions})
        for number, _ in enumerate(sys.stdin):
            self._idle_cpu = time.process_time() - self._idle_since
            self._began = time.perf_counter()
            yield number

    def done(self, **values: float) -> None:
        """The turn is over; `values` go to the parent with its duration."""
        seconds = time.perf_counter() - self._began
        self._say({"seconds": seconds, "idle_cpu": self._idle_cpu, **values})

    def _say(self, reply: dict[str, Any]) -> None:
        print(json.dumps(reply), file=self._replies, flush=True)
        self._idle_since = time.process_time()


def main(module: str, job: str) -> None:
    """Run a child: `main(job, turns)` of the module, until its turns are over."""
    turns = Turns()
    importlib.import_module(module).main(Job.from_json(job), turns)


if __name__ == "__main__":
    main(*sys.argv[1:])
