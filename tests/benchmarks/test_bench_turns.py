"""Children that work in turn, and those that cannot."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from itertools import count, repeat
from pathlib import Path

import pytest

from benchmarks import host
from benchmarks.child_job import Job
from benchmarks.host import ENOUGH, Host, two_cores
from benchmarks.turn_taking import PEERS, Contender, in_turn, variants

FAKE = "tests.benchmarks.fake_peer"


def contender(folder: Path, name: str, *, variant: str = "", package: str = "numpy") -> Contender:
    return Contender(name, FAKE, package, Job(name, str(folder), 1, 1, 1, variant=variant))


def test_contenders_warm_up_and_then_work_in_turn(tmp_path: Path) -> None:
    clock = count()
    a, b = in_turn([contender(tmp_path, "a"), contender(tmp_path, "b")], 2, lambda: {"clock": next(clock)})
    assert (tmp_path / "order.txt").read_text("utf-8").split() == ["a0", "b0", "a1", "b1", "a2", "b2"]
    assert a.measured
    assert a.versions == {"fake": "1"}
    assert a.warm_up["loss"] == 0
    assert (a.values("loss"), b.values("loss")) == ([1, 2], [1, 2])
    assert (a.values("clock"), b.values("clock")) == ([0, 2], [1, 3])
    assert a.median() >= 0
    assert {"seconds", "idle_cpu", "loss", "clock"} == set(a.turns[0])


def test_who_cannot_take_part_says_why_and_the_others_go_on(tmp_path: Path) -> None:
    absent = contender(tmp_path, "absent", package="no_such_package")
    fails = contender(tmp_path, "fails", variant="fails")
    breaks = contender(tmp_path, "breaks", variant="breaks")
    series = in_turn([absent, fails, breaks, contender(tmp_path, "works")], 3)
    assert [one.status for one in series] == [
        "not installed",
        "failed: ValueError: cannot start",
        "failed: ValueError: cannot go on",
        "measured",
    ]
    assert len(series[2].turns) == 1
    assert len(series[3].turns) == 3


@pytest.mark.usefixtures("compiled_kernels")
def test_cnnkit_trains_in_turns() -> None:
    from benchmarks.child_job import stored

    with stored("random", (1, 28, 28), 64) as data:
        job = Job("mnist-12k", data, 64, 32, 2)
        ours, compiled = in_turn(variants([], job), 2)
        alone, _ = in_turn(variants([], replace(job, workers=1)), 2)
    assert ours.status == "measured"
    assert len(ours.turns) == 2
    assert (len(ours.hosts), alone.hosts) == (2, [])
    assert ours.turns[1]["loss"] < ours.warm_up["loss"]
    assert alone.values("loss") == ours.values("loss")
    assert compiled.values("loss") == pytest.approx(ours.values("loss"), rel=1e-5)


def test_every_peer_has_its_configurations() -> None:
    job = Job("mnist-compact", "", 1, 1, 1)
    plain = [(one.name, one.job.variant) for one in variants(PEERS, job)]
    names = [("cnnkit", ""), ("cnnkit compiled", "compiled"), ("torch", ""), ("torch channels_last", "channels_last")]
    assert plain[:4] == names
    assert {one.package for one in variants(PEERS, job)} == {"cnnkit", "numba", *PEERS}
    assert len(variants(PEERS, job, compiled=True)) == len(plain) + 1


def test_each_turn_has_the_lower_factor_of_before_and_after(tmp_path: Path) -> None:
    factors = iter([1.9, 1.8, 2.0, 1.75, 1.95])
    a, b = in_turn([contender(tmp_path, "a"), contender(tmp_path, "b")], 2, host=lambda: next(factors))
    assert (a.hosts, b.hosts) == ([1.8, 1.75], [1.8, 1.75])
    assert (a.repeated, b.repeated) == ([], [])


def test_turns_in_which_the_host_gave_less_are_repeated(tmp_path: Path) -> None:
    """A turn of b has a bad moment: b alone has another turn, which takes its place."""
    factors = iter([1.9, 1.9, 1.9, 1.9, 1.2, 1.9, 1.8])
    a, b = in_turn([contender(tmp_path, "a"), contender(tmp_path, "b")], 2, repeats=3, host=lambda: next(factors))
    assert (tmp_path / "order.txt").read_text("utf-8").split() == ["a0", "b0", "a1", "b1", "a2", "b2", "b3"]
    assert (a.values("loss"), b.values("loss")) == ([1, 2], [1, 3])
    assert b.hosts == [1.9, 1.8]
    assert [turn["host"] for turn in b.repeated] == [1.2]
    assert b.to_dict()["repeated"] == b.repeated


def test_repeats_end_and_the_best_turns_stay(tmp_path: Path) -> None:
    factors = iter([1.9, 1.0, 1.9, 1.9, 1.3, 1.4, 1.1, *repeat(1.0, 9)])
    (one,) = in_turn([contender(tmp_path, "a")], 3, repeats=2, host=lambda: next(factors))
    assert (tmp_path / "order.txt").read_text("utf-8").split() == ["a0", "a1", "a2", "a3", "a4", "a5"]
    assert one.values("loss") == [2, 3, 4]
    assert one.hosts == [1.9, 1.3, 1.1]
    assert len(one.repeated) == 2


def test_one_worker_needs_no_second_processor(tmp_path: Path) -> None:
    assert two_cores(1) == []
    (one,) = in_turn([contender(tmp_path, "a")], 1)
    assert one.hosts == []


@pytest.mark.parametrize(
    ("alone", "both", "factor"), [((99.0, 100.0), (98.0, 97.0), 1.95), ((100.0, 60.0), (50.0, 50.0), 1.0)]
)
def test_the_factor_is_the_work_of_both_by_the_most_of_one(
    alone: tuple[float, float], both: tuple[float, float], factor: float
) -> None:
    """On two processors, and on one; 0 where nothing was done."""
    with Host([0, 0]) as measured:
        done = dict(zip(measured.processes, alone, strict=True))
        measured.work = lambda *some: list(both) if len(some) > 1 else [done[some[0]]]  # type: ignore[method-assign]
        assert measured.factor() == pytest.approx(factor)
        measured.work = lambda *some: [0.0] * len(some)  # type: ignore[method-assign]
        assert measured.factor() == 0


@contextmanager
def busy(core: int, processes: int) -> Iterator[None]:
    """So many processes that keep one core busy."""
    work = f"import os; os.sched_setaffinity(0, {{{core}}}); print(flush=True)\nwhile True: pass"
    started = [subprocess.Popen([sys.executable, "-c", work], stdout=subprocess.PIPE) for _ in range(processes)]
    for one in started:
        assert one.stdout
        one.stdout.readline()
    try:
        yield
    finally:
        for one in started:
            one.kill()
            one.communicate()


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity") or not two_cores(2), reason="needs two cores to choose from")
def test_a_busy_second_core_is_found_and_the_turn_repeated(tmp_path: Path) -> None:
    """Whatever else runs on the machine: with three more processes, a core has at most a quarter for one."""
    cores = two_cores(2)
    job = replace(contender(tmp_path, "a").job, workers=2)
    with busy(cores[1], 3), Host(cores) as measured:
        (one,) = in_turn([replace(contender(tmp_path, "a"), job=job)], 2, repeats=1, host=measured.factor)
        assert max(one.hosts) < ENOUGH
    assert len(one.turns) == 2
    assert len(one.repeated) == 1


def test_a_measurement_of_the_host_is_short(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its windows, of which there are three for each time, take less than 0.3 s."""
    windows = 3 * host.TIMES
    assert windows * (host.START + host.WINDOW) < 0.25
    monkeypatch.setattr(host, "START", 0.0)
    monkeypatch.setattr(host, "WINDOW", 0.001)
    with Host([0, 0]) as measured:
        began = time.process_time()
        assert measured.factor() >= 0
        assert time.process_time() - began < 0.1
