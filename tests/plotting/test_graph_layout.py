"""The layout of graphs: no two boxes overlap, no line runs through a box, and each one arrives where it should."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Sequence

import numpy as np
import pytest

from benchmarks.networks import NETWORKS
from cnnkit.errors import PlotError
from cnnkit.network import Graph, Network, Sequential
from cnnkit.plotting.boxes import boxes_of
from cnnkit.plotting.crossing_reduction import MOST_JOINTS, Layered
from cnnkit.plotting.graph_layout import Layout, Piece, Point, lay_out
from tests.network.networks import deep_unet, densenet, inception, resnet, siamese, unet

Sizes = Sequence[tuple[float, float]]
Edges = Sequence[tuple[int, int]]
PAGE = (960.0, 540.0)
CHAIN = ["Conv2D(8, 3)", "ReLU()", "MaxPool2D(2)", "Conv2D(16, 3)", "ReLU()", "MaxPool2D(2)", "Flatten()"]


def _models() -> dict[str, Network]:
    return {
        "resnet, a graph": Graph(resnet(), (1, 28, 28)),
        "resnet, of blocks": NETWORKS["resnet-20"].build(),
        "unet": Graph(unet(), (1, 16, 16)),
        "deep unet": Graph(deep_unet(), (1, 16, 16)),
        "inception": Graph(inception(), (1, 28, 28)),
        "siamese": Graph(siamese(), (1, 8, 8)),
        "densenet": Graph(densenet(), (1, 8, 8)),
        "chain of 10": Sequential([*CHAIN, "Dense(64)", "ReLU()", "Dense(10)"], (1, 28, 28)),
        "one layer": Sequential(["Dense(10)"], (64,)),
        "nested": Sequential(
            ["Concat([], Residual(Conv2D(2, 3, padding=1), Residual(ReLU())), [ReLU()])", "Flatten()", "Dense(2)"],
            (2, 4, 4),
        ),
    }


def _random(seed: int) -> tuple[Sizes, Edges]:
    """Boxes of many sizes; each takes up to three before it, most of them near, and the last one what nothing took."""
    rng = np.random.default_rng(seed)
    count = int(rng.integers(2, 40))
    sizes = [(float(rng.uniform(40, 400)), float(rng.uniform(15, 200))) for _ in range(count)]
    edges = set()
    for box in range(1, count):
        for _ in range(int(rng.integers(1, 4))):
            edges.add((max(0, box - 1 - int(rng.geometric(0.4)) + 1), box))
    taken = {a for a, _ in edges}
    edges |= {(box, count - 1) for box in range(count - 1) if box not in taken}
    return sizes, sorted(edges)


def _samples(piece: Piece) -> list[Point]:
    steps = np.linspace(0, 1, 60)[:, None]
    points = [np.asarray(point) for point in piece.points]
    if piece.curved:
        a, b, c, d = points
        curve = (1 - steps) ** 3 * a + 3 * (1 - steps) ** 2 * steps * b + 3 * (1 - steps) * steps**2 * c + steps**3 * d
        return [(float(x), float(y)) for x, y in curve]
    return [(float(x), float(y)) for a, b in itertools.pairwise(points) for x, y in a + steps * (b - a)]


def _problems(sizes: Sizes, edges: Edges, layout: Layout) -> list[str]:
    """What would make the picture wrong."""
    boxes = [(x, y, x + w, y + h) for (x, y), (w, h) in zip(layout.places, sizes, strict=True)]
    wrong = [
        f"box {i} is outside"
        for i, (x, y, r, b) in enumerate(boxes)
        if x < -0.01 or y < -0.01 or r > layout.width + 0.01 or b > layout.height + 0.01
    ]
    for (i, one), (j, two) in itertools.combinations(enumerate(boxes), 2):
        if one[0] < two[2] + 5 and two[0] < one[2] + 5 and one[1] < two[3] + 5 and two[1] < one[3] + 5:
            wrong.append(f"boxes {i} and {j} overlap")
    uprights = []
    for line in layout.lines:
        reached = {(round(boxes[line.source][0] / 2 + boxes[line.source][2] / 2, 3), round(boxes[line.source][3], 3))}
        for piece in line.pieces:
            points = [(round(x, 3), round(y, 3)) for x, y in (piece.points[0], piece.points[-1])]
            if not any(abs(x - points[0][0]) < 0.01 and abs(y - points[0][1]) < 0.01 for x, y in reached):
                wrong.append(f"a piece of the line of {line.source} hangs in the air")
            reached.add(points[1])
            for x, y in _samples(piece):
                if not (-0.01 <= x <= layout.width + 0.01 and -0.01 <= y <= layout.height + 0.01):
                    wrong.append(f"the line of {line.source} leaves the picture")
                wrong += [
                    f"the line of {line.source} runs through box {i}"
                    for i, (left, top, right, bottom) in enumerate(boxes)
                    if left - 2 < x < right + 2 and top + 0.1 < y < bottom - 0.1
                ]
            if piece.points[0][0] == piece.points[-1][0]:
                uprights.append((line.source, piece.points[0][0], piece.points[0][1], piece.points[-1][1]))
        for target in line.targets:
            left, top, right, _ = boxes[target]
            if not any(left < x < right and abs(y - top) < 0.01 for x, y in reached):
                wrong.append(f"the line of {line.source} does not reach {target}")
    for (a, x, top, bottom), (b, other, begin, end) in itertools.combinations(uprights, 2):
        if a != b and abs(x - other) < 3 and min(bottom, end) - max(top, begin) > 1:
            wrong.append(f"the lines of {a} and {b} cover each other")
    if sorted((line.source, target) for line in layout.lines for target in line.targets) != sorted(edges):
        wrong.append("the lines are not the edges")
    return wrong


@pytest.mark.parametrize("name", _models())
def test_networks_are_laid_out_without_overlaps(name: str) -> None:
    model = _models()[name]
    boxes, edges = boxes_of(model.nodes, model.input_shape)
    sizes = [box.size for box in boxes]
    assert _problems(sizes, edges, lay_out(sizes, edges, PAGE)) == []


@pytest.mark.parametrize("seed", range(50))
def test_random_graphs_are_laid_out_without_overlaps(seed: int) -> None:
    sizes, edges = _random(seed)
    layout = lay_out(sizes, edges, PAGE)
    assert _problems(sizes, edges, layout) == []
    assert layout == lay_out(sizes, edges, PAGE)


def test_what_is_wrong_would_be_found() -> None:
    """The control: a box in the way of a line, one beside another, and a line that is cut."""
    sizes, edges = [(50.0, 20.0)] * 4, [(0, 1), (0, 3), (1, 2), (2, 3)]
    layout = lay_out(sizes, edges, PAGE)
    assert _problems(sizes, edges, layout) == []
    first, *others = layout.lines
    lane = next(piece.points[0] for piece in first.pieces if piece.long and not piece.curved)
    moved = dataclasses.replace(layout, places=(*layout.places[:1], (lane[0] - 25, lane[1]), *layout.places[2:]))
    assert "the line of 0 runs through box 1" in _problems(sizes, edges, moved)
    both = dataclasses.replace(layout, places=(*layout.places[:2], layout.places[1], layout.places[3]))
    assert "boxes 1 and 2 overlap" in _problems(sizes, edges, both)
    cut = dataclasses.replace(layout, lines=(dataclasses.replace(first, pieces=first.pieces[:-1]), *others))
    assert "the line of 0 does not reach 3" in _problems(sizes, edges, cut)


def test_the_way_of_most_layers_is_straight_and_a_skip_stands_beside_it() -> None:
    model = Graph(deep_unet(), (1, 16, 16))
    boxes, edges = boxes_of(model.nodes, model.input_shape)
    layout = lay_out([box.size for box in boxes], edges, (1e6, 1e6))
    middles = {round(x + box.size[0] / 2, 3) for box, (x, _) in zip(boxes, layout.places, strict=True)}
    assert len(middles) == 1
    longs = {
        line.source: {piece.points[0][0] for piece in line.pieces if piece.long and not piece.curved}
        for line in layout.lines
    }
    lanes = [lane for lane in longs.values() if lane]
    assert [len(lane) for lane in lanes] == [1, 1, 1]
    assert min(lanes[0]) > min(lanes[1]) > min(lanes[2])  # nested


def test_nested_skips_and_a_block_of_branches_have_no_crossings() -> None:
    for nodes, size in ((deep_unet(), 16), (inception(), 28), (resnet(), 28)):
        model = Graph(nodes, (1, size, size))
        boxes, edges = boxes_of(model.nodes, model.input_shape)
        graph = Layered([box.size for box in boxes], edges)
        graph.order()
        assert graph.crossings() == 0


def test_a_tall_graph_goes_on_in_columns_that_fit_the_page_better() -> None:
    sizes, edges = [(100.0, 40.0)] * 40, list(itertools.pairwise(range(40)))
    one, several = lay_out(sizes, edges, (1e6, 1e6)), lay_out(sizes, edges, PAGE)
    assert one.height > 4 * PAGE[1]
    assert max(several.width / PAGE[0], several.height / PAGE[1]) < 1.3
    arrows = [piece for line in several.lines for piece in line.pieces if piece.arrow]
    assert len(arrows) == len({x for x, _ in several.places}) - 1
    assert _problems(sizes, edges, several) == []


def test_too_many_connections_are_refused() -> None:
    edges = list(itertools.combinations(range(100), 2))
    with pytest.raises(PlotError, match=rf"they have 9,801 parts, and a picture can show up to {MOST_JOINTS:,}; read"):
        lay_out([(10.0, 10.0)] * 100, edges, PAGE)
