"""Writes docs/components.md, the formulas of all built-in components: `python docs/components.py`.

What stands there of each is the docstring of its class, so that a formula stands once. The page is made where it is
read and belongs to no commit: a new component changes no page.
"""

from __future__ import annotations

import inspect
from pathlib import Path

from cnnkit.components import Component, installed_catalog
from cnnkit.components.plugin_metadata import BUILT_IN

PAGE = Path(__file__).with_name("components.md")
KINDS = {
    "layer": "Layers",
    "initializer": "Initializers",
    "augmentation": "Augmentations",
    "loss": "Losses",
    "metric": "Metrics",
    "optimizer": "Optimizers",
    "schedule": "Schedules",
}
"""Kinds of components with formulas, and their headings."""


def page() -> str:
    """The whole page; the notation is that of docs/mathematics.md."""
    parts = [f"## {heading}\n\n{listed(kind)}" for kind, heading in KINDS.items()]
    return "\n".join(["# The formulas of all components\n\nNotation: [the mathematics](mathematics.md).\n", *parts])


def listed(kind: str) -> str:
    """All built-in components of a kind, in the order of their names."""
    return "\n".join(section(one) for one in built_in(kind))


def built_in(kind: str) -> list[type[Component]]:
    """The classes of a kind that come with cnnkit, in the order of their names."""
    catalog = installed_catalog()
    (own,) = (plugin for plugin in catalog.plugins if plugin.distribution == BUILT_IN)
    classes = catalog.classes(own, kind)
    return [classes[name] for name in sorted(classes)]


def section(cls: type[Component]) -> str:
    """The first sentence of its docstring, and the rest as it is written."""
    sentence, _, rest = inspect.cleandoc(cls.__doc__ or "").partition("\n\n")
    block = f"\n```text\n{rest.strip()}\n```\n" if rest else ""
    return f"### {cls.__name__}\n\n{sentence}\n{block}"


if __name__ == "__main__":
    PAGE.write_text(page(), "utf-8")
