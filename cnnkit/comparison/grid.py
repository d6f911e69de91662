"""Grids: values of a recipe's keys, of which every combination is trained."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from cnnkit.errors import ConfigError
from cnnkit.training.recipe import read_override

Grid = Mapping[str, Sequence[Any]] | Sequence[str]
"""Values by key, `{"train.optimizer": ["SGD(0.1)", "Adam(0.001)"]}`, or as text, `["train.optimizer=SGD(0.1),Adam()"]`.
"""

LEARNING_RATE = "train.lr"
"""The key of a grid that stands for the learning rate, an argument of the recipe's optimizer."""
_CLOSING = {")": "(", "]": "[", "}": "{"}


def read_grid(grid: Grid) -> dict[str, list[Any]]:
    """The values of each key, by its whole name. Raises ConfigError for text that cannot be read, and for a key twice.

    Text is split at the commas that stand in no brackets or quotes; each part is read as in an override.
    """
    pairs = list(grid.items()) if isinstance(grid, Mapping) else list(map(_read, grid))
    values: dict[str, list[Any]] = {}
    for key, listed in pairs:
        whole = key if "." in key else f"train.{key}"
        if whole in values:
            raise ConfigError(f"the grid has {whole} twice: give all of its values together")
        if whole == "train.seed":
            raise ConfigError("a grid cannot vary train.seed: set the seeds of all configurations with --seeds")
        if isinstance(listed, str) or not isinstance(listed, Sequence) or not listed:
            raise ConfigError(f"the grid must have a list of values for {whole}, got {listed!r}")
        values[whole] = list(listed)
    return values


def points(grid: Mapping[str, Sequence[Any]]) -> Iterator[dict[str, Any]]:
    """Every combination of the values, the last key changing fastest; one without any if the grid is empty."""
    for combination in itertools.product(*grid.values()):
        yield dict(zip(grid, combination, strict=True))


def _read(text: str) -> tuple[str, list[Any]]:
    key, equals, values = text.partition("=")
    if not equals or not key.strip():
        raise ConfigError(f'a grid has the form key=value,value, such as "train.batch_size=32,64", got {text!r}')
    parts = _split(values, text)
    if not all(parts):
        raise ConfigError(f"the grid {text!r} has an empty value: expected values with one comma between two of them")
    return key.strip(), [read_override(f"{key}={part}")[1] for part in parts]


def _split(values: str, text: str) -> list[str]:
    """The parts between the commas that stand in no brackets or quotes."""
    parts, start, quote = [], 0, -1
    opened: list[int] = []
    offset = len(text) - len(values) + 1
    escaped = False
    for at, character in enumerate(values):
        if quote >= 0:
            if character == values[quote] and not escaped:
                quote = -1
            escaped = character == "\\" and not escaped
        elif character in "\"'":
            quote = at
        elif character in _CLOSING.values():
            opened.append(at)
        elif character in _CLOSING:
            if not opened or values[opened.pop()] != _CLOSING[character]:
                raise ConfigError(
                    f"in the grid {text!r}, the {character} at position {offset + at} has no opening bracket"
                )
        elif character == "," and not opened:
            parts.append(values[start:at].strip())
            start = at + 1
    if quote >= 0 or opened:
        at = quote if quote >= 0 else opened[-1]
        raise ConfigError(f"in the grid {text!r}, the {values[at]} at position {offset + at} is never closed")
    return [*parts, values[start:].strip()]
