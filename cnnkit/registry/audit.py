"""Verification: every file of a model against its own seal and against the digest log, and the notes beside them."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from cnnkit.errors import RegistryError
from cnnkit.registry import commit, digest_log, references
from cnnkit.registry.aliases import alias_of, objection, read_alias
from cnnkit.registry.files import Files
from cnnkit.registry.format import git, sealing
from cnnkit.registry.format.contents import unpack
from cnnkit.registry.notes import Note, note_of, read_text, read_verdict


@dataclass(frozen=True)
class Problem:
    """Something in a registry that is not as it was registered."""

    path: Path
    text: str

    def __str__(self) -> str:
        return f"{self.path}: {self.text}"


def model_folders(files: Files, registry: Path) -> list[Path]:
    """The folders of all models, by name; plain files beside them belong to the user."""
    names = sorted(filter(references.is_name, files.names(registry)))
    return [registry / name for name in names if files.is_folder(registry / name)]


def verify_all(files: Files, registry: Path) -> list[Problem]:
    """The problems of all models."""
    return [problem for folder in model_folders(files, registry) for problem in verify(files, folder)]


def verify(files: Files, folder: Path) -> list[Problem]:
    """The problems of one model; none because of a writer that is at work, or was killed at any moment."""
    return list(_verify(files, folder))


def leftovers(files: Files, folder: Path) -> Iterator[Path]:
    """The temporary files of ended processes, and the notes of deleted versions; what cannot be opened is skipped."""
    for name in sorted(files.names(folder)):
        note = note_of(name)
        with contextlib.suppress(OSError, RegistryError):  # it is gone by now, or not ours to judge
            if note and files.read(folder / commit.version_file(note.number), sealing.BLOCK) != sealing.tombstone():
                continue
            if note or (commit.TEMPORARY.fullmatch(name) and files.is_unused(folder / name)):
                yield folder / name


def _verify(files: Files, folder: Path) -> Iterator[Problem]:
    try:
        names = sorted(files.names(folder))  # before the log: what is listed here has its record by now
    except OSError as error:
        yield Problem(folder, unreadable(error))
        return
    digests: digest_log.Digests | None = digest_log.Digests()
    try:
        found = digest_log.read(files, folder)
        if not found and any(map(commit.number_of, names)):  # else a first writer has not come that far, or died
            yield Problem(folder / digest_log.LOG, "the digest log is missing")
        digests = found or digests
    except git.ChangedError as error:  # which says nothing of the versions
        yield Problem(folder / digest_log.LOG, unreadable(error))
        digests = None
    except (RegistryError, OSError) as error:
        yield Problem(folder / digest_log.LOG, unreadable(error))
    for line in digests.damaged if digests else ():
        yield Problem(folder / digest_log.LOG, f"line {line} is damaged")
    for name in sorted({*names, *map(commit.version_file, digests.committed if digests else ())}):
        if name == digest_log.LOG or commit.TEMPORARY.fullmatch(name):
            continue
        if text := _file(files, folder, name, digests):
            yield Problem(folder / name, text)


def _file(files: Files, folder: Path, name: str, digests: digest_log.Digests | None) -> str:
    """What is wrong with a file, "" if nothing is."""
    number = commit.number_of(name)
    try:
        if note := note_of(name):
            return _note(files, folder / name, note)
        return _plain(files, folder, name) if number is None else _version(files, folder / name, number, digests)
    except FileNotFoundError:  # a note or an alias may have been removed meanwhile; no operation removes a version
        return "" if number is None else "the version is missing"
    except (RegistryError, OSError) as error:
        return unreadable(error)


def _version(files: Files, path: Path, number: int, digests: digest_log.Digests | None) -> str:
    """What is wrong with a version, "" if nothing is; without a log (None), as far as the file itself shows."""
    if files.size(path) == 0 and (digests is None or digests.allows_nothing(number)):
        return ""
    data = files.read(path, sealing.MAX_MODEL_FILE_BYTES, check=sealing.check_start)
    digest = sealing.check(data)
    if digests and not digests.explains(number, digest) and not _explained_by_now(files, path.parent, number, digest):
        return digest_log.stranger(number)
    if data != sealing.tombstone():
        unpack(data, path.parent.name)
    return ""


def _explained_by_now(files: Files, folder: Path, number: int, digest: str) -> bool:
    """Whether the log has come to explain a file: its version may have been deleted since the log was read."""
    try:
        digests = digest_log.read(files, folder)
    except (RegistryError, OSError):  # it could not be read before either, which is reported
        return False
    return digests is not None and digests.explains(number, digest)


def _note(files: Files, path: Path, note: Note) -> str:
    """What is wrong with a note, "" if nothing is."""
    version = path.with_name(commit.version_file(note.number))
    size = files.size(version)
    if size is None:
        return f"it is a note of version {note.number}, which does not exist"
    if size <= sealing.BLOCK:
        return ""  # the version was deleted, or is damaged itself
    if note.kind != "verdict":
        read_text(files, path)
        return ""
    verdict = read_verdict(files, path)
    if _digest(files, version) in ("", verdict.digest):
        return ""
    return f"it is the verdict on content other than that of version {note.number}"


def _digest(files: Files, version: Path) -> str:
    """The digest in a version's user block, "" if that is damaged, which is reported separately."""
    try:
        return sealing.header(files.read(version, sealing.BLOCK, whole=False))[1]
    except RegistryError:
        return ""


def _plain(files: Files, folder: Path, name: str) -> str:
    """What is wrong with an alias or the file of facts, "" if nothing is."""
    if name == commit.FACTS:
        files.size(folder / name)  # it must be a regular file; what it says is never relied on
        return ""
    if not alias_of(name):
        return "unexpected file name"
    alias = read_alias(files, folder / name)
    version = folder / commit.version_file(alias.number)
    if (files.size(version) or 0) <= sealing.BLOCK:
        return f"the alias points to version {alias.number}, which does not exist"
    unfulfilled = objection(files, version, _digest(files, version), alias.require)
    return unfulfilled and f"the alias requires a validated version, and version {alias.number} is not: {unfulfilled}"


def unreadable(error: RegistryError | OSError) -> str:
    """What to say of a file that could not be used."""
    if isinstance(error, OSError):
        return f"it cannot be read: {error.strerror or error}"
    return f"it is damaged: {error}"
