"""The digest log beside a model's versions: what was registered under which number, outside the files themselves.

Two records for each version: `intent` before the file appears under its number, `commit` after that is durable.
Each record begins with a line break, so that one cut short by a crash never spoils the next.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

LOG = "digests.log"
INTENT, COMMIT = "intent", "commit"
_RECORD = re.compile(r"(intent|commit) ([1-9][0-9]{0,8}) ([0-9a-f]{64})")
_CUT = re.compile(r"(intent|commit) [0-9]{0,9}( [0-9a-f]{0,64})?")


@dataclass
class Digests:
    """What a log says."""

    committed: dict[int, set[str]] = field(default_factory=dict)
    """Digests of the versions that were acknowledged; one each, unless somebody wrote into the log."""
    intended: dict[int, set[str]] = field(default_factory=dict)
    """Digests that writers tried to register under a number; one of them succeeded, or none."""
    damaged: list[int] = field(default_factory=list)
    """Lines that no writer wrote, not even one that was cut short."""

    def explains(self, number: int, digest: str) -> bool:
        """Whether a version file may have this digest."""
        allowed = self.committed.get(number) or self.intended.get(number, set())
        return allowed == {digest} if number in self.committed else digest in allowed


def record(kind: str, number: int, digest: str) -> bytes:
    """A record to append."""
    return f"\n{kind} {number} {digest}\n".encode()


def read(data: bytes) -> Digests:
    """Understand a log; a line that a crash cut short says nothing."""
    digests = Digests()
    for line, text in _lines(data):
        if match := _RECORD.fullmatch(text):
            kind, number, digest = match.groups()
            by_number = digests.committed if kind == COMMIT else digests.intended
            by_number.setdefault(int(number), set()).add(digest)
        elif not _is_cut(text):
            digests.damaged.append(line)
    return digests


def _is_cut(text: str) -> bool:
    return INTENT.startswith(text) or COMMIT.startswith(text) or _CUT.fullmatch(text) is not None


def _lines(data: bytes) -> Iterator[tuple[int, str]]:
    for line, raw in enumerate(data.split(b"\n"), start=1):
        if raw:
            yield line, raw.decode("latin-1")
