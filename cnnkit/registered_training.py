"""Trainings that a registry keeps: their checkpoints while they run, and their models in the end."""

from __future__ import annotations

import errno
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Self

from cnnkit import api, caller_warnings
from cnnkit.errors import RegistryError
from cnnkit.evaluation.reproduce import check_reproduction
from cnnkit.network import Network
from cnnkit.registry import Registry, RunFolder, Runs, Version
from cnnkit.registry.commit import NotDurableError
from cnnkit.registry.environment import differences
from cnnkit.training import Checkpoints, Run
from cnnkit.training.loop import STOPPED
from cnnkit.training.recipe import Recipe

if TYPE_CHECKING:
    from cnnkit.training.interruption import StopRequest
    from cnnkit.training.progress import Progress

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
"""What the system answers where there is no room, or no more for one file."""
PATIENCE, PAUSE = 300.0, 2.0
"""Seconds for which a full disk is waited for, and between two attempts."""


def _warn(text: str) -> None:
    caller_warnings.warn(text, RuntimeWarning)


class RegisteredTraining:
    """A training whose checkpoints are kept in a registry, and whose model becomes a version there.

    `RegisteredTraining.begin("digits")` is a new one, `RegisteredTraining.resume("latest")` continues an interrupted
    one. No other process can continue it until the end of a `with`.
    """

    def __init__(
        self,
        recipe: Recipe,
        registry: Registry,
        place: RunFolder,
        resumes: bool,
        differences: tuple[str, ...] = (),
        start: Network | None = None,
    ) -> None:
        self.recipe = recipe
        self.registry = registry
        self.place = place
        self.resumes = resumes
        self.start = start
        """The network that is trained on, None for the recipe's with new weights."""
        self.differences = differences
        """What has changed since the training was interrupted, as text: the result may differ in its last bits."""
        self.failure = ""
        """Why the latest checkpoint could not be written, "" if it could."""

    @classmethod
    def begin(
        cls, recipe: Recipe | str | Path, registry: Registry | str | Path | None = None, *, start: Network | None = None
    ) -> Self:
        """A training of a recipe. Raises RecipeError, and RegistryError if its model could not be registered.

        start: as of `cnnkit.train`.
        """
        recipe = recipe if isinstance(recipe, Recipe) else api.load_recipe(recipe)
        store = _opened(registry)
        store.check_save(recipe.model.name)
        return cls(recipe, store, Runs(store.path).new(recipe.model.name), False, start=start)

    @classmethod
    def resume(cls, name: str, registry: Registry | str | Path | None = None) -> Self:
        """An interrupted training, by the name of its run or as "latest".

        Raises RegistryError for a run that is missing, damaged, or running elsewhere.
        """
        store = _opened(registry)
        place = Runs(store.path).find(name)
        try:
            record, _ = place.load()
            recipe = Recipe.from_dict(record.get("recipe") or {}, f"the run {place.name}")
            store.check_save(recipe.model.name)
        except BaseException:
            place.release()
            raise
        return cls(recipe, store, place, True, tuple(differences(record.get("environment"))))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.place.release()

    def train(
        self,
        *,
        steps: int | None = None,
        minutes: float | None = 5.0,
        data_dir: str | Path | None = None,
        workers: int | None = None,
        progress: Progress | bool | None = True,
        stop: StopRequest | None = None,
    ) -> Run:
        """Train, with a checkpoint after so many steps or minutes, whichever is reached first.

        The others, and what is raised, are as of `cnnkit.train`.
        """
        checkpoints = Checkpoints(self.place, steps=steps, minutes=minutes, resume=self.resumes)
        run = api.train(
            self.recipe,
            data_dir=data_dir,
            workers=workers,
            progress=progress,
            stop=stop,
            checkpoints=checkpoints,
            start=self.start,
        )
        self.failure = checkpoints.failure
        return run

    def register(self, run: Run, warn: Callable[[str], None] = _warn) -> Version | None:
        """The version that the run becomes, None if it was stopped: then it can be resumed.

        The checkpoint is kept until that is safe. On a full disk it tries again, for five minutes.
        warn: takes what the user should know. Raises RegistryError if the model cannot be registered.
        """
        if run.reason == STOPPED:
            return None
        version = (self._registered_before(run) if self.resumes else None) or self._saved(run, warn)
        self.place.remove()
        return version

    def _registered_before(self, run: Run) -> Version | None:
        """The latest version, if it is this very model: the run was killed after it had been registered."""
        try:
            record = self.registry.read(self.recipe.model.name)
        except RegistryError:
            return None
        same = record.manifest.recipe == run.recipe and check_reproduction(record, run).identical
        return record.version if same else None

    def _saved(self, run: Run, warn: Callable[[str], None]) -> Version:
        name, until = self.recipe.model.name, time.monotonic() + PATIENCE
        is_told = False
        while True:
            try:
                return self.registry.save(run.model, name, **run.record())
            except NotDurableError as error:
                warn(str(error))
                return self.registry.find(f"{name}@{error.number}")
            except RegistryError as error:
                if not _is_full(error) or time.monotonic() > until:
                    raise
                if not is_told:
                    warn(
                        f"{error}; free some space, and it is registered: waiting for {PATIENCE / 60:g} minutes "
                        f"(Ctrl-C gives up)"
                    )
                    is_told = True
            time.sleep(PAUSE)


def _opened(registry: Registry | str | Path | None) -> Registry:
    return registry if isinstance(registry, Registry) else Registry(registry)


def _is_full(error: BaseException) -> bool:
    cause = error.__cause__
    return isinstance(cause, OSError) and cause.errno in FULL
