"""How files appear in a model's folder: whole or not at all, whatever fails, and no number twice.

The order of the steps, and why each stands where it does, is in `docs/format.md`.
"""

from __future__ import annotations

import contextlib
import os
import re
import secrets
from collections.abc import Iterable, Iterator
from pathlib import Path

from cnnkit.errors import RegistryError
from cnnkit.registry import digest_log
from cnnkit.registry.files import FULL, NO_HARD_LINKS, Files
from cnnkit.registry.format import git, sealing

VERSION_FILE = re.compile(r"v([0-9]{6}|[1-9][0-9]{6,8})\.h5")
MAX_NUMBER = 999_999_999
FACTS = "facts.log"
"""The cache for listings, which may be deleted at any time."""
TEMPORARY = re.compile(r"\.tmp-[0-9a-f]{32}")


class NotDurableError(RegistryError):
    """A version was saved, and the system did not confirm that it is on the disk."""

    def __init__(self, message: str, number: int) -> None:
        super().__init__(message)
        self.number = number


def version_file(number: int) -> str:
    """The name of a version's file."""
    return f"v{number:06}.h5"


def number_of(file_name: str) -> int | None:
    """The number of a version by the name of its file; None if the name is another file's."""
    match = VERSION_FILE.fullmatch(file_name)
    return int(match[1]) or None if match else None


def highest(names: Iterable[str]) -> int:
    """The highest number that a version file among the names has; 0 if there is none."""
    return max(filter(None, map(number_of, names)), default=0)


def begin(files: Files, registry: Path) -> None:
    """Make the registry's folder; one in which nothing is yet gets the file that tells git to leave line ends alone."""
    files.make_folder(registry)
    if not files.names(registry):
        put(files, Path(os.path.realpath(registry)) / git.ATTRIBUTES, git.CONTENT)


@contextlib.contextmanager
def prepared(files: Files, folder: Path) -> Iterator[None]:
    """Make a model's folder with an empty log, unless they are there, and hold it.

    Both are durable, whoever made them. What is written until the end is written into this very folder.
    """
    if not files.is_folder(folder):
        begin(files, folder.parent)
        files.make_folder(folder)
    with files.hold(folder):
        _prepare(files, folder)
        yield


def has_log(files: Files, folder: Path) -> bool:
    """Whether a model has its log. Raises RegistryError if it has versions but no log, or no regular one."""
    if files.size(folder / digest_log.LOG) is not None:
        return True
    if any(map(number_of, files.names(folder))):
        raise RegistryError(
            f"the digest log {folder / digest_log.LOG} is missing, and a new one would not know the versions that are "
            "there: restore it from a copy; `cnnkit models verify` says what else is wrong"
        )
    return False


def _prepare(files: Files, folder: Path) -> None:
    if not has_log(files, folder):
        files.append(folder / digest_log.LOG, b"")
    files.sync_folder(folder)  # what is there may be another writer's who has not come to this point
    files.sync_folder(folder.parent)
    with contextlib.suppress(PermissionError):  # a folder that may not be opened: this writer made nothing in it
        files.sync_folder(folder.parent.parent)


def register(files: Files, folder: Path, data: bytes | memoryview, digest: str) -> int:
    """Give a version file the next free number, and return it once the version can no longer be lost.

    folder: one that is `prepared`.
    """
    with temporary(files, folder, data) as path:
        number = next_number(files, folder)
        while True:
            files.append(folder / digest_log.LOG, digest_log.record(digest_log.INTENT, number, digest))
            if _appear(files, path, folder / version_file(number)):
                break
            # Each attempt takes a higher number, even if the one that was taken is not listed as a version.
            number = _allowed(folder, 1 + max(number, highest(files.names(folder))))
        try:
            files.sync_folder(folder)
            files.append(folder / digest_log.LOG, digest_log.record(digest_log.COMMIT, number, digest))
            files.check_name(folder)
        except OSError as error:
            raise NotDurableError(
                f"{folder.name}@{number} was saved completely, but it may not survive a power failure: {error}", number
            ) from error
    return number


def next_number(files: Files, folder: Path) -> int:
    """The number after the highest one that any version ever had. Raises RegistryError if none is left."""
    return _allowed(folder, _next(files, folder))


def _allowed(folder: Path, number: int) -> int:
    if number > MAX_NUMBER:
        raise RegistryError(f"{folder} has no version number left: {version_file(MAX_NUMBER)} is the last one")
    return number


def _next(files: Files, folder: Path) -> int:
    """The next number, from the end of the log if the folder agrees with it.

    To list a folder of 10,000 versions takes half as long as the rest of a save. What is deleted or lost keeps its
    number: the log has it, though the folder may not.
    """
    last = digest_log.last_tried(files, folder)
    with contextlib.suppress(RegistryError):  # something else has a version's name: the list shows it
        at, after = (files.size(folder / version_file(number)) for number in (last, last + 1))
        if last and at is not None and after is None:
            return last + 1
    digests = digest_log.read(files, folder) or digest_log.Digests()
    return 1 + max(highest(files.names(folder)), *digests.committed, *digests.deleted, 0)


def bury(files: Files, folder: Path, number: int) -> None:
    """Replace a version by a tombstone, once the log allows it; the folder is held."""
    _prepare(files, folder)
    digest_log.check_end(files, folder)
    try:
        _bury(files, folder, number, sealing.tombstone())
    except OSError as error:
        if error.errno not in FULL:
            raise
        # An empty file needs no block: the cache for listings makes room for its name and for the record in the log.
        with contextlib.suppress(FileNotFoundError):
            files.remove(folder / FACTS)
        _bury(files, folder, number, b"")
        with contextlib.suppress(OSError):  # now there is room, unless somebody else was faster
            put(files, folder / version_file(number), sealing.tombstone())


def _bury(files: Files, folder: Path, number: int, tombstone: bytes) -> None:
    files.append(
        folder / digest_log.LOG, digest_log.record(digest_log.DELETE, number, sealing.check(sealing.tombstone()))
    )
    put(files, folder / version_file(number), tombstone)


def put(files: Files, path: Path, data: bytes | memoryview) -> None:
    """Let a file have this content, in one step and durably; what was there before goes."""
    with files.hold(path.parent), temporary(files, path.parent, data) as source:
        files.replace(source, path)
        files.sync_folder(path.parent)
        files.check_name(path.parent)


@contextlib.contextmanager
def temporary(files: Files, folder: Path, data: bytes | memoryview) -> Iterator[Path]:
    """A complete file of a temporary name, on the disk; locked while it is in use, and removed afterwards."""
    path = folder / f".tmp-{secrets.token_hex(16)}"
    file = files.create(path)
    try:
        files.write(file, data)
        files.share(file, folder)
        files.sync(file)
        yield path
    finally:
        with contextlib.suppress(OSError):  # it was renamed, or stays for `gc`; neither undoes what has been done
            files.remove(path)
        files.close(file)


def _appear(files: Files, source: Path, target: Path) -> bool:
    """Give a complete file its final name; False if that is taken."""
    try:
        files.link(source, target)
    except FileExistsError:  # also if the answer to the first call was lost on the way from an NFS server
        return files.is_same(source, target)
    except OSError as error:
        if error.errno not in NO_HARD_LINKS:
            raise
        return _appear_without_links(files, source, target)
    return True


def _appear_without_links(files: Files, source: Path, target: Path) -> bool:
    """`_appear` without hard links: an empty file takes the number, the complete one replaces it."""
    try:
        files.claim(target)
    except FileExistsError:
        return False
    files.replace(source, target)
    return True
