"""Seconds for an epoch of training: cnnkit and its peers in turn, epoch by epoch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from benchmarks.child_job import Job, stored
from benchmarks.machine import description, sgemm_peak
from benchmarks.networks import NETWORKS, training_flops
from benchmarks.options import add_networks, add_repeats, add_samples, add_turns, counts, parser, several
from benchmarks.report import of_host, publish, spread, table
from benchmarks.turn_taking import PEERS, Series, in_turn, variants

HEAD = (
    "framework",
    "s per epoch (min-max)",
    "µs per image",
    "time / cnnkit's",
    "GFLOP/s",
    "of sgemm peak",
    "peak, 1 and all threads",
    "two processes / one, turn by turn",
    "first loss",
)


def rows(series: Sequence[Series], flops: int) -> list[list[str]]:
    """One row for each contender; flops: of the training of one image."""
    ours = next((one.median() for one in series if one.contender.name == "cnnkit" and one.measured), None)
    made = []
    for one in series:
        if not one.measured:
            made.append([one.contender.name, one.status, *[""] * (len(HEAD) - 2)])
            continue
        seconds = one.median()
        speed = flops * one.contender.job.samples / seconds / 1e9
        made.append(
            [
                one.contender.name,
                spread(one.values()),
                f"{seconds / one.contender.job.samples * 1e6:.1f}",
                f"{seconds / ours:.2f}" if ours else "",
                f"{speed:.1f}",
                f"{speed / one.median('peak_all'):.0%}",
                f"{one.median('peak_one'):.0f}, {one.median('peak_all'):.0f}",
                ", ".join(f"{factor:.2f}" for factor in one.hosts),
                f"{one.warm_up['loss']:.4f}",
            ]
        )
    return made


def measure(
    job: Job, peers: Sequence[str], epochs: int, repeats: int, *, compiled: bool = False
) -> tuple[str, dict[str, Any]]:
    """All contenders on one job: a Markdown section, and the raw numbers."""
    flops = training_flops(job.model())

    def peaks() -> dict[str, float]:
        return {"peak_one": sgemm_peak(1), "peak_all": sgemm_peak(job.workers)}

    series = in_turn(variants(peers, job, compiled=compiled), epochs, peaks, repeats=repeats)
    title = (
        f"### {job.network}, batch {job.batch}, {job.samples:,} images, {job.workers} workers\n\n"
        f"{flops / 1e6:.2f} MFLOP to train on one image.\n\n"
    )
    raw = {"flops_per_image": flops, "series": [one.to_dict() for one in series]}
    return f"{title}{table(HEAD, rows(series, flops))}\n{of_host(series)}", raw


def main(argv: Sequence[str] | None = None) -> None:
    """The command line."""
    options = parser(__doc__)
    add_networks(options, "mnist-compact")
    add_samples(options, 60_000)
    add_turns(options)
    add_repeats(options)
    options.add_argument("--batch", type=counts, default="512", help="batch sizes")
    options.add_argument("--peers", type=several(PEERS), default=",".join(PEERS))
    options.add_argument("--compile", action="store_true", help="with torch.compile too, which needs a C++ compiler")
    args = options.parse_args(argv)
    machine = description()
    sections, results = [], []
    for network in args.network:
        measured = NETWORKS[network]
        with stored(args.data, measured.input_shape, args.samples, measured.target_shape) as data:
            for batch in args.batch:
                job = Job(network, data, args.samples, batch, args.workers)
                section, raw = measure(job, args.peers, args.epochs, args.repeats, compiled=args.compile)
                sections.append(section)
                results.append(raw)
    publish(args, machine, "\n".join(sections), results)


if __name__ == "__main__":
    main()
