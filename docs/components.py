"""Writes into docs/mathematics.md what the built-in components say of themselves: `python docs/components.py`.

A list of components stands between `<!-- list of KIND -->` and `<!-- end of list -->`. Each has the docstring of its
class, so that a formula stands once.
"""

from __future__ import annotations

import inspect
import re
from pathlib import Path

from cnnkit.components import Component, installed_catalog
from cnnkit.components.plugins import BUILT_IN

PAGE = Path(__file__).with_name("mathematics.md")
LIST = re.compile(r"(<!-- list of ([a-z ]+) -->\n).*?(<!-- end of list -->\n)", re.DOTALL)


def filled(text: str) -> str:
    """The page with all of its lists regenerated."""
    return LIST.sub(lambda match: f"{match[1]}\n{listed(match[2])}\n{match[3]}", text)


def listed(kind: str) -> str:
    """All built-in components of a kind, in the order of their names."""
    catalog = installed_catalog()
    (own,) = (plugin for plugin in catalog.plugins if plugin.distribution == BUILT_IN)
    classes = catalog.classes(own, kind)
    return "\n".join(section(classes[name]) for name in sorted(classes))


def section(cls: type[Component]) -> str:
    """The first sentence of its docstring, and the rest as it is written."""
    sentence, _, rest = inspect.cleandoc(cls.__doc__ or "").partition("\n\n")
    block = f"\n```text\n{rest.strip()}\n```\n" if rest else ""
    return f"### {cls.__name__}\n\n{sentence}\n{block}"


if __name__ == "__main__":
    PAGE.write_text(filled(PAGE.read_text("utf-8")), "utf-8")
