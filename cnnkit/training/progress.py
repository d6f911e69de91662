"""Showing a training while it runs: a live line in a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import ExitStack
from types import TracebackType
from typing import TYPE_CHECKING, Self

from cnnkit import caller_warnings
from cnnkit.components.quantities import VALIDATION
from cnnkit.printable_text import NAME, on_one_line, printable
from cnnkit.terminal import is_quiet, shows_progress
from cnnkit.text_folding import columns, fold
from cnnkit.training.overview import TrainingOverview
from cnnkit.waiting_line import other_display

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import TaskID

BAR = 20
"""Columns of the bar."""
REST = len("  0:00:00 ")
"""Columns of the time left, and the blanks around it."""


class Progress:
    """Told about every step and epoch; this one shows nothing."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return None

    def training_started(self, overview: TrainingOverview) -> None:
        """Before the first epoch, and before the first after a checkpoint."""

    def epoch_started(self, epoch: int, epochs: int, steps: int) -> None:
        """Epoch numbers start at 1."""

    def step_done(self, step: int, samples: int, means: Mapping[str, float]) -> None:
        """`means` of loss and metrics over the epoch so far; `samples` were trained on in this step."""

    def epoch_done(self, means: Mapping[str, float]) -> None:
        """All of the epoch's values, those of the validation included."""

    def warn(self, text: str) -> None:
        """Something went wrong, and the training continues."""
        caller_warnings.warn(text, RuntimeWarning)


class LiveProgress(Progress):
    """A bar with loss, metrics, images per second and the time left; one line for each finished epoch.

    Where all is to be quiet, there are warnings alone.
    """

    def __init__(self, console: Console, name: str = "the network") -> None:
        from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
        from rich.progress import Progress as Bar

        texts = (TextColumn(f"{{task.{key}}}", markup=False) for key in ("description", "fields[shown]"))
        description, shown = texts
        parts = (description, BarColumn(BAR), MofNCompleteColumn(), shown, TimeRemainingColumn(compact=True))
        self._console = console
        self._name = name
        self._bar = Bar(*parts, console=console, transient=True, disable=not shows_progress(console))
        self._display = ExitStack()
        self._task: TaskID | None = None
        self._epoch = self._epochs = self._steps = self._images = 0
        self._started = self._trained = 0.0
        """When the epoch began, and when its last step ended: validation is not counted."""
        self._told_of_pairs = False

    def __enter__(self) -> Self:
        self._display.enter_context(other_display())
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()
        self._display.close()

    def training_started(self, overview: TrainingOverview) -> None:
        """Say what is trained on what."""
        if not is_quiet():
            for line in overview.lines(self._name):
                self._print(line)

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
            description = f"epoch {self._epoch}/{self._epochs}"
            counts = 2 * len(str(self._steps * self._epochs)) + 1
            self._bar.update(
                self._task,
                completed=(self._epoch - 1) * self._steps + step,
                description=description,
                shown=_within(
                    self._console.width - columns(description) - BAR - counts - REST - 2, *_parts(means), self._speed()
                ),
            )

    def epoch_done(self, means: Mapping[str, float]) -> None:
        """Print the epoch's line.

        Where it would be wider than the terminal, each value of the training has that of the validation behind it, and
        the speed is left out if need be.
        """
        if is_quiet():
            return
        begin, speed = f"epoch {self._epoch:>{len(str(self._epochs))}}/{self._epochs}", self._speed()
        line = "  ".join([begin, *_parts(means), speed])
        if self._console.is_terminal and columns(line) > self._console.width:
            pairs = _pairs(means)
            if not self._told_of_pairs and len(pairs) < len(means):
                self._told_of_pairs = True
                self._print("values are training/validation")
            line = "  ".join([begin, *pairs])
            line += _within(self._console.width - columns(line) - 2, speed, before="  ")
        self._print(line)

    def warn(self, text: str) -> None:
        """Print it."""
        self._print(f"warning: {printable(text)}", style="yellow")

    def _print(self, text: str, style: str | None = None) -> None:
        text = fold(text, self._console.width) if self._console.is_terminal else text
        self._console.print(text, style=style, highlight=False, markup=False, emoji=False, soft_wrap=True)

    def _speed(self) -> str:
        return f"{self._images / max(self._trained - self._started, 1e-9):,.0f} images/s"


def _parts(means: Mapping[str, float]) -> list[str]:
    return [f"{_name(key)} {value:.4f}" for key, value in means.items()]


def _pairs(means: Mapping[str, float]) -> list[str]:
    """Each value with that of the validation, if there is one, such as "loss 0.1234/0.1310"."""
    pairs = []
    for key, value in means.items():
        other = means.get(f"{VALIDATION}{key}")
        if key.removeprefix(VALIDATION) == key or key.removeprefix(VALIDATION) not in means:
            pairs.append(f"{_name(key)} {value:.4f}" + ("" if other is None else f"/{other:.4f}"))
    return pairs


def _name(key: str) -> str:
    return on_one_line(key.replace("_", " "), NAME)


def _within(width: int, *texts: str, before: str = "") -> str:
    """As many of the texts as there is room for."""
    shown = ""
    for text in texts:
        longer = f"{shown}  {text}" if shown else text
        if columns(longer) > width:
            break
        shown = longer
    return before + shown if shown else ""
