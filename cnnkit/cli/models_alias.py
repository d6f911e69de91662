"""`cnnkit models alias`: names for versions that may move from one to another."""

from __future__ import annotations

from typing import Annotated

import typer

from cnnkit.cli.confirmation import Yes, confirm
from cnnkit.cli.options import Debug, Json, Reference, RegistryFolder
from cnnkit.cli.output import say, say_json

app = typer.Typer(rich_markup_mode=None)
Alias = Annotated[str, typer.Argument(metavar="ALIAS", help="Such as production.")]


@app.callback(invoke_without_command=True)
def alias(context: typer.Context) -> None:
    """Give versions names that can move."""
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())


@app.command(name="set")
def set_alias(
    ref: Reference,
    name: Alias,
    require: Annotated[
        str | None,
        typer.Option(
            metavar="validated|none",
            help="validated: from now on, the alias accepts only versions whose last validation passed; none: any "
            "version.",
        ),
    ] = None,
    yes: Yes = False,
    registry: RegistryFolder = None,
    as_json: Json = False,
    _debug: Debug = False,
) -> None:
    """Let an alias point to a version.

    name@ALIAS then means that version. Asks before an alias moves or loses its requirement.
    """
    from cnnkit.registry import Registry

    store = Registry(registry)
    version = store.find(ref)
    before = store.aliases(version.name).get(name)
    changes = []
    if before not in (None, version.number):
        changes.append(f"move {version.name}@{name} from {version.name}@{before} to {version.ref}")
    if before and require == "none" and store.requirement(version.name, name) != "none":
        changes.append(f"let {version.name}@{name} accept versions that are not validated")
    if changes:
        confirm(" and ".join(changes), yes)
    store.set_alias(version.ref, name, require)
    if as_json:
        say_json({"alias": name, "ref": version.ref, "require": store.requirement(version.name, name)})
    else:
        say(f"{version.name}@{name} is {version.ref}")


@app.command()
def remove(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="The name of the model.")],
    name: Alias,
    yes: Yes = False,
    registry: RegistryFolder = None,
    as_json: Json = False,
    _debug: Debug = False,
) -> None:
    """Remove an alias; its version stays."""
    from cnnkit.registry import Registry

    store = Registry(registry)
    number = store.aliases(model).get(name)
    confirm(f"remove {model}@{name}{f', which is {model}@{number}' if number else ''}", yes)
    store.remove_alias(model, name)
    if as_json:
        say_json({"removed": f"{model}@{name}"})
    else:
        say(f"removed {model}@{name}")
