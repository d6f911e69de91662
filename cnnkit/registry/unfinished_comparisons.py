"""Comparisons that have not ended, each with its plan and the runs that are done, in `.comparisons` of a registry.

A run is kept as the version file that it becomes if it is registered: sealed, with its recipe, history and metrics.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cnnkit.errors import RegistryError
from cnnkit.registry.environment import deciding
from cnnkit.registry.format import sealing, text
from cnnkit.registry.format.contents import unpack_any
from cnnkit.registry.format.manifest import Manifest
from cnnkit.registry.work_folders import Place, Places

HEAD = {"format": "cnnkit comparison", "format_version": 1}
_RUN = re.compile(r"[0-9]+-[0-9]+")


class ComparisonFolder(Place):
    """The plan of one comparison and its runs, by keys such as `2-0`: the configuration's position and the seed."""

    FILE, NOUN, BUSY = "plan.json", "comparison", "carried out"

    def begin(self, plan: Mapping[str, Any]) -> None:
        """Keep what is to be compared. Raises RegistryError if the registry cannot be written to."""
        try:
            self.put(self.FILE, text.encode({**HEAD, "environment": deciding(), **plan}, "plan"))
        except OSError as error:
            raise RegistryError(
                f"the registry at {self.folder.parents[1]} cannot store a comparison: {error.strerror or error} "
                f"({error.filename}); choose another registry with --registry or CNNKIT_REGISTRY"
            ) from error

    def load(self) -> dict[str, Any]:
        """The plan. Raises RegistryError if there is none, if it is damaged, or if another process has it."""
        path = self.folder / self.FILE
        try:
            self._claim()
            plan = text.decode(self._files.read(path, text.MAX_JSON_BYTES))
            if not isinstance(plan, dict) or [plan.get(key) for key in HEAD] != list(HEAD.values()):
                raise RegistryError(f"the plan {path} cannot be used: expected {HEAD}")
        except FileNotFoundError:
            raise RegistryError(f"the comparison {self.name} has no plan: it has ended") from None
        except OSError as error:
            raise RegistryError(f"cannot read the plan {path}: {error.strerror or error}") from error
        return plan

    def keep(self, run: str, data: bytes) -> None:
        """Keep the version file of a run that is done: once this returns, no crash loses it. Raises RegistryError."""
        try:
            self.put(self._file(run).name, data)
        except OSError as error:
            raise RegistryError(f"cannot keep a run in {self.folder}: {error.strerror or error}") from error

    def kept(self, run: str) -> tuple[bytes, Manifest] | None:
        """The version file of a run that is done, and what it says; None if there is none, or a damaged one."""
        with contextlib.suppress(RegistryError, OSError):
            data = self._files.read(self._file(run), sealing.MAX_MODEL_FILE_BYTES, check=sealing.check_start)
            return data, manifest_of(data)
        return None

    def _file(self, run: str) -> Path:
        if not _RUN.fullmatch(run):
            raise RegistryError(f"a run is named by its configuration and seed, such as '2-0', got {run!r}")
        return self.folder / f"{run}.h5"


def manifest_of(data: bytes) -> Manifest:
    """What a version file says about its model. Raises RegistryError if it is damaged."""
    sealing.check(data)
    return unpack_any(data)[0]


class Comparisons(Places[ComparisonFolder]):
    """The comparisons of a registry."""

    FOLDER, PLACE = ".comparisons", ComparisonFolder
    WANTED, ORIGIN = "unfinished comparison", "one is left when it is interrupted, or when one of its runs has failed"
