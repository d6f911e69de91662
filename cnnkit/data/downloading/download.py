"""Downloading files from mirrors into a folder, where a file is whole and right, or not there."""

from __future__ import annotations

import fcntl
import os
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from cnnkit.data.downloading.transfer import Report, receive
from cnnkit.errors import DataError
from cnnkit.terminal import console, shows_progress
from cnnkit.waiting_line import other_display

PART = ".part"
"""What the name of a file ends in until all of it is there."""


def download(
    name: str, mirrors: Iterable[str], folder: Path, check: Callable[[Path], object], size: int | None = None
) -> None:
    """Bring one file into a folder, from the first mirror that gives it whole and right.

    The bytes so far are kept next to it as NAME.part, even after an interruption, and the next download resumes from
    there. Of several processes that want one file, one fetches it, and the others wait.
    check: raises DataError for wrong content; it sees the file before it gets its name, so that what lies there is
    always complete and right. size: the file's bytes, if they are known.
    Raises DataError with the reason of each mirror.
    """
    part = folder / f"{name}{PART}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with _bar(name) as report, _held(part) as file:
            if (folder / name).exists():  # another process has fetched it in the meantime
                file.truncate(0)
                return
            reasons: list[str] = []
            for mirror in mirrors:
                if reason := _fetch(mirror + name, file, part, check, size, report):
                    reasons.append(reason)
                else:
                    os.fsync(file.fileno())  # what has its name is whole, also after a crash of the system
                    os.replace(part, folder / name)
                    return
            if kept := file.seek(0, os.SEEK_END):
                reasons.append(f"{kept:,} bytes are downloaded and kept in {part}: the next attempt resumes from there")
    except OSError as error:
        raise DataError(
            f"cannot write to the folder: {error}; choose another with --data-dir or CNNKIT_DATA_DIR"
        ) from error
    raise DataError("\n  ".join(["no mirror gave it:", *reasons]))


def _fetch(
    url: str, file: BinaryIO, part: Path, check: Callable[[Path], object], size: int | None, report: Report
) -> str:
    """Complete the part from one mirror; why that did not work, or ""."""
    for last in (False, True):
        try:
            continued = receive(url, file, part.parent, size, report)
            file.flush()
        except DataError as error:
            return str(error)
        try:
            check(part)
        except DataError as error:
            file.seek(0)
            file.truncate()
            reason = str(error).replace(str(part), url)
            if last or not continued:
                break
            # The beginning may be another server's, or of another day: once more, without it.
        else:
            return ""
    return reason


@contextmanager
def _held(part: Path) -> Iterator[BinaryIO]:
    """A part that no other process writes; it is removed in the end if nothing is in it."""
    while True:
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW  # a link could lead to a file of the user's
        with os.fdopen(os.open(part, flags, 0o666), "r+b") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            if not _is_at(part, file):  # who held it has finished or removed it
                continue
            try:
                yield file
            finally:
                if _is_at(part, file) and file.seek(0, os.SEEK_END) == 0:
                    part.unlink()
            return


def _is_at(path: Path, file: BinaryIO) -> bool:
    try:
        return os.path.samestat(os.lstat(path), os.fstat(file.fileno()))
    except FileNotFoundError:
        return False


@contextmanager
def _bar(name: str) -> Iterator[Report]:
    """A progress bar on stderr, where that is a terminal."""
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

    shown = console(sys.stderr)
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=20),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(compact=True),
    )
    with (
        Progress(*columns, console=shown, transient=True, disable=not shows_progress(shown)) as progress,
        other_display(),
    ):
        task = progress.add_task(name, total=None)

        def report(done: int, total: int | None) -> None:
            progress.update(task, completed=done, total=total)

        yield report
