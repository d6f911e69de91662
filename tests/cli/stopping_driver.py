"""`cnnkit` that sends itself a signal in the middle of a training: stopping_driver.py SIGNAL STEP ARGUMENTS...

SIGNAL: its number; STEP: after which of all steps of this process; "hang" after it lets the next step take for ever.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Mapping

from cnnkit.cli import main
from cnnkit.training.progress import LiveProgress


def stop(number: int, step: int, hang: bool) -> None:
    original = LiveProgress.step_done
    steps = 0

    def step_done(self: LiveProgress, done: int, samples: int, means: Mapping[str, float]) -> None:
        nonlocal steps
        steps += 1
        original(self, done, samples, means)
        if steps == step:
            os.kill(os.getpid(), number)
            if hang:
                print("hanging", flush=True)
                time.sleep(600)

    LiveProgress.step_done = step_done  # type: ignore[assignment,method-assign]  # in place of the method


if __name__ == "__main__":
    number, step, *arguments = sys.argv[1:]
    stop(int(number), int(step.removesuffix("hang")), step.endswith("hang"))
    main(arguments)
