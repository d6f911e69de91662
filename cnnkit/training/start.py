"""Trainings that start from the weights of a trained network, not from random ones, and recipes that say so."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import numpy as np

from cnnkit.errors import ConfigError, ShapeError
from cnnkit.network import Graph, Network
from cnnkit.training.recipe import Recipe
from cnnkit.types import Array, Data


def digest_of(weights: Mapping[str, Array]) -> str:
    """The sha256 of all parameters and buffers with their names, "sha256:..."."""
    hashed = hashlib.sha256()
    for name, array in sorted(weights.items()):
        hashed.update(f"{name} {array.dtype.str} {array.shape}\n".encode())
        hashed.update(np.ascontiguousarray(array).tobytes())
    return f"sha256:{hashed.hexdigest()}"


def recipe_from(recipe: Recipe, model: Network) -> Recipe:
    """The recipe with the layers of a network in the place of its own, which starts from that network's weights."""
    network: dict[str, Any] = {"layers": None, "node": None, "start": digest_of(model.state())}
    if isinstance(model, Graph):
        network["node"] = [
            {"name": node.name, "inputs": list(node.inputs)}
            | ({"shares": node.shares} if node.shares else {"layer": repr(node.layer)})
            for node in model.graph
        ]
    else:
        network["layers"] = model.expressions()
    return recipe.override({f"model.{key}": value for key, value in network.items()})


def check_samples(model: Network, data: Data) -> None:
    """Raise ShapeError for a network that takes other samples than those of a dataset."""
    if data.input_shape != model.input_shape:
        raise ShapeError(
            f"the network to start from takes samples of shape {model.input_shape}, those of {data.name} have "
            f"the shape {data.input_shape}: train on a dataset of its kind, by --set data.dataset=... or another recipe"
        )


def refuse_start(recipe: Recipe) -> None:
    """Raise ConfigError for a recipe that starts from weights, where there are none but random ones."""
    if recipe.model.start is not None:
        raise ConfigError(
            f"the recipe {recipe.model.name!r} starts from the weights {recipe.model.start}, which it does not hold: "
            "give the network with `cnnkit train --from`, or remove model.start to train new ones"
        )
