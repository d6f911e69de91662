"""`cnnkit summary`: the layers of a registered model, or of the one that a recipe describes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from cnnkit.cli.options import DataFolder, Debug, Json, Overrides, RegistryFolder
from cnnkit.cli.output import say, say_json
from cnnkit.cli.recipe import resolve

if TYPE_CHECKING:
    from cnnkit.network import Network


def summary(
    subject: Annotated[
        str, typer.Argument(metavar="REF|RECIPE", help="A reference such as name@latest, or a recipe's name or file.")
    ],
    overrides: Overrides = None,
    registry: RegistryFolder = None,
    data_dir: DataFolder = None,
    as_json: Json = False,
    _debug: Debug = False,
) -> None:
    """Print layers, shapes and costs."""
    from cnnkit import api
    from cnnkit.errors import ConfigError

    if "@" in subject and not subject.endswith(".toml"):
        if overrides:
            raise ConfigError(
                f"--set overrides values of a recipe; {subject} is a registered model, which cannot change"
            )
        model = api.load_model(subject, registry)
    else:
        model = _described(subject, overrides, data_dir)
    if as_json:
        say_json(_document(model))
    else:
        say(model.summary())


def _described(source: str, overrides: list[str] | None, data_dir: str | None) -> Network:
    from cnnkit.data import load_dataset
    from cnnkit.training.assemble import model_for

    recipe = resolve(source, overrides)
    return model_for(recipe, load_dataset(recipe.data.dataset, data_dir))


def _document(model: Network) -> dict[str, object]:
    nodes = [
        {
            "name": node.name,
            "layer": repr(node.layer),
            "inputs": node.inputs,
            "output": node.out_shape,
            "operations": node.cost and node.cost.operations,
        }
        for node in model.nodes
    ]
    return {"input": model.input_shape, "nodes": nodes, "parameters": model.parameter_count()}
