"""The user's home, and the folders of cnnkit in it; a user may have none, and everything else still works."""

from __future__ import annotations

import os
import pwd
import sys
from pathlib import Path
from typing import Literal

from cnnkit.errors import ConfigError

_ON_MACOS = {"cache": "Library/Caches", "config": "Library/Application Support"}


def home() -> str | None:
    """The home folder: what HOME says, else what the system knows; None if neither is an absolute path."""
    known = os.environ.get("HOME", "")
    if not os.path.isabs(known):
        try:
            known = pwd.getpwuid(os.getuid()).pw_dir
        except KeyError:  # a user without an entry, as in a container
            return None
    return known if os.path.isabs(known) else None


def forget_relative_home() -> None:
    """Let libraries, too, ask the system where HOME is no absolute path, rather than write into the working folder."""
    if not os.path.isabs(os.environ.get("HOME", "/")):
        del os.environ["HOME"]


def user_folder(kind: Literal["cache", "config"]) -> Path | None:
    """Where cnnkit keeps files that can be fetched again, or settings; None for a user without a home.

    Source: XDG Base Directory Specification 0.8, which has paths that are not absolute ignored.
    """
    chosen = os.environ.get(f"XDG_{kind.upper()}_HOME", "")
    if os.path.isabs(chosen):
        return Path(chosen, "cnnkit")
    if (found := home()) is None:
        return None
    return Path(found, _ON_MACOS[kind] if sys.platform == "darwin" else f".{kind}", "cnnkit")


def expanded(path: str | os.PathLike[str]) -> Path:
    """The path that a user means, with a home folder for `~` at its beginning, also where no shell has seen it.

    Raises ConfigError for a home that is not known.
    """
    first, _, rest = os.fspath(path).partition("/")
    if not first.startswith("~"):
        return Path(path)
    folder = home() if first == "~" else os.path.expanduser(first)
    if folder is None or folder == first:
        raise ConfigError(
            f"{path}: expected a home folder for {first}, but there is none: give the full path, or set HOME"
        )
    return Path(folder, rest)
