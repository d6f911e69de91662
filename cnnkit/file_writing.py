"""Files that a user names: where they are, and how they are written, whole or not at all."""

from __future__ import annotations

import contextlib
import os
import uuid
from pathlib import Path

from cnnkit.errors import CnnkitError
from cnnkit.file_kinds import SAMPLE, kind_of, seems


def write_whole(path: Path, data: bytes, error: type[CnnkitError]) -> None:
    """Write a file in one step; one of that name is replaced, and kept if that fails. Raises `error`, saying why."""
    check_target(path, error)
    target = Path(os.path.realpath(path))  # a link stays one
    temporary = target.parent / f".{uuid.uuid4().hex}.tmp"
    try:
        with temporary.open("xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(target)
    except OSError as problem:
        raise error(f"cannot write {path}: {problem.strerror or problem}") from problem
    finally:
        with contextlib.suppress(OSError):  # after the replacement it is gone; a failure above is already on its way
            temporary.unlink()


def check_target(path: Path, error: type[CnnkitError], *own: str) -> None:
    """Find out, before the work is done, that no file can appear there: a folder or device is not replaced by one.

    own: the kinds of files, of `file_kinds`, that may be replaced: one of another kind was not written by the same
    command, and somebody may need it. None for files of any kind.
    """
    with contextlib.suppress(OSError):  # such as a name that is too long: writing says what is wrong
        if (path.exists() and not path.is_file()) or not path.absolute().parent.is_dir():
            raise error(f"cannot write {path}: expected the name of a file in a folder that exists")
        if own and path.exists():
            with path.open("rb") as file:
                content = file.read(SAMPLE)
            if content and kind_of(content) not in own:
                raise error(
                    f"cannot write {path}: there is a file of that name already, and {seems(content)}; choose another "
                    "name, or remove it"
                )
