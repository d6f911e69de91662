"""Peak memory of the same training in cnnkit and in PyTorch, each alone on the machine."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path

from benchmarks.child_job import Job, stored
from benchmarks.machine import description
from benchmarks.networks import NETWORKS
from benchmarks.options import add_networks, add_samples, count, parser
from benchmarks.report import publish, table
from benchmarks.turn_taking import Child, ChildError, Contender, is_installed, variants

EVERY = 0.02
"""Seconds between two looks."""
HEAD = ("framework", "peak MiB", "MiB before training", "peak / cnnkit's")


def proportional_bytes(process: int) -> int:
    """The memory of a process and all that it started: the sum of their proportional set sizes (PSS).

    A page that several processes share counts in each for its part only, so their sum counts it once.
    """
    total, waiting = 0, [process]
    while waiting:
        folder = Path(f"/proc/{waiting.pop()}")
        try:
            lines = (folder / "smaps_rollup").read_text("utf-8").splitlines()
            total += next(int(line.split()[1]) for line in lines if line.startswith("Pss:")) * 1024
            for task in (folder / "task").iterdir():
                waiting += map(int, (task / "children").read_text("utf-8").split())
        except (FileNotFoundError, ProcessLookupError):
            continue  # it has ended meanwhile
    return total


class Watch(threading.Thread):
    """Looks at a process again and again while it works, and keeps the largest size."""

    def __init__(self, process: int) -> None:
        super().__init__(daemon=True)
        self.process = process
        self.peak = 0
        self._stop_now = threading.Event()

    def run(self) -> None:
        """Look until told to stop."""
        while not self._stop_now.wait(EVERY):
            self.peak = max(self.peak, proportional_bytes(self.process))

    def __enter__(self) -> Watch:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop_now.set()
        self.join()


def measure(contender: Contender, epochs: int) -> dict[str, float]:
    """Bytes before training and at the peak. Raises ChildError if it fails."""
    with Child(contender) as child:
        child.hear()
        before = proportional_bytes(child.process.pid)
        with Watch(child.process.pid) as watch:
            for _ in range(epochs):
                child.turn()
    return {"before": before, "peak": watch.peak}


def main(argv: Sequence[str] | None = None) -> None:
    """The command line."""
    options = parser(__doc__)
    add_networks(options, "mnist-compact,resnet-20")
    add_samples(options, 10_000)
    options.add_argument("--batch", type=count, default=128)
    options.add_argument("--epochs", type=count, default=2)
    args = options.parse_args(argv)
    machine = description()
    sections, results = [], []
    for network in args.network:
        measured = NETWORKS[network]
        rows: list[list[str]] = []
        with stored(args.data, measured.input_shape, args.samples, measured.target_shape) as data:
            ours = 0.0
            for one in variants(["torch"], Job(network, data, args.samples, args.batch, args.workers, raw=True)):
                if not is_installed(one):
                    rows.append([one.name, "not installed", "", ""])
                    continue
                try:
                    found = measure(one, args.epochs)
                except ChildError as error:
                    rows.append([one.name, str(error), "", ""])
                    continue
                ours = found["peak"] if one.name == "cnnkit" else ours
                ratio = f"{found['peak'] / ours:.2f}" if ours else ""
                rows.append([one.name, f"{found['peak'] / 2**20:.0f}", f"{found['before'] / 2**20:.0f}", ratio])
                results.append({"network": network, "name": one.name, **found})
        title = f"### {network}, batch {args.batch}, {args.samples:,} images, {args.workers} workers\n\n"
        sections.append(title + table(HEAD, rows))
    publish(args, machine, "\n".join(sections), results)


if __name__ == "__main__":
    main()
