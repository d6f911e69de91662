"""Tables for people and JSON for programs."""

from __future__ import annotations

import argparse
import json
import statistics
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from benchmarks.host import ENOUGH
from benchmarks.turn_taking import Series


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table; all columns but the first are set right."""
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def spread(values: Sequence[float], digits: int = 2) -> str:
    """Median (min-max)."""
    low, middle, high = (f"{value:.{digits}f}" for value in (min(values), statistics.median(values), max(values)))
    return f"{middle} ({low}-{high})"


def compared(series: Sequence[Series], scale: float) -> list[list[str]]:
    """Rows of name, time times `scale` with its spread, and the time divided by that of the first series."""
    made = []
    for one in series:
        if not one.measured:
            made.append([one.contender.name, one.status, ""])
            continue
        ratio = f"{one.median() / series[0].median():.2f}" if series[0].measured else ""
        made.append([one.contender.name, spread([seconds * scale for seconds in one.values()], 1), ratio])
    return made


def of_host(series: Sequence[Series]) -> str:
    """What the host gave beside the turns, in a sentence: over all, how many were repeated, and which were below."""
    if not (found := [factor for one in series for factor in one.hosts]):
        return "What two processes do against one was not measured: there is one worker, or one core.\n"
    repeated = sum(len(one.repeated) for one in series)
    named = []
    for one in series:
        if below := [f"{number} ({factor:.2f})" for number, factor in enumerate(one.hosts, 1) if factor < ENOUGH]:
            named.append(f"{one.contender.name}, turn {', '.join(below)}")
    return (
        f"Beside the turns, two processes did {spread(found)} times the work of one. Below {ENOUGH} and repeated: "
        f"{repeated} of {len(found) + repeated} turns; below {ENOUGH} after all: {'; '.join(named) or 'none'}.\n"
    )


def publish(args: argparse.Namespace, machine: Mapping[str, Any], markdown: str, results: Any) -> None:
    """Print the tables, and write the files that `--json` and `--markdown` ask for.

    machine: what `machine.description` gave before anything was measured; results: the raw numbers.
    """
    text = f"{headline(machine)}\n\n{markdown}"
    print(text)
    if args.markdown:
        args.markdown.write_text(text, "utf-8")
    if args.json:
        args.json.write_text(json.dumps({"machine": machine, "results": results}, indent=1), "utf-8")


def headline(machine: Mapping[str, Any]) -> str:
    """The machine in one line."""
    load = ", ".join(f"{value:.2f}" for value in machine["load_average"])
    return (
        f"{machine['cpu']}, {machine['cores']} cores; load average before: {load}; "
        f"Python {machine['python']}, NumPy {machine['numpy']}"
    )
