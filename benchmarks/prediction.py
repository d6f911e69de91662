"""Microseconds to predict a batch of 1,000 images and a single one: cnnkit, PyTorch and ONNX Runtime in turn.

cnnkit takes part with NumPy's kernels, and by machine code, which is compiled first where it is not there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from benchmarks.child_job import Job, stored
from benchmarks.machine import description
from benchmarks.networks import NETWORKS
from benchmarks.options import add_networks, add_repeats, add_turns, parser
from benchmarks.peers.prediction import VARIANTS
from benchmarks.report import compared, of_host, publish, table
from benchmarks.turn_taking import Contender, in_turn

SIZES = {1_000: 10_000, 1: 500}
"""For each batch size how many images are predicted in one turn."""


def main(argv: Sequence[str] | None = None) -> None:
    """The command line."""
    options = parser(__doc__)
    add_networks(options, ",".join(NETWORKS))
    add_turns(options)
    add_repeats(options)
    args = options.parse_args(argv)
    machine = description()
    sections, results = [], []
    for network in args.network:
        with stored(None, NETWORKS[network].input_shape, max(SIZES.values())) as data:
            for batch, samples in SIZES.items():
                job = Job(network, data, samples, batch, args.workers)
                series = in_turn(
                    [
                        Contender(name, "benchmarks.peers.prediction", needed, replace(job, variant=name))
                        for name, (needed, _) in VARIANTS.items()
                    ],
                    args.epochs,
                    repeats=args.repeats,
                )
                head = ("runtime", "µs per batch (min-max)", "time / cnnkit's")
                sections.append(f"### {network}, {batch:,} at once, {args.workers} workers\n\n")
                sections[-1] += f"{table(head, compared(series, 1e6 * batch / samples))}\n{of_host(series)}"
                results += [one.to_dict() for one in series]
    publish(args, machine, "\n".join(sections), results)


if __name__ == "__main__":
    main()
