"""References: `name@3`, `name@latest`, `name@ALIAS`; a bare `name` is its latest version."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from dataclasses import dataclass

from cnnkit.errors import RegistryError
from cnnkit.wording import did_you_mean

LATEST = "latest"
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
_NUMBER = re.compile(r"[1-9][0-9]{0,8}")


@dataclass(frozen=True)
class Reference:
    """A model's name and which of its versions: a number, or an alias, or "latest"."""

    name: str
    which: int | str = LATEST

    def __str__(self) -> str:
        return f"{self.name}@{self.which}"


def parse(text: str) -> Reference:
    """Read a reference. Raises RegistryError for what can be none, whatever the registry holds."""
    if not isinstance(text, str):
        raise RegistryError(f'expected a reference as text, such as "digits@3", got {text!r}')
    name, at, which = text.partition("@")
    check_existing(name)
    if not at or which == LATEST:
        return Reference(name)
    if _NUMBER.fullmatch(which):
        return Reference(name, int(which))
    if not is_alias(which):
        raise RegistryError(
            f"in {text!r}, expected a version number, {LATEST!r} or an alias after the @, got {which!r}; "
            f"for example {name}@3"
        )
    return Reference(name, which)


def check_existing(name: str) -> str:
    """The name of a model that is to be there, if it may be called so; else RegistryError, also for a path."""
    if not is_name(name):
        refuse_path(name)
    return check_name(name)


def refuse_path(text: str) -> None:
    """Raise RegistryError for the path of a file or folder, in the place of a reference."""
    if "/" in text or os.sep in text or os.path.isfile(text):
        what = "a file" if os.path.isfile(text) else "a path"
        raise RegistryError(
            f"{text} is {what}, and a model is named by a reference, NAME@VERSION, such as digits@3: `cnnkit models "
            "list` shows those in the registry"
        )


def is_name(text: str) -> bool:
    """Whether a model or an alias may be called so."""
    return _NAME.fullmatch(text) is not None and ".." not in text


def check_name(name: str) -> str:
    """The name of a model, if it may be called so; else RegistryError."""
    if not isinstance(name, str) or not is_name(name):
        raise RegistryError(
            f"a model is named with 1 to 64 lower-case letters, digits, '.', '_' and '-', "
            f"beginning with a letter or digit and without '..'; got {name!r}"
        )
    return name


def is_alias(text: str) -> bool:
    """Whether an alias may be called so."""
    return is_name(text) and text != LATEST and not text.isdigit()


def check_alias(alias: str) -> str:
    """The name of an alias, if it may be called so; else RegistryError."""
    if not isinstance(alias, str) or not is_alias(alias):
        raise RegistryError(
            f"an alias is named like a model, but not {LATEST!r} and not with digits alone; got {alias!r}"
        )
    return alias


def choices(wanted: str, existing: Iterable[str], none: str) -> str:
    """What to say after a name that was not found: the close ones, else some of those that exist, else `none`."""
    names = sorted(existing)
    if hint := did_you_mean(wanted, names):
        return hint
    if not names:
        return none
    more = f" and {len(names) - 10} more" if len(names) > 10 else ""
    return f"there is {', '.join(names[:10])}{more}"
