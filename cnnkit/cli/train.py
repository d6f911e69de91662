"""`cnnkit train`: train a recipe and register the model."""

from __future__ import annotations

import os
import shlex
import warnings
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cnnkit.cli.options import (
    BatchSize,
    DataFolder,
    Debug,
    Epochs,
    Json,
    LearningRate,
    Overrides,
    RegistryFolder,
    Seed,
    Workers,
)
from cnnkit.cli.output import console, counted, note, say, say_json, say_pairs, say_table
from cnnkit.cli.recipe import resolve

if TYPE_CHECKING:
    from cnnkit.registry import Registry, Version
    from cnnkit.training import Run
    from cnnkit.training.recipe import Recipe


def train(
    recipe: Annotated[
        str,
        typer.Argument(metavar="RECIPE", help="Name of a recipe that ships with cnnkit, or path of a .toml file."),
    ] = "digits",
    epochs: Epochs = None,
    batch_size: BatchSize = None,
    lr: LearningRate = None,
    seed: Seed = None,
    workers: Workers = None,
    overrides: Overrides = None,
    registry: RegistryFolder = None,
    data_dir: DataFolder = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would be trained; register nothing.")] = False,
    with_profile: Annotated[
        bool,
        typer.Option(
            "--profile", help="Show what each step of the network costs; trains with one worker unless told otherwise."
        ),
    ] = False,
    as_json: Json = False,
    _debug: Debug = False,
) -> None:
    """Train a recipe and register the model.

    Ctrl-C ends the training after the step; the epochs that were finished are kept and registered.
    """
    from cnnkit import api
    from cnnkit.errors import ConfigError
    from cnnkit.registry import Registry
    from cnnkit.training.interruption import stop_on_signals
    from cnnkit.training.progress import LiveProgress

    if dry_run and with_profile:
        raise ConfigError("--dry-run trains nothing that --profile could measure: leave out one of them")
    if with_profile and workers is None:
        workers = 1
    resolved = resolve(recipe, overrides, epochs=epochs, batch_size=batch_size, lr=lr, seed=seed)
    store = Registry(registry)
    _check_writable(store, resolved.model.name)
    if dry_run:
        _show_plan(resolved, workers, data_dir, as_json)
        return
    with stop_on_signals() as stop, warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # the trainer reports an overflow itself, and better
        run = api.train(
            resolved, data_dir=data_dir, workers=workers, progress=LiveProgress(console(stderr=True)), stop=stop
        )
        kept = bool(run.history)
        version = store.save(run.model, resolved.model.name, **run.record()) if kept else None
    costs = _profile(run, resolved, data_dir) if with_profile and run.signal is None else None
    if as_json:
        say_json(_document(run, version) | ({"profile": costs} if with_profile else {}))
    elif version is None:
        note("interrupted before the first epoch was finished: nothing was registered")
    else:
        _show_run(run, version, registry)
    if costs and not as_json:
        _show_profile(costs)
    if run.signal is not None:
        raise typer.Exit(128 + run.signal)


def _check_writable(store: Registry, name: str) -> None:
    """Find out before hours are spent on training that the model could not be registered; writes nothing."""
    from cnnkit.errors import RegistryError

    folder = store.path.absolute() / name
    existing = next(path for path in (folder, *folder.parents) if os.path.lexists(path))
    if not (os.path.isdir(existing) and os.access(existing, os.W_OK | os.X_OK)):
        raise RegistryError(
            f"the registry at {store.path} cannot take the model {name!r}: {existing} is not a folder that can be "
            "written to; choose another registry with --registry or CNNKIT_REGISTRY"
        )


def _show_run(run: Run, version: Version, registry: str | None) -> None:
    if run.reason != "all epochs done":
        say(f"ended after {counted(_epochs(run), 'epoch')}: {run.reason}")
    if run.metrics:
        say_table(("test", "value"), run.metrics.items())
    say()
    say_pairs({"registered": version.ref, "file": version.path})
    ending = f" --registry {shlex.quote(registry)}" if registry else ""
    say("\nnext:")
    for command in (f"evaluate {version.ref}", f"export {version.ref}", f"predict {version.ref} IMAGES.npy"):
        say(f"  cnnkit {command}{ending}")


def _document(run: Run, version: Version | None) -> dict[str, Any]:
    return {
        "ref": version and version.ref,
        "path": version and str(version.path),
        "digest": version and version.digest,
        "metrics": run.metrics,
        "history": run.history,
        "epochs": _epochs(run),
        "reason": run.reason,
        "recipe": run.recipe,
        "dataset": run.dataset,
        "settings": run.settings,
    }


def _profile(run: Run, recipe: Recipe, data_dir: str | None) -> list[dict[str, Any]]:
    from cnnkit.data import load_dataset
    from cnnkit.network.profile import profile, rows
    from cnnkit.training.assemble import trainer_for

    trainer = trainer_for(recipe)
    data = load_dataset(recipe.data.dataset, data_dir, recipe.data.validation, recipe.train.seed)
    engine = run.model.engine(logits=trainer.loss.from_logits)
    return rows(profile(engine, data.train, trainer.objective, trainer.batch_size))


def _show_profile(costs: list[dict[str, Any]]) -> None:
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


def _epochs(run: Run) -> int:
    return len(run.history.get("loss", ()))


def _show_plan(recipe: Recipe, workers: int | None, data_dir: str | None, as_json: bool) -> None:
    from cnnkit.data import load_dataset
    from cnnkit.training.assemble import model_for, trainer_for

    trainer = trainer_for(recipe, workers)
    data = load_dataset(recipe.data.dataset, data_dir, recipe.data.validation, recipe.train.seed)
    model = model_for(recipe, data)
    steps = -(-len(data.train) // trainer.batch_size)
    plan = {
        "training samples": len(data.train),
        "validation samples": len(data.validation or ()),
        "test samples": len(data.test),
        "steps in an epoch": steps,
        "steps in all": steps * trainer.epochs,
        "parameters": model.parameter_count(),
    }
    if as_json:
        say_json({"recipe": recipe.to_dict(), **{name.replace(" ", "_"): value for name, value in plan.items()}})
        return
    say(recipe.to_toml())
    say(f"{model.summary()}\n")
    say_pairs(plan)
