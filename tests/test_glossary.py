"""The words of docs/architecture.md: each is explained once, in order, and is a word of the code."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def explained(page: str) -> list[str]:
    """The words of the table below the heading Words, as they stand there."""
    rows = page.partition("\n## Words\n")[2].splitlines()
    return [row.split("|")[1].strip() for row in rows if row.startswith("| ")][1:]


def problems(page: str, code: str) -> list[str]:
    """What is wrong with the words; code: all of the sources, in small letters."""
    words = explained(page)
    found = [f"{word} is there twice" for word in set(words) if words.count(word) > 1]
    found += [] if words == sorted(words) else ["the words are not in their order"]
    for word in words:
        forms = "[ _-]?".join(map(re.escape, re.split("[ -]", word)))
        if not re.search(rf"(?<![a-z]){forms}", code):
            found.append(f"{word} is not in the code")
    return found


@pytest.fixture(scope="module")
def code() -> str:
    return "\n".join(path.read_text() for path in sorted((ROOT / "cnnkit").rglob("*.py"))).lower()


def test_every_word_is_one_of_the_code_and_explained_once(code: str) -> None:
    page = (ROOT / "docs" / "architecture.md").read_text()
    assert len(explained(page)) >= 50
    assert problems(page, code) == []


def test_a_word_that_is_wrong_is_found(code: str) -> None:
    page = (
        "# Page\n\n## Words\n\n| word | meaning |\n|---|---|\n| tile | a |\n| node | b |\n| tile | c |\n| flurb | d |\n"
    )
    assert set(problems(page, code)) == {
        "tile is there twice",
        "the words are not in their order",
        "flurb is not in the code",
    }
