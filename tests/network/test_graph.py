"""Graphs: what they compute, how they are trained, and what is refused."""

from __future__ import annotations

import copy
from typing import Any

import networks  # type: ignore[import-not-found]  # beside this file
import numpy as np
import pytest

from cnnkit import Graph, Sequential, Trainer
from cnnkit.errors import CnnkitError, ConfigError, ShapeError
from cnnkit.layers import Conv2D
from cnnkit.losses import CrossEntropy
from cnnkit.network import Objective, training_session
from cnnkit.optimizers import SGD
from cnnkit.types import Samples, Shape

DIGIT = (1, 28, 28)
NETWORKS = {
    "resnet": networks.resnet(1, 4),
    "inception": networks.inception(),
    "siamese": networks.siamese(),
}
STEP = 1e-7
"""So short that hardly a number changes sides at a ReLU or a maximum."""
OBJECTIVE = Objective(CrossEntropy(), ())


def samples(count: int = 9, shape: Shape = DIGIT) -> Samples:
    rng = np.random.default_rng(0)
    return Samples(rng.normal(size=(count, *shape)).astype(np.float32), rng.integers(0, 10, count))


def step(model: Graph | Sequential, data: Samples, workers: int = 1) -> tuple[float, np.ndarray[Any, Any]]:
    """The mean loss of all samples as one batch, and its gradient."""
    count = len(data)
    with training_session(model.engine(logits=True), data, OBJECTIVE, SGD(0.1), count, workers) as session:
        loss = session.step(np.arange(count), (0, 0, 0)).loss / count
        return loss, session.gradient.copy()


@pytest.mark.parametrize("name", NETWORKS)
def test_gradients_are_those_of_central_differences(name: str) -> None:
    model, data = Graph(copy.deepcopy(NETWORKS[name]), DIGIT, dtype="float64", seed=3), samples()
    vector, rng = model.parameters.vector, np.random.default_rng(1)
    vector += rng.normal(scale=0.05, size=vector.size)  # biases of 0 put numbers onto the edge of a ReLU
    _, gradient = step(model, data)
    for _ in range(4):
        direction = rng.normal(size=vector.size) / np.sqrt(vector.size)
        before, values = vector.copy(), []
        for h in (STEP, -STEP):
            vector[...] = before + h * direction
            values.append(step(model, data)[0])
        vector[...] = before
        numeric, analytic = (values[0] - values[1]) / (2 * STEP), float(gradient @ direction)
        assert abs(numeric - analytic) <= 1e-6 * np.linalg.norm(gradient)


@pytest.mark.parametrize("name", NETWORKS)
def test_any_number_of_workers_gives_the_same_bits(name: str) -> None:
    data = samples(200)
    found = []
    for workers in (1, 2, 3):
        model = Graph(copy.deepcopy(NETWORKS[name]), DIGIT)
        Trainer(epochs=2, batch_size=100, workers=workers).fit(model, data)
        found.append(model.parameters.vector)
    assert np.array_equal(found[0], found[1])
    assert np.array_equal(found[0], found[2])


def test_a_chain_equals_sequential_in_every_bit() -> None:
    layers = ["Conv2D(4, 3)", "BatchNorm2D()", "ReLU()", "MaxPool2D(2)", "Flatten()", "Dense(10)", "Softmax()"]
    chain, graph = Sequential(layers, DIGIT), Graph({f"n{i}": layer for i, layer in enumerate(layers)}, DIGIT)
    data = samples(50)
    for model in (chain, graph):
        Trainer(epochs=2, batch_size=25).fit(model, data)
    assert np.array_equal(chain.parameters.vector, graph.parameters.vector)
    assert np.array_equal(chain.predict_proba(data.x), graph.predict_proba(data.x))


def test_residual_and_concat_are_the_joins_of_their_branches() -> None:
    built = Sequential(["Conv2D(4, 3)", "Residual(Conv2D(4, 1))", "Concat([], Conv2D(2, 1))", "Flatten()"], DIGIT)
    graph = Graph(
        {
            "a": "Conv2D(4, 3)",
            "b": "Conv2D(4, 1)",
            "c": ("Add()", ["b", "a"]),
            "d": ("Conv2D(2, 1)", "c"),
            "e": ("Concat()", ["c", "d"]),
            "f": "Flatten()",
        },
        DIGIT,
    )
    x = samples().x
    graph.load_state(dict(zip(graph.state(), built.state().values(), strict=True)))
    assert np.array_equal(built.outputs(x), graph.outputs(x))


def test_layers_in_two_places_have_one_set_of_parameters() -> None:
    model = Graph(networks.siamese(), DIGIT)
    assert [name for name in model.state() if name.endswith(".weight")] == [
        "left.weight",
        "left_code.weight",
        "scores.weight",
    ]
    assert model.parameter_count() == sum(array.size for array in model.state().values())
    assert f"{model.parameter_count():,} parameters" in model.summary()
    assert copy.deepcopy(model).parameter_count() == model.parameter_count()


def test_nodes_run_in_the_given_order_where_that_is_possible() -> None:
    model = Graph({"c": ("Add()", ["a", "b"]), "b": ("ReLU()", "a"), "a": ("Flatten()", "input")}, DIGIT)
    assert [node.name for node in model.nodes] == ["a", "b", "c"]
    assert [node.name for node in Graph(NETWORKS["inception"], DIGIT).nodes] == list(NETWORKS["inception"])


def test_a_deep_graph_is_made_in_no_time() -> None:
    wide = {f"n{i}": ("ReLU()", "input") for i in range(2000)}
    model = Graph(wide | {"sum": ("Add()", [*wide])}, (3,))
    assert np.array_equal(model.outputs(np.array([[1, -1, 2]], np.float32)), [[2000, 0, 4000]])


CONV = Conv2D(4, 3)
REFUSED: dict[str, tuple[Any, str]] = {
    "no mapping": (["ReLU()"], r"^expected the nodes of a graph by their names, such as .*, got \['ReLU\(\)'\]$"),
    "nothing": ({}, r"^expected the nodes of a graph by their names"),
    "a bad name": ({"A b": "ReLU()"}, r"^a node cannot be named 'A b': expected a lower-case letter"),
    "the input's name": ({"input": "ReLU()"}, r"^a node cannot be named 'input': .* which is the network's input$"),
    "no layer": ({"a": 3}, r"^the node a is 3: expected a layer, or a layer with its input, such as "),
    "no names": ({"a": ("ReLU()", [])}, r"^the node a takes \[\]: expected the name of a node, or a list of names"),
    "an unknown name": (
        {"stem": "ReLU()", "b": ("ReLU()", "stm")},
        r"^node b = ReLU\(\) takes 'stm', but no node has that name; did you mean 'stem'\?$",
    ),
    "a circle": (
        {"a": ("Add()", ["input", "b"]), "b": ("ReLU()", "a")},
        r"^the nodes (a -> b -> a|b -> a -> b) form a cycle: none of them can run first$",
    ),
    "two outputs": (
        {"a": "ReLU()", "b": ("ReLU()", "a"), "c": ("Flatten()", "a")},
        r"^nothing takes the outputs of b and c, but a network has one output: join them with Add\(\) or Concat\(\)",
    ),
    "several inputs of one layer": (
        {"a": "ReLU()", "b": ("ReLU()", ["a", "input"])},
        r"^node b = ReLU\(\) takes 2 nodes, a, input, but needs one: join them with Add\(\) or Concat\(\)$",
    ),
    "one input of a join": (
        {"a": ("Add()", "input")},
        r'^layer a = Add\(\), of the input of shape \(1, 28, 28\): Add\(\) joins two values or more, got 1: name them',
    ),
    "inputs of other shapes": (
        {"a": "Conv2D(2, 3)", "b": ("Add()", ["a", "input"])},
        r"^layer b = Add\(\), of a of shape \(2, 26, 26\) and the input of shape \(1, 28, 28\): Add expects inputs of",
    ),
    "shared at another shape": (
        {"a": (CONV, "input"), "b": (CONV, "a")},
        r"^layer b = Conv2D\(4, 3\) shares the parameters of a, which takes inputs of shape \(1, 28, 28\); a of shape "
        r"\(4, 26, 26\) does not fit$",
    ),
    "a name that a branch has": (
        {"conv2d_1": "Conv2D(2, 1)", "b": "Residual(Conv2D(2, 1))"},
        r"^two nodes are named 'conv2d_1', as a layer in the branches of a merge is: rename one$",
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", REFUSED)
def test_what_cannot_be_is_refused(what: str) -> None:
    nodes, message = REFUSED[what]
    with pytest.raises(CnnkitError, match=message):
        Graph(nodes, DIGIT)


def test_the_output_is_the_one_that_all_others_are_for() -> None:
    nodes = {"a": "ReLU()", "b": ("Flatten()", "a"), "c": ("ReLU()", "a")}
    with pytest.raises(ConfigError, match=r"^the output 'b' does not need c: remove unused nodes$"):
        Graph(nodes, DIGIT, output="b")
    with pytest.raises(ConfigError, match=r"^the output is 'd', but no node has that name, only a, b, c$"):
        Graph(nodes, DIGIT, output="d")
    assert Graph({"b": ("Flatten()", "a"), "a": ("ReLU()", "input")}, DIGIT, output="b").output_shape == (784,)


def test_a_join_stands_in_no_sequence() -> None:
    with pytest.raises(ShapeError, match=r"Add\(\) joins two values or more, got 0: name them in a graph, as in"):
        Sequential(["Add()"], DIGIT)
