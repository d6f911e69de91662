"""What the recipes of all tasks reach, beside PyTorch with the same network, data and schedule, over several seeds.

For each seed, PyTorch's network begins at the weights that cnnkit drew (Glorot uniform), sees the same samples in an
order of its own, and is updated by torch.optim.Adam at the recipe's rates. Both are measured on the test samples by
cnnkit's metrics.
"""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Sequence
from typing import Any

import numpy as np

from benchmarks.machine import description
from benchmarks.options import count, parser, several
from benchmarks.report import publish, table
from cnnkit.components import Metric, installed_catalog
from cnnkit.training.assembly import data_for, model_for, trainer_for
from cnnkit.training.recipe import Recipe, load_recipe
from cnnkit.training.trainer import Trainer
from cnnkit.types import Array, Samples

TASKS = ("mnist-segment", "mnist-multilabel", "mnist-denoise", "mnist-autoencode", "digits-regress", "signals")


def metrics_of(trainer: Trainer, outputs: Array, samples: Samples) -> dict[str, float]:
    """The recipe's metrics of these outputs."""
    measured = {}
    for one in trainer.metrics or ():
        metric = installed_catalog().build("metric", one)
        assert isinstance(metric, Metric)
        given = 1 / (1 + np.exp(-outputs)) if metric.of_probabilities else outputs  # of labels alone
        measured[metric.key] = metric.value(metric.sums(given, samples.y))
    return measured


def measured(recipe: Recipe, seed: int, workers: int, epochs: int | None) -> list[dict[str, Any]]:
    """One training by cnnkit and one by PyTorch: the metrics on the test samples, and seconds of processor time."""
    from benchmarks.peers import torch_tasks

    overrides = [f"train.seed={seed}", *([] if epochs is None else [f"train.epochs={epochs}"])]
    recipe = recipe.override(overrides)
    data = data_for(recipe)
    model = model_for(recipe, data)
    trainer = trainer_for(recipe, workers=workers, progress=False)
    began = _processor_seconds()
    outputs = torch_tasks.outputs(trainer, model, data, seed, workers)
    twin = metrics_of(trainer, outputs, data.test)
    between = _processor_seconds()
    run = trainer.fit(model, data)
    ours = {name: run.metrics[name] for name in twin}
    pairs = (("cnnkit", ours, _processor_seconds() - between), ("PyTorch", twin, between - began))
    return [
        {"framework": name, "seed": seed, "epochs": trainer.epochs, "metrics": metrics, "seconds": seconds}
        for name, metrics, seconds in pairs
    ]


def _processor_seconds() -> float:
    """Of this process and those that it waited for."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def rows(name: str, runs: Sequence[dict[str, Any]]) -> list[list[str]]:
    """One for each metric: mean and standard deviation of both, and by how many of the larger one the means differ."""
    made = []
    for metric in runs[0]["metrics"]:
        of = {
            framework: [run["metrics"][metric] for run in runs if run["framework"] == framework]
            for framework in ("cnnkit", "PyTorch")
        }
        ours, theirs = of.values()
        spread = max(map(statistics.stdev, of.values()), default=0.0) if len(ours) > 1 else 0.0
        apart = abs(statistics.mean(ours) - statistics.mean(theirs))
        shown = f"{apart / spread:.1f}" if spread else "-"
        made.append([name, str(runs[0]["epochs"]), metric, _mean(ours), _mean(theirs), shown])
    return made


def _mean(values: Sequence[float]) -> str:
    deviation = f" ± {statistics.stdev(values):.4f}" if len(values) > 1 else ""
    return f"{statistics.mean(values):.4f}{deviation}"


def main(argv: Sequence[str] | None = None) -> None:
    """The command line."""
    options = parser(__doc__)
    options.add_argument("--recipes", type=several(TASKS), default=",".join(TASKS), help="names, with commas between")
    options.add_argument("--seeds", type=count, default=3)
    options.add_argument("--epochs", type=count, help="of each training, instead of the recipe's")
    args = options.parse_args(argv)
    machine = description()
    runs: dict[str, list[dict[str, Any]]] = {}
    for name in args.recipes:
        began = time.perf_counter()
        for seed in range(args.seeds):
            runs.setdefault(name, []).extend(measured(load_recipe(name), seed, args.workers, args.epochs))
        print(f"{name}: {time.perf_counter() - began:.0f} s", flush=True)
    head = ("recipe", "epochs", "metric", "cnnkit", "PyTorch", "means apart, in standard deviations")
    lines = [row for name, some in runs.items() for row in rows(name, some)]
    publish(args, machine, f"### Tasks, test samples, {args.seeds} seeds\n\n{table(head, lines)}", runs)


if __name__ == "__main__":
    main()
