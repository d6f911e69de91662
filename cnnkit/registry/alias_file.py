"""Alias files: the number of a version as text, and what every version must fulfil that the alias is set to."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from cnnkit.errors import RegistryError
from cnnkit.registry.files import Files
from cnnkit.registry.format import git
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


def check_require(require: str) -> str:
    """A valid requirement; otherwise raises RegistryError."""
    if require not in (VALIDATED, NOTHING):
        raise RegistryError(f"an alias can require {VALIDATED!r} or {NOTHING!r}, got {require!r}")
    return require
