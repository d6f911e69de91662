"""Alias files: the number of a version as text, beside the versions."""

from __future__ import annotations

import re
from pathlib import Path

from cnnkit.errors import RegistryError
from cnnkit.registry.files import Files
from cnnkit.registry.references import is_alias

_SUFFIX = ".alias"
_CONTENT = re.compile(rb"[1-9][0-9]{0,8}\n")


def alias_file(alias: str) -> str:
    """The name of an alias's file."""
    return alias + _SUFFIX


def alias_of(file_name: str) -> str | None:
    """The alias by the name of its file; None if the name is another file's."""
    alias = file_name.removesuffix(_SUFFIX)
    return alias if alias != file_name and is_alias(alias) else None


def read_alias(files: Files, path: Path) -> int:
    """The number that an alias points to. Raises RegistryError if the file holds anything else."""
    content = files.read(path, 32)
    if not _CONTENT.fullmatch(content):
        raise RegistryError(f"the alias file {path} must hold one version number, it holds {content!r}")
    return int(content)
