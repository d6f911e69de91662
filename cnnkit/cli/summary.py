"""`cnnkit summary`: the layers of a registered model, of the one that a recipe describes, or of a known network."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

from cnnkit.cli.options import DataFolder, Debug, Json, Overrides, RegistryFolder, expanded_path
from cnnkit.cli.output import on_terminal, say, say_json, say_table
from cnnkit.cli.recipe_arguments import resolve, shape_in

if TYPE_CHECKING:
    from cnnkit.components import Architecture
    from cnnkit.network import Network

INPUT = "3,32,32"
MAX_INPUTS = 100_000_000


def summary(
    subject: Annotated[
        str,
        typer.Argument(
            metavar="REF|RECIPE|EXPR",
            help='A reference such as name@latest, a recipe\'s name or file, or a known network, such as "ResNet(20)".',
        ),
    ],
    shape: Annotated[
        str | None,
        typer.Option(
            "--input", metavar="SHAPE", help=f"Shape of one input of a known network, C,H,W. Default: {INPUT}."
        ),
    ] = None,
    overrides: Overrides = None,
    graph: Annotated[
        Path | None,
        typer.Option(callback=expanded_path, metavar="FILE", help="Draw the network there, too: .svg, .png or .pdf."),
    ] = None,
    registry: RegistryFolder = None,
    data_dir: DataFolder = None,
    as_json: Json = False,
    _debug: Debug = False,
) -> None:
    """Print layers, shapes and costs."""
    from cnnkit.errors import ConfigError
    from cnnkit.plotting.network_picture import write_network
    from cnnkit.plotting.saving import check_target
    from cnnkit.registry import Registry

    if graph:
        check_target(graph)
    known = _known(subject)
    if shape is not None and not known:
        raise ConfigError(f"--input is for known networks; {subject} has inputs of its own: leave it out")
    if known:
        if overrides:
            raise ConfigError(f"--set overrides values of a recipe; {subject} is a known network: change its arguments")
        model, title = _of_images(known, INPUT if shape is None else shape), repr(known)
    elif "@" in subject and not subject.endswith(".toml"):
        if overrides:
            raise ConfigError(
                f"--set overrides values of a recipe; {subject} is a registered model, which cannot change"
            )
        record = Registry(registry).read(subject)
        model, title = record.model(), record.version.ref
    else:
        model, title = _described(subject, overrides, data_dir, registry)
    if graph:
        write_network(model, title, graph)
    if as_json:
        say_json(_document(model) | ({"graph": str(graph)} if graph else {}))
    else:
        say_layers(model)
        if graph:
            say(str(graph))


def say_layers(model: Network) -> None:
    """Print the table of a network's layers."""
    from cnnkit.network.graph.summary import HEADINGS

    table = model.summary()
    if not on_terminal():
        say(table)
        return
    say_table(HEADINGS, table.rows, ("operations", "input"))
    say(table.total)


def _described(
    source: str, overrides: list[str] | None, data_dir: str | None, registry: str | None
) -> tuple[Network, str]:
    """The network of a recipe, and its name."""
    from cnnkit.data import load_dataset
    from cnnkit.training.assembly import planned_model

    recipe = resolve(source, overrides, data_dir, registry)
    return planned_model(recipe, load_dataset(recipe.data.dataset, data_dir)), recipe.model.name


def _known(subject: str) -> Architecture | None:
    """The known network of an expression; None for what is none, which names a recipe, data or a model.

    Raises ComponentError for an expression of neither a network nor a dataset.
    """
    from cnnkit.components import installed_catalog
    from cnnkit.components.expressions import parse
    from cnnkit.data.named import is_expression
    from cnnkit.errors import ComponentError
    from cnnkit.wording import did_you_mean

    if not is_expression(subject):
        return None
    call, catalog = parse(subject), installed_catalog()
    try:
        catalog.find("architecture", call.name, call.distribution)
    except ComponentError:
        if call.name in (datasets := catalog.names("dataset")):
            return None
        networks = catalog.names("architecture")
        hint = did_you_mean(call.name, networks + datasets) or f"the known networks are {', '.join(networks)}"
        raise ComponentError(f"{subject} is neither a known network nor a dataset\n  {hint}") from None
    return cast("Architecture", catalog.build("architecture", call))


def _of_images(known: Architecture, shape: str) -> Network:
    """Its network for inputs of a shape, without weights."""
    from cnnkit.network import Sequential

    return Sequential(known.layers(), shape_in(shape, "--input", MAX_INPUTS), limit=sys.maxsize)


def _document(model: Network) -> dict[str, object]:
    from cnnkit.network.graph.summary import counted, totals

    found = counted(model.nodes)
    nodes = [
        {
            "name": one.node.name,
            "layer": repr(one.node.layer),
            "inputs": one.inputs,
            "output": one.node.out_shape,
            "parameters": one.parameters,
            "products": one.cost and one.cost.products,
            "operations": one.cost and one.cost.operations,
        }
        for one in found
    ]
    return {"input": model.input_shape, "nodes": nodes, **totals(found)}
