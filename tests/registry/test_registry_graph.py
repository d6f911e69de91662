"""Graphs in the registry: format 2, which only they need, and files that claim what cannot be."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cnnkit import Graph, Registry, Sequential
from cnnkit.errors import RegistryError
from cnnkit.layers import Dense
from cnnkit.registry import model_manifest
from cnnkit.registry.format import contents, manifest, sealing
from cnnkit.registry.version_diff import diff


def graph(seed: int = 0) -> Graph:
    shared = Dense(3)
    nodes = {
        "a": (shared, "input"),
        "b": (shared, "input"),
        "c": ("Residual(Dense(3))", "b"),
        "sum": ("Add()", ["a", "c", "a"]),
        "out": "Dense(2)",
    }
    return Graph(nodes, (4,), seed=seed, labels=("yes", "no"))


def test_a_graph_comes_back_as_it_was(tmp_path: Path) -> None:
    model, registry = graph(), Registry(tmp_path)
    version = registry.save(model, "net")
    again = registry.load("net@1")
    assert isinstance(again, Graph)
    assert [(node.name, node.inputs, node.shares) for node in again.graph] == [
        ("a", ("input",), ""),
        ("b", ("input",), "a"),
        ("c", ("b",), ""),
        ("sum", ("a", "c", "a"), ""),
        ("out", ("sum",), ""),
    ]
    assert again.graph[0].layer is again.graph[1].layer
    x = np.random.default_rng(0).normal(size=(5, 4)).astype(np.float32)
    assert np.array_equal(model.outputs(x), again.outputs(x))
    assert list(again.state()) == list(model.state())
    data = version.path.read_bytes()
    assert (sealing.version_of(data), registry.read("net@1").manifest.format_version) == (2, 2)


def test_layers_in_a_row_are_written_as_before(tmp_path: Path) -> None:
    registry = Registry(tmp_path)
    version = registry.save(Sequential(["Dense(2)"], (4,)), "net")
    text = json.loads(registry.read("net@1").manifest.encode())
    assert sealing.version_of(version.path.read_bytes()) == text["format_version"] == 1
    assert "nodes" not in text


def test_the_lines_of_a_graph_say_what_each_node_takes(tmp_path: Path) -> None:
    registry = Registry(tmp_path)
    registry.save(graph(), "net")
    registry.save(Sequential(["Dense(2)"], (4,)), "net")
    assert registry.read("net@1").manifest.outline == [
        "a = Dense(3) of input",
        "b = the layer of a of input",
        "c = Residual(Dense(3)) of b",
        "sum = Add() of a, c, a",
        "out = Dense(2) of sum",
    ]
    found = diff(registry.read("net@1"), registry.read("net@2"))
    assert [line.kind for line in found.layers].count("same") == 0


def changed(**changes: Any) -> bytes:
    model = graph()
    text = model_manifest.describe(
        model, "net", tuple(model.state()), recipe=None, history={}, metrics={}, dataset=None, settings={}
    ).encode()
    return json.dumps(json.loads(text) | changes).encode()


def node(name: Any = "a", inputs: Any = ("input",), shares: Any = "") -> dict[str, Any]:
    return {"name": name, "inputs": inputs, "shares": shares}


NODES = [node(), node("b", ["input"], "a"), node("c", ["b"]), node("sum", ["a", "c", "a"]), node("out", ["sum"])]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"format_version": 1}, r"^its manifest must have nodes in format 2, and only there$"),
        ({"nodes": []}, r"^its manifest must have nodes in format 2, and only there$"),
        ({"nodes": NODES[:4]}, r"^its manifest has 5 layers and 4 nodes, one for each$"),
        ({"nodes": [*NODES[:4], {"name": "out"}]}, r"has nodes = .*; expected name, inputs and shares of the node of"),
        ({"nodes": [*NODES[:4], node("out", "sum")]}, r"expected name, inputs and shares of the node of each layer$"),
        ({"format_version": 3}, r"has format_version = 3; expected 1 or 2$"),
    ],
)
def test_what_is_no_graph_is_not_read(changes: dict[str, Any], message: str) -> None:
    assert manifest.decode(changed()).nodes
    with pytest.raises(RegistryError, match=message):
        manifest.decode(changed(**changes))


@pytest.mark.parametrize(
    ("nodes", "message"),
    [
        ([*NODES[:4], node("a", ["sum"])], r"its graph has two nodes called 'a'$"),
        ([*NODES[:4], node("out", ["sum"], "later")], r"the node 'out' of its graph shares the layer of 'later'"),
        ([*NODES[:4], node("out", ["sum"], "a")], r"the node 'out' of its graph shares the layer of 'a': exp"),
        ([*NODES[:4], node("out", ["out"])], r"the nodes out -> out form a cycle: none of them can run first$"),
        ([*NODES[:4], node("out", ["nowhere"])], r"node out = Dense\(2\) takes 'nowhere', but no node"),
        ([*NODES[:4], node("../x", ["sum"])], r"a node cannot be named '../x': expected a lower-case letter"),
        ([*NODES[:4], node("out", [])], r"the node out takes \[\]: expected the name of a node, or a list of names"),
    ],
)  # fmt: skip
def test_a_graph_that_cannot_be_is_refused(nodes: list[Any], message: str) -> None:
    model = graph()
    with pytest.raises(RegistryError, match=f"^net@1 cannot be loaded: {message}"):
        model_manifest.rebuild(manifest.decode(changed(nodes=nodes)), model.state(), "net@1")


def test_the_user_block_says_the_format_of_the_manifest() -> None:
    model = graph()
    _, data = contents.pack(model, "net", model.state())
    assert contents.unpack(bytes(data), "net")[0].nodes
    payload = bytes(data[512:])
    head = struct.pack("<16sQQ32s", sealing.MAGIC, 1, len(payload), hashlib.sha256(payload).digest())
    with pytest.raises(RegistryError, match=r"^its user block says format 1, its manifest format 2$"):
        contents.unpack(head.ljust(512, b"\0") + payload, "net")


def test_a_manifest_without_nodes_is_of_the_first_format() -> None:
    found = manifest.decode(changed())
    assert dataclasses.replace(found, nodes=()).format_version == 1
    assert found.format_version == 2
