"""Tables and curves as HTML, for notebooks."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from math import isfinite

WIDTH, HEIGHT, MARGIN = 300, 160, 32
STYLE = "text-align:{}; padding:2px 12px 2px 0; white-space:nowrap"


def html_table(headings: Sequence[str], rows: Iterable[Sequence[str]], caption: str = "", left: int = 0) -> str:
    """A table; its first `left` columns hold texts, the others numbers. All of it is text, whatever it contains."""
    sides = ["left" if column < left else "right" for column in range(len(headings))]

    def row(tag: str, cells: Sequence[str]) -> str:
        inner = (
            f'<{tag} style="{STYLE.format(side)}">{escape(cell)}</{tag}>'
            for side, cell in zip(sides, cells, strict=True)
        )
        return f"<tr>{''.join(inner)}</tr>"

    above = f'<caption style="text-align:left; font-weight:bold">{escape(caption)}</caption>' if caption else ""
    body = "".join(row("td", cells) for cells in rows)
    return f"<table>{above}<thead>{row('th', headings)}</thead><tbody>{body}</tbody></table>"


def svg_curves(name: str, training: Sequence[float], validation: Sequence[float], kept: int | None) -> str:
    """The values of a quantity by epoch, from 1, training blue and validation red; a dotted line marks the kept epoch.

    Values that are not finite are gaps.
    """
    finite = [value for value in (*training, *validation) if isfinite(value)]
    low, high = min(finite, default=0.0), max(finite, default=1.0)
    epochs = max(len(training), len(validation))

    def at(epoch: int, value: float) -> tuple[float, float]:
        across = (epoch - 1) / max(epochs - 1, 1)
        up = (value - low) / (high - low) if high > low else 0.5
        return MARGIN + across * (WIDTH - 2 * MARGIN), HEIGHT - MARGIN - up * (HEIGHT - 2 * MARGIN)

    parts = [_text(WIDTH / 2, 16, f"{name} by epoch", "middle", bold=True)]
    parts += [_text(MARGIN, HEIGHT - 12, "1", "middle"), _text(WIDTH - MARGIN, HEIGHT - 12, str(epochs), "middle")]
    parts += [_text(2, HEIGHT - MARGIN, f"{low:.3g}"), _text(2, MARGIN, f"{high:.3g}")]
    if kept:
        x, _ = at(kept, low)
        parts.append(f'<path d="M{x:.1f} {MARGIN}V{HEIGHT - MARGIN}" stroke="#767676" stroke-dasharray="2 3"/>')
    for values, colour in ((training, "#0072B2"), (validation, "#D55E00")):
        path, begins = "", "M"
        for epoch, value in enumerate(values, start=1):
            if isfinite(value):
                x, y = at(epoch, value)
                path += f"{begins}{x:.1f} {y:.1f}"
            begins = "L" if isfinite(value) else "M"
        if path:
            points = f'stroke="{colour}" stroke-width="2" stroke-linecap="round"'
            parts.append(f'<path d="{path}{"h0" if len(values) == 1 else ""}" fill="none" {points}/>')
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{HEIGHT}" '
        f'style="background:white">{"".join(parts)}</svg>'
    )


def _text(x: float, y: float, text: str, anchor: str = "start", *, bold: bool = False) -> str:
    weight = ' font-weight="bold"' if bold else ""
    return (
        f'<text x="{x:g}" y="{y:g}" text-anchor="{anchor}" font-family="sans-serif" font-size="11" '
        f'fill="#222222"{weight}>{escape(text)}</text>'
    )
