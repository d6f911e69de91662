"""The search: one training for each trial, judged by its validation samples."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import optuna

from cnnkit import Registry, Run, Trainer, load_recipe, train
from cnnkit.errors import TrainingError
from cnnkit.plugin import ConfigError, whole
from cnnkit_optuna.pruning import PRUNED, TRIAL, OptunaPruning
from cnnkit_optuna.space import Space, read_space

LEARNING_RATE = "train.lr"


@dataclasses.dataclass(frozen=True)
class Found:
    """What a search has found."""

    study: optuna.Study
    """With all trials."""
    monitor: str
    """The quantity of the validation samples that decided."""
    value: float
    """What the best trial reached."""
    overrides: dict[str, Any]
    """Of the recipe, in the best trial."""
    recipe: Any
    """The recipe with these; `recipe.to_toml()` is the text of a file."""
    run: Run | None
    """The training of the best trial; None if an earlier search of the same study found it."""
    ref: str = ""
    """The version that its model became, "" if it was not registered."""


def search(
    recipe: str | Path,
    space: Space | str | Path,
    *,
    trials: int = 20,
    monitor: str | None = None,
    seed: int = 0,
    storage: str | None = None,
    registry: Registry | str | Path | None = None,
    register: bool = True,
    data_dir: str | Path | None = None,
    workers: int | None = None,
) -> Found:
    """Train a recipe with other values, and find those with the best validation.

    recipe: its name, or a file; space: or the TOML file that describes it; monitor: such as "validation_accuracy", or
    None for the first metric, the loss if there is none; seed: of what Optuna draws; storage: where Optuna keeps the
    study, such as "sqlite:///study.db", which a later search continues, None for memory; register: whether the model of
    the best trial becomes a version of the registry, with its recipe. Everything else as of `cnnkit.train`.

    Trials are ended early that are worse than the median of others at the same epoch, from the sixth trial on. The test
    samples decide nothing. A trial that cannot be trained, because its loss is not finite, counts as failed.
    Raises ConfigError for a recipe without validation samples, and if no trial was finished; RecipeError for a space
    that does not fit the recipe.
    """
    whole("trials", trials)
    space = space if isinstance(space, Space) else read_space(space)
    plain = load_recipe(recipe)
    metrics = {f"validation_{one.key}": one.greater_is_better for one in Trainer(metrics=plain.train.metrics).metrics}
    quantities = {**metrics, "validation_loss": False}
    monitor = monitor or next(iter(quantities))
    if monitor not in quantities:
        raise ConfigError(f"monitor must be one of {', '.join(quantities)}, got {monitor!r}")
    study = optuna.create_study(
        study_name=f"cnnkit {plain.model.name} {monitor}",
        direction="maximize" if quantities[monitor] else "minimize",
        sampler=optuna.samplers.TPESampler(seed=seed),
        pruner=optuna.pruners.MedianPruner(),
        storage=storage,
        load_if_exists=True,
    )
    best: dict[int, Run] = {}

    def objective(trial: optuna.Trial) -> float:
        varied = _overridden(plain, space.draw(trial))
        watched = varied.override({"train.callbacks": [*varied.train.callbacks, repr(OptunaPruning(monitor))]})
        token = TRIAL.set(trial)
        try:
            run = train(watched, data_dir=data_dir, workers=workers, progress=False)
        finally:
            TRIAL.reset(token)
        if run.signal is not None:
            raise KeyboardInterrupt
        if PRUNED in run.reason:
            raise optuna.TrialPruned
        value = run.history[monitor][(run.kept_epoch or 1) - 1]
        try:
            leading = study.best_value
        except ValueError:  # it is the first
            leading = -value if quantities[monitor] else value + 1
        if not best or (value > leading if quantities[monitor] else value < leading):
            best.clear()
            best[trial.number] = dataclasses.replace(run, recipe=varied.to_dict())
        return value

    study.optimize(objective, n_trials=trials, catch=(TrainingError,))
    try:
        winner = study.best_trial
    except ValueError:
        raise ConfigError(
            f"none of {len(study.trials)} trials was finished: their losses were not finite; search smaller rates"
        ) from None
    overrides = space.draw(optuna.trial.FixedTrial(winner.params))
    run = best.get(winner.number)
    ref = ""
    if run is not None and register:
        registry = registry if isinstance(registry, Registry) else Registry(registry)
        ref = registry.save(run.model, plain.model.name, **run.record()).ref
    return Found(study, monitor, float(winner.value or 0.0), overrides, _overridden(plain, overrides), run, ref)


def _overridden(recipe: Any, overrides: dict[str, Any]) -> Any:
    """The recipe with other values; the learning rate is an argument of its optimizer."""
    others = {key: value for key, value in overrides.items() if key != LEARNING_RATE}
    varied = recipe.override(others) if others else recipe
    return varied.with_learning_rate(overrides[LEARNING_RATE]) if LEARNING_RATE in overrides else varied
