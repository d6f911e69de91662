"""Pictures of a comparison: each quantity by epoch, and what a configuration differs by from the best one; of a sweep,
what is reached with each value."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from cnnkit.comparison.result import Comparison
from cnnkit.comparison.sweep import Sweep
from cnnkit.components.quantities import VALIDATION
from cnnkit.errors import PlotError
from cnnkit.plotting.comparison import draw_quantity_by_configuration
from cnnkit.plotting.curves import is_finite
from cnnkit.plotting.saving import save
from cnnkit.plotting.style import look
from cnnkit.plotting.sweep import draw_by_value
from cnnkit.user_folders import expanded

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def check_folder(folder: str | Path) -> Path:
    """Make the folder for pictures, before anything is trained. Raises PlotError if no picture could be written."""
    folder = expanded(folder)
    with look():  # that matplotlib is there
        pass
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise PlotError(f"cannot write pictures into {folder}: {error.strerror or error}") from error
    if not os.access(folder, os.W_OK | os.X_OK):
        raise PlotError(f"cannot write pictures into {folder}: expected a folder that can be written to")
    return folder


def draw_comparison(comparison: Comparison, folder: str | Path) -> list[Path]:
    """Write accuracy.png and loss.png, or what else the runs were measured by. Raises PlotError.

    The curves are those of the validation samples if there are any, else of the training samples. A quantity without a
    finite value has no picture.
    """
    folder, written = check_folder(folder), []
    names = [row.name for row in comparison.rows]
    for quantity in comparison.quantities:
        measured, runs = comparison.curves(quantity)
        if not any(is_finite(value) for row in runs for values in row for value in values):
            continue
        ranked = [
            {run.seed: run.metrics[quantity] for run in row.done if quantity in run.metrics} for row in comparison.rows
        ]
        samples = "validation" if measured.startswith(VALIDATION) else "training"
        figure = draw_quantity_by_configuration(names, runs, ranked, quantity, f"{quantity} on {samples} samples")
        written.append(save(figure, folder / f"{quantity}.png"))
    return written


def draw_sweep(swept: Sweep) -> Figure:
    """The effect of one hyperparameter: the mean over the seeds by the value, with its standard deviation.

    Each seed is a point, and the best value is marked. Raises PlotError if nothing that ranks the values is finite.
    """
    ranked = swept.comparison
    title = f"{swept.rows[0].model}: {ranked.quantity} on {ranked.ranked_on} samples"
    return draw_by_value(swept.values, swept.ranked(), swept.key, ranked.quantity, title, swept.best)
