"""The parent's side of a benchmark: children that work in turn, A B C A B C, never two at once.

So all of them see the same machine, whatever else it does meanwhile; ratios within one run count, times do not.
"""

from __future__ import annotations

import importlib.util
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from benchmarks.child_job import Job
from benchmarks.machine import cores

ROOT = Path(__file__).parents[1]
NOT_INSTALLED = "not installed"
CONFIGURATIONS = {
    "cnnkit": ("cnnkit", "cnnkit compiled"),
    "torch": ("torch", "torch channels_last", "torch compiled"),
    "keras": ("keras", "keras xla"),
    "jax": ("jax",),
}
"""For each framework how its contenders are called; after the first word comes the job's variant."""
PEERS = ("torch", "keras", "jax")
REST = 0.1
"""Seconds before each turn: the pools of some runtimes spin for tens of milliseconds after their work is done, and
would take a core from whoever comes next."""


@dataclass(frozen=True)
class Contender:
    """One framework in one configuration: a module whose `main(job, turns)` does the work."""

    name: str
    module: str
    package: str
    """What must be installed."""
    job: Job


@dataclass
class Series:
    """What a contender's turns gave."""

    contender: Contender
    status: str = "measured"
    """Or why there are no times: "not installed", or how it failed."""
    versions: dict[str, str] = field(default_factory=dict)
    warm_up: dict[str, float] = field(default_factory=dict)
    turns: list[dict[str, float]] = field(default_factory=list)
    """Without the warm-up: `seconds`, `idle_cpu` and what else the child said, and what was measured before it."""

    def values(self, name: str = "seconds") -> list[float]:
        """One quantity of all turns."""
        return [turn[name] for turn in self.turns]

    def median(self, name: str = "seconds") -> float:
        """The median of one quantity."""
        return statistics.median(self.values(name))

    @property
    def measured(self) -> bool:
        """Whether there is something to compare."""
        return self.status == "measured"

    def to_dict(self) -> dict[str, Any]:
        """All raw numbers."""
        return {
            "name": self.contender.name,
            "status": self.status,
            "job": vars(self.contender.job) | {"data": ""},
            "versions": self.versions,
            "warm_up": self.warm_up,
            "turns": self.turns,
        }


class ChildError(Exception):
    """A child ended where it should have answered."""


class Child:
    """A contender's process."""

    def __init__(self, contender: Contender) -> None:
        self._errors = tempfile.TemporaryFile("w+")  # noqa: SIM115  # closed by __exit__
        # Before it starts, for the frameworks size their thread pools by the cores that they find.
        with cores(contender.job.workers):
            self.process = subprocess.Popen(
                [sys.executable, "-m", "benchmarks.turn_child", contender.module, contender.job.to_json()],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._errors,
                text=True,
                cwd=ROOT,
            )

    def hear(self) -> dict[str, Any]:
        """The next reply. Raises ChildError if there is none."""
        assert self.process.stdout
        line = self.process.stdout.readline()
        if not line:
            self._errors.seek(0)
            last = self._errors.read().strip().splitlines()[-1:]
            raise ChildError(f"failed: {''.join(last) or f'ended with {self.process.wait()}'}")
        reply: dict[str, Any] = json.loads(line)
        return reply

    def turn(self) -> dict[str, float]:
        """Let it work once. Raises ChildError if it cannot."""
        assert self.process.stdin
        with suppress(BrokenPipeError):  # `hear` says why
            print(file=self.process.stdin, flush=True)
        return self.hear()

    def __enter__(self) -> Child:
        return self

    def __exit__(self, *_: object) -> None:
        """End it: it finds no further order."""
        self.process.communicate()
        self._errors.close()


def is_installed(contender: Contender) -> bool:
    """Whether the package that it needs can be imported."""
    return importlib.util.find_spec(contender.package) is not None


def in_turn(
    contenders: Sequence[Contender], turns: int, before: Callable[[], Mapping[str, float]] = dict
) -> list[Series]:
    """One warm-up turn of each contender, then `turns` rounds in which each has one turn.

    before: measures the machine right before each turn. A contender that is not installed or fails has a status that
    says so, and the others go on.
    """
    series = [Series(contender) for contender in contenders]
    with ExitStack() as stack:
        children: list[Child | None] = []
        for one in series:
            children.append(None)
            if not is_installed(one.contender):
                one.status = NOT_INSTALLED
                continue
            child = stack.enter_context(Child(one.contender))
            try:
                one.versions = child.hear()["versions"]
                one.warm_up = child.turn()
                children[-1] = child
            except ChildError as error:
                one.status = str(error)
        for _ in range(turns):
            for number, one in enumerate(series):
                if (working := children[number]) is None:
                    continue
                time.sleep(REST)
                measured = before()
                try:
                    one.turns.append({**working.turn(), **measured})
                except ChildError as error:
                    one.status, children[number] = str(error), None
    return series


def variants(names: Sequence[str], job: Job, *, compiled: bool = False) -> list[Contender]:
    """cnnkit and every configuration of the named peers, for one job.

    names: some of PEERS; compiled: with torch.compile too.
    """
    return [
        Contender(
            full,
            f"benchmarks.peers.{name}_peer",
            "numba" if full == "cnnkit compiled" else name,
            replace(job, variant=full.partition(" ")[2]),
        )
        for name in ("cnnkit", *names)
        for full in CONFIGURATIONS[name]
        if compiled or full != "torch compiled"
    ]
