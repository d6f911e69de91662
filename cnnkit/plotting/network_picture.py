"""Networks: their layers as boxes, and what goes from one to the others as lines."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from cnnkit.errors import PlotError
from cnnkit.network import Network
from cnnkit.plotting.boxes import (
    AFTER_NAME,
    APART,
    JOINS,
    LINE_HEIGHT,
    NEITHER,
    PADDING,
    ROW_GAP,
    STRIPE,
    TRAINS,
    Box,
    Row,
    boxes_of,
    width,
)
from cnnkit.plotting.graph_layout import Layout, Line, lay_out
from cnnkit.plotting.saving import encoded, save
from cnnkit.plotting.style import BLUE, CYCLE, DPI, LINES, SLIDE, SMALL, SUBTITLE, TITLE, VERMILION, picture, plain

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MOST_LAYERS = 600
MOST_INCHES, MOST_AREA = 200, 2500
"""Of a side, and of the whole in square inches; at DPI that is as much as common viewers open."""
INCH = 72.0
"""Points."""
MARGIN, HEAD, FOOT = 20.0, 88.0, 44.0
_INK, _FRAME, _FLOW, _PALE = "#222222", "#767676", "#4D4D4D", "#E4E4E4"
_COLOURS = {TRAINS: BLUE, JOINS: VERMILION, NEITHER: _PALE}


def write_network(model: Network, title: str, path: str | Path) -> Path:
    """Write a picture of a network; a file of that name is replaced.

    path: ends in .png, .svg or .pdf. Raises PlotError for a path that cannot be, if matplotlib is missing, and for a
    network that is too large for a picture.
    """
    return save(draw_network(model, title), path)


def network_png(model: Network, title: str) -> bytes | None:
    """The same as a PNG file; None without matplotlib, or if the network is too large."""
    try:
        return encoded(draw_network(model, title), "png")
    except PlotError:
        return None


@picture
def draw_network(model: Network, title: str) -> Figure:
    """Draw the layers of a network as boxes, from its input down, with a line from each to those that take its output.

    Layers that only follow each other share a box. A row has a layer's name, its expression, how many parameters it
    trains, and the shape of its output where that is another than before. Raises PlotError for a network that is too
    large for a picture.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    if (count := len(model.nodes)) > MOST_LAYERS:
        raise PlotError(
            f"the network has {count:,} layers, and a picture can show up to {MOST_LAYERS:,}: read its summary instead"
        )
    boxes, edges = boxes_of(model.nodes, model.input_shape)
    layout = lay_out([box.size for box in boxes], edges, (SLIDE[0] * INCH, SLIDE[1] * INCH))
    heading = plain(title, 76)
    facts = f"{count:,} layer{'s' * (count > 1)}, {model.parameter_count():,} parameters"
    least = max(width(heading, bold=True, size=TITLE), width(facts, size=SUBTITLE), *_legend_places()[-1:])
    wide, high = max(layout.width, least) + 2 * MARGIN, layout.height + HEAD + FOOT
    if max(wide, high) > MOST_INCHES * INCH or wide * high > MOST_AREA * INCH**2:
        raise PlotError(
            f"a picture of the network would be {wide / INCH:,.0f} x {high / INCH:,.0f} inches, too large to look at: "
            "read its summary instead"
        )
    figure = Figure(figsize=(wide / INCH, high / INCH), dpi=DPI, facecolor="white")
    FigureCanvasAgg(figure)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_axis_off()
    axes.set_xlim(0, wide)
    axes.set_ylim(high, 0)
    axes.text(MARGIN, 24, heading, fontsize=TITLE, fontweight="bold", color=_INK, va="center")
    axes.text(MARGIN, 51, facts, fontsize=SUBTITLE, color=_INK, va="center")
    left = (wide - layout.width) / 2
    _draw_lines(axes, layout, left, HEAD)
    for box, (x, y) in zip(boxes, layout.places, strict=True):
        _draw_box(axes, box, x + left, y + HEAD)
    _draw_legend(axes, high - MARGIN)
    return figure


def _draw_box(axes: Axes, box: Box, x: float, y: float) -> None:
    from matplotlib.patches import Rectangle

    axes.add_patch(Rectangle((x, y), *box.size, facecolor="white", edgecolor="none", zorder=3))
    at = y + 1
    for index, row in enumerate(box.rows):
        _draw_stripe(axes, row.kind, x, at, box.row_height(index))
        ends = x + STRIPE + PADDING, x + box.size[0] - PADDING
        _draw_row(axes, row, ends, at + ROW_GAP / 2 + LINE_HEIGHT / 2, box.on_one_line[index])
        at += box.row_height(index)
    axes.add_patch(Rectangle((x, y), *box.size, facecolor="none", edgecolor=_FRAME, linewidth=1.1, zorder=5))


def _draw_row(axes: Axes, row: Row, ends: tuple[float, float], y: float, on_one_line: bool) -> None:
    left, right = ends
    _write(axes, left, y, row.name, bold=True)
    if on_one_line:
        _write(axes, left + width(row.name, bold=True) + AFTER_NAME, y, row.layer)
        _write(axes, right, y, row.parameters, right=True, colour=BLUE)
        _write(axes, right - (width(row.parameters) + APART if row.parameters else 0), y, row.shape, right=True)
    else:
        _write(axes, right, y, row.shape, right=True)
        _write(axes, left, y + LINE_HEIGHT, row.layer)
        _write(axes, right, y + LINE_HEIGHT, row.parameters, right=True, colour=BLUE)


def _write(
    axes: Axes, x: float, y: float, text: str, *, bold: bool = False, right: bool = False, colour: str = _INK
) -> None:
    if text:
        weight, side = "bold" if bold else "normal", "right" if right else "left"
        axes.text(x, y, text, fontsize=SMALL, fontweight=weight, color=colour, ha=side, va="center_baseline", zorder=6)


def _draw_stripe(axes: Axes, kind: str, x: float, y: float, height: float) -> None:
    """The sign of what a layer is: filled, hatched or pale, to be told apart without colours, too."""
    from matplotlib.patches import Rectangle

    colour, hatch = _COLOURS[kind], "/////" if kind == JOINS else None
    face = "white" if hatch else colour
    axes.add_patch(Rectangle((x, y), STRIPE, height, facecolor=face, edgecolor=colour, hatch=hatch, lw=0, zorder=4))


def _legend_places() -> list[float]:
    """Where the signs begin, and the end of the last one's text."""
    places = [0.0]
    for kind in _COLOURS:
        places.append(places[-1] + STRIPE + AFTER_NAME + width(kind) + 2 * AFTER_NAME)
    return places


def _draw_legend(axes: Axes, y: float) -> None:
    for kind, x in zip(_COLOURS, _legend_places(), strict=False):
        _draw_stripe(axes, kind, MARGIN + x, y - LINE_HEIGHT / 2, LINE_HEIGHT)
        _write(axes, MARGIN + x + STRIPE + AFTER_NAME, y, kind)


def _draw_lines(axes: Axes, layout: Layout, left: float, top: float) -> None:
    """Draw each line above the ones before it, with a white seam, so that crossings are no junctions."""
    from matplotlib.patches import PathPatch
    from matplotlib.path import Path as Outline

    for number, (line, look) in enumerate(zip(layout.lines, looks(layout.lines), strict=True)):
        above = 1 + number / len(layout.lines)
        for piece in line.pieces:
            colour, dashes = (CYCLE[look % len(CYCLE)], LINES[look % len(LINES)]) if piece.long else (_FLOW, "-")
            points = [(x + left, y + top) for x, y in piece.points]
            others = Outline.CURVE4 if piece.curved else Outline.LINETO
            outline = Outline(points, [Outline.MOVETO, *[others] * (len(points) - 1)])
            axes.add_patch(PathPatch(outline, fill=False, edgecolor="white", linewidth=4.2, zorder=above))
            ends = "round" if dashes == "-" else "butt"
            axes.add_patch(
                PathPatch(outline, fill=False, ec=colour, lw=1.8, ls=dashes, capstyle=ends, zorder=above + 1e-4)
            )
            if piece.arrow:
                _draw_arrow(axes, *points[-1])


def _draw_arrow(axes: Axes, x: float, y: float) -> None:
    from matplotlib.patches import Polygon

    axes.add_patch(Polygon([(x - 4.5, y - 8), (x + 4.5, y - 8), (x, y + 1)], facecolor=_FLOW, zorder=2.5))


def looks(lines: Sequence[Line]) -> list[int]:
    """For each line that passes layers the number of the first look that no other has beside it; 0 for the others."""
    used: list[tuple[int, int, int]] = []
    numbers = []
    for line in lines:
        first, last = line.layers
        taken = {number for number, a, b in used if a < last and first < b} if last - first > 1 else set()
        numbers.append(next(number for number in range(len(lines)) if number not in taken))
        if last - first > 1:
            used.append((numbers[-1], first, last))
    return numbers
