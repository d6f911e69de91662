"""What `cnnkit train --profile` prints."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cnnkit.cli.output import say, say_table

if TYPE_CHECKING:
    from cnnkit.training import Run
    from cnnkit.training.recipe import Recipe


def costs_of(run: Run, recipe: Recipe, data_dir: str | None) -> list[dict[str, Any]]:
    """The cost of each step of the network, measured on the training samples of the recipe."""
    from cnnkit.network.execution.profile import profile, rows
    from cnnkit.training.assemble import data_for, trainer_for

    trainer = trainer_for(recipe)
    data = data_for(recipe, data_dir)
    engine = run.model.engine_for(trainer.loss)
    return rows(profile(engine, data.train, trainer.objective, trainer.batch_size))


def show_costs(costs: list[dict[str, Any]]) -> None:
    """Print it as a table."""
    say("\ntraining, for one sample on one worker:")
    formats = {
        "forward_ms": ("forward ms", ".4f"),
        "backward_ms": ("backward ms", ".4f"),
        "share": ("share", ".1%"),
        "forward_gflops": ("forward GFLOP/s", ".1f"),
        "backward_gflops": ("backward GFLOP/s", ".1f"),
    }
    table = [
        [row["step"], *(_right(row[key], heading, form) for key, (heading, form) in formats.items())] for row in costs
    ]
    say_table(("step", *(heading for heading, _ in formats.values())), table)


def _right(value: float | None, heading: str, form: str) -> str:
    return ("" if value is None else format(value, form)).rjust(len(heading))
