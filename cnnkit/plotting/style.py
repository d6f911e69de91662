"""The common look of all pictures: size, type, colours, and text that nothing in it has a meaning for matplotlib."""

from __future__ import annotations

import colorsys
import functools
import io
import itertools
import textwrap
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Literal, ParamSpec

from cnnkit.class_indices import is_background
from cnnkit.errors import PlotError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.colors import Colormap
    from matplotlib.figure import Figure

P = ParamSpec("P")

SLIDE = (40 / 3, 7.5)
"""Inches: 1600 x 900 pixels at DPI, the shape of a slide."""
DPI = 120
TITLE, SUBTITLE, NORMAL, SMALL = 18, 14, 13, 11
"""Points; nothing is set smaller than SMALL, except in the cells of a large matrix."""

# Told apart with every kind of colour vision: Okabe, Ito (2008), Color Universal Design
BLUE, VERMILION, GREEN, PURPLE = "#0072B2", "#D55E00", "#009E73", "#CC79A7"
ORANGE, SKY, BLACK = "#E69F00", "#56B4E9", "#000000"
GREY = "#767676"
CYCLE = (BLUE, VERMILION, GREEN, PURPLE, ORANGE, SKY, BLACK)
SEGMENTS = (BLUE, VERMILION, GREEN, PURPLE, ORANGE, SKY, BLACK, "#882255", "#999933", "#5B3FBF")
GROUND = "#E9E9E9"
"""Of classes of pixels, and of the one that is called background."""
MOST_NAMED = 22
"""Classes of pixels that a legend has room for."""
LINES = ("-", "--", ":", "-.")
MARKERS = ("o", "s", "^", "D", "v", "P", "X")

TITLE_LINE = 76
"""Characters of a title that stand on one line."""
MAX_TEXT = 60
"""Characters of a text from a file."""


def picture(draw: Callable[P, Figure]) -> Callable[P, Figure]:
    """A drawing function in the common look, whose figure a notebook shows; PlotError where matplotlib is missing."""

    @functools.wraps(draw)
    def drawn(*args: P.args, **kwargs: P.kwargs) -> Figure:
        with look():
            figure = draw(*args, **kwargs)
        figure._repr_png_ = functools.partial(_png, figure)  # type: ignore[attr-defined]  # IPython asks for it
        return figure

    return drawn


def _png(figure: Figure) -> bytes:
    file = io.BytesIO()
    with look():
        figure.savefig(file, format="png", dpi=DPI / 2)
    return file.getvalue()


@contextmanager
def look() -> Iterator[None]:
    """Let matplotlib draw in the common look, whatever the user's own settings are."""
    try:
        import matplotlib.figure
        import matplotlib.style
    except ImportError as error:
        raise PlotError('pictures need matplotlib: pip install "cnnkit[plots]"') from error
    settings = {
        "font.size": NORMAL,
        "figure.titlesize": TITLE,
        "axes.titlesize": SUBTITLE,
        "axes.labelsize": SUBTITLE,
        "xtick.labelsize": NORMAL,
        "ytick.labelsize": NORMAL,
        "legend.fontsize": NORMAL,
        "legend.frameon": False,
        "lines.linewidth": 2.2,
        "lines.markersize": 6,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "grid.alpha": 0.3,
        "svg.fonttype": "none",  # text stays text
        "svg.hashsalt": "cnnkit",  # the same picture has the same bytes
        "pdf.fonttype": 42,
    }
    with matplotlib.style.context(["default", settings]):
        yield


def new_figure(title: str, layout: Literal["constrained", "compressed"] | None = "constrained") -> Figure:
    """An empty slide with its title, on two lines if it is long.

    layout: "compressed" for images, which keep their shape: no room is left between them; None where the axes are
    given their places.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=SLIDE, dpi=DPI, layout=layout)
    FigureCanvasAgg(figure)
    if layout is not None:
        figure.get_layout_engine().set(w_pad=0.12, h_pad=0.12)  # type: ignore[union-attr, call-arg]  # it is one of these
    figure.suptitle(wrapped(title), fontweight="bold")
    return figure


def wrapped(title: str) -> str:
    """A title on one line, or two if it is long, broken behind a comma or colon outside of brackets if it can be."""
    text = plain(title, 2 * TITLE_LINE)
    if len(text) <= TITLE_LINE:
        return text
    depths = itertools.accumulate((letter in "([{") - (letter in ")]}") for letter in text)
    ends = (", ", ": ")
    places = [at for at, depth in enumerate(depths, start=1) if depth == 0 and text[at - 1 : at + 1] in ends]
    for place in sorted(places, key=lambda place: abs(2 * place - len(text))):
        if max(place, len(text) - place - 1) <= TITLE_LINE:
            return f"{text[:place]}\n{text[place + 1 :]}"
    for width in range(len(text) // 2, TITLE_LINE + 1):  # lines of about the same length
        lines = textwrap.wrap(text, width, break_long_words=False)
        if len(lines) <= 2 and len(max(lines, key=len)) <= TITLE_LINE:
            return "\n".join(lines)
    return "\n".join(textwrap.wrap(text, TITLE_LINE))


def epoch_axis(axes: Axes, last: int) -> None:
    """Epochs at the x axis, from 1 to the last one: there is none with the number 0."""
    step = next(step for power in range(10) for step in (10**power, 2 * 10**power, 5 * 10**power) if last <= 9 * step)
    axes.set_xticks(sorted({1, *range(step, last + 1, step)}))
    margin = 0.03 * max(last - 1, 10)
    axes.set_xlim(1 - margin, max(last, 1) + margin)
    axes.set_xlabel("epoch")


def diverging() -> Colormap:
    """Blue below 0, white at 0, vermilion above; grey for what is not a number."""
    from matplotlib.colors import LinearSegmentedColormap

    colours = ["#00304D", BLUE, "#FFFFFF", VERMILION, "#5A2800"]
    return LinearSegmentedColormap.from_list("diverging", colours).with_extremes(bad="#9A9A9A")


def plain(text: str, most: int = MAX_TEXT) -> str:
    """A text of a file, of at most `most` characters, as matplotlib shows it letter by letter.

    A dollar sign begins no formula, and what has no shape in the font is written as an escape such as \\x1b.
    """
    known = _glyphs()
    parts = [c if c.isprintable() and ord(c) in known else c.encode("unicode_escape").decode() for c in text[:most]]
    if len(text) > most or sum(map(len, parts)) > most:
        while parts and sum(map(len, parts)) > most - 1:
            parts.pop()
        parts.append("…")
    return "".join(parts).replace("$", r"\$")


def class_names(labels: Sequence[str], classes: int, most: int = 16) -> list[str]:
    """What the classes are called in pictures: their labels, or their indices where there are none.

    Labels that are the same when they are cut have their index in front.
    """
    if not labels:
        return [str(index) for index in range(classes)]
    names = [plain(label, most) for label in labels]
    times = Counter(names)
    return [
        name if times[name] == 1 else plain(f"{index} {label}", most)
        for index, (name, label) in enumerate(zip(names, labels, strict=True))
    ]


def class_colours(labels: Sequence[str], classes: int) -> list[str]:
    """The colours of classes of pixels, such as "#0072B2"; a class that is called background is pale."""
    colours, taken = [], 0
    for index in range(classes):
        if index < len(labels) and is_background(labels[index]):
            colours.append(GROUND)
            continue
        hue = taken * 0.618 % 1  # of many, neighbours are far apart
        red, green, blue = colorsys.hsv_to_rgb(hue, 0.55 + 0.4 * (taken % 2), 0.9 - 0.2 * (taken % 3))
        mixed = f"#{round(255 * red):02X}{round(255 * green):02X}{round(255 * blue):02X}"
        colours.append(SEGMENTS[taken] if taken < len(SEGMENTS) else mixed)
        taken += 1
    return colours


def legend_of_classes(figure: Figure, labels: Sequence[str], shown: Iterable[int]) -> None:
    """Name the colours of the classes of pixels that are shown, below the picture, as many as there is room for."""
    from matplotlib.patches import Patch

    names, colours = class_names(labels, len(labels)), class_colours(labels, len(labels))
    which = list(shown)[:MOST_NAMED]
    patches = [Patch(facecolor=colours[k], edgecolor="#808080", linewidth=0.5, label=names[k]) for k in which]
    figure.legend(handles=patches, loc="outside lower center", ncols=min(len(patches), 11), handlelength=1.2)


@functools.cache
def _glyphs() -> frozenset[int]:
    """The characters that the font has, upright and bold."""
    from matplotlib.font_manager import FontProperties, findfont, get_font

    fonts = [findfont(FontProperties(family="DejaVu Sans", weight=weight)) for weight in ("normal", "bold")]
    upright, bold = (frozenset(get_font(font).get_charmap()) for font in fonts)
    return upright & bold
