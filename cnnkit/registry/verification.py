"""Verification: every file of a model against its own seal and against the digest log."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from cnnkit.errors import RegistryError
from cnnkit.registry import commit, log, references, sealing
from cnnkit.registry.aliases import ALIAS_FILE, read_alias
from cnnkit.registry.files import Files

MAX_LOG = 2**30


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


def _verify(files: Files, folder: Path) -> Iterator[Problem]:
    names = sorted(files.names(folder))  # before the log: what is listed here has its record by now
    digests = log.Digests()
    try:
        digests = log.read(files.read(folder / log.LOG, MAX_LOG))
    except RegistryError as error:
        yield Problem(folder / log.LOG, f"it is damaged: {error}")
    except FileNotFoundError:
        if any(map(commit.number_of, names)):  # else a first writer has not come that far, or died before
            yield Problem(folder / log.LOG, "the digest log is missing")
    for line in digests.damaged:
        yield Problem(folder / log.LOG, f"line {line} is damaged")
    for name in map(commit.version_file, sorted(digests.committed)):
        if name not in names and files.size(folder / name) is None:  # it may have appeared after the listing
            yield Problem(folder / name, "the version is missing")
    for name in names:
        if name == log.LOG or commit.TEMPORARY.fullmatch(name):
            continue
        number = commit.number_of(name)
        try:
            text = _alias(files, folder, name) if number is None else _version(files, folder / name, number, digests)
        except RegistryError as error:
            text = f"it is damaged: {error}"
        except FileNotFoundError:  # an alias that was removed after the listing
            text = ""
        if text:
            yield Problem(folder / name, text)


def _version(files: Files, path: Path, number: int, digests: log.Digests) -> str:
    """What is wrong with a version, "" if nothing is."""
    if files.size(path) == 0 and number not in digests.committed:
        return ""  # a writer has taken the number, and has not finished or never will
    data = files.read(path, sealing.MAX_BYTES)
    digest = sealing.check(data)
    if data == sealing.tombstone() or digests.explains(number, digest):
        return ""
    return f"the digest log has no version {number} with this content: it was added or renamed"


def _alias(files: Files, folder: Path, name: str) -> str:
    """What is wrong with an alias, "" if nothing is."""
    if not ALIAS_FILE.fullmatch(name):
        return "nothing in a registry is called so"
    number = read_alias(files, folder / name)
    if (files.size(folder / commit.version_file(number)) or 0) <= sealing.BLOCK:
        return f"the alias points to version {number}, which does not exist"
    return ""
