"""What cnnkit costs as work grows: one worker against all, more images, larger batches."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from benchmarks.child_job import Job, stored
from benchmarks.machine import description
from benchmarks.networks import NETWORKS
from benchmarks.options import add_networks, add_repeats, add_samples, add_turns, count, counts, parser
from benchmarks.report import of_host, publish, spread, table
from benchmarks.turn_taking import Contender, Series, in_turn


def section(title: str, series: Sequence[Series]) -> str:
    """A table of the time for each image, compared with the first row's."""
    rows = []
    for one in series:
        if one.measured:
            each = [seconds / one.contender.job.samples * 1e6 for seconds in one.values()]
            ratio = each_median(series[0]) / each_median(one) if series[0].measured else float("nan")
            rows.append([one.contender.name, spread(each, 1), f"{ratio:.2f}"])
        else:
            rows.append([one.contender.name, one.status, ""])
    head = ("", "µs per image (min-max)", "speed / first row")
    return f"### {title}\n\n{table(head, rows)}\n{of_host(series)}"


def each_median(series: Series) -> float:
    """Median seconds for one image."""
    return series.median() / series.contender.job.samples


def main(argv: Sequence[str] | None = None) -> None:
    """The command line."""
    options = parser(__doc__)
    add_networks(options, "mnist-compact")
    add_samples(options, 60_000)
    add_turns(options)
    add_repeats(options)
    options.add_argument("--batch", type=count, default=512, help="batch size where it is not what grows")
    options.add_argument("--batches", type=counts, default="64,256,1024,4096")
    args = options.parse_args(argv)
    machine = description()
    sections, results = [], []
    for network in args.network:
        measured = NETWORKS[network]
        with stored(args.data, measured.input_shape, args.samples, measured.target_shape) as data:
            job = Job(network, data, args.samples, args.batch, args.workers)
            growing = {
                "workers": [replace(job, workers=workers) for workers in sorted({1, args.workers})],
                "images": [replace(job, samples=max(1, args.samples * tenths // 10)) for tenths in (1, 3, 10)],
                "batch": [replace(job, batch=batch) for batch in args.batches],
            }
            for what, jobs in growing.items():
                names = [f"{getattr(one, what if what != 'images' else 'samples'):,} {what}" for one in jobs]
                series = in_turn(
                    [
                        Contender(name, "benchmarks.peers.cnnkit_peer", "cnnkit", one)
                        for name, one in zip(names, jobs, strict=True)
                    ],
                    args.epochs,
                    repeats=args.repeats,
                )
                sections.append(section(f"{network}: {what}", series))
                results += [one.to_dict() for one in series]
    publish(args, machine, "\n".join(sections), results)


if __name__ == "__main__":
    main()
