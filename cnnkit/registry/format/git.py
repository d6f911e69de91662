"""What git does to the files of a registry that is kept in it, recognised by their content."""

from __future__ import annotations

from cnnkit.errors import RegistryError
from cnnkit.file_kinds import POINTER, is_pointer

ATTRIBUTES = ".gitattributes"
CONTENT = b"# cnnkit: every file of a registry is kept byte by byte.\n* -text\n"
"""`-text`: git changes no line ends, whatever `core.autocrlf` says."""


class ChangedError(RegistryError):
    """A file is not what cnnkit wrote, because git has changed it."""


def check(data: bytes) -> None:
    """Refuse the pointer that Git LFS leaves instead of a file. Raises ChangedError."""
    if is_pointer(data):
        raise ChangedError(f"it is {POINTER}")


def check_text(data: bytes) -> None:
    """Refuse that, and a text whose lines all end with CR LF: nothing writes one. Raises ChangedError."""
    check(data)
    if b"\r\n" in data and data.count(b"\r\n") == data.count(b"\n"):
        raise ChangedError(
            "text files were changed by autocrlf, their lines end with CR LF; see 'Registries in git' in "
            "docs/guide-registry.md"
        )
