"""What `cnnkit train` does around a training: going on with an interrupted run, and registering the model."""

from __future__ import annotations

import contextlib
import errno
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from cnnkit.cli.output import note, warn

if TYPE_CHECKING:
    from cnnkit.registry import Registry, RunFolder, Version
    from cnnkit.training import Run
    from cnnkit.training.recipe import Recipe

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
"""What the system answers where there is no room, or no more for one file."""
PATIENCE, PAUSE = 300.0, 2.0
"""Seconds for which a full disk is waited for, and between two attempts."""


def interrupted(registry: Path, name: str, given: Sequence[str]) -> tuple[Recipe, RunFolder]:
    """The recipe and the place of an interrupted run; warns of what is not as it was.

    given: names of arguments that would change the recipe. Raises ConfigError if there are any, RegistryError for a run
    that is not there, is damaged, or goes on elsewhere.
    """
    from cnnkit.errors import ConfigError
    from cnnkit.registry import Runs
    from cnnkit.registry.environment import differences
    from cnnkit.training.recipe import Recipe

    if given:
        raise ConfigError(f"--resume goes on with what the run was begun with: leave out {', '.join(given)}")
    place = Runs(registry).find(name)
    with contextlib.ExitStack() as stack:
        stack.callback(place.release)
        record, _ = place.load()
        recipe = Recipe.from_dict(record.get("recipe") or {}, f"the run {place.name}")
        stack.pop_all()
    for difference in differences(record.get("environment")):
        warn(f"{difference}: the result may differ in its last bits from that of an uninterrupted run")
    return recipe, place


def registered(store: Registry, run: Run, name: str) -> Version:
    """Register the model of a run; while the disk is full, try again and again for some minutes."""
    from cnnkit.errors import RegistryError
    from cnnkit.registry.commit import NotDurableError

    until = time.monotonic() + PATIENCE
    waiting = False
    while True:
        try:
            return store.save(run.model, name, **run.record())
        except NotDurableError as error:
            warn(str(error))
            return store.find(f"{name}@{error.number}")
        except RegistryError as error:
            if not _is_full(error) or time.monotonic() > until:
                raise
            if not waiting:
                warn(str(error))
                note(f"make room, and it is registered; waiting for {PATIENCE / 60:g} minutes (Ctrl-C gives up)")
                waiting = True
        time.sleep(PAUSE)


def registered_before(store: Registry, run: Run, name: str) -> Version | None:
    """The latest version, if it is this very model: the run was killed after it had been registered."""
    from cnnkit.errors import RegistryError
    from cnnkit.reproduction import check_reproduction

    try:
        record = store.read(name)
    except RegistryError:
        return None
    return (
        record.version if record.manifest.recipe == run.recipe and check_reproduction(record, run).identical else None
    )


def _is_full(error: BaseException) -> bool:
    cause = error.__cause__
    return isinstance(cause, OSError) and cause.errno in FULL
