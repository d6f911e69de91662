"""What shows a training to who calls the library: a table in a notebook, lines elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from html import escape
from types import TracebackType
from typing import Any

from cnnkit.notebook_html import html_table
from cnnkit.printable_text import NAME, on_one_line
from cnnkit.terminal import console
from cnnkit.training.overview import TrainingOverview
from cnnkit.training.progress import LiveProgress, Progress

BETWEEN = 0.5
"""Seconds between two looks of a notebook."""
ROWS = 20
"""Epochs that a notebook shows, the last ones."""


class LibraryProgress(LiveProgress):
    """What a program or an interpreter shows; warnings stay Python's, which a program may filter or catch."""

    warn = Progress.warn


class NotebookProgress(Progress):
    """One table in the output of a cell, which grows by a row for each epoch."""

    def __init__(self) -> None:
        self._display: Any = None
        self._rows: list[dict[str, float]] = []
        self._about = ""
        self._epoch = self._epochs = self._images = 0
        self._started = self._drawn = 0.0

    def training_started(self, overview: TrainingOverview) -> None:
        """Keep what is trained on what."""
        self._about = overview.lines("the network")[0]

    def epoch_started(self, epoch: int, epochs: int, steps: int) -> None:
        """Show the table, if it is the first."""
        self._epoch, self._epochs, self._steps, self._images = epoch, epochs, steps, 0
        self._started = time.perf_counter()
        if self._display is None:
            from IPython.display import HTML, display

            self._display, self._html = display(HTML(""), display_id=True), HTML

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._display is not None:
            self._show("")  # a training may end before its last epoch

    def step_done(self, step: int, samples: int, means: Mapping[str, float]) -> None:
        """Move on, twice a second."""
        self._images += samples
        now = time.perf_counter()
        if now - self._drawn > BETWEEN:
            speed = self._images / max(now - self._started, 1e-9)
            self._show(f"epoch {self._epoch}/{self._epochs}, step {step}/{self._steps}, {speed:,.0f} images/s")

    def epoch_done(self, means: Mapping[str, float]) -> None:
        """Add the epoch's row."""
        self._rows.append({"epoch": self._epoch, **means})
        self._show(f"epoch {self._epoch}/{self._epochs}")

    def _show(self, below: str) -> None:
        self._drawn = time.perf_counter()
        names = list(dict.fromkeys(name for row in self._rows for name in row))
        cells = [[f"{row[name]:.4f}" if name != "epoch" else f"{row[name]}" for name in names] for row in self._rows]
        shown = [on_one_line(name.replace("_", " "), NAME) for name in names]
        rest = f"the last {ROWS} of {len(cells)} epochs" if len(cells) > ROWS else ""
        caption = "; ".join(filter(None, (self._about, rest)))
        page = html_table(shown, cells[-ROWS:], caption) + (f"<p>{escape(below)}</p>" if below else "")
        self._display.update(self._html(page))


def shown(progress: Progress | bool) -> Progress:
    """What reports a training where none was given: a table in a notebook, else lines on standard error.

    A terminal also has a bar. progress: True for that, False for nothing, or what was given.
    """
    if isinstance(progress, Progress):
        return progress
    if not progress:
        return Progress()
    return NotebookProgress() if _in_notebook() else LibraryProgress(console(sys.stderr))


def _in_notebook() -> bool:
    """Whether a kernel runs this, which has a front end that shows HTML."""
    asked = getattr(sys.modules.get("IPython"), "get_ipython", None)
    return getattr(asked and asked(), "kernel", None) is not None
