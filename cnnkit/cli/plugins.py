"""`cnnkit plugins`: which plugin provides which components, and commands for who writes one."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cnnkit.cli import plugins_check, plugins_new
from cnnkit.cli.options import Debug, Json
from cnnkit.cli.output import say, say_json
from cnnkit.printable_text import on_one_line
from cnnkit.waiting_line import waiting

if TYPE_CHECKING:
    from cnnkit.components import Catalog, Plugin

INDENT = 13
"""Columns of a kind, and the blank after it."""

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="Show, check and begin plugins.")

app.command()(plugins_new.new)
app.command()(plugins_check.check)


@app.callback()
def group() -> None:
    """Show, check and begin plugins."""


@app.command(name="list")
def list_plugins(
    ask: Annotated[
        bool, typer.Option("--ask/--no-ask", help="Ask each plugin, in a process of its own, or read metadata alone.")
    ] = True,
    strict: Annotated[bool, typer.Option("--strict-plugins", help="Exit with 1 if a plugin is broken.")] = False,
    as_json: Json = False,
    _debug: Debug = False,
) -> None:
    """List plugins, components and problems.

    Imports and queries each plugin in a separate process. CNNKIT_BLOCK_PLUGINS blocks those of some distributions, with
    commas between their names, and CNNKIT_NO_PLUGINS=1 all.
    """
    from cnnkit.components import installed_catalog

    catalog = installed_catalog()
    with waiting("asking the plugins"):  # all together
        found = [_entry(catalog, plugin, ask) for plugin in catalog.plugins]
    if as_json:
        say_json(found)
    else:
        for one in found:
            _say(one)
    if strict and any(one["state"] == "broken" for one in found):
        raise typer.Exit(1)


def _entry(catalog: Catalog, plugin: Plugin, ask: bool) -> dict[str, Any]:
    from cnnkit.components.plugin_metadata import KINDS, missing_requirements

    asked = ask or bool(plugin.mismatch)
    problems = catalog.problems(plugin) if asked else []
    names = {kind: sorted(catalog.names_of(plugin, kind)) for kind in KINDS} if ask else {}
    broken = asked and any(catalog.faults(plugin, kind) for kind in KINDS)
    state = "blocked" if plugin.blocked else "broken" if broken else "ready" if ask else "not imported"
    shows_traceback = broken and not plugin.mismatch
    return {
        "distribution": plugin.distribution,
        "version": plugin.version,
        "module": plugin.value,
        "api": list(plugin.apis),
        "former_names": list(plugin.former),
        "missing": missing_requirements(plugin) if plugin.installed else [],
        "state": state,
        "reason": plugin.blocked,
        "components": {kind: found for kind, found in names.items() if found},
        "problems": problems,
        "traceback": f"python -X faulthandler -c {shlex.quote(f'import {plugin.module}')}" if shows_traceback else "",
    }


def _say(one: dict[str, Any]) -> None:
    state = f"{one['state']}{', as ' if one['reason'] else ''}{one['reason']}"
    say(on_one_line(f"{one['distribution']} {one['version']} ({one['module']}): {state}"))
    for kind, names in one["components"].items():
        say(f"  {kind:<12} {', '.join(names)}", INDENT)
    facts = {"plugin API": one["api"], "earlier called": one["former_names"], "missing": one["missing"]}
    for fact, values in facts.items():
        if values:
            say(on_one_line(f"  {fact}: {', '.join(values)}"))
    for problem in one["problems"]:
        say(f"  problem: {on_one_line(problem)}")
    if one["traceback"]:
        say(on_one_line(f"  traceback: {one['traceback']}"))
