"""`cnnkit plugins check`: the checks of `cnnkit.testing` on whatever is installed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer

from cnnkit.cli.options import DataFolder, Debug, Json, expanded_path
from cnnkit.cli.output import note, say, say_json, say_table
from cnnkit.waiting_line import waiting

if TYPE_CHECKING:
    from cnnkit.testing.case_list import Case
    from cnnkit.testing.speed import Speed

MAX_INPUTS = 1_000_000


class Row(NamedTuple):
    """What became of one check."""

    distribution: str
    component: str
    kind: str
    subject: str
    check: str
    verdict: str
    reason: str


def check(
    what: Annotated[
        str,
        typer.Argument(
            metavar="[DIST|EXPR]",
            help='A distribution, such as cnnkit-walsh, or a component, such as "HadamardDense(8)". Default: all '
            "installed plugins.",
        ),
    ] = "",
    shape: Annotated[
        str | None,
        typer.Option("--input", metavar="SHAPE", help="Shape of one input of a component. Default: its own examples'."),
    ] = None,
    speed: Annotated[
        bool, typer.Option("--speed", help="Show how long layers take beside built-in ones, which is no verdict.")
    ] = False,
    report: Annotated[
        Path | None,
        typer.Option(callback=expanded_path, metavar="FILE.md", help="Write a page that a plugin can publish."),
    ] = None,
    data_dir: DataFolder = None,
    as_json: Json = False,
    _debug: Debug = False,
) -> None:
    """Check that plugins keep their contracts.

    Exits with 1 if a check fails. What a class lists in `expected_failures`, with reasons, must fail. Imports the
    plugins into this process.
    """
    from cnnkit.cli.recipe_arguments import shape_in
    from cnnkit.errors import ConfigError
    from cnnkit.file_writing import check_target, write_whole
    from cnnkit.testing.case_list import cases

    if report is not None:
        check_target(report, ConfigError)
    in_shape = None if shape is None else shape_in(shape, "--input", MAX_INPUTS, ", since each is moved in turn")
    with waiting("checking"):
        found = cases(what, in_shape=in_shape, data_dir=data_dir)
        rows = [Row(c.distribution, c.component, c.kind, c.subject, c.check, *c.outcome()) for c in found]
        speeds = _speeds(found) if speed else []
    summary = _summary(rows)
    if report is not None:
        write_whole(report, _page(rows, speeds, summary).encode(), ConfigError)
        note(f"wrote {report}")
    failed = [row for row in rows if row.verdict == "failed"]
    checked = any(row.verdict in ("passed", "expected failure") for row in rows if row.kind != "plugin")
    if as_json:
        times = [
            {"expression": s.expression, "in_shape": s.in_shape, "seconds": s.seconds, "beside": s.beside}
            | {"ratio": s.ratio}
            for s in speeds
        ]
        document = {"ok": not failed and checked, "summary": summary, "checks": [row._asdict() for row in rows]}
        say_json(document | {"speed": times})
    else:
        say_table(
            ("component", "kind", "check", "verdict", "reason"),
            [(row.subject, row.kind, row.check, row.verdict, _first_line(row.reason)) for row in rows],
            least=("kind",),
        )
        for row in rows:
            if "\n" in row.reason:
                say(f"{row.subject} - {row.check}:")
                for line in row.reason.splitlines():
                    say(f"  {line}")
        for one in speeds:
            say(str(one))
        say(summary)
    if failed or not checked:
        raise typer.Exit(1)


def _first_line(text: str) -> str:
    head, *rest = text.split("\n", 1)
    return f"{head} (all of it below)" if rest else head


def _summary(rows: Sequence[Row]) -> str:
    """One line of text, such as a badge shows."""
    import importlib.metadata

    count = Counter(row.verdict for row in rows)
    names = ", ".join(dict.fromkeys(row.distribution for row in rows))
    parts = [f"{count['passed']} checks passed", f"{count['failed']} failed"]
    parts += [f"{count[verdict]} {verdict}" for verdict in ("expected failure", "skipped") if count[verdict]]
    return f"{names}: {', '.join(parts)}, with cnnkit {importlib.metadata.version('cnnkit')}"


def _speeds(found: Sequence[Case]) -> list[Speed]:
    from cnnkit.components import Layer
    from cnnkit.testing.speed import speed_of

    configured = dict.fromkeys(case.configured for case in found if case.configured)
    times = [speed_of(one, shape) for one, shape in configured if isinstance(one, Layer)]
    return [time for time in times if time is not None]


def _page(rows: Sequence[Row], speeds: Sequence[Speed], summary: str) -> str:
    """The table in Markdown."""
    cells = [(row.subject, row.kind, row.check, row.verdict, row.reason) for row in rows]
    lines = [
        "# Conformance",
        "",
        summary,
        "",
        "| component | kind | check | verdict | reason |",
        "|---|---|---|---|---|",
    ]
    lines += ["| " + " | ".join(map(_cell, row)) + " |" for row in cells]
    lines += ["", *(f"- {_cell(str(speed))}" for speed in speeds)] if speeds else []
    return "\n".join([*lines, ""])


def _cell(text: str) -> str:
    from cnnkit.printable_text import on_one_line

    lines = map(on_one_line, text.split("\n"))
    return "<br>".join(line.replace("\\", "\\\\").replace("|", "\\|").replace("<", "&lt;") for line in lines)
