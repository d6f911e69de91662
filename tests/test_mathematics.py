"""The page of formulas has every built-in component with its docstring; others derive it, and do not say it again."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

import pytest

from cnnkit.components import Component, Layer
from docs.components import KINDS, PAGE, built_in, page, section
from tests.test_docs import PAGES, ROOT, blocks, dead_links

COMPONENTS = [one for kind in KINDS for one in built_in(kind)]
DERIVATIONS = ROOT / "docs" / "mathematics"


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


def linked(item: str) -> list[Path]:
    """The pages of an item of the list in docs/mathematics.md, such as "Layers"."""
    text = (ROOT / "docs" / "mathematics.md").read_text("utf-8")
    found = re.search(rf"^- {item}: (.*?)(?=^-|^$)", text, re.MULTILINE | re.DOTALL)
    assert found, item
    return [ROOT / "docs" / target for target in re.findall(r"\]\((mathematics/[\w-]+\.md)\)", found[1])]


def pages_of(kind: str) -> list[Path]:
    """Where components of a kind are derived: layers on several pages, the others on one."""
    return linked("Layers") if kind == "layer" else [DERIVATIONS / f"{KINDS[kind].lower()}.md"]


def unnamed(classes: list[type[Component]], text: str) -> list[type[Component]]:
    """Those that stand nowhere as a name, `Conv2D`, or a call, Conv2D(...)."""
    return [one for one in classes if not re.search(rf"`{one.__name__}`|\b{one.__name__}\(", text)]


@pytest.mark.parametrize("kind", KINDS)
def test_each_component_is_derived_on_a_page_of_its_family(kind: str) -> None:
    classes = built_in(kind)
    missing = unnamed(classes, "".join(path.read_text("utf-8") for path in pages_of(kind)))
    assert [one.__name__ for one in missing] == []


def test_a_component_without_a_derivation_is_noticed() -> None:
    classes = built_in("loss")
    text = (DERIVATIONS / "losses.md").read_text("utf-8")
    assert [one.__name__ for one in unnamed(classes, text.replace("Focal", "Fickle"))] == ["Focal"]
    assert unnamed(classes, text.replace("`Focal`", "Focal")) == []
    assert len(unnamed(classes, "Focal, and a Hinge")) == len(classes)


def test_each_page_is_in_the_list() -> None:
    listed = {path for item in ("Layers", "Training", "The engine") for path in linked(item)}
    assert listed == set(DERIVATIONS.glob("*.md"))
