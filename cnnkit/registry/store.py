"""The registry: a folder of models, each a folder of versions that never change."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cnnkit.components import Component
from cnnkit.errors import RegistryError
from cnnkit.network import Sequential
from cnnkit.registry import commit, exchange, log, models, references, sealing, verification
from cnnkit.registry.aliases import alias_file, alias_of, read_alias
from cnnkit.registry.contents import unpack
from cnnkit.registry.files import Files
from cnnkit.registry.manifest import Manifest
from cnnkit.registry.references import LATEST, Reference, choices
from cnnkit.types import Array

ENVIRONMENT = "CNNKIT_REGISTRY"


@dataclass(frozen=True)
class Version:
    """One registered model; its file never changes."""

    name: str
    number: int
    path: Path
    digest: str
    """sha256 of the payload, in hexadecimal; "" in a listing if the file's user block is damaged."""

    @property
    def ref(self) -> str:
        """Its reference, such as `digits@3`."""
        return f"{self.name}@{self.number}"


@dataclass(frozen=True)
class Record:
    """The whole content of a version; needs no plugin."""

    version: Version
    manifest: Manifest
    state: dict[str, Array]
    """Parameters and buffers by name, in canonical order."""

    def model(self, components: Sequence[type[Component]] = ()) -> Sequential:
        """The model, ready to predict or to train on; its parameters are copies.

        components: classes for layers that no installed plugin brings, such as those defined in a notebook.
        """
        return models.rebuild(self.manifest, self.state, self.version.ref, components)


class Registry:
    """Models in a folder, without a server: safe against crashes and against other writers.

    path: the folder; else the environment variable CNNKIT_REGISTRY; else `./registry`.
    All methods raise RegistryError, saying what is wrong with which reference or file.
    """

    def __init__(self, path: str | Path | None = None, *, files: Files | None = None) -> None:
        self.path = Path(path or os.environ.get(ENVIRONMENT) or "registry")
        self._files = files or Files()

    def save(
        self,
        model: Sequential,
        name: str,
        *,
        recipe: Mapping[str, Any] | None = None,
        history: Mapping[str, Any] | None = None,
        metrics: Mapping[str, Any] | None = None,
        dataset: Mapping[str, str] | None = None,
        settings: Mapping[str, Any] | None = None,
    ) -> Version:
        """Register a model as the next version of `name`; once this returns, no crash loses it.

        recipe: the resolved recipe; history: values of each quantity by epoch; metrics: final values;
        dataset: {"name": its expression, "digest": sha256 of its content}; settings: workers, tile and the like.
        """
        references.check_name(name)
        state = model.state()
        content = models.describe(
            model,
            name,
            tuple(state),
            recipe=None if recipe is None else dict(recipe),
            history=dict(history or {}),
            metrics=dict(metrics or {}),
            dataset=None if dataset is None else dict(dataset),
            settings=dict(settings or {}),
        )
        data = sealing.pack(content.encode(), state)
        digest = sealing.header(bytes(data[: sealing.BLOCK]))[1]
        folder = self.path / name
        with _reported(f"cannot save {name} in {self.path}"):
            commit.prepare(self._files, folder)
            number = commit.register(self._files, folder, data, digest)
        return Version(name, number, folder / commit.version_file(number), digest)

    def add(self, data: bytes, name: str | None = None) -> Version:
        """Register the bytes of a version file, from this registry or another, unless that very version is there.

        name: the model that it becomes a version of, its own if None; another name is written into its manifest, and
        the file is sealed anew, so that its digest changes. Nothing is written unless the bytes could be loaded.
        """
        arrival = exchange.receive(data, name)
        if there := exchange.find(self, arrival):
            return there
        with _reported(f"cannot save {arrival.name} in {self.path}"):
            number = exchange.register(self._files, self.path, arrival)
        return Version(arrival.name, number, self._path(arrival.name, number), arrival.digest)

    def load(self, ref: str, components: Sequence[type[Component]] = ()) -> Sequential:
        """The model of a version: `read(ref).model(components)`."""
        return self.read(ref).model(components)

    def read(self, ref: str) -> Record:
        """Everything in a version, also where the plugins of its layers are missing."""
        version = self.find(ref)
        with _reported(f"cannot read {version.ref}"):
            data = self._files.read(version.path, sealing.MAX_BYTES)
            digests = log.read(self._files, version.path.parent)  # after the file: what can be seen has its record
        if data == sealing.tombstone():
            raise RegistryError(f"{version.ref} was deleted a moment ago")
        try:
            digest = sealing.check(data)
            if digests and not digests.explains(version.number, digest):  # without a log, only `verify` complains
                raise RegistryError(log.stranger(version.number))
            described, state = unpack(data, version.name)
        except RegistryError as error:
            raise RegistryError(f"{version.ref} cannot be used, {version.path} is damaged: {error}") from error
        return Record(Version(version.name, version.number, version.path, digest), described, state)

    def models(self) -> list[str]:
        """The names of all models that have a version."""
        with _reported(f"cannot read the registry {self.path}"):
            if not self.path.is_dir():
                raise RegistryError(
                    f"there is no registry at {self.path}; it is created when a model is saved, "
                    f"and chosen by --registry or {ENVIRONMENT}"
                )
            names = sorted(filter(references.is_name, self._files.names(self.path)))
            return [name for name in names if self._files.is_folder(self.path / name) and self._numbers(name)]

    def versions(self, name: str) -> list[Version]:
        """All versions of a model, oldest first; reads their user blocks only."""
        with _reported(f"cannot list {name}"):
            self._check_model(name)
            return [self._version(name, number) for number in self._numbers(name)]

    def find(self, ref: str) -> Version:
        """The version that a reference means now."""
        reference = references.parse(ref)
        name, which = reference.name, reference.which
        with _reported(f"cannot find {ref}"):
            self._check_model(name)
            number = which if isinstance(which, int) else self._number(reference)
            if not self._exists(name, number):
                raise self._missing(reference, number)
            return self._version(name, number)

    def aliases(self, name: str) -> dict[str, int]:
        """The aliases of a model, with the version numbers that they point to; damaged ones are left to `verify`."""
        found = {}
        with _reported(f"cannot list the aliases of {name}"):
            self._check_model(name)
            for alias in filter(None, map(alias_of, sorted(self._files.names(self.path / name)))):
                with contextlib.suppress(RegistryError, FileNotFoundError):  # the latter: removed meanwhile
                    found[alias] = read_alias(self._files, self.path / name / alias_file(alias))
        return found

    def set_alias(self, ref: str, alias: str) -> Version:
        """Let an alias point to a version, from now on and in one step."""
        references.check_alias(alias)
        version = self.find(ref)
        with _reported(f"cannot set the alias {alias} of {version.name}"):
            commit.put(self._files, version.path.with_name(alias_file(alias)), f"{version.number}\n".encode())
        return version

    def remove_alias(self, name: str, alias: str) -> None:
        """Forget an alias; its version stays."""
        references.check_alias(alias)
        with _reported(f"cannot remove the alias {alias} of {name}"):
            self._check_model(name)
            try:
                self._files.remove(self.path / name / alias_file(alias))
            except FileNotFoundError:
                raise self._no_alias(name, alias) from None
            self._files.sync_folder(self.path / name)

    def delete(self, ref: str) -> Version:
        """Delete a version; its number is never used again. Refused while an alias points to it."""
        version = self.find(ref)
        aliases = [alias for alias, number in self.aliases(version.name).items() if number == version.number]
        if aliases:
            raise RegistryError(
                f"{version.ref} cannot be deleted while the alias {', '.join(aliases)} points to it; "
                f"remove the alias or set it to another version first"
            )
        with _reported(f"cannot delete {version.ref}"):
            commit.bury(self._files, version.path.parent, version.number)
        return version

    def verify(self, name: str | None = None) -> list[verification.Problem]:
        """What is wrong with the files of a model, or of all: damaged, missing, added, renamed; empty if nothing is."""
        with _reported(f"cannot verify {self.path}"):
            if name is None:
                return verification.verify_all(self._files, self.path)
            self._check_model(name)
            return verification.verify(self._files, self.path / name)

    def gc(self) -> list[Path]:
        """Remove the temporary files that ended processes have left, and say which; one that cannot be opened stays."""
        removed = []
        with _reported(f"cannot clean {self.path}"):
            for folder in verification.model_folders(self._files, self.path):
                for name in filter(commit.TEMPORARY.fullmatch, sorted(self._files.names(folder))):
                    with contextlib.suppress(OSError):  # it is gone by now, or not ours to judge
                        if self._files.remove_unused(folder / name):
                            removed.append(folder / name)
        return removed

    def _check_model(self, name: str) -> None:
        references.check_name(name)
        folder = self.path / name
        if not self._files.is_folder(folder):
            hint = choices(name, self.models(), "it is empty")
            raise RegistryError(f"there is no model {name!r} in the registry {self.path}: {hint}")

    def _numbers(self, name: str) -> list[int]:
        found = filter(None, map(commit.number_of, self._files.names(self.path / name)))
        return [number for number in sorted(found) if self._exists(name, number)]

    def _exists(self, name: str, number: int) -> bool:
        """Whether there is such a version, damaged or not: a file that is no tombstone and no number merely claimed."""
        path = self._path(name, number)
        try:
            size = self._files.size(path)
            if size is None or size > sealing.BLOCK:
                return size is not None
            if size and self._files.read(path, sealing.BLOCK) == sealing.tombstone():
                return False
            digests = log.read(self._files, path.parent)
            return digests is not None and number in digests.committed  # what was acknowledged was cut short
        except RegistryError:  # a link or a folder: listed like a damaged version, and refused when it is read
            return True

    def _path(self, name: str, number: int) -> Path:
        return self.path / name / commit.version_file(number)

    def _version(self, name: str, number: int) -> Version:
        path = self._path(name, number)
        try:
            digest = sealing.header(self._files.read(path, sealing.BLOCK, whole=False))[1]
        except RegistryError:  # reading or verifying the version says what is wrong; a listing shows the others too
            digest = ""
        return Version(name, number, path, digest)

    def _number(self, reference: Reference) -> int:
        if reference.which == LATEST:
            numbers = self._numbers(reference.name)
            if not numbers:
                raise RegistryError(f"the model {reference.name!r} has no versions left")
            return numbers[-1]
        name, alias = reference.name, str(reference.which)
        try:
            return read_alias(self._files, self.path / name / alias_file(alias))
        except FileNotFoundError:
            raise self._no_alias(name, alias) from None

    def _no_alias(self, name: str, alias: str) -> RegistryError:
        return RegistryError(f"{name} has no alias {alias!r}: {choices(alias, self.aliases(name), 'it has none')}")

    def _missing(self, reference: Reference, number: int) -> RegistryError:
        numbers = self._numbers(reference.name)
        was = "was deleted" if self._files.size(self._path(reference.name, number)) else "does not exist"
        through = "" if reference.which == number else f", to which {reference} points,"
        there = ", ".join(map(str, numbers[-10:])) or "none"
        return RegistryError(f"{reference.name}@{number}{through} {was}; the latest versions are {there}")


@contextlib.contextmanager
def _reported(action: str) -> Iterator[None]:
    """Turn what the operating system refuses into one line for the user."""
    try:
        yield
    except OSError as error:
        where = f" ({error.filename})" if error.filename else ""  # writing to an open file names none
        raise RegistryError(f"{action}: {error.strerror or error}{where}") from error
