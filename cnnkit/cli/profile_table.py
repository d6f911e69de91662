"""What `cnnkit train --profile` prints, and the picture of it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from cnnkit.cli.output import say, say_table
from cnnkit.waiting_line import waiting

if TYPE_CHECKING:
    from cnnkit.network.execution.profile import Profile
    from cnnkit.training import Run
    from cnnkit.training.recipe import Recipe

FORMATS = {
    "forward_ms": ("forward ms", ".4f"),
    "backward_ms": ("backward ms", ".4f"),
    "share": ("share", ".1%"),
    "gflops": ("GFLOP/s", ".1f"),
    "bytes": ("bytes", ",d"),
    "gb_per_second": ("GB/s", ".1f"),
    "of_limit": ("of limit", ".0%"),
}
"""The heading of each number, and how it is written."""


def check_picture(file: Path) -> None:
    """Find out, before anything is trained, that there can be no picture. Raises PlotError."""
    from cnnkit.plotting.saving import check_target
    from cnnkit.plotting.style import look

    check_target(file)
    with look():  # that matplotlib is there
        pass


def costs_of(run: Run, recipe: Recipe, data_dir: str | None) -> Profile:
    """The cost of each step of the network, measured on the training samples of the recipe."""
    from cnnkit.network.execution.machine_rates import machine_rates
    from cnnkit.network.execution.profile import profile
    from cnnkit.training.assembly import data_for, trainer_for

    trainer = trainer_for(recipe)
    data = data_for(recipe, data_dir)
    recorded = (run.recipe or {}).get("train", {})
    engine = run.model.engine_for(trainer.loss, compiled=recorded.get("kernels") == "compiled")
    with waiting("profiling"):
        return profile(
            engine,
            data.train,
            trainer.objective,
            trainer.batch_size,
            machine_rates(engine.dtype, compiled=engine.compiled),
        )


def show_costs(costs: Profile) -> None:
    """Print it as a table."""
    say("\ntraining, for one sample on one worker:")
    table = [[row["step"], *(_written(row[key], form) for key, (_, form) in FORMATS.items())] for row in costs.rows()]
    headings = [heading for heading, _ in FORMATS.values()]
    say_table(("step", *headings), table, ("bytes", "GB/s", "GFLOP/s"), headings)
    between = costs.between_ms / costs.ms if costs.ms else 0.0
    say(f"\nbetween the steps: {costs.between_ms:.4f} ms, {between:.1%}")
    say(f"limits: {costs.rates.gflops:.1f} GFLOP/s of products, {costs.rates.gb_per_second:.1f} GB/s of copies")


def draw_costs(costs: Profile, name: str, file: Path) -> Path:
    """Write the picture. Raises PlotError."""
    from cnnkit.plotting.roofline import draw_roofline
    from cnnkit.plotting.saving import save

    with waiting("drawing"):
        return save(draw_roofline(costs, f"{name}: a training on one worker, and the machine's limits"), file)


def _written(number: Any, form: str) -> str:
    return "" if number is None else format(number, form)
