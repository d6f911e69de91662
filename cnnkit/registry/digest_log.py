"""The digest log beside a model's versions: what was registered under which number, outside the files themselves.

Two records for each version: `intent` before the file appears under its number, `commit` after that is durable; and a
third one, `delete`, before a tombstone takes its place.
Each record begins with a line break, so that one cut short by a crash never spoils the next.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from cnnkit.errors import RegistryError
from cnnkit.registry.files import Files
from cnnkit.registry.format import git

LOG = "digests.log"
INTENT, COMMIT, DELETE = KINDS = "intent", "commit", "delete"
MAX_LOG_BYTES = 2**26
"""Most bytes of a digest log, which has some 150 for each version: 400,000 of them."""
END_BYTES = 4096
"""What is looked at of its end before it grows; the records of a version take less."""
_RECORD = re.compile(rf"({'|'.join(KINDS)}) ([1-9][0-9]{{0,8}}) ([0-9a-f]{{64}})")
_CUT = re.compile(rf"({'|'.join(KINDS)}) [0-9]{{0,9}}( [0-9a-f]{{0,64}})?")


@dataclass
class Digests:
    """What a log says."""

    committed: dict[int, set[str]] = field(default_factory=dict)
    """Digests of the versions that were acknowledged; one each, unless somebody wrote into the log."""
    intended: dict[int, set[str]] = field(default_factory=dict)
    """Digests that writers tried to register under a number; one of them succeeded, or none."""
    deleted: dict[int, set[str]] = field(default_factory=dict)
    """Digests of the tombstones that may replace versions."""
    damaged: list[int] = field(default_factory=list)
    """Lines that no writer wrote, not even in part."""

    def explains(self, number: int, digest: str) -> bool:
        """Whether a version file may have this digest."""
        if digest in self.deleted.get(number, ()):
            return True
        allowed = self.committed.get(number) or self.intended.get(number, set())
        return allowed == {digest} if number in self.committed else digest in allowed

    def allows_nothing(self, number: int) -> bool:
        """Whether a version file may be empty.

        A writer has taken the number and has not finished or never will, or the version was deleted on a full disk.
        """
        return number not in self.committed or number in self.deleted


def stranger(number: int) -> str:
    """What to say of a file that the log does not explain."""
    return f"the digest log has no version {number} with this content: it was added, replaced, deleted or renamed"


def record(kind: str, number: int, digest: str) -> bytes:
    """A record to append."""
    return f"\n{kind} {number} {digest}\n".encode()


def read(files: Files, folder: Path, number: int | None = None) -> Digests | None:
    """The log of a model, None if there is none; of one version, which is faster, if `number` is given.

    Raises RegistryError if it is not a regular file, or if git has changed it.
    """
    try:
        data = files.read(folder / LOG, MAX_LOG_BYTES)
    except FileNotFoundError:
        return None
    _check(folder, data)
    if number is not None:
        data = b"\n".join(line for line in data.split(b"\n") if b" %d " % number in line)
    return understand(data)


def check_end(files: Files, folder: Path) -> bytes:
    """The end of the log, before it grows.

    Raises RegistryError if it is not a regular file, or if git has changed it, as what is written after that could be
    told from nothing any more; or if it would become too large to be read.
    """
    if (size := files.size(folder / LOG) or 0) > MAX_LOG_BYTES - END_BYTES:
        raise RegistryError(
            f"the digest log {folder / LOG} has {size:,} bytes and cannot grow, as at most {MAX_LOG_BYTES:,} are read: "
            f"use another name for further versions"
        )
    end = files.read_end(folder / LOG, END_BYTES)
    _check(folder, end)
    return end


def last_tried(files: Files, folder: Path) -> int:
    """The highest number that a version was registered under, or tried to be, by the end of the log.

    0 if that tells of deletions only. Numbers rise, so that none that the end does not show is higher.
    """
    end = check_end(files, folder)
    digests = understand(end[end.find(b"\n") :])  # it begins in the middle of a record, or with a line break
    return max((*digests.committed, *digests.intended), default=0)


def _check(folder: Path, data: bytes) -> None:
    try:
        git.check_text(data)
    except git.ChangedError as error:
        raise git.ChangedError(f"the digest log {folder / LOG} cannot be used: {error}") from error


def understand(data: bytes) -> Digests:
    """What the lines of a log say; one that a crash cut short says nothing."""
    digests = Digests()
    by_kind = {INTENT: digests.intended, COMMIT: digests.committed, DELETE: digests.deleted}
    for line, text in _lines(data):
        if match := _RECORD.fullmatch(text):
            kind, number, digest = match.groups()
            by_kind[kind].setdefault(int(number), set()).add(digest)
        elif not _is_cut(text):
            digests.damaged.append(line)
    return digests


def _is_cut(text: str) -> bool:
    begun = text.rstrip("\0")  # after a power failure, a file may have its new length and zeros for its new content
    return any(kind.startswith(begun) for kind in KINDS) or _CUT.fullmatch(begun) is not None


def _lines(data: bytes) -> Iterator[tuple[int, str]]:
    for line, raw in enumerate(data.split(b"\n"), start=1):
        if raw:
            yield line, raw.decode("latin-1")
