"""`cnnkit compare`: train several configurations with several seeds, and say which is best."""

from __future__ import annotations

import contextlib
import os
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from cnnkit.cli.options import (
    BatchSize,
    DataFolder,
    Debug,
    Epochs,
    Json,
    Overrides,
    Quiet,
    RegistryFolder,
    StrictPlugins,
    expanded_path,
)
from cnnkit.cli.output import note, say, say_json, say_table, warn
from cnnkit.terminal import console
from cnnkit.waiting_line import waiting
from cnnkit.wording import counted

if TYPE_CHECKING:
    from cnnkit.comparison import Comparison, Row
    from cnnkit.comparison.comparison_plan import ComparisonPlan
    from cnnkit.registry import ComparisonFolder, Registry


def compare(
    configurations: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[RECIPE|CODE]...",
            help="Recipes, or your data as train takes it; or short codes of networks such as c16pc8p: c16 is a 3x3 "
            "convolution with 16 filters and a ReLU, p a 2x2 max pooling. Default: the configurations of the base.",
        ),
    ] = None,
    base: Annotated[
        str | None, typer.Option(metavar="RECIPE", help="Recipe that the codes apply to; default: mnist-configs.")
    ] = None,
    grid: Annotated[
        list[str] | None,
        typer.Option(metavar="KEY=VALUE,VALUE...", help="Try every value of a key, in all combinations; repeatable."),
    ] = None,
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
        int | None,
        typer.Option(min=1, help="Parallel runs; default: as many as the backend offers. Never changes a result."),
    ] = None,
    backend: Annotated[
        str,
        typer.Option(
            help="Where runs execute: loky (processes), or another backend of joblib. dask uses the cluster at "
            "DASK_SCHEDULER_ADDRESS, or starts one."
        ),
    ] = "loky",
    register: Annotated[
        str | None, typer.Option(metavar="best|all|none", help="What to register at the end; default: best.")
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", callback=expanded_path, metavar="FOLDER", help="Write pictures to this folder."),
    ] = None,
    resume: Annotated[
        str | None, typer.Option(metavar="NAME", help="Resume an unfinished comparison: its name, or latest.")
    ] = None,
    registry: RegistryFolder = None,
    data_dir: DataFolder = None,
    _quiet: Quiet = False,
    as_json: Json = False,
    _strict: StrictPlugins = False,
    _debug: Debug = False,
) -> None:
    """Train several configurations and rank them.

    Each is trained with several seeds. Finished runs are kept, so that --resume continues after an interruption.
    Exits with 1 if a run failed.
    """
    from cnnkit.comparison import draw_comparison
    from cnnkit.comparison.compare import begin, carry_out
    from cnnkit.comparison.comparison_pictures import check_folder
    from cnnkit.comparison.comparison_plan import Datasets, make_plan
    from cnnkit.comparison.comparison_progress import LiveComparison
    from cnnkit.errors import CheckError, CnnkitError
    from cnnkit.registry import Registry

    if output:
        check_folder(output)
    store, datasets = Registry(registry), Datasets(data_dir)
    if resume is None:
        plan = make_plan(
            configurations or (),
            datasets,
            base=base,
            grid=grid or (),
            overrides=overrides_of(overrides, epochs, batch_size),
            seeds=None if seeds is None else seeds_of(seeds),
            register=cast(Any, register or "best"),  # it is checked there
        )
        place = None
    else:
        given: dict[str, object] = {
            "RECIPE|CODE": configurations,
            "--base": base,
            "--grid": grid,
            "--seeds": seeds,
            "--epochs": epochs,
        }
        given |= {"--batch-size": batch_size, "--set": overrides, "--register": register}
        plan, place = _unfinished(store, resume, [name for name, value in given.items() if value])
    with spread_runs(backend, jobs), place or begin(plan, store, datasets) as place:
        try:
            live = LiveComparison(console(sys.stderr))
            comparison = carry_out(plan, place, store, datasets, progress=live)
        except BaseException as error:
            if isinstance(error, KeyboardInterrupt):
                note("interrupted")
            _show_resume(place, output, registry, data_dir)
            raise
    pictures: list[Path] = []
    trouble: CnnkitError | None = None
    if output:
        try:
            with waiting("drawing"):
                pictures = draw_comparison(comparison, output)
        except CnnkitError as error:  # what was trained is shown all the same
            trouble = error
    for text in filter(None, (comparison.warning, comparison.hint)):
        warn(text)
    if as_json:
        say_json(_document(comparison) | {"pictures": list(map(str, pictures))})
    else:
        _show(comparison, pictures)
    if failures := comparison.failures:
        _show_resume(place, output, registry, data_dir)
        reasons = "".join(f"\n  {row.name}, seed {run.seed}: {run.error}" for row, run in failures)
        total = len(comparison.rows) * len(comparison.seeds)
        raise CheckError(f"{len(failures)} of {counted(total, 'run')} failed{reasons}")
    if trouble:
        raise trouble


def overrides_of(given: list[str] | None, epochs: int | None, batch_size: int | None) -> list[str]:
    """`--set` first, then the flags."""
    flags = {"epochs": epochs, "batch_size": batch_size}
    return [*(given or ()), *(f"train.{key}={value}" for key, value in flags.items() if value is not None)]


def seeds_of(text: str) -> int | list[int]:
    """How many, `3`, or which, `0,5`; a comma at the end makes a list of one."""
    from cnnkit.errors import ConfigError

    try:
        numbers = [int(part) for part in text.removesuffix(",").split(",")]
    except ValueError:
        raise ConfigError(
            f"--seeds takes a number of seeds, such as 3, or a comma-separated list, such as 0,5,7; got {text!r}"
        ) from None
    return numbers if "," in text else numbers[0]


def _unfinished(store: Registry, name: str, given: list[str]) -> tuple[ComparisonPlan, ComparisonFolder]:
    """The plan and the place of a comparison; warns of what is not as it was.

    given: names of arguments that would change the plan. Raises ConfigError if there are any, RegistryError for a
    comparison that is not there, is damaged, or is being carried out.
    """
    from cnnkit.comparison.comparison_plan import ComparisonPlan
    from cnnkit.errors import ConfigError
    from cnnkit.registry import Comparisons
    from cnnkit.registry.environment import differences

    if given:
        raise ConfigError(f"--resume uses the options that the comparison started with: remove {', '.join(given)}")
    place = Comparisons(store.path).find(name)
    with contextlib.ExitStack() as stack:
        stack.callback(place.release)
        record = place.load()
        plan = ComparisonPlan.from_record(record, place.name)
        stack.pop_all()
    for difference in differences(record.get("environment")):
        warn(f"{difference}: results may differ in their last bits from those of the finished runs")
    return plan, place


@contextlib.contextmanager
def spread_runs(backend: str, jobs: int | None) -> Iterator[None]:
    """Configure joblib; for dask with a client of the cluster that its own setting names, else of a new one here."""
    from joblib import parallel_config

    from cnnkit.errors import ConfigError

    with contextlib.ExitStack() as stack:
        try:
            if backend == "dask":
                stack.enter_context(_dask_client(jobs))
            stack.enter_context(parallel_config(backend, n_jobs=jobs or -1))
        except (ImportError, ValueError) as error:
            raise ConfigError(f"the backend {backend!r} cannot be used: {error}") from None
        yield


def _dask_client(jobs: int | None) -> Any:
    import logging

    from distributed import Client

    from cnnkit.comparison.tasks import deaf_to_interrupts

    client: Any = Client  # which has no types
    if address := os.environ.get("DASK_SCHEDULER_ADDRESS"):
        return client(address)
    with deaf_to_interrupts():
        return client(n_workers=jobs, threads_per_worker=1, dashboard_address=None, silence_logs=logging.ERROR)


def _show(comparison: Comparison, pictures: list[Path]) -> None:
    from cnnkit.comparison.comparison_progress import spread, written

    headings = ("configuration", *comparison.quantities, "parameters", "s/epoch", "s in all", "registered")
    say_table(
        headings,
        [
            (
                f"{row.name} ({len(row.failed)} failed)" if row.failed else row.name,
                *(spread(row, quantity) for quantity in comparison.quantities),
                f"{row.parameters:,}",
                "" if row.seconds_per_epoch is None else f"{row.seconds_per_epoch:.2f}",
                f"{row.seconds:.1f}",
                ", ".join(run.ref for run in row.runs if run.ref),
            )
            for row in comparison.rows
        ],
        ("s in all", "parameters", "s/epoch"),
    )
    say()
    if comparison.best and comparison.best_run:
        say(f"best: {comparison.best.name}, by the mean {comparison.quantity} on {comparison.ranked_on} samples")
        if comparison.validation:
            say(f"validation samples: {comparison.validation:.0%} of the training samples, set aside by the comparison")
        if comparison.test and comparison.ranked_on != "test":
            values = ", ".join(f"{name} {written(value)}" for name, value in comparison.test.items())
            say(f"its best run, seed {comparison.best_run.seed}, on the test samples: {values}")
    for picture in pictures:
        say(f"picture: {picture}")


def _show_resume(place: ComparisonFolder, output: Path | None, registry: str | None, data_dir: str | None) -> None:
    options = {"-o": output, "--registry": registry, "--data-dir": data_dir}
    ending = "".join(f" {name} {shlex.quote(str(value))}" for name, value in options.items() if value)
    note("finished runs are kept; to continue:", f"cnnkit compare --resume {place.name}{ending}")


def _document(comparison: Comparison) -> dict[str, Any]:
    return {
        "name": comparison.name,
        "quantity": comparison.quantity,
        "greater_is_better": comparison.greater_is_better,
        "ranked_on": comparison.ranked_on,
        "validation": comparison.validation,
        "seeds": list(comparison.seeds),
        "best": comparison.best and comparison.best.name,
        "test": comparison.test,
        "registered": [run.ref for row in comparison.rows for run in row.runs if run.ref],
        "configurations": [_row(row, comparison.quantities) for row in comparison.rows],
    }


def _row(row: Row, quantities: tuple[str, ...]) -> dict[str, Any]:
    return {
        "name": row.name,
        "model": row.model,
        "parameters": row.parameters,
        "metrics": {name: {"mean": row.mean(name), "std": row.deviation(name)} for name in quantities},
        "seconds_per_epoch": row.seconds_per_epoch,
        "seconds": row.seconds,
        "runs": [
            {
                "seed": run.seed,
                "ref": run.ref,
                "metrics": run.metrics,
                "history": run.history,
                "error": run.error or None,
            }
            for run in row.runs
        ],
    }
