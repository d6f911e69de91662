"""Children that work in turn, and those that cannot."""

from __future__ import annotations

from dataclasses import replace
from itertools import count
from pathlib import Path

import pytest

from benchmarks.child_job import Job
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
