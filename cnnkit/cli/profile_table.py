"""What `cnnkit train --profile` prints."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cnnkit.cli.output import say, say_table

if TYPE_CHECKING:
    from cnnkit.training import Run
    from cnnkit.training.recipe import Recipe

FORMATS = {
    "forward_ms": ("forward ms", ".4f"),
    "backward_ms": ("backward ms", ".4f"),
    "share": ("share", ".1%"),
    "forward_gflops": ("forward GFLOP/s", ".1f"),
    "backward_gflops": ("backward GFLOP/s", ".1f"),
}
"""The heading of each number, and how it is written."""


def costs_of(run: Run, recipe: Recipe, data_dir: str | None) -> list[dict[str, Any]]:
    """The cost of each step of the network, measured on the training samples of the recipe."""
    from cnnkit.network.execution.profile import profile, rows
    from cnnkit.training.assembly import data_for, trainer_for

    trainer = trainer_for(recipe)
    data = data_for(recipe, data_dir)
    recorded = (run.recipe or {}).get("train", {})
    engine = run.model.engine_for(trainer.loss, compiled=recorded.get("kernels") == "compiled")
    return rows(profile(engine, data.train, trainer.objective, trainer.batch_size))


def show_costs(costs: list[dict[str, Any]]) -> None:
    """Print it as a table."""
    say("\ntraining, for one sample on one worker:")
    table = [
        [row["step"], *("" if row[key] is None else format(row[key], form) for key, (_, form) in FORMATS.items())]
        for row in costs
    ]
    headings = [heading for heading, _ in FORMATS.values()]
    say_table(("step", *headings), table, ("forward GFLOP/s", "backward GFLOP/s"), headings)
