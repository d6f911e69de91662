"""`cnnkit sweep`: the effect of one hyperparameter."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer

from cnnkit.cli.compare import overrides_of, seeds_of, spread_runs
from cnnkit.cli.options import (
    BatchSize,
    DataFolder,
    Debug,
    Epochs,
    Json,
    Overrides,
    Quiet,
    RegistryFolder,
    expanded_path,
)
from cnnkit.cli.output import note, say, say_json, say_table, warn
from cnnkit.terminal import console


def sweep(
    recipe: Annotated[str, typer.Argument(metavar="RECIPE", help="A recipe, or your data as train takes it.")],
    vary: Annotated[
        str,
        typer.Option(
            metavar="KEY=VALUE,VALUE...",
            help="The key of the recipe and its values; train.lr is the learning rate of its optimizer.",
        ),
    ],
    seeds: Annotated[
        str | None,
        typer.Option(
            metavar="N|SEED,SEED...", help="Number of seeds, or a list of them; default: those of the recipe, or 3."
        ),
    ] = None,
    epochs: Epochs = None,
    batch_size: BatchSize = None,
    overrides: Overrides = None,
    jobs: Annotated[
        int | None, typer.Option(min=1, help="Parallel runs; default: one for each core. Never changes a result.")
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", callback=expanded_path, metavar="FILE", help="Draw the curve: a .png, .svg or .pdf file."
        ),
    ] = None,
    registry: RegistryFolder = None,
    data_dir: DataFolder = None,
    _quiet: Quiet = False,
    as_json: Json = False,
    _debug: Debug = False,
) -> None:
    """Show the effect of one hyperparameter.

    Trains the recipe with each value and several seeds, as compare does, and registers nothing.
    Exits with 1 if a run failed.
    """
    from cnnkit.comparison import draw_sweep
    from cnnkit.comparison.comparison_progress import LiveComparison, spread
    from cnnkit.comparison.sweep import sweep
    from cnnkit.errors import CheckError
    from cnnkit.plotting.saving import check_target, save

    if output:
        check_target(output)
    with spread_runs("loky", jobs), _told_of_resuming():
        found = sweep(
            recipe,
            vary,
            overrides=overrides_of(overrides, epochs, batch_size),
            seeds=None if seeds is None else seeds_of(seeds),
            registry=registry,
            data_dir=data_dir,
            progress=LiveComparison(console(sys.stderr)),
        )
    ranked = found.comparison
    for text in filter(None, (ranked.warning, ranked.hint)):
        warn(text)
    if output:
        save(draw_sweep(found), output)
    if as_json:
        entries = [
            {
                "value": value,
                "mean": row.mean(ranked.quantity),
                "std": row.deviation(ranked.quantity),
                "seeds": {str(seed): figure for seed, figure in by_seed.items()},
            }
            for value, row, by_seed in zip(found.values, found.rows, found.ranked(), strict=True)
        ]
        say_json(
            {
                "key": found.key,
                "quantity": ranked.quantity,
                "greater_is_better": ranked.greater_is_better,
                "ranked_on": ranked.ranked_on,
                "best": found.best,
                "values": entries,
                "picture": output and str(output),
            }
        )
    else:
        say_table(
            (found.key, *ranked.quantities, "s in all"),
            [
                (value, *(spread(row, name) for name in ranked.quantities), f"{row.seconds:.1f}")
                for value, row in zip(map(str, found.values), found.rows, strict=True)
            ],
        )
        say()
        if ranked.best:
            say(f"best: {found.best}, by the mean {ranked.quantity} on {ranked.ranked_on} samples")
        if output:
            say(f"picture: {output}")
    if failures := ranked.failures:
        note("finished runs are kept; to continue:", f"cnnkit compare --resume {ranked.name}")
        reasons = "".join(f"\n  {row.name}, seed {run.seed}: {run.error}" for row, run in failures)
        raise CheckError(f"{len(failures)} runs failed{reasons}")


@contextlib.contextmanager
def _told_of_resuming() -> Iterator[None]:
    try:
        yield
    except KeyboardInterrupt:
        note("interrupted")
        note("finished runs are kept; to continue:", "cnnkit compare --resume latest")
        raise
