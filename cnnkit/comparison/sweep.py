"""Sweeps: one recipe with several values of one of its keys, compared."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cnnkit.comparison.compare import compare
from cnnkit.comparison.comparison_progress import ComparisonProgress
from cnnkit.comparison.grid import LEARNING_RATE, read_grid
from cnnkit.comparison.result import Comparison, Row
from cnnkit.errors import ConfigError
from cnnkit.registry import Registry
from cnnkit.training.recipe import Overrides
from cnnkit.training.recipe_source import find_recipe
from cnnkit.training.recipe_tables import CompareSection


@dataclass(frozen=True)
class Sweep:
    """What a recipe reaches with each value of a key."""

    key: str
    values: tuple[Any, ...]
    """In the order that they were given in."""
    comparison: Comparison

    @property
    def rows(self) -> list[Row]:
        """Those of the comparison, in the order of the values."""
        return sorted(self.comparison.rows, key=lambda row: row.position)

    @property
    def best(self) -> Any:
        """The value that ranks first; None if all of its runs have failed."""
        return None if self.comparison.best is None else self.values[self.comparison.best.position]

    def ranked(self) -> list[Mapping[int, float]]:
        """What ranks each value, by the seed."""
        name = self.comparison.quantity
        return [{run.seed: run.metrics[name] for run in row.done if name in run.metrics} for row in self.rows]


def sweep(
    recipe: str | Path,
    vary: str | Mapping[str, Sequence[Any]],
    *,
    overrides: Overrides = (),
    seeds: int | Sequence[int] | None = None,
    registry: Registry | str | Path | None = None,
    data_dir: str | Path | None = None,
    jobs: int | None = None,
    progress: ComparisonProgress | None = None,
) -> Sweep:
    """Train a recipe with each value of a key: `sweep("digits", {"train.lr": [0.001, 0.003, 0.01]}, seeds=3)`.

    vary: one key of the recipe with its values, or the same as text, `"train.lr=0.001,0.003,0.01"`; train.lr is the
    learning rate of the recipe's optimizer. The other arguments are as of `compare`, which does it, and registers
    nothing.
    Raises ConfigError for more than one key or fewer than two different values, and as `compare` does.
    """
    varied = read_grid([vary] if isinstance(vary, str) else vary)
    if len(varied) != 1:
        raise ConfigError(f"a sweep varies one key, such as train.lr=0.001,0.01; got {vary!r}: use compare for several")
    ((key, values),) = varied.items()
    if any(values.count(value) > 1 for value in values) or len(values) < 2:
        raise ConfigError(f"expected two different values or more of {key}, such as {key}=0.001,0.01; got {vary!r}")
    source = find_recipe(recipe, overrides, data_dir)
    if key == LEARNING_RATE and (wrong := [rate for rate in values if not _is_rate(rate)]):
        raise ConfigError(f"a learning rate is a number above 0, got {wrong[0]!r} in {vary!r}")
    only_seeds = source.compare and CompareSection(seeds=source.compare.seeds)
    plain = source.model_copy(update={"compare": only_seeds})
    comparison = compare(
        [plain],
        grid={key: values},
        seeds=seeds,
        register="none",
        registry=registry,
        data_dir=data_dir,
        jobs=jobs,
        progress=progress,
    )
    return Sweep(key, tuple(values), comparison)


def _is_rate(value: Any) -> bool:
    return not isinstance(value, bool) and isinstance(value, int | float) and 0 < value < math.inf
