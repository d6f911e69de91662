"""The options that the benchmarks share, under the same names everywhere."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Collection
from pathlib import Path

from benchmarks.host import ENOUGH
from benchmarks.networks import NETWORKS
from cnnkit.network import available_cores


def parser(description: str | None) -> argparse.ArgumentParser:
    """A command line with `--workers`, `--json` and `--markdown`; description: the module's docstring."""
    made = argparse.ArgumentParser(description=description, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    made.add_argument("--workers", type=count, default=available_cores(), help="cores that each framework may use")
    made.add_argument("--json", type=Path, metavar="FILE", help="write all raw numbers")
    made.add_argument("--markdown", type=Path, metavar="FILE", help="write the tables, which are always printed")
    return made


def add_networks(made: argparse.ArgumentParser, default: str) -> None:
    """`--network`, one or several."""
    made.add_argument("--network", type=several(NETWORKS), default=default, help=f"of {', '.join(NETWORKS)}")


def add_turns(made: argparse.ArgumentParser, default: int = 5) -> None:
    """`--epochs`."""
    made.add_argument("--epochs", type=count, default=default, help="measured turns of each, after one to warm up")


def add_repeats(made: argparse.ArgumentParser) -> None:
    """`--repeats`."""
    made.add_argument(
        "--repeats",
        type=count_or_none,
        default=5,
        help=f"further rounds at most, for turns in which two processes did less than {ENOUGH} times the work of one",
    )


def add_samples(made: argparse.ArgumentParser, default: int) -> None:
    """`--samples` and `--data`."""
    made.add_argument("--samples", type=count, default=default)
    made.add_argument("--data", choices=("mnist", "random"), help="mnist for its networks, random for others, if unset")


def count(text: str) -> int:
    """A whole number above 0."""
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"expected a whole number above 0, got {text}")
    return number


def count_or_none(text: str) -> int:
    """A whole number, 0 or above."""
    return 0 if text == "0" else count(text)


def counts(text: str) -> list[int]:
    """Whole numbers above 0 with commas between them."""
    return [count(part) for part in text.split(",")]


def several(allowed: Collection[str]) -> Callable[[str], list[str]]:
    """A reader of names with commas between them."""

    def names(text: str) -> list[str]:
        given = [part.strip() for part in text.split(",") if part.strip()]
        if unknown := [name for name in given if name not in allowed]:
            raise argparse.ArgumentTypeError(f"expected some of {', '.join(allowed)}, got {', '.join(unknown)}")
        return given

    return names
