"""Tables and curves as HTML, for notebooks."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from math import isfinite

WIDTH, HEIGHT = 320, 170
LEFT, SIDE, ABOVE, BELOW = 48, 16, 28, 32
"""Margins of the curves."""
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
    table = f"<table>{above}<thead>{row('th', headings)}</thead><tbody>{body}</tbody></table>"
    return f'<div style="overflow-x:auto">{table}</div>'  # what is too wide is scrolled, and moves nothing else


def svg_curves(name: str, training: Sequence[float], validation: Sequence[float], kept: int | None) -> str:
    """The values of a quantity by epoch, from 1, training blue and validation red, on the page's own background.

    A dotted line marks the kept epoch, where that is not the last one. Values that are not finite are gaps.
    """
    finite = [value for value in (*training, *validation) if isfinite(value)]
    low, high = min(finite, default=0.0), max(finite, default=1.0)
    epochs = max(len(training), len(validation))
    right, bottom = WIDTH - SIDE, HEIGHT - BELOW

    def at(epoch: int, value: float) -> tuple[float, float]:
        across = (epoch - 1) / max(epochs - 1, 1)
        up = (value - low) / (high - low) if high > low else 0.5
        return LEFT + across * (right - LEFT), bottom - up * (bottom - ABOVE)

    axes = f'<path d="M{LEFT} {ABOVE}V{bottom}H{right}" fill="none" stroke="currentColor" stroke-opacity="0.4"/>'
    parts = [axes, _text(LEFT, 14, name, bold=True), _text((LEFT + right) / 2, HEIGHT - 6, "epoch", "middle")]
    parts += [_text(LEFT, HEIGHT - 6, "1", "middle"), _text(right, HEIGHT - 6, str(epochs), "middle")]
    parts += [_text(LEFT - 6, bottom, f"{low:.3g}", "end"), _text(LEFT - 6, ABOVE + 8, f"{high:.3g}", "end")]
    if kept and kept < epochs:
        x, _ = at(kept, low)
        parts.append(f'<path d="M{x:.1f} {ABOVE}V{bottom}" stroke="currentColor" stroke-dasharray="2 3"/>')
        parts.append(_text(x, HEIGHT - 18, f"{kept} kept", "middle"))
    for label, values, colour, place in (
        ("training", training, "#0072B2", right - 150),
        ("validation", validation, "#D55E00", right - 72),
    ):
        path, begins = "", "M"
        for epoch, value in enumerate(values, start=1):
            if isfinite(value):
                x, y = at(epoch, value)
                path += f"{begins}{x:.1f} {y:.1f}"
            begins = "L" if isfinite(value) else "M"
        if path:
            line = f'fill="none" stroke="{colour}" stroke-width="2" stroke-linecap="round"'
            parts.append(f'<path d="{path}" {line}/>')
            if validation:
                parts.append(f'<path d="M{place} 10h14" {line}/>{_text(place + 18, 14, label)}')
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{HEIGHT}" role="img" '
        f'aria-label="{escape(name)} by epoch">{"".join(parts)}</svg>'
    )


def _text(x: float, y: float, text: str, anchor: str = "start", *, bold: bool = False) -> str:
    weight = ' font-weight="bold"' if bold else ""
    return (
        f'<text x="{x:g}" y="{y:g}" text-anchor="{anchor}" font-family="sans-serif" font-size="11" '
        f'fill="currentColor"{weight}>{escape(text)}</text>'
    )
