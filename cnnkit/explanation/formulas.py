"""What a component's docstring says: its sentence, its formulas and its source."""

from __future__ import annotations

import inspect
import re
from dataclasses import dataclass

from cnnkit.components import Component
from cnnkit.wording import shorten

_FORMULA = re.compile(r"(Forward|Backward):\s+\S")

MAX_DESCRIPTION = 2000
"""Characters of each part."""


@dataclass(frozen=True)
class Description:
    """The parts of a docstring; each "" if it is not there."""

    sentence: str = ""
    formulas: str = ""
    """The lines from Forward and Backward on, as they are written."""
    source: str = ""


def describe(component: type[Component]) -> Description:
    """What a class says about itself; one without a docstring does not speak for its parent."""
    written = vars(component).get("__doc__")
    if not isinstance(written, str):
        return Description()
    blocks = [block.splitlines() for block in re.split(r"\n\s*\n", inspect.cleandoc(written))]
    formulas = [line for block in blocks for line in _formula_lines(block)]
    source = [line for block in blocks for line in _from(block, "Source:")]
    return Description(
        *(shorten(part, MAX_DESCRIPTION) for part in (" ".join(blocks[0]), "\n".join(formulas), " ".join(source)))
    )


def _formula_lines(block: list[str]) -> list[str]:
    """Forward and Backward with the indented lines that go on."""
    kept, on = [], False
    for line in block:
        on = bool(_FORMULA.match(line)) or (on and line[:1].isspace())
        kept += [line] * on
    return kept


def _from(block: list[str], start: str) -> list[str]:
    first = next((i for i, line in enumerate(block) if line.startswith(start)), len(block))
    return block[first:]
