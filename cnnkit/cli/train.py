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
from cnnkit.cli.output import console, counted, note, say, say_json, say_pairs, say_table, warn
from cnnkit.cli.recipe import resolve

if TYPE_CHECKING:
    from cnnkit.network import Footprint
    from cnnkit.registry import Registry, RunFolder, Version
    from cnnkit.training import Run
    from cnnkit.training.recipe import Recipe


def train(
    recipe: Annotated[
        str | None,
        typer.Argument(
            metavar="RECIPE", help="Name of a recipe that ships with cnnkit, or path of a .toml file; else digits."
        ),
    ] = None,
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
    resume: Annotated[
        str | None, typer.Option(metavar="RUN", help="Go on with an interrupted run: its name, or latest.")
    ] = None,
    checkpoint_steps: Annotated[
        int | None, typer.Option(help="Steps between checkpoints; no limit by default.")
    ] = None,
    checkpoint_minutes: Annotated[float, typer.Option(help="Minutes between checkpoints.")] = 5.0,
    as_json: Json = False,
    _debug: Debug = False,
) -> None:
    """Train a recipe and register the model.

    Ctrl-C ends the training after the step and keeps a checkpoint, from which --resume goes on to the same bits; a
    second Ctrl-C ends it at once.
    """
    from cnnkit import api
    from cnnkit.cli.runs import interrupted
    from cnnkit.errors import ConfigError
    from cnnkit.registry import Registry, Runs
    from cnnkit.training import Checkpoints
    from cnnkit.training.interruption import stop_on_signals
    from cnnkit.training.progress import LiveProgress

    if dry_run and with_profile:
        raise ConfigError("--dry-run trains nothing that --profile could measure: leave out one of them")
    if with_profile and workers is None:
        workers = 1
    store = Registry(registry)
    if resume is None:
        resolved = resolve(recipe or "digits", overrides, epochs=epochs, batch_size=batch_size, lr=lr, seed=seed)
        place = Runs(store.path).new(resolved.model.name)
    else:
        given = {"RECIPE": recipe, "--set": overrides, "--epochs": epochs, "--batch-size": batch_size, "--lr": lr}
        given |= {"--seed": seed, "--dry-run": dry_run or None}
        resolved, place = interrupted(store.path, resume, [name for name, value in given.items() if value is not None])
    _check_writable(store, resolved.model.name)
    if dry_run:
        _show_plan(resolved, workers, data_dir, as_json)
        return
    ending = _at(registry) + (f" --data-dir {shlex.quote(data_dir)}" if data_dir else "")
    checkpoints = Checkpoints(
        place,
        steps=checkpoint_steps,
        minutes=checkpoint_minutes,
        resume=resume is not None,
        recipe=resolved.to_dict(),
    )
    with place:
        with stop_on_signals() as stop, warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)  # the trainer reports an overflow itself, and better
            try:
                run = api.train(
                    resolved,
                    data_dir=data_dir,
                    workers=workers,
                    progress=LiveProgress(console(stderr=True)),
                    stop=stop,
                    checkpoints=checkpoints,
                )
            except KeyboardInterrupt:
                note("ended at once: what was trained since the last checkpoint is lost, and nothing was registered")
                _show_resume(place, ending)
                raise
        version = _register(store, run, resolved.model.name, place, resume is not None, ending)
    costs = _profile(run, resolved, data_dir) if with_profile and run.signal is None else None
    if as_json:
        unfinished = {"run": place.name if version is None and place.has_begun() else None}
        say_json(_document(run, version) | unfinished | ({"profile": costs} if with_profile else {}))
    elif version is None:
        _show_interrupted(run, place, checkpoints.failure, ending)
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
    say("\nnext:")
    for command in (f"evaluate {version.ref}", f"export {version.ref}", f"predict {version.ref} IMAGES.npy"):
        say(f"  cnnkit {command}{_at(registry)}")


def _at(registry: str | None) -> str:
    """The end of a command for the same registry."""
    return f" --registry {shlex.quote(registry)}" if registry else ""


def _register(store: Registry, run: Run, name: str, place: RunFolder, resumed: bool, ending: str) -> Version | None:
    """The version that the run becomes, None if it was stopped; its checkpoint is kept until that is safe."""
    from cnnkit.cli.runs import registered, registered_before
    from cnnkit.training.loop import STOPPED

    if run.reason == STOPPED:
        return None
    try:
        version = (registered_before(store, run, name) if resumed else None) or registered(store, run, name)
    except BaseException:
        if place.has_begun():
            note(f"the trained model is kept; to register it: cnnkit train --resume {place.name}{ending}")
        raise
    place.remove()
    return version


def _show_interrupted(run: Run, place: RunFolder, failure: str, ending: str) -> None:
    note(f"interrupted after {counted(_epochs(run), 'epoch')}: nothing was registered")
    if failure:
        warn("the last steps are lost, because no checkpoint could be written")
    _show_resume(place, ending)


def _show_resume(place: RunFolder, ending: str) -> None:
    if place.has_begun():
        note(f"to go on: cnnkit train --resume {place.name}{ending}")


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
    forecast = trainer.forecast(model, data)
    memory = forecast.footprint()
    if as_json:
        sizes = {**memory.parts, "total": memory.total, "available": forecast.available}
        counts = {name.replace(" ", "_"): value for name, value in plan.items()}
        say_json({"recipe": recipe.to_dict(), **counts, "memory": sizes, "largest_layer": memory.largest.name})
    else:
        say(recipe.to_toml())
        say(f"{model.summary()}\n")
        say_pairs(plan)
        _show_memory(memory, forecast.available)
    forecast.require()


def _show_memory(memory: Footprint, available: int | None) -> None:
    from cnnkit.network.footprint import readable

    sizes = {**memory.parts, "in all": memory.total, "of that new": memory.added, "available": available}
    say("\nmemory:")
    say_pairs({f"  {name}": "unknown" if size is None else f"{readable(size):>12}" for name, size in sizes.items()})
    say_pairs({"  largest layer": memory.largest.name})
