"""Alias files: the number of a version as text, beside the versions."""

from __future__ import annotations

import re
from pathlib import Path

from cnnkit.errors import RegistryError
from cnnkit.registry.files import Files

ALIAS_FILE = re.compile(r"([a-z0-9][a-z0-9._-]{0,63})\.alias")
_CONTENT = re.compile(rb"[1-9][0-9]{0,8}\n")


def read_alias(files: Files, path: Path) -> int:
    """The number that an alias points to. Raises RegistryError if the file holds anything else."""
    content = files.read(path, 32)
    if not _CONTENT.fullmatch(content):
        raise RegistryError(f"the alias file {path} must hold one version number, it holds {content!r}")
    return int(content)
