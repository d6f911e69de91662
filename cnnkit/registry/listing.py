"""Which versions a model has, and what a listing shows of each."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from cnnkit.errors import RegistryError
from cnnkit.notebook_html import html_table
from cnnkit.registry import commit, digest_log, facts
from cnnkit.registry.aliases import alias_file, alias_of, read_alias
from cnnkit.registry.audit import unreadable
from cnnkit.registry.facts import Facts
from cnnkit.registry.files import Files
from cnnkit.registry.format import sealing
from cnnkit.registry.format.contents import unpack
from cnnkit.registry.notes import note_of, read_text
from cnnkit.registry.records import Entry, Version

UNUSABLE = RegistryError, FileNotFoundError, PermissionError
"""What a file beside the versions may be: damaged, removed meanwhile, or closed to the user; `verify` tells."""


def numbers(files: Files, folder: Path) -> Iterator[int]:
    """The numbers of a model's versions, the highest first."""
    taken = filter(None, map(commit.number_of, files.names(folder)))
    return (number for number in sorted(taken, reverse=True) if exists(files, folder, number))


def has_versions(files: Files, folder: Path) -> bool:
    """Whether a model has versions, or may have: a folder that is closed to the user tells when it is used."""
    try:
        return any(numbers(files, folder))
    except PermissionError:
        return True


def exists(files: Files, folder: Path, number: int) -> bool:
    """Whether there is such a version, damaged or not: a file that is no tombstone and no number merely claimed."""
    path = folder / commit.version_file(number)
    try:
        size = files.size(path)
        if size is None or size > sealing.BLOCK:
            return size is not None
        if size and files.read(path, sealing.BLOCK) == sealing.tombstone():
            return False
        digests = digest_log.read(files, folder, number)
        if digests is None or number not in digests.committed:
            return False
        return bool(size) or not digests.allows_nothing(number)  # what was acknowledged was cut short
    except RegistryError:  # a link or a folder: listed like a damaged version, and refused when it is read
        return True


def aliases(files: Files, folder: Path, names: Iterable[str]) -> dict[str, int]:
    """The aliases among the names in a model's folder, with their numbers; damaged ones are left to `verify`."""
    found = {}
    for alias in filter(None, map(alias_of, sorted(names))):
        with contextlib.suppress(*UNUSABLE):
            found[alias] = read_alias(files, folder / alias_file(alias)).number
    return found


def tags(files: Files, folder: Path, names: Iterable[str]) -> dict[int, dict[str, str]]:
    """The tags among the names in a model's folder, by number and key; damaged ones are left to `verify`."""
    found: dict[int, dict[str, str]] = {}
    for name in sorted(names):
        note = note_of(name) if name.endswith(".tag") else None
        if note:
            with contextlib.suppress(*UNUSABLE):
                found.setdefault(note.number, {})[note.key] = read_text(files, folder / name)
    return found


def notes_of(files: Files, version: Path, number: int) -> list[Path]:
    """The files of all notes of a version."""
    return [
        version.with_name(name)
        for name in sorted(files.names(version.parent))
        if (note := note_of(name)) and note.number == number
    ]


def entries(files: Files, folder: Path) -> list[Entry]:
    """All versions of a model, oldest first; reads the files of those alone whose facts are not kept."""
    try:
        names = files.names(folder)  # before the logs: what can be seen here has its record by now
    except OSError as error:
        return [Entry(Version(folder.name, 0, folder, ""), None, problem=unreadable(error))]
    digests, trouble = None, ""
    try:
        digests = digest_log.read(files, folder)
    except (RegistryError, OSError) as error:
        trouble = f"{digest_log.LOG}: {unreadable(error)}"
    kept = facts.read(files, folder) if digests else {}
    pointing: dict[int, list[str]] = {}
    for alias, number in aliases(files, folder, names).items():
        pointing.setdefault(number, []).append(alias)
    tagged = tags(files, folder, names)
    found, new = [], []
    for number in sorted(filter(None, map(commit.number_of, names))):
        path = folder / commit.version_file(number)
        one = kept.get(number)
        if not (one and digests and digests.explains(number, one.digest) and _is_usable(files, path, one.nbytes)):
            looked = _look(files, path, number, digests, trouble)
            if looked is None:
                continue
            one, problem = looked
            new += [one] if one else []
        else:
            problem = ""
        version = Version(folder.name, number, path, one.digest if one else "")
        found.append(Entry(version, one, tuple(pointing.get(number, ())), tagged.get(number, {}), problem))
    if new:
        facts.add(files, folder, new)
    return found


def _is_usable(files: Files, path: Path, nbytes: int) -> bool:
    """Whether a version may be listed by its facts: with a file of this size that this user may read."""
    try:
        return files.size(path) == nbytes and files.is_open(path)
    except (RegistryError, OSError):
        return False


def _look(
    files: Files, path: Path, number: int, digests: digest_log.Digests | None, trouble: str
) -> tuple[Facts | None, str] | None:
    """The facts of a version, or why they cannot be read; None if there is no such version.

    trouble: why the digest log cannot be read.
    """
    try:
        if not exists(files, path.parent, number):
            return None
        return (None, trouble) if trouble else (_read(files, path, number, digests), "")
    except (RegistryError, OSError) as error:
        problem = trouble or unreadable(error)
    with contextlib.suppress(RegistryError, OSError):
        if not exists(files, path.parent, number):  # it was deleted a moment ago
            return None
    return None, problem


def _read(files: Files, path: Path, number: int, digests: digest_log.Digests | None) -> Facts:
    """The facts of a version from its file. Raises RegistryError or OSError if that is damaged or cannot be read."""
    data = files.read(path, sealing.MAX_MODEL_FILE_BYTES, check=sealing.check_start)
    digest = sealing.check(data)
    if digests and not digests.explains(number, digest):
        raise RegistryError(digest_log.stranger(number))
    manifest, state = unpack(data, path.parent.name)
    return facts.facts_of(manifest, state.values(), number, digest, len(data))


def as_html(found: Sequence[Entry]) -> str:
    """A listing for a notebook."""
    rows = []
    for entry in found:
        facts = entry.facts
        metrics = facts.metrics if facts else {}
        shown = ", ".join(f"{name} {metrics[name]:.4g}" for name in ("accuracy", "loss") if name in metrics)
        created = facts.created[:16].replace("T", " ") if facts else ""
        dataset = facts.dataset or "" if facts else ""
        rows.append((entry.ref, ", ".join(entry.aliases), created, dataset, shown or entry.problem))
    return html_table(("version", "aliases", "created", "dataset", "test"), rows, left=5)
