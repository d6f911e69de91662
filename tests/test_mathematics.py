"""The page of formulas says of each built-in component what its docstring says, and no page says it again."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

import pytest

from cnnkit.components import Component, Layer
from docs.components import KINDS, PAGE, built_in, page, section
from tests.test_docs import PAGES, blocks, dead_links

COMPONENTS = [one for kind in KINDS for one in built_in(kind)]


def sections(text: str) -> list[tuple[str, str]]:
    """The sections of a page of components, each with its name; a loss and a metric may share one."""
    return re.findall(r"^### (\w+)\n(.*?)(?=^##|\Z)", text, re.MULTILINE | re.DOTALL)


def said(cls: type[Component]) -> list[str]:
    """The lines of a docstring that are not empty."""
    return [line for line in inspect.cleandoc(cls.__doc__ or "").splitlines() if line]


def test_the_page_has_every_component_with_its_docstring() -> None:
    found = sections(page())
    assert [name for name, _ in found] == [one.__name__ for one in COMPONENTS]
    for (name, text), cls in zip(found, COMPONENTS, strict=True):
        lines = [line for line in text.splitlines() if line and not line.startswith("```")]
        assert lines == said(cls), name
    assert {name for name, _ in found} > {"Conv2D", "Flip", "CrossEntropy", "ROCAUC", "Adam", "Cosine"}


def test_the_page_is_one_that_can_be_read() -> None:
    assert len(blocks(page(), "components.md")) > 20
    assert dead_links(page(), PAGE.parent) == []


def test_a_component_without_a_docstring_is_noticed() -> None:
    class Silent(Layer):
        pass

    Silent.__doc__ = None
    assert dict(sections(section(Silent)))["Silent"].strip() == ""


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_no_other_page_repeats_the_formulas(path: Path) -> None:
    assert repeated(path.read_text("utf-8")) == []


def repeated(text: str) -> list[str]:
    """Formulas of components that a page has, too: lines of docstrings that begin with Forward or Backward."""
    lines = {line.strip() for line in text.splitlines()}
    formulas = {line for one in COMPONENTS for line in said(one) if re.match(r"(Forward|Backward):", line)}
    return sorted(lines & formulas)


def test_repeated_formulas_are_found() -> None:
    assert repeated("```text\nForward:   y = max(x, 0)\n```\n") == ["Forward:   y = max(x, 0)"]
