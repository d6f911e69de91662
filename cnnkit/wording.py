"""Pieces of texts for people: counted nouns, shapes, near misses of a name, shares, and long texts and lists cut."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence

LONG_WORD = 30
"""Characters of a word from which on it may be cut."""


def counted(count: int, noun: str) -> str:
    """A number with its noun: "1 epoch", "2 epochs"."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def sizes(shape: Sequence[int]) -> str:
    """A shape: "1 x 28 x 28"."""
    return " x ".join(map(str, shape))


def did_you_mean(name: str, known: Iterable[str], most: int = 3, cutoff: float = 0.6, what: str = "") -> str:
    """A question for the known names that are close to this one, in any case; "" if none is.

    most: how many names; cutoff: how close, from 0 to 1; what: stands before them, such as "the recipe ".
    """
    folded = {one.lower(): one for one in known}
    close = difflib.get_close_matches(name.lower(), folded, most, cutoff)
    return f"did you mean {what}{' or '.join(folded[one] for one in close)}?" if close else ""


def shorten(text: str, most: int) -> str:
    """The text, or its beginning and " ...", at most `most` characters in all; words stay whole, unless one is long."""
    if len(text) <= most:
        return text
    kept = text[: most - 4]
    words = kept if text[len(kept)] == " " else kept.rpartition(" ")[0]
    return f"{words if words and len(kept) - len(words) <= LONG_WORD else kept} ..."


def thinned(count: int, most: int) -> list[int]:
    """At most `most` of `count` positions, evenly, with the first and the last."""
    if count <= most:
        return list(range(count))
    return [round(i * (count - 1) / (most - 1)) for i in range(most)]


def first_of(texts: Sequence[str], most: int) -> str:
    """The first ones with commas between, and an ellipsis for the others."""
    return ", ".join([*texts[:most], *(["…"] if len(texts) > most else [])])


def percent(probability: float) -> str:
    """A probability as text; near 1, a decimal tells a confident model from an almost confident one."""
    if 0.9995 <= probability < 1:
        return ">99.9%"
    return f"{probability:.1%}" if 0.99 < probability < 1 else f"{probability:.0%}"
