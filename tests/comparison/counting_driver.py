"""`cnnkit` that writes down which runs it begins, and takes a while after each: counting_driver.py LOG ARGUMENTS..."""

from __future__ import annotations

import sys
import time

from cnnkit.cli import main
from cnnkit.comparison import tasks

PAUSE = 0.15
"""Seconds, so that a comparison can be met in its middle."""


def count(log: str) -> None:
    original = tasks.carry_out

    def counted(task: tasks.Task, workers: int | None) -> tasks.Outcome:
        with open(log, "a") as file:
            file.write(f"{task.key}\n")
        outcome = original(task, workers)
        time.sleep(PAUSE)
        return outcome

    tasks.carry_out = counted


if __name__ == "__main__":
    count(sys.argv[1])
    main(sys.argv[2:])
