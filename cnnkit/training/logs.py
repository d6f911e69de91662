"""Callbacks that write the history to a file, epoch by epoch."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

from cnnkit.components import Callback
from cnnkit.components.value_description import shown
from cnnkit.errors import ConfigError
from cnnkit.file_writing import check_target, write_whole

LONGEST = 100_000
"""Characters of a log's first line, which is looked at."""


class _Log(Callback):
    """A file with a line for each epoch, whole after each, and written anew from the history by a resumed training.

    A recipe may come from elsewhere: so a log is below the folder that the training runs in, has the ending of its
    kind, and replaces nothing but a log.
    """

    ending: ClassVar[str]

    def __init__(self, path: str) -> None:
        given = Path(path) if isinstance(path, str) else None
        if given is None or given.suffix != self.ending or given.is_absolute() or ".." in given.parts:
            raise ConfigError(
                f"path must be the name of a {self.ending} file in the folder that the training runs in, or below it, "
                f'such as "log{self.ending}", got {shown(path)}'
            )
        self.path = path

    def start(self, quantities: Mapping[str, bool]) -> None:
        path = Path(self.path)
        check_target(path, ConfigError)
        if path.is_file() and path.stat().st_size and not self._is_log(_first_line(path)):
            raise ConfigError(f"{path} is not a log of a training, and is not replaced by one: name another file")

    def after_epoch(self, history: Mapping[str, list[float]]) -> str:
        epochs = len(next(iter(history.values()), []))
        rows = [{"epoch": n + 1} | {name: values[n] for name, values in history.items()} for n in range(epochs)]
        write_whole(Path(self.path), self._text(rows).encode(), ConfigError)
        return ""

    def _is_log(self, line: str) -> bool:
        """Whether a file that begins with this line is such a log."""
        raise NotImplementedError  # derived classes define it

    def _text(self, rows: list[dict[str, float]]) -> str:
        raise NotImplementedError  # derived classes define it


class CSVLog(_Log):
    """Writes the history as CSV, a line for each epoch: epoch, loss, ..., lr, seconds.

    path: such as "log.csv", below the folder that the training runs in; a log of another training is replaced, which
    holds for trainings that run at the same time, too. Raises ConfigError for another path, and before the first epoch
    for a folder that does not exist, or a file that is no log.
    """

    ending = ".csv"

    def _is_log(self, line: str) -> bool:
        return line.startswith("epoch,loss")

    def _text(self, rows: list[dict[str, float]]) -> str:
        with io.StringIO(newline="") as text:
            table = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
            table.writeheader()
            table.writerows(rows)
            return text.getvalue()


class JSONLog(_Log):
    """Writes the history as JSON, an object in a line for each epoch; what is not finite is null.

    path: such as "log.jsonl"; all else as of CSVLog.
    """

    ending = ".jsonl"

    def _is_log(self, line: str) -> bool:
        return line.startswith('{"epoch": 1, "loss": ')

    def _text(self, rows: list[dict[str, float]]) -> str:
        finite = [{name: value if math.isfinite(value) else None for name, value in row.items()} for row in rows]
        return "".join(f"{json.dumps(row)}\n" for row in finite)


def _first_line(path: Path) -> str:
    try:
        with path.open(encoding="utf-8", errors="replace") as file:
            return file.readline(LONGEST)
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror or error}") from None
