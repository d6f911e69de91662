"""`cnnkit train`: train a recipe and register the model."""

from __future__ import annotations

import shlex
import sys
import warnings
from collections.abc import Sequence
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
from cnnkit.cli.output import counted, note, say, say_json, say_pairs, say_table, warn
from cnnkit.cli.plan import show_plan
from cnnkit.cli.profile import costs_of, show_costs
from cnnkit.cli.recipe import resolve
from cnnkit.cli.recorded import needed_options
from cnnkit.cli.trials import find_learning_rate, overfit_one_batch
from cnnkit.lines import on_one_line
from cnnkit.terminal import console

if TYPE_CHECKING:
    from cnnkit.registry import Registry, RunFolder, Version
    from cnnkit.training import Checkpoints, Run
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
    fraction: Annotated[float | None, typer.Option(help="Share of the training samples to use.")] = None,
    time: Annotated[
        str | None,
        typer.Option(metavar="TIME", help="Train for as many epochs as fit into a time, such as 90s, 5m or 1h."),
    ] = None,
    workers: Workers = None,
    overrides: Overrides = None,
    registry: RegistryFolder = None,
    data_dir: DataFolder = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would be trained; register nothing.")] = False,
    find_lr: Annotated[
        bool, typer.Option("--find-lr", help="Find a learning rate by a short training; register nothing.")
    ] = False,
    one_batch: Annotated[
        bool,
        typer.Option(
            "--overfit-one-batch", help="Check that the network can learn one batch by heart; register nothing."
        ),
    ] = False,
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
    second Ctrl-C ends it at once. A model that cannot be measured on the test samples is registered all the same; the
    exit code is 1 then.
    """
    from cnnkit.cli.runs import interrupted
    from cnnkit.registry import Registry, Runs
    from cnnkit.training import Checkpoints

    trials = {"--dry-run": dry_run, "--find-lr": find_lr, "--overfit-one-batch": one_batch}
    _check_alone([name for name, chosen in (trials | {"--profile": with_profile}).items() if chosen])
    store = Registry(registry)
    if resume is None:
        resolved = resolve(
            recipe or "digits", overrides, epochs=epochs, batch_size=batch_size, lr=lr, seed=seed, fraction=fraction
        )
        place = Runs(store.path).new(resolved.model.name)
    else:
        given = {"RECIPE": recipe, "--set": overrides, "--epochs": epochs, "--batch-size": batch_size, "--lr": lr}
        given |= {"--seed": seed, "--fraction": fraction, "--time": time}
        given |= {name: chosen or None for name, chosen in trials.items()}
        resolved, place = interrupted(store.path, resume, [name for name, value in given.items() if value is not None])
    if with_profile and workers is None:
        workers = 1
    if time is not None:
        resolved = _within(resolved, time, workers, data_dir, epochs)
    if find_lr:
        find_learning_rate(resolved, workers, data_dir, as_json)
        return
    if one_batch:
        overfit_one_batch(resolved, workers, data_dir, as_json)
        return
    store.check_save(resolved.model.name)
    if dry_run:
        show_plan(resolved, workers, data_dir, as_json, store)
        return
    checkpoints = Checkpoints(
        place,
        steps=checkpoint_steps,
        minutes=checkpoint_minutes,
        resume=resume is not None,
        recipe=resolved.to_dict(),
    )
    ending = _at(registry) + (f" --data-dir {shlex.quote(data_dir)}" if data_dir else "")
    with place:
        run = _trained(resolved, place, checkpoints, workers, data_dir, ending)
        version = _register(store, run, resolved.model.name, place, resume is not None, ending)
    costs = costs_of(run, resolved, data_dir) if with_profile and run.signal is None else None
    if as_json:
        unfinished = {"run": place.name if version is None and place.has_begun() else None}
        say_json(_document(run, version) | unfinished | ({"profile": costs} if with_profile else {}))
    elif version is None:
        _show_interrupted(run, place, checkpoints.failure, ending)
    else:
        _show_run(run, version, registry, data_dir)
    if costs and not as_json:
        show_costs(costs)
    if run.signal is not None:
        raise typer.Exit(128 + run.signal)
    if run.warning:
        raise typer.Exit(1)


def _trained(
    recipe: Recipe, place: RunFolder, checkpoints: Checkpoints, workers: int | None, data_dir: str | None, ending: str
) -> Run:
    """Train with a live progress; the first Ctrl-C ends it after the step, the second at once."""
    from cnnkit import api
    from cnnkit.training.interruption import stop_on_signals
    from cnnkit.training.progress import LiveProgress

    with stop_on_signals() as stop, warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # the trainer reports an overflow itself, and better
        try:
            return api.train(
                recipe,
                data_dir=data_dir,
                workers=workers,
                progress=LiveProgress(console(sys.stderr)),
                stop=stop,
                checkpoints=checkpoints,
            )
        except KeyboardInterrupt:
            note("ended at once: what was trained since the last checkpoint is lost, and nothing was registered")
            _show_resume(place, ending)
            raise


def _check_alone(chosen: Sequence[str]) -> None:
    from cnnkit.errors import ConfigError

    if len(chosen) > 1:
        raise ConfigError(f"{' and '.join(chosen)} cannot be had at once: give one of them")


def _within(recipe: Recipe, time: str, workers: int | None, data_dir: str | None, epochs: int | None) -> Recipe:
    """The recipe with as many epochs as fit into a time."""
    from cnnkit.cli.recipe import seconds_in
    from cnnkit.errors import ConfigError
    from cnnkit.training.assemble import data_for
    from cnnkit.training.budget import within

    if epochs is not None:
        raise ConfigError("--time says how many epochs there are: leave out --epochs")
    limited = within(recipe, data_for(recipe, data_dir), seconds_in(time), workers)
    share = f" of {limited.data.fraction:.2%} of the samples" if limited.data != recipe.data else ""
    note(f"{time}: {counted(limited.train.epochs, 'epoch')}{share}")
    return limited


def _show_run(run: Run, version: Version, registry: str | None, data_dir: str | None) -> None:
    from cnnkit.registry import Registry

    if run.reason != "all epochs done":
        say(f"ended after {counted(_epochs(run), 'epoch')}: {on_one_line(run.reason)}")
    if run.metrics:
        say_table(("test", "value"), run.metrics.items())
    say()
    kept = {"kept epoch": f"{run.kept_epoch} of {_epochs(run)}"} if "kept_epoch" in run.settings else {}
    say_pairs({"registered": version.ref, "file": version.path} | kept)
    say("\nnext:")
    needed = needed_options(Registry(registry).read(version.ref).manifest, data_dir)
    needed += f" --data-dir {shlex.quote(data_dir)}" if data_dir else ""
    for command in (f"evaluate {version.ref}", f"export {version.ref}", f"plot {version.ref}"):
        say(f"  cnnkit {command}{needed}{_at(registry)}")


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
        "kept_epoch": run.kept_epoch,
        "partial_steps": run.partial_steps,
        "reason": run.reason,
        "warning": run.warning,
        "recipe": run.recipe,
        "dataset": run.dataset,
        "settings": run.settings,
    }


def _epochs(run: Run) -> int:
    return len(run.history.get("loss", ()))
