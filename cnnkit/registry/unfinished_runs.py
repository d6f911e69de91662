"""Runs: trainings that have not ended, each with its latest checkpoint, in the folder `.runs` of a registry."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cnnkit.errors import RegistryError
from cnnkit.registry.environment import deciding
from cnnkit.registry.format import safety, sealing, text
from cnnkit.registry.work_folders import Place, Places
from cnnkit.types import Array

HEAD = {"format": "cnnkit checkpoint", "format_version": 1}


class RunFolder(Place):
    """The checkpoint of one training; fulfils what `Checkpoints` asks of a store."""

    FILE, NOUN, BUSY = "checkpoint.h5", "run", "trained"

    def save(self, record: Mapping[str, Any], arrays: Mapping[str, Array]) -> None:
        """Replace the checkpoint; the one before is kept until this one is safe. Raises RegistryError or OSError."""
        content = text.encode({**HEAD, "environment": deciding(), **record}, "checkpoint")
        self.put(self.FILE, sealing.pack(content, arrays))

    def load(self) -> tuple[dict[str, Any], dict[str, Array]]:
        """The latest checkpoint. Raises RegistryError if there is none, if it is damaged, or in use."""
        path = self.folder / self.FILE
        try:
            self._claim()
            data = self._files.read(path, sealing.MAX_MODEL_FILE_BYTES, check=sealing.check_start)
        except FileNotFoundError:
            raise RegistryError(f"the run {self.name} has no checkpoint: it ended or was stopped too early") from None
        except OSError as error:
            raise RegistryError(f"cannot read the checkpoint {path}: {error.strerror or error}") from error
        except sealing.SealError as error:
            raise self._unusable(error) from error
        try:
            sealing.check(data)
            content, arrays = safety.read_arrays(data)
            record = text.decode(content)
            if not isinstance(record, dict) or [record.get(key) for key in HEAD] != list(HEAD.values()):
                raise RegistryError(f"expected {HEAD}")
        except RegistryError as error:
            raise self._unusable(error) from error
        return record, arrays

    def _unusable(self, error: RegistryError) -> RegistryError:
        return RegistryError(
            f"the checkpoint {self.folder / self.FILE} cannot be used: {error}; to forget the run, remove the folder "
            f"{self.folder}"
        )


class Runs(Places[RunFolder]):
    """The runs of a registry."""

    FOLDER, PLACE = ".runs", RunFolder
    WANTED, ORIGIN = "interrupted run", "a training leaves one when it is interrupted, or after its first checkpoint"
