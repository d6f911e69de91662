"""The distributions that come with the project, and what they provide, for hints what to install."""

from __future__ import annotations

import functools
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

FILE = Path(__file__).with_suffix(".toml")


@dataclass(frozen=True)
class Known:
    """A distribution that may be installed or not."""

    about: str
    components: tuple[str, ...]


@functools.cache
def known_plugins() -> Mapping[str, Known]:
    """By the name of the distribution."""
    tables = tomllib.loads(FILE.read_text("utf-8"))
    return {name: Known(one["about"], tuple(one["components"])) for name, one in tables.items()}


def known_distribution(component: str) -> str:
    """The distribution that provides a component of this name, "" if none is known to."""
    return next((name for name, one in known_plugins().items() if component in one.components), "")
