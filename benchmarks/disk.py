"""Training from a large file: its peak memory, and its speed beside the same training on samples in memory."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np

from benchmarks.child_job import Job
from benchmarks.machine import description
from benchmarks.memory import Watch
from benchmarks.networks import CLASSES, NETWORKS
from benchmarks.options import add_repeats, add_turns, count, parser
from benchmarks.peers.disk_rows import COLD, FILE, MEMORY, WARM, WHOLE
from benchmarks.report import of_host, publish, spread, table
from benchmarks.turn_taking import Child, Contender, Series, in_turn
from cnnkit.errors import ConfigError

NETWORK = "mnist-compact"
TEST = 10_000
"""Test samples in the file; the others are to train on."""
ROWS = 20_000
"""Samples that are written together."""
SPARE = 1.2
"""So much of the file's size must be free on the disk."""


@contextmanager
def large_file(nbytes: int, folder: str | None) -> Iterator[str]:
    """A folder with an HDF5 file of random images of about so many bytes, for as long as needed."""
    with tempfile.TemporaryDirectory(prefix="cnnkit-disk-", dir=folder) as place:
        if (free := shutil.disk_usage(place).free) < SPARE * nbytes:
            raise ConfigError(
                f"a file of {nbytes:,} bytes needs {SPARE} times as many on the disk of {place}, {free:,} are free: "
                "choose a smaller one with --gigabytes, or another place with --folder"
            )
        shape, rng = NETWORKS[NETWORK].input_shape, np.random.default_rng(0)
        images = rng.integers(0, 256, (ROWS, *shape), np.uint8)
        train = max(1, nbytes // int(np.prod(shape)) - TEST)
        with h5py.File(Path(place) / FILE, "w") as file:
            for part, samples in (("train", train), ("test", TEST)):
                x = file.create_dataset(f"x_{part}", (samples, *shape), np.uint8)
                for start in range(0, samples, ROWS):
                    x[start : start + ROWS] = images[: samples - start]
                file[f"y_{part}"] = rng.integers(0, CLASSES, samples)
        yield place


def whole(job: Job) -> dict[str, float]:
    """Load the file and train on all of it, once: seconds, and bytes at the peak."""
    with Child(contender(job, WHOLE)) as child, Watch(child.process.pid) as watch:
        child.hear()
        return child.turn() | {"peak": watch.peak}


def contender(job: Job, variant: str) -> Contender:
    """A process that trains on the samples of this variant."""
    return Contender(variant, "benchmarks.peers.disk_rows", "cnnkit", replace(job, variant=variant))


def speeds(job: Job, variant: str, turns: int, repeats: int) -> list[Series]:
    """Samples in memory and in the file, in turn."""
    return in_turn([contender(job, MEMORY), contender(job, variant)], turns, repeats=repeats)


def rows(series: Sequence[Series]) -> list[list[str]]:
    """Microseconds for a sample, and the speed divided by that of the first."""
    made = []
    for one in series:
        if not one.measured:
            made.append([one.contender.name, one.status, ""])
            continue
        each = [seconds / one.contender.job.samples * 1e6 for seconds in one.values()]
        ratio = f"{series[0].median() / one.median():.2f}" if series[0].measured else ""
        made.append([one.contender.name, spread(each), ratio])
    return made


def main(argv: Sequence[str] | None = None) -> None:
    """The command line."""
    options = parser(__doc__)
    add_turns(options)
    add_repeats(options)
    options.add_argument("--gigabytes", type=float, default=5.0, help="size of the file, in 1e9 bytes")
    options.add_argument("--folder", help="where the file is made for the time of the measurement")
    options.add_argument("--samples", type=count, default=200_000, help="of a turn, where speed is measured")
    options.add_argument("--batch", type=count, default=512)
    args = options.parse_args(argv)
    machine = description()
    with large_file(int(args.gigabytes * 1e9), args.folder) as folder:
        job = Job(NETWORK, folder, args.samples, args.batch, args.workers)
        found = whole(job)
        measured = [speeds(job, variant, args.epochs, args.repeats) for variant in (WARM, COLD)]
    memory = [
        ["peak of all processes (PSS)", f"{found['peak'] / 2**20:.0f} MiB"],
        ["the same, each process for itself (RSS)", f"{found['resident'] / 2**20:.0f} MiB"],
        ["load, with the digest", f"{found['load']:.1f} s"],
        [f"one epoch of {found['samples']:,.0f} samples, and a test", f"{found['train']:.1f} s"],
    ]
    title = f"### {NETWORK}, batch {args.batch}, a file of {args.gigabytes:g} GB, {args.workers} workers\n\n"
    head = ("samples are in", "µs per sample (min-max)", "speed / memory's")
    sections = [
        title + table(("all of the file", ""), memory),
        *(f"{table(head, rows(series))}\n{of_host(series)}" for series in measured),
    ]
    results = {"whole": found, "speed": [one.to_dict() for series in measured for one in series]}
    publish(args, machine, "\n".join(sections), results)


if __name__ == "__main__":
    main()
