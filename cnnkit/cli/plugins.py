"""`cnnkit plugins`: which plugin provides which components."""

from __future__ import annotations

from typing import Any

import typer

from cnnkit.cli.options import Debug, Json
from cnnkit.cli.output import say, say_json
from cnnkit.printable_text import on_one_line
from cnnkit.waiting_line import waiting

INDENT = 13
"""Columns of a kind, and the blank after it."""

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="Show installed plugins.")


@app.callback()
def group() -> None:
    """Show installed plugins."""


@app.command(name="list")
def list_plugins(as_json: Json = False, _debug: Debug = False) -> None:
    """List plugins, components and problems.

    Imports and queries each plugin in a separate process.
    """
    from cnnkit.components import installed_catalog
    from cnnkit.components.plugin_metadata import KINDS

    catalog = installed_catalog()
    found: list[dict[str, Any]] = []
    for plugin in catalog.plugins:
        with waiting("asking the plugins"):  # the first time, all are asked together
            problems = catalog.problems(plugin)
            components = {kind: sorted(catalog.names_of(plugin, kind)) for kind in KINDS}
        found.append(
            {
                "distribution": plugin.distribution,
                "version": plugin.version,
                "module": plugin.value,
                "components": {kind: names for kind, names in components.items() if names},
                "problems": problems,
            }
        )
    if as_json:
        say_json(found)
        return
    for one in found:
        say(on_one_line(f"{one['distribution']} {one['version']} ({one['module']})"))
        for kind, names in one["components"].items():
            say(f"  {kind:<12} {', '.join(names)}", INDENT)
        for problem in one["problems"]:
            say(f"  problem: {on_one_line(problem)}")
