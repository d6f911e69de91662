"""Seconds of training to 99.0 % of MNIST's test images: cnnkit and PyTorch, same network, data, batches, schedule."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

from benchmarks.child_job import MNIST_SHAPE, Job, stored
from benchmarks.machine import description
from benchmarks.networks import NETWORKS
from benchmarks.options import count, parser
from benchmarks.report import of_host, publish, table
from benchmarks.turn_taking import Series, in_turn, variants

MNIST_TRAINING = 60_000


def reached(series: Series, target: float) -> tuple[float, int] | None:
    """Seconds and epochs until the test accuracy is at the target for the first time, or None."""
    turns = [series.warm_up, *series.turns]
    for epochs in range(1, len(turns) + 1):
        if turns[epochs - 1]["validation_accuracy"] >= target:
            return sum(turn["seconds"] for turn in turns[:epochs]), epochs
    return None


def row(name: str, runs: Sequence[Series], target: float) -> list[str]:
    """Medians over the seeds; a run that never got there has no time."""
    if failed := [one.status for one in runs if not one.measured]:
        return [name, failed[0], "", "", ""]
    found = [at for one in runs if (at := reached(one, target))]
    best = statistics.median(max([one.warm_up, *one.turns], key=_accuracy)["validation_accuracy"] for one in runs)
    if not found:
        return [name, "never", f"0 of {len(runs)}", "", f"{best:.2%}"]
    seconds, epochs = (statistics.median(values) for values in zip(*found, strict=True))
    return [name, f"{seconds:.1f}", f"{len(found)} of {len(runs)}", f"{epochs:g}", f"{best:.2%}"]


def _accuracy(turn: dict[str, float]) -> float:
    return turn["validation_accuracy"]


def main(argv: Sequence[str] | None = None) -> None:
    """The command line."""
    options = parser(__doc__)
    fitting = [name for name, network in NETWORKS.items() if network.input_shape == MNIST_SHAPE]
    options.add_argument("--network", default="mnist-compact", choices=fitting)
    options.add_argument("--batch", type=count, default=512)
    options.add_argument("--epochs", type=count, default=20, help="how long the schedule is; the recipe has 20")
    options.add_argument("--samples", type=count, default=MNIST_TRAINING)
    options.add_argument("--seeds", type=count, default=3)
    options.add_argument("--target", type=float, default=0.99)
    args = options.parse_args(argv)
    machine = description()
    runs: dict[str, list[Series]] = {}
    with stored("mnist", MNIST_SHAPE, args.samples) as data:
        for seed in range(args.seeds):
            job = Job(
                args.network,
                data,
                args.samples,
                args.batch,
                args.workers,
                optimizer="Adam(0.004)",
                schedule="Cosine(warmup=0.5)",
                epochs=args.epochs,
                evaluate=True,
                seed=seed,
            )
            for series in in_turn(variants(["torch"], job), args.epochs - 1):
                runs.setdefault(series.contender.name, []).append(series)
    head = ("framework", f"s to {args.target:.1%}", "runs that got there", "epochs", "best accuracy")
    title = f"### {args.network}, batch {args.batch}, {args.epochs} epochs, medians over {args.seeds} seeds\n\n"
    rows = [row(name, series, args.target) for name, series in runs.items()]
    markdown = f"{title}{table(head, rows)}\n{of_host([one for some in runs.values() for one in some])}"
    publish(args, machine, markdown, {name: [one.to_dict() for one in series] for name, series in runs.items()})


if __name__ == "__main__":
    main()
