"""Graphs: what they compute, how they are trained, and what is refused."""

from __future__ import annotations

import copy
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import networks  # type: ignore[import-not-found]  # beside this file
import numpy as np
import pytest

from cnnkit import Graph, Sequential, Trainer, export_onnx, validate_onnx
from cnnkit.components import Layer
from cnnkit.errors import CnnkitError, ConfigError, ContractError, ShapeError
from cnnkit.layers import Add, Conv2D, Dense
from cnnkit.losses import CrossEntropy
from cnnkit.network import Objective, training_session
from cnnkit.network.execution.numeric import BatchLoss
from cnnkit.network.execution.tile_context import Workspace
from cnnkit.onnx.export import to_onnx
from cnnkit.optimizers import SGD
from cnnkit.types import Array, Batch, Cache, Context, Grads, Samples, Shape, Task

DIGIT = (1, 28, 28)
NETWORKS = {
    "everything": networks.everything(),
    "resnet": networks.resnet(1, 4),
    "inception": networks.inception(),
    "siamese": networks.siamese(),
    "unet": networks.unet(),
}
STEP = 1e-7
"""So short that hardly a number changes sides at a ReLU or a maximum."""
OBJECTIVE = Objective(CrossEntropy(), ())


def samples(count: int = 9, shape: Shape = DIGIT, outputs: Shape = (10,)) -> Samples:
    """Images with a class each, or one for each pixel."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(count, *shape)).astype(np.float32)
    return Samples(x, rng.integers(0, outputs[0], (count, *outputs[1:])))


def step(model: Graph | Sequential, data: Samples, workers: int = 1) -> tuple[float, np.ndarray[Any, Any]]:
    """The mean loss of all samples as one batch, and its gradient."""
    count = len(data)
    with training_session(model.engine(logits=True), data, OBJECTIVE, SGD(0.1), count, workers) as session:
        loss = session.step(np.arange(count), (0, 0, 0)).loss / count
        return loss, session.gradient.copy()


@pytest.mark.parametrize("name", NETWORKS)
def test_gradients_are_those_of_central_differences(name: str) -> None:
    model = Graph(copy.deepcopy(NETWORKS[name]), DIGIT, dtype="float64", seed=3)
    data = samples(outputs=model.output_shape)
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
    found = []
    for workers in (1, 2, 3):
        model = Graph(copy.deepcopy(NETWORKS[name]), DIGIT)
        data = samples(200, outputs=model.output_shape)
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


def test_a_value_can_be_taken_by_thousands() -> None:
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
        r"^node b = ReLU\(\) takes 'stm', but no node has that name; did you mean stem\?$",
    ),
    "a circle": (
        {"a": ("Add()", ["input", "b"]), "b": ("ReLU()", "a")},
        r"^the nodes (a -> b -> a|b -> a -> b) form a cycle: none of them can run first$",
    ),
    "two outputs": (
        {"a": "ReLU()", "b": ("ReLU()", "a"), "c": ("Flatten()", "a")},
        r"^nothing takes the outputs of b, c, but a network has one output: join them with Add\(\) or Concat\(\), or",
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


def test_a_merge_with_arrays_or_without_values_is_refused() -> None:
    class Weighted(Add):
        def __init__(self) -> None:
            super().__init__()
            self.params = {"weight": np.ones(1)}

    class Anything(Add):
        def merge_shape(self, in_shapes: Sequence[Shape]) -> Shape:
            return (3,)

    with pytest.raises(CnnkitError, match=r"Weighted\(\) has arrays of its own, and a merge joins values without any"):
        Graph({"a": (Weighted(), ["input", "input"])}, (3,))
    with pytest.raises(ShapeError, match=r"Anything\(\) joins no values: name them in a graph$"):
        Sequential([Anything()], (3,))


def test_outputs_beyond_all_numbers_are_refused_when_they_are_built() -> None:
    layers = ["Concat([], [], [], [], [], [], [], [], [], [])"] * 400
    with pytest.raises(
        ShapeError, match=r"^layer concat_\d+, a Concat, gives more than 10\^100 numbers for each sample$"
    ):
        Sequential(layers, (4,))


def test_messages_are_short_however_many_nodes_there_are() -> None:
    many = {f"n{i}": ("ReLU()", "input") for i in range(3000)}
    circle = {f"n{i}": ("ReLU()", f"n{(i + 1) % 3000}") for i in range(3000)}
    for nodes in (many, circle, many | {"x": ("ReLU()", "nowhere")}, many | {"x": ("ReLU()", [*many])}):
        with pytest.raises(ConfigError) as caught:
            Graph(nodes, (3,))
        assert len(str(caught.value)) < 500


class Stop(Layer):
    """Gives no gradient back."""

    def forward(self, x: Array, ctx: Context) -> tuple[Array, Cache]:
        return x.copy(), None

    def backward(self, dy: Array, cache: Cache, ctx: Context) -> tuple[Any, Grads]:
        return None, {}


class Cut(Add):
    """Gives no gradient to its second input."""

    def backward(self, dy: Array, inputs: Cache, ctx: Context) -> Any:
        return [dy, None]


@pytest.mark.parametrize(
    "nodes",
    [
        {"a": "Dense(8)", "b": (Stop(), "a"), "j": ("Add()", ["a", "b"]), "o": "Dense(3)"},
        {"a": "Dense(8)", "b": (Stop(), "a"), "o": "Dense(3)"},
        {"a": "Dense(8)", "b": "ReLU()", "j": (Cut(), ["a", "b"]), "o": "Dense(3)"},
        {"a": "Dense(8)", "b": "ReLU()", "j": (Cut(), ["b", "a"]), "o": "Dense(3)"},
    ],
    ids=["one of two ways", "the only way", "a join", "the other input of a join"],
)
def test_a_gradient_that_is_left_out_is_an_error(nodes: dict[str, Any]) -> None:
    with pytest.raises(ContractError, match=r"^backward must return .*; it returned .*None"):
        step(Graph(copy.deepcopy(nodes), (8,)), samples(shape=(8,), outputs=(3,)))


def test_lines_of_a_graph_tell_who_shares_what() -> None:
    def crossed(swap: bool) -> Graph:
        p, q = Dense(8), Dense(8)
        c, d = (q, p) if swap else (p, q)
        return Graph({"a": (p, "input"), "b": (q, "a"), "c": (c, "b"), "d": (d, "c"), "o": "Dense(3)"}, (8,))

    assert crossed(False).expressions()[2] == "c = the layer of a of b"
    assert crossed(False).expressions() != crossed(True).expressions()


@pytest.mark.parametrize("name", ["preprocessing", "logits", "probabilities", "scores", "values", "bounded"])
@pytest.mark.parametrize("loss", ["CrossEntropy()", "MSE()", "BinaryCrossEntropy()"])
def test_a_node_may_be_called_as_the_exported_file_calls_something_else(name: str, loss: str, tmp_path: Path) -> None:
    task = {"CrossEntropy()": Task("classes"), "MSE()": Task("values"), "BinaryCrossEntropy()": Task("labels", True)}
    model = Graph({"flat": "Flatten()", name: "Dense(3)", "end": "ReLU()"}, (4,), task=task[loss])
    export_onnx(model, tmp_path / "m.onnx")
    assert validate_onnx(tmp_path / "m.onnx", model).ok
    last = Graph({"flat": "Flatten()", name: "Dense(3)"}, (4,), task=task[loss])
    export_onnx(last, tmp_path / "m.onnx")
    assert validate_onnx(tmp_path / "m.onnx", last).ok


def test_shared_weights_are_written_once() -> None:
    shared = Dense(5)
    model = Graph({"a": (shared, "input"), "b": (shared, "input"), "c": ("Add()", ["a", "b"])}, (4,))
    assert [one.name for one in to_onnx(model).graph.initializer] == ["a.weight", "a.bias"]


def test_the_loss_of_a_batch_follows_layers_that_stand_in_two_places() -> None:
    """What comes before the first parameter that has changed is kept, and everything else is computed anew."""
    model = Graph(networks.siamese(), DIGIT, dtype="float64")
    data, objective = samples(4), Objective(CrossEntropy(), ())
    engine = model.engine(logits=True)
    tiles = [Batch(np.asarray(data.x), data.y)]
    vector = engine.parameters.vector
    before = vector.copy()
    rng = np.random.default_rng(0)
    for entry in engine.parameters:
        vector[...] = before
        loss = BatchLoss(engine, objective, tiles, (0, 0, 0), defaultdict(lambda: Workspace(np.dtype(np.float64))))
        moved = before.copy()
        moved[entry.start : entry.stop] += rng.normal(size=entry.stop - entry.start)
        found = loss(moved)
        vector[...] = moved
        fresh = BatchLoss(engine, objective, tiles, (0, 0, 0), defaultdict(lambda: Workspace(np.dtype(np.float64))))
        assert found == fresh.sums.loss / fresh.sums.count


def test_a_summary_is_no_wider_for_a_layer_with_thousands_of_inputs() -> None:
    nodes: dict[str, Any] = {f"node{i}": ("ReLU()", "input") for i in range(1000)}
    lines = Graph(nodes | {"join": ("Concat()", list(nodes))}, (2,)).summary().splitlines()
    assert max(map(len, lines[2:-2])) < 300
    assert "node998, node999" in lines[-2]
