"""Seconds until something happens: imports, `cnnkit --help`, and the first training step; each in a new process."""

from __future__ import annotations

import importlib.util
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks.machine import description
from benchmarks.options import add_turns, parser
from benchmarks.report import publish, spread, table
from benchmarks.turn_taking import NOT_INSTALLED, ROOT

PYTHON = sys.executable
NUMPY = "import numpy"
PROGRAMS = {
    "python": [PYTHON, "-c", ""],
    NUMPY: [PYTHON, "-c", "import numpy"],
    "import cnnkit": [PYTHON, "-c", "import cnnkit, numpy"],
    "from cnnkit import Sequential, Trainer": [PYTHON, "-c", "from cnnkit import Sequential, Trainer"],
    "from cnnkit import *": [PYTHON, "-c", "from cnnkit import *"],
    "cnnkit --help": [str(Path(PYTHON).with_name("cnnkit")), "--help"],
    "first step of cnnkit": [PYTHON, "-m", "benchmarks.peers.first_step", "cnnkit"],
    "first step of torch": [PYTHON, "-m", "benchmarks.peers.first_step", "torch"],
}


def seconds_of(command: Sequence[str]) -> float:
    """How long a program takes, from its start to its end."""
    began = time.perf_counter()
    subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - began


def main(argv: Sequence[str] | None = None) -> None:
    """The command line."""
    options = parser(__doc__)
    add_turns(options, 11)
    args = options.parse_args(argv)
    machine = description()
    programs = dict(PROGRAMS)
    if importlib.util.find_spec("torch") is None:
        del programs["first step of torch"]
    times: dict[str, list[float]] = {name: [] for name in programs}
    for turn in range(args.epochs + 1):
        for name, command in programs.items():
            seconds = seconds_of(command)
            if turn:  # the first one reads files that are not in memory yet
                times[name].append(seconds)
    numpy = statistics.median(times[NUMPY])
    rows = [
        [f"`{name}`", spread(values, 3), f"{statistics.median(values) - numpy:+.3f}"] for name, values in times.items()
    ]
    rows += [[f"`{name}`", NOT_INSTALLED, ""] for name in PROGRAMS if name not in programs]
    publish(args, machine, table(("program", "s (min-max)", "beyond `import numpy`"), rows), times)


if __name__ == "__main__":
    main()
