"""Recipes that hold a graph: read, written again, trained, and refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from cnnkit import Graph, Registry, train
from cnnkit.errors import CnnkitError, RecipeError
from cnnkit.training.recipe import Recipe

HEAD = '[model]\nname = "net"\n'
REST = '[data]\ndataset = "Digits()"\n[train]\noptimizer = "SGD(0.1)"\nepochs = 1\nbatch_size = 500\n'
NODES = """\
[[model.node]]
name = "flat"
layer = "Flatten()"

[[model.node]]
name = "left"
layer = "Dense(8)"

[[model.node]]
name = "right"
shares = "left"
inputs = ["flat"]

[[model.node]]
name = "sum"
layer = "Add()"
inputs = ["left", "right"]

[[model.node]]
name = "scores"
layer = "Dense(10)"

"""


def test_a_graph_is_trained_from_its_recipe(tmp_path: Path) -> None:
    recipe = Recipe.from_toml(HEAD + NODES + REST, "here")
    run = train(recipe)
    assert isinstance(run.model, Graph)
    assert [(node.name, node.inputs, node.shares) for node in run.model.graph] == [
        ("flat", ("input",), ""),
        ("left", ("flat",), ""),
        ("right", ("flat",), "left"),
        ("sum", ("left", "right"), ""),
        ("scores", ("sum",), ""),
    ]
    Registry(tmp_path).save(run.model, "net", **run.record())
    recorded = Registry(tmp_path).read("net").manifest.recipe
    assert recorded is not None
    again = train(Recipe.from_dict(recorded, "the version"))
    assert np.array_equal(again.model.parameters.vector, run.model.parameters.vector)


def test_a_graph_is_written_as_it_is_read() -> None:
    recipe = Recipe.from_toml(HEAD + NODES + REST, "here")
    assert Recipe.from_toml(recipe.to_toml(), "there") == recipe
    assert '[[model.node]]\nname = "left"\nlayer = "Dense(8)"\n\n[[model.node]]\nname = "right"\n' in recipe.to_toml()
    layers = Recipe.from_toml(HEAD + 'layers = ["Flatten()", "Dense(10)"]\n' + REST, "here")
    assert layers.to_dict()["model"] == {"name": "net", "layers": ["Flatten()", "Dense(10)"]}


def test_layers_in_a_row_take_the_place_of_a_graph() -> None:
    recipe = Recipe.from_toml(HEAD + NODES + REST, "here")
    other = recipe.override({"model.node": None, "model.layers": ["Flatten()", "Dense(10)"]})
    assert other.model.expressions == ("Flatten()", "Dense(10)")


NODE = '[[model.node]]\nname = "a"\n'


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ("", 'model.layers: expected a list of 1 to 10,000 layers, such as ["Flatten()", "Dense(10)"], found none'),
        (
            'layers = ["ReLU()"]\n' + NODE + 'layer = "ReLU()"\n',
            "model.layers and tables [[model.node]] both define the network: remove one of them",
        ),
        (NODE, "model.node[0]: the node a needs either a layer or the node whose layer it shares"),
        (
            NODE + 'layer = "ReLU()"\nshares = "a"\n',
            "model.node[0]: the node a needs either a layer or the node whose layer it shares",
        ),
        (NODE + "layer = 3\n", 'model.node[0].layer: expected a layer, such as "Conv2D(8, 3)", found 3'),
        (NODE + 'layer = "ReLU("\n', "model.node[0].layer: "),
        (
            NODE + 'layer = "ReLU()"\ninputs = "input"\n',
            'model.node[0].inputs: expected a list of the nodes whose outputs it takes, such as ["stem"] or ["input"]',
        ),
        (NODE + 'layer = "ReLU()"\ninput = "a"\n', "[[model.node]] has no key 'input'; did you mean inputs?"),
        ('node = "a"\n', "model.node: expected tables [[model.node]], one for each node, found 'a'"),
    ],
)
def test_what_is_no_graph_is_refused(model: str, message: str) -> None:
    with pytest.raises(RecipeError) as caught:
        Recipe.from_toml(HEAD + model + REST, "here")
    assert f"the recipe in here cannot be used:\n  {message}" in str(caught.value)


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ('[[model.node]]\nname = "sum"\nlayer = "ReLU()"\n', "the recipe 'net' cannot be used: two nodes are named "),
        (
            '[[model.node]]\nname = "x"\nshares = "y"\n',
            "the recipe 'net' cannot be used: no node 'y' is before 'x'",
        ),
        ('[[model.node]]\nname = "x"\nlayer = "ReLU()"\ninputs = ["y"]\n', "node x = ReLU() takes 'y', but no node"),
    ],
)  # fmt: skip
def test_a_graph_that_cannot_be_built_is_refused(more: str, message: str) -> None:
    with pytest.raises(CnnkitError) as caught:
        train(Recipe.from_toml(HEAD + NODES + more + REST, "here"))
    assert message in str(caught.value)
