"""What the shipped recipes reach: test accuracy and seconds of whole trainings, over several seeds."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from benchmarks.machine import description
from benchmarks.options import count, parser, several
from benchmarks.report import publish, spread, table
from cnnkit import load_recipe, train
from cnnkit.training.recipe import recipe_names

ON_DIGITS = "digits,digits-notebook,mnist-12k,mnist-compact,mnist-best"


def measured(name: str, seed: int, workers: int) -> dict[str, Any]:
    """One training, samples loaded and the test samples measured within the time."""
    began = time.perf_counter()
    run = train(load_recipe(name), seed=seed, workers=workers)
    seconds = time.perf_counter() - began
    return {
        "seed": seed,
        "accuracy": run.metrics["accuracy"],
        "epochs": len(run.history["loss"]),
        "seconds": seconds,
        "parameters": run.model.parameter_count(),
    }


def row(name: str, runs: Sequence[dict[str, Any]]) -> list[str]:
    """Medians, with the spread over the seeds."""
    accuracies, seconds = ([run[key] for run in runs] for key in ("accuracy", "seconds"))
    epochs = "-".join(map(str, sorted({run["epochs"] for run in runs})))
    percent = spread([100 * accuracy for accuracy in accuracies])
    return [name, f"{runs[0]['parameters']:,}", epochs, percent, spread(seconds, 1)]


def main(argv: Sequence[str] | None = None) -> None:
    """The command line."""
    options = parser(__doc__)
    options.add_argument(
        "--recipes", type=several(recipe_names()), default=ON_DIGITS, help="names, with commas between"
    )
    options.add_argument("--seeds", type=count, default=3)
    args = options.parse_args(argv)
    machine = description()
    runs = {name: [measured(name, seed, args.workers) for seed in range(args.seeds)] for name in args.recipes}
    head = ("recipe", "parameters", "epochs", "test accuracy, %", "s")
    title = f"### Recipes, medians over {args.seeds} seeds\n\n"
    publish(args, machine, title + table(head, [row(name, some) for name, some in runs.items()]), runs)


if __name__ == "__main__":
    main()
