"""Plugins that the user has switched off: all of them, or some by the names of their distributions."""

from __future__ import annotations

import os

from cnnkit.components.distribution_names import is_name, normalized
from cnnkit.errors import ConfigError

NONE = "CNNKIT_NO_PLUGINS"
"""Environment variable; "1" blocks all plugins, "" or "0" none."""
BLOCK = "CNNKIT_BLOCK_PLUGINS"
"""Environment variable; names of distributions with commas between them."""


def blocked_by(distribution: str, own: str) -> str:
    """What blocks the plugins of a distribution, as text, "" if nothing does; `own` is never blocked.

    Raises ConfigError for variables that cannot be understood.
    """
    names, everything = _named(own), _all()
    if normalized(distribution) == own:
        return ""
    if everything:
        return f"{NONE} is set"
    return f"{BLOCK} names it" if normalized(distribution) in names else ""


def _all() -> bool:
    value = os.environ.get(NONE, "")
    if value not in ("", "0", "1"):
        raise ConfigError(f"{NONE} must be 1, to use no plugins, or 0, got {value!r}")
    return value == "1"


def _named(own: str) -> set[str]:
    given = [name.strip() for name in os.environ.get(BLOCK, "").split(",")]
    for name in filter(None, given):
        if not is_name(name):
            raise ConfigError(
                f"{BLOCK}: expected names of distributions with commas between them, such as "
                f"cnnkit-elastic,cnnkit-walsh, got {name!r}"
            )
        if normalized(name) == own:
            raise ConfigError(f"{BLOCK}: {own}'s own components cannot be blocked; name the distribution of a plugin")
    return {normalized(name) for name in given}
