"""The parent's side of a benchmark: children that work in turn, A B C A B C, never two at once.

So all of them see the same machine, whatever else it does meanwhile; ratios within one run count, times do not. Beside
each turn it is measured whether the host gives two processors; turns in which it did not are repeated.
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
from benchmarks.host import ENOUGH, Host, two_cores
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
"""Seconds after each turn: the pools of some runtimes spin for tens of milliseconds after their work is done, and
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
    """Without the warm-up: `seconds`, `idle_cpu` and what else the child said, what was measured before it, and as
    `host` what two processes did against one, before or after it, whichever is less."""
    repeated: list[dict[str, float]] = field(default_factory=list)
    """Those that do not count, as others were taken in their place."""

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

    @property
    def hosts(self) -> list[float]:
        """What two processes did against one beside each turn; empty where it was not measured."""
        return [turn["host"] for turn in self.turns if "host" in turn]

    def lacks(self, turns: int) -> bool:
        """Whether one more turn is needed to have so many in which the host gave enough."""
        return sum(turn.get("host", ENOUGH) >= ENOUGH for turn in self.turns) < turns

    def choose(self, turns: int) -> None:
        """Leave so many of the turns: those in which the host gave enough, and of the others the best, in order."""
        given = [min(turn.get("host", ENOUGH), ENOUGH) for turn in self.turns]
        best = sorted(range(len(given)), key=lambda number: -given[number])[:turns]
        self.repeated = [turn for number, turn in enumerate(self.turns) if number not in best]
        self.turns = [self.turns[number] for number in sorted(best)]

    def to_dict(self) -> dict[str, Any]:
        """All raw numbers."""
        return {
            "name": self.contender.name,
            "status": self.status,
            "job": vars(self.contender.job) | {"data": ""},
            "versions": self.versions,
            "warm_up": self.warm_up,
            "turns": self.turns,
            "repeated": self.repeated,
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
    contenders: Sequence[Contender],
    turns: int,
    before: Callable[[], Mapping[str, float]] = dict,
    *,
    repeats: int = 0,
    host: Callable[[], float] | None = None,
) -> list[Series]:
    """One warm-up turn of each contender, then `turns` rounds in which each has one turn.

    before: measures the machine right before each turn; repeats: how many further rounds there are at most, for those
    contenders alone that had turns in which the host gave less than `ENOUGH`; host: gives what two processes do against
    one, `Host.factor` where there are several workers and cores. A contender that is not installed or fails has a
    status that says so, and the others go on.
    """
    series = [Series(contender) for contender in contenders]
    with ExitStack() as stack:
        children = _warm(series, stack)
        if host is None and (two := two_cores(max(one.contender.job.workers for one in series))):
            host = stack.enter_context(Host(two)).factor
        time.sleep(REST)
        last = host() if host else ENOUGH
        for _ in range(turns + repeats):
            for number, one in enumerate(series):
                if (working := children[number]) is None or not one.lacks(turns):
                    continue
                if host and last < ENOUGH:
                    last = host()  # that it was bad after one turn must not spoil the next one
                try:
                    turn = {**before(), **working.turn()}
                except ChildError as error:
                    one.status, children[number] = str(error), None
                    continue
                time.sleep(REST)
                if host:
                    earlier, last = last, host()
                    turn["host"] = min(earlier, last)
                one.turns.append(turn)
    for one in series:
        one.choose(turns)
    return series


def _warm(series: Sequence[Series], stack: ExitStack) -> list[Child | None]:
    """The processes of the contenders after a turn of each; None where there is none, with its status."""
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
    return children


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
