"""The registry: a folder of models, each a folder of versions that never change."""

from __future__ import annotations

import contextlib
import itertools
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from cnnkit.components import Component
from cnnkit.errors import RegistryError
from cnnkit.network import Network
from cnnkit.registry import (
    aliases,
    audit,
    commit,
    digest_log,
    exchange,
    facts,
    listing,
    notes,
    references,
    save_check,
    search,
)
from cnnkit.registry.aliases import Alias, alias_file, alias_of, read_alias
from cnnkit.registry.files import Files, reported
from cnnkit.registry.format import manifest, sealing
from cnnkit.registry.format.contents import pack, unpack
from cnnkit.registry.notes import Verdict
from cnnkit.registry.records import Entry, Record, Version
from cnnkit.registry.references import LATEST, Reference, choices
from cnnkit.user_folders import expanded

ENVIRONMENT = "CNNKIT_REGISTRY"


class Registry:
    """Models in a folder, without a server: safe against crashes and against other writers.

    path: the folder; else the environment variable CNNKIT_REGISTRY; else `./registry`.
    All methods raise RegistryError, saying what is wrong with which reference or file.
    """

    def __init__(self, path: str | Path | None = None, *, files: Files | None = None) -> None:
        self.path = expanded(path or os.environ.get(ENVIRONMENT) or "registry")
        self._files = files or Files()

    def __repr__(self) -> str:
        return f"Registry({str(self.path)!r})"

    def _repr_html_(self) -> str:
        return listing.as_html(self.search() if self.path.is_dir() else [])

    def save(
        self,
        model: Network,
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
        encoded, data = pack(
            model, name, state, recipe=recipe, history=history, metrics=metrics, dataset=dataset, settings=settings
        )
        digest = sealing.header(bytes(data[: sealing.BLOCK]))[1]
        folder = self.path / name
        with reported(f"cannot save {name} in {self.path}"), commit.prepared(self._files, folder):
            number = commit.register(self._files, folder, data, digest)
            written = manifest.decode(encoded)  # numbers as the file has them, whatever they were
            facts.add(self._files, folder, [facts.facts_of(written, state.values(), number, digest, len(data))])
        return Version(name, number, folder / commit.version_file(number), digest)

    def check_save(self, name: str, nbytes: int = 0) -> None:
        """Find out, before hours are spent on training, that a model could not be registered; writes nothing.

        nbytes: of its arrays, as far as that is known.
        """
        save_check.check(self._files, self.path, name, nbytes)

    def add(self, data: bytes, name: str | None = None) -> Version:
        """Register the bytes of a version file, from this registry or another, unless that version is already there.

        name: the model that it becomes a version of, its own if None; another name is written into its manifest, and
        the file is sealed again, so its digest changes. Nothing is written unless the bytes could be loaded.
        """
        arrival = exchange.receive(data, name)
        folder = self.path / arrival.name
        with (
            reported(f"cannot save {arrival.name} in {self.path}"),
            commit.prepared(self._files, folder),
            self._locked(arrival.name),  # two that bring the same file must not both find that it is not there
        ):
            if there := exchange.find(self, arrival):
                return there
            number = commit.register(self._files, folder, arrival.data, arrival.digest)
        return Version(arrival.name, number, self.path / arrival.name / commit.version_file(number), arrival.digest)

    def load(self, ref: str, components: Sequence[type[Component]] = ()) -> Network:
        """The model of a version: `read(ref).model(components)`."""
        return self.read(ref).model(components)

    def read(self, ref: str) -> Record:
        """Everything in a version, also where the plugins of its layers are missing."""
        version = self.find(ref)
        try:
            with reported(f"cannot read {version.ref}"):
                data = self._files.read(version.path, sealing.MAX_MODEL_FILE_BYTES, check=sealing.check_start)
                # After the file: what can be seen has its record.
                digests = digest_log.read(self._files, version.path.parent, version.number)
        except sealing.SealError as error:
            raise _damaged(version, error) from error
        if data == sealing.tombstone():
            raise RegistryError(f"{version.ref} was deleted a moment ago")
        try:
            digest = sealing.check(data)
            if digests and not digests.explains(version.number, digest):  # without a log, only `verify` complains
                raise RegistryError(digest_log.stranger(version.number))
            described, state = unpack(data, version.name)
        except RegistryError as error:
            raise _damaged(version, error) from error
        return Record(Version(version.name, version.number, version.path, digest), described, state)

    def models(self) -> list[str]:
        """The names of all models that have a version."""
        with reported(f"cannot read the registry at {self.path}"):
            return [name for name in self._names() if listing.has_versions(self._files, self.path / name)]

    def versions(self, name: str) -> list[Version]:
        """All versions of a model, oldest first; reads their user blocks only."""
        with reported(f"cannot list {name}"):
            folder = self._folder(name)
            return [self._version(name, number) for number in sorted(listing.numbers(self._files, folder))]

    def search(self, where: str = "", name: str | None = None) -> list[Entry]:
        """The versions of a model, or of all, by name and number, with what a listing shows of each.

        where: conditions such as "accuracy>0.98 and dataset=mnist", as `cnnkit.registry.search` has them. Raises
        ConfigError if they cannot be read.
        """
        conditions = search.parse(where)
        found = []
        for model in self._names() if name is None else [name]:
            with reported(f"cannot list {model}"):
                found += listing.entries(self._files, self._folder(model))
        return search.select(found, conditions)

    def find(self, ref: str) -> Version:
        """The version that a reference means now."""
        reference = references.parse(ref)
        name, which = reference.name, reference.which
        with reported(f"cannot find {ref}"):
            folder = self._folder(name)
            number = which if isinstance(which, int) else self._number(reference)
            if not listing.exists(self._files, folder, number):
                raise self._missing(reference, number)
            return self._version(name, number)

    def aliases(self, name: str) -> dict[str, int]:
        """The aliases of a model, with the version numbers that they point to; damaged ones are left to `verify`."""
        with reported(f"cannot list the aliases of {name}"):
            folder = self._folder(name)
            return listing.aliases(self._files, folder, self._files.names(folder))

    def requirement(self, name: str, alias: str) -> str:
        """What an alias requires of its versions: "validated" or "none"."""
        with reported(f"cannot read the alias {alias} of {name}"):
            return self._alias(name, references.check_alias(alias)).require

    def set_alias(self, ref: str, alias: str, require: str | None = None) -> Version:
        """Point an alias to a version, atomically.

        require: "validated" refuses a version whose stored verdict is not a pass, now and whenever the alias is set
        again; "none" lifts that; None leaves the alias's requirement as it is.
        """
        references.check_alias(alias)
        name = references.parse(ref).name
        with reported(f"cannot set the alias {alias} of {name}"), self._locked(name) as folder:
            version = self.find(ref)
            aliases.set_alias(self._files, folder, alias, version, require)
        return version

    def remove_alias(self, name: str, alias: str) -> None:
        """Remove an alias and its requirement; its version stays."""
        references.check_alias(alias)
        with reported(f"cannot remove the alias {alias} of {name}"), self._holding(name) as folder:
            try:
                aliases.remove_alias(self._files, folder, alias)
            except FileNotFoundError:
                raise self._no_alias(name, alias) from None

    def description(self, ref: str) -> str:
        """The description of a version; "" if it has none."""
        version = self.find(ref)
        with reported(f"cannot read the description of {version.ref}"):
            try:
                return notes.read_text(self._files, notes.note_file(version.path, "description"))
            except FileNotFoundError:
                return ""

    def describe(self, ref: str, text: str) -> Version:
        """Keep a description of a version, in place of the one before; "" removes it."""
        with reported(f"cannot describe {ref}"), self._locked(references.parse(ref).name):
            version = self.find(ref)
            path = notes.note_file(version.path, "description")
            if text:
                commit.put(self._files, path, notes.encode_text(text, "a description"))
            else:
                with contextlib.suppress(FileNotFoundError):
                    self._files.remove(path)
                    self._files.sync_folder(path.parent)
        return version

    def tags(self, ref: str) -> dict[str, str]:
        """The tags of a version by key; damaged ones are left to `verify`."""
        version = self.find(ref)
        with reported(f"cannot read the tags of {version.ref}"):
            names = self._files.names(version.path.parent)
            return listing.tags(self._files, version.path.parent, names).get(version.number, {})

    def set_tag(self, ref: str, key: str, value: str) -> Version:
        """Give a version a tag; it replaces the key's earlier value."""
        notes.check_key(key)
        with reported(f"cannot tag {ref}"), self._locked(references.parse(ref).name):
            version = self.find(ref)
            path = notes.note_file(version.path, f"{key}.tag")
            commit.put(self._files, path, notes.encode_text(value, f"the tag {key}"))
        return version

    def remove_tag(self, ref: str, key: str) -> Version:
        """Remove a tag of a version."""
        notes.check_key(key)
        name = references.parse(ref).name
        with reported(f"cannot remove the tag {key} of {ref}"), self._holding(name):
            version = self.find(ref)
            try:
                self._files.remove(notes.note_file(version.path, f"{key}.tag"))
            except FileNotFoundError:
                hint = choices(key, self.tags(version.ref), "it has none")
                raise RegistryError(f"{version.ref} has no tag {key!r}: {hint}") from None
            self._files.sync_folder(version.path.parent)
        return version

    def verdict(self, ref: str) -> Verdict | None:
        """The verdict of the last validation that was stored for a version; None if there was none."""
        version = self.find(ref)
        with reported(f"cannot read the verdict of {version.ref}"):
            try:
                return notes.read_verdict(self._files, notes.note_file(version.path, "verdict"))
            except FileNotFoundError:
                return None

    def set_verdict(self, ref: str, verdict: Verdict) -> Version:
        """Keep the verdict of a validation, in place of the one before."""
        with reported(f"cannot store the verdict of {ref}"), self._locked(references.parse(ref).name):
            version = self.find(ref)
            if verdict.digest != version.digest:
                raise RegistryError(
                    f"the verdict is of a version with the digest {verdict.digest}, {version.ref} has {version.digest}"
                )
            commit.put(self._files, notes.note_file(version.path, "verdict"), notes.encode_verdict(verdict))
        return version

    def delete(self, ref: str) -> Version:
        """Delete a version and its notes; its number is never used again. Refused while an alias points to it.

        ref: with a number, an alias or "latest", for a name alone does not say which version.
        """
        reference = references.parse(ref)
        if "@" not in ref:
            raise RegistryError(
                f"which version of {ref} is to be deleted? {self._latest(self._folder(ref))}; "
                f"expected a reference such as {reference}"
            )
        with reported(f"cannot delete {ref}"), self._locked(reference.name) as folder:
            version = self.find(ref)
            names = sorted(filter(None, map(alias_of, self._files.names(folder))))
            pointing = {alias: self._alias(version.name, alias).number for alias in names}
            if held := [alias for alias, number in pointing.items() if number == version.number]:
                raise RegistryError(
                    f"{version.ref} cannot be deleted while the alias {', '.join(held)} points to it; "
                    f"remove the alias or set it to another version first"
                )
            commit.bury(self._files, folder, version.number)
            with contextlib.suppress(OSError):  # they mean nothing any more, and `gc` removes them
                for note in listing.notes_of(self._files, version.path, version.number):
                    self._files.remove(note)
        return version

    def verify(self, name: str | None = None) -> list[audit.Problem]:
        """What is wrong with the files of a model, or of all: damaged, missing, added, renamed; empty if nothing is."""
        with reported(f"cannot verify {self.path}"):
            if name is None:
                return audit.verify_all(self._files, self.path)
            return audit.verify(self._files, self._folder(name))

    def leftovers(self) -> list[Path]:
        """What `gc` would remove: temporary files that ended processes have left, and notes of deleted versions."""
        with reported(f"cannot scan {self.path}"):
            folders = audit.model_folders(self._files, self.path)
            return [path for folder in folders for path in audit.leftovers(self._files, folder)]

    def gc(self) -> list[Path]:
        """Remove the leftovers, and say which; one that cannot be opened stays."""
        removed = []
        for path in self.leftovers():
            with contextlib.suppress(OSError, RegistryError), self._files.hold(path.parent):  # gone, or not ours
                removed += [path] if self._files.remove_unused(path) else []
        return removed

    def _names(self) -> list[str]:
        """The names of all models, with versions or without."""
        with reported(f"cannot read the registry at {self.path}"):
            if not self.path.is_dir():
                raise RegistryError(
                    f"there is no registry at {self.path.absolute()}; it is created when a model is saved, and "
                    f"selected by --registry or {ENVIRONMENT}"
                )
            return [folder.name for folder in audit.model_folders(self._files, self.path)]

    def _folder(self, name: str) -> Path:
        """The folder of a model, if there is such a model."""
        folder = self.path / references.check_existing(name)
        if not self._files.is_folder(folder):
            references.refuse_path(name)
            hint = choices(name, self.models(), "it is empty")
            raise RegistryError(f"there is no model {name!r} in the registry at {self.path.absolute()}: {hint}")
        return folder

    @contextlib.contextmanager
    def _holding(self, name: str) -> Iterator[Path]:
        """The folder of a model, and no other that takes its name meanwhile."""
        folder = self._folder(name)
        with self._files.hold(folder):
            yield folder

    @contextlib.contextmanager
    def _locked(self, name: str) -> Iterator[Path]:
        """The folder of a model, locked: nobody else sets an alias or deletes a version meanwhile."""
        with self._holding(name) as folder:
            lock = self._files.lock(folder)
            try:
                yield folder
            finally:
                self._files.close(lock)

    def _version(self, name: str, number: int) -> Version:
        path = self.path / name / commit.version_file(number)
        try:
            digest = sealing.header(self._files.read(path, sealing.BLOCK, whole=False))[1]
        except (RegistryError, PermissionError):  # reading or verifying it says what is wrong; a listing goes on
            digest = ""
        return Version(name, number, path, digest)

    def _number(self, reference: Reference) -> int:
        if reference.which != LATEST:
            return self._alias(reference.name, str(reference.which)).number
        for number in listing.numbers(self._files, self.path / reference.name):
            return number
        raise RegistryError(f"the model {reference.name!r} has no versions left")

    def _alias(self, name: str, alias: str) -> Alias:
        try:
            return read_alias(self._files, self._folder(name) / alias_file(alias))
        except FileNotFoundError:
            raise self._no_alias(name, alias) from None

    def _no_alias(self, name: str, alias: str) -> RegistryError:
        return RegistryError(f"{name} has no alias {alias!r}: {choices(alias, self.aliases(name), 'it has none')}")

    def _missing(self, reference: Reference, number: int) -> RegistryError:
        folder = self.path / reference.name
        digests = digest_log.read(self._files, folder, number)
        is_tombstone = self._files.size(folder / commit.version_file(number))  # an empty one is of a full disk
        was = "was deleted" if is_tombstone or (digests and number in digests.deleted) else "does not exist"
        through = "" if reference.which == number else f", to which {reference} points,"
        return RegistryError(f"{reference.name}@{number}{through} {was}; {self._latest(folder)}")

    def _latest(self, folder: Path) -> str:
        latest = sorted(itertools.islice(listing.numbers(self._files, folder), 10))
        if len(latest) < 2:
            return f"the only version is {latest[0]}" if latest else "there are no versions"
        return f"the latest versions are {', '.join(map(str, latest))}"


def _damaged(version: Version, error: RegistryError) -> RegistryError:
    return RegistryError(f"{version.ref} cannot be used, {version.path} is damaged: {error}")
