"""Showing a training while it runs: a live line in a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import time
import warnings
from collections.abc import Mapping
from html import escape
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from cnnkit.lines import NAME, on_one_line, printable
from cnnkit.markup import html_table
from cnnkit.terminal import console

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import TaskID

BETWEEN = 0.5
"""Seconds between two looks of a notebook."""
ROWS = 100
"""Epochs that a notebook shows, the last ones."""


class Progress:
    """Told about every step and epoch; this one shows nothing."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return None

    def epoch_started(self, epoch: int, epochs: int, steps: int) -> None:
        """Epoch numbers start at 1."""

    def step_done(self, step: int, samples: int, means: Mapping[str, float]) -> None:
        """`means` of loss and metrics over the epoch so far; `samples` were trained on in this step."""

    def epoch_done(self, means: Mapping[str, float]) -> None:
        """All of the epoch's values, those of the validation included."""

    def warn(self, text: str) -> None:
        """Something went wrong, and the training continues."""
        warnings.warn(text, RuntimeWarning, stacklevel=2)


class LiveProgress(Progress):
    """A bar with loss, metrics, images per second and the time left; one line for each finished epoch."""

    def __init__(self, console: Console) -> None:
        from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
        from rich.progress import Progress as Bar

        columns = (
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=20),
            MofNCompleteColumn(),
            TextColumn("{task.fields[shown]}", markup=False),
            TimeRemainingColumn(compact=True),
        )
        self._console = console
        self._bar = Bar(*columns, console=console, transient=True, disable=not console.is_terminal)
        self._task: TaskID | None = None
        self._epoch = self._epochs = self._steps = self._images = 0
        self._started = self._trained = 0.0
        """When the epoch began, and when its last step ended: validation is not counted."""

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()

    def epoch_started(self, epoch: int, epochs: int, steps: int) -> None:
        """Start counting; the bar spans all epochs, so that the time left is that of the training."""
        self._epoch, self._epochs, self._steps, self._images = epoch, epochs, steps, 0
        self._started = time.perf_counter()
        if self._task is None:
            self._task = self._bar.add_task("", total=steps * epochs, shown="")

    def step_done(self, step: int, samples: int, means: Mapping[str, float]) -> None:
        """Move the bar."""
        self._images += samples
        self._trained = time.perf_counter()
        if self._task is not None and not self._bar.disable:
            self._bar.update(
                self._task,
                completed=(self._epoch - 1) * self._steps + step,
                description=f"epoch {self._epoch}/{self._epochs}",
                shown=f"{_shown(means)}  {self._speed():,.0f} images/s",
            )

    def epoch_done(self, means: Mapping[str, float]) -> None:
        """Print the epoch's line."""
        self._print(
            f"epoch {self._epoch:>{len(str(self._epochs))}}/{self._epochs}  {_shown(means)}  "
            f"{self._speed():,.0f} images/s"
        )

    def warn(self, text: str) -> None:
        """Print it."""
        self._print(f"warning: {printable(text)}", style="yellow")

    def _print(self, text: str, style: str | None = None) -> None:
        self._console.print(text, style=style, highlight=False, markup=False, emoji=False, soft_wrap=True)

    def _speed(self) -> float:
        return self._images / max(self._trained - self._started, 1e-9)


class LibraryProgress(LiveProgress):
    """What a program or an interpreter shows; warnings stay Python's, which a program may filter or catch."""

    warn = Progress.warn


class NotebookProgress(Progress):
    """One table in the output of a cell, which grows by a row for each epoch."""

    def __init__(self) -> None:
        self._display: Any = None
        self._rows: list[dict[str, float]] = []
        self._epoch = self._epochs = self._images = 0
        self._started = self._drawn = 0.0

    def epoch_started(self, epoch: int, epochs: int, steps: int) -> None:
        """Show the table, if it is the first."""
        self._epoch, self._epochs, self._steps, self._images = epoch, epochs, steps, 0
        self._started = time.perf_counter()
        if self._display is None:
            from IPython.display import HTML, display

            self._display, self._html = display(HTML(""), display_id=True), HTML

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
        self._show("" if self._epoch == self._epochs else f"epoch {self._epoch}/{self._epochs}")

    def _show(self, below: str) -> None:
        self._drawn = time.perf_counter()
        names = list(dict.fromkeys(name for row in self._rows for name in row))
        cells = [[f"{row[name]:.4f}" if name != "epoch" else f"{row[name]}" for name in names] for row in self._rows]
        shown = [on_one_line(name.replace("_", " "), NAME) for name in names]
        self._display.update(
            self._html(html_table(shown, cells[-ROWS:]) + (f"<p>{escape(below)}</p>" if below else ""))
        )


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


def _shown(means: Mapping[str, float]) -> str:
    return "  ".join(f"{on_one_line(name.replace('_', ' '), NAME)} {value:.4f}" for name, value in means.items())
