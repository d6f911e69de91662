"""`cnnkit train`: train a recipe and register the model."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cnnkit.cli.dry_run import show_plan
from cnnkit.cli.options import (
    BatchSize,
    DataFolder,
    Debug,
    Epochs,
    Json,
    Kernels,
    LearningRate,
    Overrides,
    Quiet,
    RegistryFolder,
    Seed,
    StrictPlugins,
    Workers,
    expanded_path,
)
from cnnkit.cli.output import note, say, say_json, say_table, warn
from cnnkit.cli.profile_table import check_picture, costs_of, draw_costs, show_costs
from cnnkit.cli.recipe_arguments import resolve, seconds_in, write_recipe
from cnnkit.cli.training_report import Surroundings, document, show, show_resume
from cnnkit.cli.training_trials import find_learning_rate, overfit_one_batch
from cnnkit.terminal import console
from cnnkit.waiting_line import waiting
from cnnkit.wording import counted

if TYPE_CHECKING:
    from cnnkit.network import Network
    from cnnkit.registered_training import RegisteredTraining
    from cnnkit.registry import Version
    from cnnkit.training import Run
    from cnnkit.training.recipe import Recipe

Fraction = Annotated[float | None, typer.Option(help="Fraction of the training samples to use.")]
Time = Annotated[
    str | None,
    typer.Option(metavar="TIME", help="Train for as many epochs as fit into this time, such as 90s, 5m or 1h."),
]
ListRecipes = Annotated[bool, typer.Option("--list", help="List the recipes that ship with cnnkit; train nothing.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Show what would be trained; register nothing.")]
FindLr = Annotated[bool, typer.Option("--find-lr", help="Find a learning rate by a short training; register nothing.")]
OneBatch = Annotated[
    bool,
    typer.Option("--overfit-one-batch", help="Check that the network can memorize one batch; register nothing."),
]
Profile = Annotated[
    bool,
    typer.Option(
        "--profile",
        help="Train and register the model as without it, then show what each step of the network costs; uses one "
        "worker unless --workers is given.",
    ),
]
ProfilePicture = Annotated[
    Path | None,
    typer.Option(metavar="FILE", callback=expanded_path, help="As --profile, and draw it there: .png, .svg or .pdf."),
]
Resume = Annotated[str | None, typer.Option(metavar="RUN", help="Resume an interrupted run: its name, or latest.")]
Steps = Annotated[int | None, typer.Option(help="Steps between checkpoints; no limit by default.")]
Minutes = Annotated[float, typer.Option(help="Minutes between checkpoints.")]
SaveRecipe = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE", callback=expanded_path, help="Write the recipe into this file, with all that was chosen."
    ),
]
From = Annotated[
    str | None,
    typer.Option(
        "--from",
        metavar="MODEL",
        help="Train this network on, an ONNX file or a registered version, in the place of the recipe's network.",
    ),
]
RecipeSource = Annotated[
    str | None,
    typer.Argument(
        metavar="RECIPE",
        help="Name of a recipe that ships with cnnkit (see --list), path of a .toml file, or your data: a folder of "
        'images, .npz, .h5 or .csv, or a dataset such as \'Table("data.csv", "kind")\'; default: digits.',
    ),
]


def train(
    recipe: RecipeSource = None,
    list_recipes: ListRecipes = False,
    epochs: Epochs = None,
    batch_size: BatchSize = None,
    lr: LearningRate = None,
    seed: Seed = None,
    fraction: Fraction = None,
    time: Time = None,
    kernels: Kernels = None,
    workers: Workers = None,
    overrides: Overrides = None,
    registry: RegistryFolder = None,
    data_dir: DataFolder = None,
    dry_run: DryRun = False,
    find_lr: FindLr = False,
    one_batch: OneBatch = False,
    with_profile: Profile = False,
    profile_picture: ProfilePicture = None,
    resume: Resume = None,
    checkpoint_steps: Steps = None,
    checkpoint_minutes: Minutes = 5.0,
    save_recipe: SaveRecipe = None,
    start: From = None,
    _quiet: Quiet = False,
    as_json: Json = False,
    _strict: StrictPlugins = False,
    _debug: Debug = False,
) -> None:
    """Train a recipe and register the model.

    Ctrl-C ends the training after the step, or before it if it takes long, and keeps a checkpoint, from which --resume
    continues bit for bit; a second Ctrl-C ends it at once. A model that cannot be measured on the test samples is still
    registered, but the exit code is 1.
    """
    from cnnkit.errors import ConfigError, PlotError
    from cnnkit.registered_training import RegisteredTraining
    from cnnkit.training.start import recipe_from

    if list_recipes:
        _list(recipe, as_json)
        return
    trials = {"--dry-run": dry_run, "--find-lr": find_lr, "--overfit-one-batch": one_batch}
    profiled = "--profile"
    if profile_picture is not None:
        profiled, with_profile = "--profile-picture", True
        check_picture(profile_picture)
    if start is not None and (others := [name for name, value in (trials | {"--time": time}).items() if value]):
        raise ConfigError(f"--from trains a network on, and {', '.join(others)} a new one: remove --from")
    _check_alone([name for name, is_chosen in (trials | {profiled: with_profile}).items() if is_chosen])
    changes: dict[str, Any] = {
        "epochs": epochs,
        "batch_size": batch_size,
        "lr": lr,
        "seed": seed,
        "fraction": fraction,
        "kernels": kernels,
    }
    here = Surroundings(registry, data_dir, 1 if with_profile and workers is None else workers)
    if resume is None:
        resolved = resolve(recipe or "digits", overrides, data_dir, registry, **changes, saved_as=save_recipe)
        resolved = _within(resolved, time, here, epochs)
        started = _started(start, registry)
        resolved = resolved if started is None else recipe_from(resolved, started)
        if save_recipe is not None:
            write_recipe(resolved, save_recipe)
        if chosen := next((name for name, is_chosen in trials.items() if is_chosen), ""):
            _try(chosen, resolved, here, as_json)
            return
        training = RegisteredTraining.begin(resolved, registry, start=started)
    else:
        given = {"RECIPE": recipe, "--set": overrides, **{f"--{name}": value for name, value in changes.items()}}
        given |= {"--time": time, "--save-recipe": save_recipe, "--from": start} | {
            name: is_chosen or None for name, is_chosen in trials.items()
        }
        training = _resumed(resume, [name for name, value in given.items() if value is not None], registry)
    with training:
        run = _trained(training, here, checkpoint_steps, checkpoint_minutes)
        version = _registered(training, run, here)
    costs = costs_of(run, training.recipe, data_dir) if with_profile and run.signal is None else None
    picture, trouble = None, None
    if costs and profile_picture:
        try:
            picture = draw_costs(costs, training.recipe.model.name, profile_picture)
        except PlotError as error:  # what was measured is shown all the same
            trouble = error
    if as_json:
        profile = {"profile": costs and costs.to_dict() | {"picture": picture and str(picture)}}
        say_json(document(training, run, version) | (profile if with_profile else {}))
    else:
        show(training, run, version, here)
        if costs:
            show_costs(costs)
        if picture:
            say(f"picture: {picture}")
    if trouble:
        raise trouble
    if run.signal is not None:
        raise typer.Exit(128 + run.signal)
    if run.warning:
        raise typer.Exit(1)


def _started(source: str | None, registry: str | None) -> Network | None:
    """The network to train on: of an ONNX file, or a registered version."""
    from cnnkit.cli.models_onnx import is_onnx
    from cnnkit.onnx.importing.imported import import_file
    from cnnkit.registry import Registry

    if source is None:
        return None
    if is_onnx(Path(source)):
        with waiting("importing the file"):
            imported = import_file(source)
        note(f"{source}: {imported.proof}")
        if imported.layout:
            note(f"{source}: the network takes {imported.layout}")
        return imported.model
    return Registry(registry).load(source)


def _list(recipe: str | None, as_json: bool) -> None:
    from cnnkit.errors import ConfigError
    from cnnkit.training.recipe import recipe_descriptions

    if recipe is not None:
        raise ConfigError(f"--list trains nothing: remove --list, or {recipe}")
    rows = recipe_descriptions().items()
    if as_json:
        say_json([{"recipe": name, "description": about} for name, about in rows])
    else:
        say_table(("recipe", "what it trains"), rows)


def _check_alone(chosen: Sequence[str]) -> None:
    from cnnkit.errors import ConfigError

    if len(chosen) > 1:
        raise ConfigError(f"{' and '.join(chosen)} cannot be combined: give only one of them")


def _within(recipe: Recipe, time: str | None, here: Surroundings, epochs: int | None) -> Recipe:
    """The recipe with as many epochs as fit into a time, if there is one."""
    from cnnkit.errors import ConfigError
    from cnnkit.training.assembly import data_for
    from cnnkit.training.time_budget import within

    if time is None:
        return recipe
    if epochs is not None:
        raise ConfigError("--time determines the number of epochs: remove --epochs")
    limited = within(recipe, data_for(recipe, here.data_dir), seconds_in(time), here.workers)
    share = f" of {limited.data.fraction:.2%} of the samples" if limited.data != recipe.data else ""
    note(f"{time}: {counted(limited.train.epochs, 'epoch')}{share}")
    return limited


def _try(trial: str, recipe: Recipe, here: Surroundings, as_json: bool) -> None:
    """What registers nothing."""
    from cnnkit.registry import Registry

    match trial:
        case "--find-lr":
            find_learning_rate(recipe, here.workers, here.data_dir, as_json)
        case "--overfit-one-batch":
            overfit_one_batch(recipe, here.workers, here.data_dir, as_json)
        case _:
            store = Registry(here.registry)
            store.check_save(recipe.model.name)
            show_plan(recipe, here.workers, here.data_dir, as_json, store)


def _resumed(name: str, given: Sequence[str], registry: str | None) -> RegisteredTraining:
    """An interrupted training; warns of what is not as it was. given: arguments that would change its recipe."""
    from cnnkit.errors import ConfigError
    from cnnkit.registered_training import RegisteredTraining

    if given:
        names = ", ".join(given).replace("_", "-")
        raise ConfigError(f"--resume uses the options that the run started with: remove {names}")
    training = RegisteredTraining.resume(name, registry)
    for difference in training.differences:
        warn(f"{difference}: the result may differ in its last bits from that of an uninterrupted run")
    return training


def _trained(training: RegisteredTraining, here: Surroundings, steps: int | None, minutes: float) -> Run:
    """Train with a live progress; the first Ctrl-C ends it after the step, the second at once."""
    from cnnkit.training.interruption import stop_on_signals
    from cnnkit.training.progress import LiveProgress

    with stop_on_signals() as stop, warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # the trainer reports an overflow itself, and better
        try:
            return training.train(
                steps=steps,
                minutes=minutes,
                data_dir=here.data_dir,
                workers=here.workers,
                progress=LiveProgress(console(sys.stderr), training.recipe.model.name),
                stop=stop,
            )
        except KeyboardInterrupt:
            note("stopped immediately: all training since the last checkpoint is lost, and nothing was registered")
            show_resume(training, here)
            raise


def _registered(training: RegisteredTraining, run: Run, here: Surroundings) -> Version | None:
    """The version that the run becomes, None if it was stopped."""
    try:
        with waiting("registering the model"):
            return training.register(run, warn)
    except BaseException:
        show_resume(training, here, "the trained model is kept; to register it")
        raise
