"""The mathematics says of each built-in component what its docstring says: a formula stands once."""

from __future__ import annotations

import re

from docs.components import PAGE, filled

TEXT = PAGE.read_text("utf-8")
KINDS = ["layer", "augmentation", "loss", "optimizer", "schedule"]


def test_the_lists_are_those_of_the_docstrings() -> None:
    assert re.findall(r"<!-- list of (.*) -->", TEXT) == KINDS
    assert TEXT.count("<!-- end of list -->") == len(KINDS)
    assert filled(TEXT) == TEXT, "run: python docs/components.py"


def test_another_formula_is_noticed() -> None:
    changed = TEXT.replace("y = max(x, 0)", "y = min(x, 0)")
    assert changed != TEXT
    assert filled(changed) == TEXT


def test_what_stands_between_the_lists_stays() -> None:
    changed = TEXT.replace("## Losses\n", "## Losses, and what they are for\n")
    assert changed != TEXT
    assert filled(changed) == changed
