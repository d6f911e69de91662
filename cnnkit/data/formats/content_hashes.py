"""Hashes of many files, without reading those again that have stayed as they were."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cnnkit.errors import DataError
from cnnkit.file_writing import write_whole

Entry = tuple[int, int, int, int, str]
"""Size, times of the last change of content and of status in ns, inode, and the hash of what was in it then."""
RECENT = 2 * 10**9
"""Nanoseconds: a file that changed so shortly before it was read may change again and keep its times."""


def content_hashes(root: Path, paths: Sequence[str], index: Path | None) -> list[str]:
    """The sha256 of each file in hexadecimal; paths: from `root`.

    index: a file in which they are kept; a file is not read again while its size, times and inode stay, as in git. None
    to read them all. Raises DataError for a file that cannot be read.
    """
    known = {} if index is None else _read(index)
    now = time.time_ns()
    found: dict[str, Entry] = {}
    for path in paths:
        try:
            about = os.stat(root / path)
            stamp = about.st_size, about.st_mtime_ns, about.st_ctime_ns, about.st_ino
            entry = known.get(path)
            if entry is None or entry[:-1] != stamp:
                with open(root / path, "rb") as file:
                    entry = (*stamp, hashlib.file_digest(file, "sha256").hexdigest())
        except OSError as error:
            raise DataError(f"cannot read {root / path}: {error.strerror}") from None
        found[path] = entry
    if index is not None and found != known:
        _write(index, {path: entry for path, entry in found.items() if max(entry[1], entry[2]) < now - RECENT})
    return [found[path][-1] for path in paths]


def _read(index: Path) -> dict[str, Entry]:
    """What was written; nothing where that is damaged, as a cache may be."""
    try:
        entries: Any = json.loads(index.read_bytes())
        return {path: (int(a), int(b), int(c), int(d), str(digest)) for path, (a, b, c, d, digest) in entries.items()}
    except (OSError, ValueError, TypeError, AttributeError):
        return {}


def _write(index: Path, entries: dict[str, Entry]) -> None:
    """A place that cannot be written to costs only that files are read again."""
    with contextlib.suppress(OSError, DataError):
        index.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        write_whole(index, json.dumps(entries).encode(), DataError)
