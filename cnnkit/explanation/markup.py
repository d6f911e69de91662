"""HTML from Python: whatever is not markup already is escaped, wherever it comes from."""

from __future__ import annotations

import html
from collections.abc import Iterable, Sequence

MAX_TEXT = 300
"""Characters of a text that comes from elsewhere, such as a label of a model file."""


class Html(str):
    """Text that is markup already."""


def text(value: object) -> Html:
    """A value as text: markup in it means nothing, and what steers or turns the writing shows as an escape."""
    if isinstance(value, Html):
        return value
    given = str(value)
    if not given.isprintable():  # nearly every text of a long page is
        given = "".join(c if c.isprintable() or c == "\n" else _escaped(c) for c in given)
    return Html(html.escape(given))


def tag(name: str, *children: object, **attributes: object) -> Html:
    """An element; `class_` is the attribute class, an underscore inside a name a hyphen, and None leaves one out."""
    given = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{text(value)}"'
        for key, value in attributes.items()
        if value is not None
    )
    if name in ("img", "meta"):
        return Html(f"<{name}{given}>")
    return Html(f"<{name}{given}>{joined(children)}</{name}>")


def joined(parts: Iterable[object], between: str = "") -> Html:
    """Several parts one after the other; None is skipped."""
    return Html(between.join(text(part) for part in parts if part is not None))


def table(headings: Sequence[object], rows: Iterable[Sequence[object]], class_: str | None = None) -> Html:
    """A table; the first cell of a row is its heading. It scrolls on its own where the screen is narrow."""
    head = tag("tr", *(tag("th", heading, scope="col") for heading in headings))
    body = [tag("tr", tag("th", first, scope="row"), *(tag("td", cell) for cell in others)) for first, *others in rows]
    whole = tag("table", tag("thead", head) if headings else None, tag("tbody", *body), class_=class_)
    return tag("div", whole, class_="scroll")


def number(value: float, digits: int = 4) -> str:
    """A number, short: 4 significant digits unless told otherwise; zero has no sign."""
    return f"{float(value) + 0.0:.{digits}g}".replace("-", "\N{MINUS SIGN}")


def term(value: float) -> str:
    """A number inside a sum or product: in brackets if it is below 0."""
    return f"({number(value)})" if value < 0 else number(value)


def milliseconds(value: float | None) -> str:
    """A time, in the unit that suits it."""
    if value is None:
        return "-"
    return f"{value:.3g} ms" if value >= 1 else f"{1e3 * value:.3g} µs"


def _escaped(character: str) -> str:
    return character.encode("unicode_escape", "backslashreplace").decode("ascii")
