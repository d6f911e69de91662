"""The one look at the test samples: the best run is measured on them, once all runs are ranked."""

from __future__ import annotations

import dataclasses

from cnnkit.comparison.comparison_plan import ComparisonPlan, Datasets
from cnnkit.comparison.result import Comparison, Row, RunResult
from cnnkit.errors import CnnkitError, RegistryError
from cnnkit.registry import ComparisonFolder, Manifest
from cnnkit.registry.format import sealing
from cnnkit.registry.format.contents import unpack_any
from cnnkit.registry.model_manifest import rebuild
from cnnkit.training.assembly import trainer_for
from cnnkit.types import Array


def tested(comparison: Comparison, plan: ComparisonPlan, place: ComparisonFolder, datasets: Datasets) -> Comparison:
    """The comparison with what its best run reaches on the test samples, which its version file then says, too.

    A run that was measured before, by a process that was killed, is not measured again. One that cannot be measured,
    whatever fails, such as a metric of a plugin, is the best all the same, and has a warning.
    """
    row, run = comparison.best, comparison.best_run
    if row is None or run is None:
        return comparison
    recipe = plan.configurations[row.position].recipe
    data, manifest = kept_run(place, row, run)
    test = datasets.of(recipe).test
    if not len(test) or manifest.metrics:
        return dataclasses.replace(comparison, test=manifest.metrics)
    _, state = unpack_any(data)
    warning, metrics = "", dict[str, float]()
    try:
        metrics = trainer_for(recipe).evaluate(rebuild(manifest, state, f"{row.name}, seed {run.seed}"), test)
    except Exception as error:
        why = str(error) if isinstance(error, CnnkitError) else f"{type(error).__name__}: {error}"
        warning = f"the best run could not be measured on the test samples: {why}"
    place.keep(_key(row, run), _sealed(manifest, state, metrics, warning))
    return dataclasses.replace(comparison, test=metrics, warning=warning)


def kept_run(place: ComparisonFolder, row: Row, run: RunResult) -> tuple[bytes, Manifest]:
    """The version file of a run, and what it says. Raises RegistryError if it is not there any more."""
    if kept := place.kept(_key(row, run)):
        return kept
    raise RegistryError(f"the run {_key(row, run)} in {place.folder} is damaged or gone")


def _key(row: Row, run: RunResult) -> str:
    return f"{row.position}-{run.seed}"


def _sealed(manifest: Manifest, state: dict[str, Array], metrics: dict[str, float], warning: str) -> bytes:
    """The version file with its metrics, which is the same whenever it is made."""
    settings = {key: value for key, value in manifest.settings.items() if key != "warning"}  # of an earlier attempt
    settings |= {"warning": warning} if warning else {}
    described = dataclasses.replace(manifest, metrics=metrics, settings=settings)
    return bytes(sealing.pack(described.encode(), state, described.format_version))
