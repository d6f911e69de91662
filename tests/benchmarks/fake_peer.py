"""A peer that trains nothing: it writes down when its turn was. Variants: "", "fails", "breaks"."""

from __future__ import annotations

from pathlib import Path

from benchmarks.child_job import Job
from benchmarks.turn_child import Turns


def main(job: Job, turns: Turns) -> None:
    if job.variant == "fails":
        raise ValueError("cannot start")
    turns.versions = {"fake": "1"}
    print("frameworks print, and that is no reply")
    for number in turns:
        if job.variant == "breaks" and number == 2:
            raise ValueError("cannot go on")
        with (Path(job.data) / "order.txt").open("a", encoding="utf-8") as file:
            file.write(f"{job.network}{number} ")
        turns.done(loss=float(number))
