"""What git does to the files of a registry that is kept in it, recognised by their content."""

from __future__ import annotations

from cnnkit.errors import RegistryError

ATTRIBUTES = ".gitattributes"
CONTENT = b"# cnnkit: every file of a registry is kept byte by byte.\n* -text\n"
"""`-text`: git changes no line ends, whatever `core.autocrlf` says."""
_POINTER = b"version https://git-lfs.github.com/spec/"


class ChangedError(RegistryError):
    """A file is not what cnnkit wrote, because git has changed it."""


def check(data: bytes) -> None:
    """Refuse the pointer that Git LFS leaves instead of a file. Raises ChangedError."""
    if data.startswith(_POINTER):
        raise ChangedError("it is a pointer of Git LFS, not the file itself: `git lfs pull` fetches that")


def check_text(data: bytes) -> None:
    """Refuse that, and a text whose lines all end with CR LF: nothing writes one. Raises ChangedError."""
    check(data)
    if b"\r\n" in data and data.count(b"\r\n") == data.count(b"\n"):
        raise ChangedError(
            "text files were changed by autocrlf, their lines end with CR LF; see 'Registries in git' in "
            "docs/guide-registry.md"
        )
