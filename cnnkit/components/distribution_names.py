"""Names of distributions, as pip compares them."""

from __future__ import annotations

import functools
import re


@functools.lru_cache
def normalized(distribution: str) -> str:
    """The name of a distribution as pip compares names: `My_Plugin` is `my-plugin`. Source: PEP 503."""
    return re.sub(r"[-_.]+", "-", distribution).lower()


def is_name(text: str) -> bool:
    """Whether a distribution may have this name. Source: PEP 508, names."""
    return re.fullmatch(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,98}[A-Za-z0-9])?", text) is not None
