"""Training curves: what a history holds by epoch, as one picture."""

from __future__ import annotations

import io
import math
import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MAX_PANELS = 4
MAX_POINTS = 2000
LARGEST = 1e30
"""Values beyond it are left out, like NaN: an axis could not show others beside them."""
VALIDATION = "validation_"
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,39}")
"""What is drawn: nothing in such a name has a meaning for matplotlib, whoever wrote the history."""
_NOT_DRAWN = ("lr", "seconds")
_UNITS = {"loss": "loss (mean per sample)", "accuracy": "accuracy (share of samples)"}
_BLUE, _VERMILION = "#0072B2", "#D55E00"  # told apart with every kind of colour vision: Okabe, Ito (2008)

Curve = Sequence[float]


def draw_curves(history: Mapping[str, Curve], title: str) -> bytes | None:
    """A PNG with one panel for loss and for each metric by epoch; None without matplotlib, or with nothing to draw.

    history: values of each quantity by epoch, `validation_loss` beside `loss`; title: above it, plain text without a $.
    """
    panels = [name for name in history if _is_drawn(name) and any(map(_is_finite, history[name]))][:MAX_PANELS]
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError:
        return None
    if not panels:
        return None
    figure = Figure(figsize=(5.2 * len(panels), 3.9), dpi=120, layout="constrained")
    FigureCanvasAgg(figure)
    figure.suptitle(title, fontsize=12)
    for axes, name in zip(figure.subplots(1, len(panels), squeeze=False)[0], panels, strict=True):
        _draw(axes, name, history)
    file = io.BytesIO()
    figure.savefig(file, format="png", metadata={"Software": None})
    return file.getvalue()


def _draw(axes: Axes, name: str, history: Mapping[str, Curve]) -> None:
    from matplotlib.ticker import MaxNLocator

    curves = [("training", history[name], _BLUE, "-", "o")]
    if validation := history.get(VALIDATION + name):
        curves.append(("validation", validation, _VERMILION, "--", "s"))
    for label, values, colour, line, marker in curves:
        step = max(1, math.ceil(len(values) / MAX_POINTS))
        epochs = range(1, len(values) + 1, step)
        shown = [float(value) if _is_finite(value) else math.nan for value in values[::step]]
        few = marker if len(values) <= 40 else ""
        axes.plot(epochs, shown, color=colour, linestyle=line, marker=few, markersize=4, linewidth=1.8, label=label)
    axes.set_xlabel("epoch")
    axes.set_ylabel(_UNITS.get(name, name))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    axes.grid(visible=True, alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False)


def _is_drawn(name: str) -> bool:
    return bool(_NAME.fullmatch(name)) and name not in _NOT_DRAWN and not name.startswith(VALIDATION)


def _is_finite(value: Any) -> bool:
    return bool(-LARGEST <= value <= LARGEST)  # false for NaN, and no whole number is too large to compare
