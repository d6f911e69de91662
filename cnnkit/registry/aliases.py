"""Aliases: names for versions that can be moved, each a file with the number of a version as text.

It may also say what every version must fulfil that the alias is set to.
"""

from __future__ import annotations

import contextlib
import re
from dataclasses import dataclass
from pathlib import Path

from cnnkit.errors import RegistryError
from cnnkit.registry import commit
from cnnkit.registry.files import Files
from cnnkit.registry.format import git
from cnnkit.registry.notes import note_file, read_verdict
from cnnkit.registry.records import Version
from cnnkit.registry.references import is_alias

VALIDATED, NOTHING = "validated", "none"
"""What may be required of a version: that its stored verdict is a pass, or nothing."""
_SUFFIX = ".alias"
_CONTENT = re.compile(rb"([1-9][0-9]{0,8})\n(?:require (validated)\n)?")


@dataclass(frozen=True)
class Alias:
    """What an alias file holds."""

    number: int
    require: str = NOTHING

    def encode(self) -> bytes:
        """The content of the file."""
        requirement = "" if self.require == NOTHING else f"require {self.require}\n"
        return f"{self.number}\n{requirement}".encode()


def alias_file(alias: str) -> str:
    """The name of an alias's file."""
    return alias + _SUFFIX


def alias_of(file_name: str) -> str | None:
    """The alias by the name of its file; None if the name is another file's."""
    alias = file_name.removesuffix(_SUFFIX)
    return alias if alias != file_name and is_alias(alias) else None


def read_alias(files: Files, path: Path) -> Alias:
    """What an alias points to, and what it requires. Raises RegistryError if the file holds anything else."""
    content = files.read(path, 256)
    try:
        git.check_text(content)
    except RegistryError as error:
        raise RegistryError(f"the alias file {path} cannot be used: {error}") from error
    match = _CONTENT.fullmatch(content)
    if not match:
        raise RegistryError(
            f"the alias file {path} must hold one version number, and perhaps a line 'require {VALIDATED}'; "
            f"it holds {content!r}"
        )
    return Alias(int(match[1]), match[2].decode() if match[2] else NOTHING)


def set_alias(files: Files, folder: Path, alias: str, version: Version, require: str | None) -> None:
    """Point an alias of a locked model to a version; require: None keeps what the alias requires.

    Raises RegistryError for a version that does not fulfil it.
    """
    path = folder / alias_file(alias)
    if require is None:
        with contextlib.suppress(FileNotFoundError):
            require = read_alias(files, path).require
    new = Alias(version.number, _checked_requirement(NOTHING if require is None else require))
    if unfulfilled := objection(files, version.path, version.digest, new.require):
        raise RegistryError(
            f"{version.name}@{alias} requires a validated version, and {version.ref} is not: {unfulfilled}; "
            f"run `cnnkit export {version.ref}`, or lift the requirement with --require none"
        )
    commit.put(files, path, new.encode())


def remove_alias(files: Files, folder: Path, alias: str) -> None:
    """Remove an alias and its requirement. Raises FileNotFoundError if there is none."""
    files.remove(folder / alias_file(alias))
    files.sync_folder(folder)


def objection(files: Files, version: Path, digest: str, require: str) -> str:
    """Why a version of this digest does not fulfil what an alias requires; "" if it does."""
    if require == NOTHING:
        return ""
    try:
        return read_verdict(files, note_file(version, "verdict")).objection(digest)
    except FileNotFoundError:
        return "it was never validated"
    except RegistryError as error:
        return str(error)


def _checked_requirement(require: str) -> str:
    """A valid requirement; otherwise raises RegistryError."""
    if require not in (VALIDATED, NOTHING):
        raise RegistryError(f"an alias can require {VALIDATED!r} or {NOTHING!r}, got {require!r}")
    return require
