"""Comparing: the runs of a plan are trained, kept one by one, ranked, and registered."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from cnnkit.comparison.comparison_plan import ComparisonPlan, Datasets, Register, Source, make_plan
from cnnkit.comparison.comparison_progress import ComparisonProgress
from cnnkit.comparison.constant_answer import about_constant_answer
from cnnkit.comparison.grid import Grid
from cnnkit.comparison.result import Comparison, Row, RunResult, Samples
from cnnkit.comparison.tasks import Outcome, Task, outcomes
from cnnkit.comparison.winner import kept_run, tested
from cnnkit.components.checks import whole
from cnnkit.components.contracts import Metric
from cnnkit.components.quantities import VALIDATION
from cnnkit.errors import CnnkitError, ConfigError, DataError
from cnnkit.registry import ComparisonFolder, Comparisons, Registry
from cnnkit.registry.format.manifest import Manifest
from cnnkit.registry.unfinished_comparisons import manifest_of
from cnnkit.training.assembly import check_cost, planned_model, trainer_for
from cnnkit.training.recipe import Overrides, Recipe

TAG = "comparison"
"""The tag of registered versions that holds the comparison's name."""


def compare(
    configurations: Sequence[Source] = (),
    *,
    base: Source | None = None,
    grid: Grid = (),
    overrides: Overrides = (),
    seeds: int | Sequence[int] | None = None,
    register: Register = "best",
    registry: Registry | str | Path | None = None,
    data_dir: str | Path | None = None,
    jobs: int | None = None,
    progress: ComparisonProgress | None = None,
) -> Comparison:
    """Train configurations with several seeds each: `compare(["c16pc16", "c8p"], base="digits", seeds=3, jobs=2)`.

    configurations: recipes, or short codes of networks that replace the base's layers; the base itself if there are
    none; base: a recipe, "mnist-configs" if None; grid: values of keys, of which every combination is
    trained; overrides: as of `load_recipe`; seeds: how many, or which, those of [compare] in the recipe if None;
    register: the best run, all, or none; jobs: how many runs are trained at once, as joblib is configured if None
    (`joblib.parallel_config`), never changing a result.
    They are ranked on the samples to validate on: where neither recipe nor dataset has any, a tenth of the training
    samples is set aside. The test samples are used once, in the end, for the best run.
    A failed run is listed in its row, and the others continue; a run fails if its data have changed since the start.
    Finished runs are kept until the end: after an interruption, `resume_comparison` does the rest. Raises the
    fitting kind of CnnkitError, before anything is trained if an argument is wrong.
    """
    if jobs is not None:
        whole("jobs", jobs)
    store = registry if isinstance(registry, Registry) else Registry(registry)
    datasets = Datasets(data_dir)
    plan = make_plan(
        configurations, datasets, base=base, grid=grid, overrides=overrides, seeds=seeds, register=register
    )
    with begin(plan, store, datasets) as place:
        return carry_out(plan, place, store, datasets, jobs=jobs, progress=progress)


def resume_comparison(
    name: str = "latest",
    *,
    registry: Registry | str | Path | None = None,
    data_dir: str | Path | None = None,
    jobs: int | None = None,
    progress: ComparisonProgress | None = None,
) -> Comparison:
    """Resume a comparison that was interrupted, or that has failed runs.

    name: of the comparison; "latest" is the most recent one that no process is working on.
    Raises RegistryError if there is none.
    """
    if jobs is not None:
        whole("jobs", jobs)
    store = registry if isinstance(registry, Registry) else Registry(registry)
    with Comparisons(store.path).find(name) as place:
        plan = ComparisonPlan.from_record(place.load(), place.name)
        return carry_out(plan, place, store, Datasets(data_dir), jobs=jobs, progress=progress)


def begin(plan: ComparisonPlan, store: Registry, datasets: Datasets) -> ComparisonFolder:
    """Keep a plan, from which a comparison can be resumed after a failure; raises errors that show before training."""
    _empty(plan, "", datasets)
    for model in sorted({one.recipe.model.name for one in plan.configurations}) if plan.register != "none" else ():
        store.check_save(model)
    place = Comparisons(store.path).new(plan.name)
    place.begin(plan.to_record())
    return place


def carry_out(
    plan: ComparisonPlan,
    place: ComparisonFolder,
    store: Registry,
    datasets: Datasets,
    *,
    jobs: int | None = None,
    progress: ComparisonProgress | None = None,
) -> Comparison:
    """Train the runs of a plan that are not kept yet, and register what it says."""
    progress = progress or ComparisonProgress()
    comparison = _empty(plan, place.name, datasets)
    rows = list(comparison.rows)
    tasks = []
    for key, at, task in _tasks(plan, datasets):
        if (kept := place.kept(key)) and _is_of(kept[1], task.recipe, plan.data[task.recipe["data"]["dataset"]]):
            rows[at] = _with(rows[at], _result(kept[1], plan.ranked_on))
        else:
            tasks.append(task)
    comparison = comparison.ranked(rows)
    with progress, contextlib.closing(outcomes(tasks, jobs)) as results:
        progress.begun(comparison)
        for outcome in results:
            at, seed = map(int, outcome.key.split("-"))
            result = _keep(outcome, seed, plan.configurations[at].recipe, plan, place)
            rows[at] = _with(rows[at], result)
            comparison = comparison.ranked(rows)
            progress.run_done(comparison, rows[at], result, outcome.warnings)
    comparison = _registered(tested(comparison, plan, place, datasets), plan.register, place, store)
    comparison = dataclasses.replace(comparison, hint=about_constant_answer(comparison, plan, datasets))
    if not comparison.failures:
        place.remove()
    return comparison


def _empty(plan: ComparisonPlan, name: str, datasets: Datasets) -> Comparison:
    """The comparison before its first run. Raises what a training would, for what can be seen before."""
    rows, metrics, losses = [], [], []
    for position, configuration in enumerate(plan.configurations):
        try:
            recipe = configuration.recipe
            data = datasets.of(recipe)
            plan.check_data(recipe, data.digest)
            trainer = trainer_for(recipe)
            metrics.append(trainer.metrics)
            losses.append(repr(trainer.loss))
            model = planned_model(recipe, data)
            check_cost(model, recipe, data)
        except CnnkitError as error:
            error.add_note(f"in the configuration {configuration.name}")
            raise
        rows.append(Row(position, configuration.name, recipe.model.name, model.parameter_count()))
    quantity, greater = _ranking(metrics, losses)
    same_loss = len(set(losses)) == 1
    return Comparison(
        name, quantity, greater, tuple(rows), plan.seeds, plan.ranked_on, plan.validation, same_loss=same_loss
    )


def _ranking(metrics: Sequence[Sequence[Metric]], losses: Sequence[str]) -> tuple[str, bool]:
    """What ranks, and whether more of it is better. Raises ConfigError where nothing has the same meaning for all."""
    for metric in metrics[0]:
        if all(metric.key in [other.key for other in some] for some in metrics):
            return metric.key, metric.greater_is_better
    if different := [loss for loss in losses if loss != losses[0]]:
        raise ConfigError(
            f"the configurations have the losses {losses[0]} and {different[0]}, whose values say nothing about each "
            "other, and no metric in common that could rank them: give all of them one, such as --set "
            "'metrics=[\"Accuracy()\"]', or compare those with the same loss"
        )
    return "loss", False


def _tasks(plan: ComparisonPlan, datasets: Datasets) -> Iterator[tuple[str, int, Task]]:
    """Every run, with its key and its configuration's position; all configurations of a seed before the next seed."""
    for seed in plan.seeds:
        for at, configuration in enumerate(plan.configurations):
            recipe = configuration.recipe.override({"train.seed": seed}).to_dict()
            yield f"{at}-{seed}", at, Task(f"{at}-{seed}", recipe, datasets.folder, plan.ranked_on == "test")


def _is_of(manifest: Manifest, recipe: dict[str, Any], digest: str) -> bool:
    """Whether a run that is kept is of this recipe and these data; anybody may have put its file there."""
    return manifest.recipe == recipe and manifest.dataset is not None and manifest.dataset["digest"] == digest


def _keep(outcome: Outcome, seed: int, recipe: Recipe, plan: ComparisonPlan, place: ComparisonFolder) -> RunResult:
    """The result of a run, which is kept unless it has failed, or has seen other data than those before it."""
    if not outcome.data:
        return RunResult(seed, error=outcome.error)
    manifest = manifest_of(outcome.data)
    try:
        plan.check_data(recipe, (manifest.dataset or {}).get("digest", ""))
    except DataError as error:
        return RunResult(seed, error=str(error))
    place.keep(outcome.key, outcome.data)
    return _result(manifest, plan.ranked_on)


def _result(manifest: Manifest, ranked_on: Samples) -> RunResult:
    """The run with what ranks it: on validation samples, what its history says of the epoch that was kept."""
    if ranked_on == "test":
        return RunResult(manifest.seed, manifest.metrics, manifest.history)
    kept: Any = manifest.settings.get("kept_epoch")
    epoch = kept if type(kept) is int else 0
    measured = {
        name.removeprefix(VALIDATION): values[epoch - 1 if epoch in range(1, len(values) + 1) else -1]
        for name, values in manifest.history.items()
        if name.startswith(VALIDATION) and values
    }
    return RunResult(manifest.seed, measured, manifest.history)


def _with(row: Row, result: RunResult) -> Row:
    others = [run for run in row.runs if run.seed != result.seed]
    return dataclasses.replace(row, runs=tuple(sorted([*others, result], key=lambda run: run.seed)))


def _registered(comparison: Comparison, register: Register, place: ComparisonFolder, store: Registry) -> Comparison:
    """The comparison with the references of registered versions; finds again what was registered before.

    A run that is the best only now, since others had failed before, keeps its version, though its file tells less than
    the one that is kept now: nothing is registered twice.
    """
    best = comparison.best and (comparison.best.position, comparison.best_run)
    before = _registered_before(comparison, place, store) if register != "none" else {}
    rows, refs = [], set()
    for row in sorted(comparison.rows, key=lambda row: row.position):
        for run in row.done if register != "none" else ():
            if register == "best" and best != (row.position, run):
                continue
            data, manifest = kept_run(place, row, run)
            known = (ref for ref, recipe in before.items() if recipe == manifest.recipe)
            ref = next(known, None) or store.add(data).ref
            store.set_tag(ref, TAG, place.name)
            refs.add(ref)
            row = _with(row, dataclasses.replace(run, ref=ref))
        rows.append(row)
    for ref in before.keys() - refs:  # the best of before, when some runs had failed that have not now
        store.remove_tag(ref, TAG)
    return comparison.ranked(rows)


def _registered_before(comparison: Comparison, place: ComparisonFolder, store: Registry) -> dict[str, Any]:
    """The recipes of the versions that this comparison has registered, by their references; no two are the same."""
    models = {row.model for row in comparison.rows} & set(store.models())
    found = [version.ref for model in models for version in store.versions(model)]
    return {ref: store.read(ref).manifest.recipe for ref in found if store.tags(ref).get(TAG) == place.name}
