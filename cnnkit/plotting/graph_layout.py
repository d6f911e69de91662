"""Layout of a directed graph without circles: where its boxes stand, in columns, and the lines between them."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from cnnkit.plotting.crossing_reduction import Layered

GAP, MOST_GAP, SLOPE = 22.0, 60.0, 0.06
"""Points between two layers: the least, the most, and what is added for each point that a line goes sideways."""
FOR_EACH = 5.0
"""Points between two layers for each line beyond the second that enters one box."""
PORT = 14.0
"""Points between the ends of two lines at one box."""
BETWEEN_COLUMNS, TURN = 44.0, 16.0
"""Points between two columns, and from a column's end to the line that turns to the next."""
MOST_COLUMNS = 16
GAIN = 0.85
"""The scale that another column must reach beside that without it."""

Point = tuple[float, float]


@dataclass(frozen=True)
class Piece:
    """A part of a line: a polyline, or a cubic Bezier curve with its four points."""

    points: tuple[Point, ...]
    long: bool
    """Whether it leads past a layer, or comes from there."""
    curved: bool = False
    arrow: bool = False
    """Whether an arrow ends it: where the line does not simply go down."""


@dataclass(frozen=True)
class Line:
    """All that leaves one box: it goes down and divides, to each box that takes its output."""

    source: int
    targets: tuple[int, ...]
    pieces: tuple[Piece, ...]
    layers: tuple[int, int]
    """From the layer of the source to that of the last target."""


@dataclass(frozen=True)
class Layout:
    """The left and upper ends of all boxes, the lines, and the size of the whole; points, and y grows downward."""

    places: tuple[Point, ...]
    lines: tuple[Line, ...]
    width: float
    height: float


def lay_out(
    sizes: Sequence[tuple[float, float]], edges: Sequence[tuple[int, int]], page: tuple[float, float]
) -> Layout:
    """A layout for boxes of these sizes (width, height); edges (a, b), each once: b > a stands below a.

    page: the size into which it should fit, which says when it is continued in another column.
    Raises PlotError if there are so many long lines that nobody could follow them.
    """
    graph = Layered(sizes, edges)
    graph.order()
    graph.place_across()
    return _Columns(graph, page).layout()


@dataclass(frozen=True)
class _Column:
    """Layers first to last, and the x that its left end has before it is moved to its place."""

    first: int
    last: int
    left: float
    width: float
    height: float


class _Columns:
    """The second half: how high each layer stands, and in which column."""

    def __init__(self, graph: Layered, page: tuple[float, float]) -> None:
        self.graph = graph
        self.page = page
        self.heights = [max(graph.sizes[v][1] for v in layer) for layer in graph.layers]
        self.gaps = list(map(self._gap, graph.layers))
        """Below each layer."""
        self.columns = self._chosen()
        self.of_layer = [i for i, column in enumerate(self.columns) for _ in range(column.first, column.last + 1)]
        self.starts: list[float] = []
        """The left end of each column."""
        self.tops: list[float] = []
        """Of each layer."""
        at = 0.0
        for column in self.columns:
            self.starts.append(at)
            at += column.width + BETWEEN_COLUMNS
            y = TURN + self.gaps[column.first - 1] if column.first else 0.0
            if not column.first and len(self.columns) > 1:
                y = TURN
            for layer in range(column.first, column.last + 1):
                self.tops.append(y)
                y += self.heights[layer] + self.gaps[layer]
        self.width = at - BETWEEN_COLUMNS
        ends = [
            self.tops[c.last] + self.heights[c.last] + (TURN if c is not self.columns[-1] else 0) for c in self.columns
        ]
        self.height = max(ends)

    def layout(self) -> Layout:
        """The layout as it is returned."""
        graph = self.graph
        places = []
        for box in range(graph.boxes):
            layer = graph.layer[box]
            places.append((self._x(box, self.of_layer[layer]) - graph.sizes[box][0] / 2, self.tops[layer]))
        targets: dict[int, list[int]] = defaultdict(list)
        for a, b in graph.edges:
            targets[a].append(b)
        pieces = self._pieces()
        lines = [
            Line(a, tuple(ends), tuple(pieces[a]), (graph.layer[a], max(graph.layer[b] for b in ends)))
            for a, ends in targets.items()
        ]
        return Layout(tuple(places), tuple(lines), self.width, self.height)

    def _x(self, vertex: int, column: int) -> float:
        return self.graph.x[vertex] - self.columns[column].left + self.starts[column]

    def _gap(self, layer: Sequence[int]) -> float:
        x = self.graph.x
        across = max((abs(x[a] - x[b]) for a in layer for b in self.graph.below[a]), default=0.0)
        entering = max((len(self.graph.above[b]) for a in layer for b in self.graph.below[a]), default=0)
        return min(MOST_GAP, GAP + SLOPE * across + FOR_EACH * max(0, entering - 2))

    def _pieces(self) -> dict[int, list[Piece]]:
        """Of each box, the pieces of its line."""
        graph = self.graph
        pieces: dict[int, list[Piece]] = defaultdict(list)
        for layer, vertices in enumerate(graph.layers):
            column, bottom = self.of_layer[layer], self.tops[layer] + self.heights[layer]
            for a in vertices:
                line = pieces[graph.source[a]]
                x, end = self._x(a, column), self.tops[layer] + graph.sizes[a][1]
                if not graph.is_box(a):
                    line.append(Piece(((x, end), (x, bottom)), long=True))
                elif end < bottom:
                    line.append(Piece(((x, end), (x, bottom)), long=False))
                if not graph.below[a]:
                    continue
                if turned := self.of_layer[layer + 1] != column:
                    line.append(self._turn(a, x, bottom, column + 1))
                    x = self._x(a, column + 1)
                top = self.tops[layer + 1]
                begin = top - self.gaps[layer] if turned else bottom
                for b in graph.below[a]:
                    long = not (graph.is_box(a) and graph.is_box(b))
                    port, bend = self._port(a, b)
                    line.append(_down((x, begin), (self._x(b, self.of_layer[layer + 1]) + port, top), bend, long))
        return pieces

    def _turn(self, vertex: int, x: float, bottom: float, column: int) -> Piece:
        """From below a column, up beside it, to the top of the next one."""
        between = self.starts[column] - BETWEEN_COLUMNS / 2
        to = self._x(vertex, column)
        ways = ((x, bottom), (x, bottom + TURN), (between, bottom + TURN), (between, 0.0), (to, 0.0), (to, TURN))
        return Piece(ways, long=False, arrow=True)

    def _port(self, a: int, b: int) -> tuple[float, float]:
        """How far from the middle of a box a line enters it, and at which share of the height it bends.

        A straight one enters at the middle, the others beside it; of several, the outer ones bend lower.
        """
        graph = self.graph
        if not graph.is_box(b) or len(graph.above[b]) < 2:
            return 0.0, 0.5
        row = sorted(graph.above[b], key=graph.position.__getitem__)
        straight = [i for i, v in enumerate(row) if abs(graph.x[v] - graph.x[b]) < 0.5]
        middle = straight[0] if straight else (len(row) - 1) / 2
        most = max(middle, len(row) - 1 - middle)
        place = row.index(a) - middle
        bend = 0.5 if len(row) < 4 else 0.25 + 0.55 * abs(place) / most
        return place * min(PORT, 0.45 * graph.sizes[b][0] / most), bend

    # Columns

    def _chosen(self) -> list[_Column]:
        """As few columns as fit the page, or those with which least must be made smaller to fit."""
        best, best_scale = [0], math.inf
        for count in range(1, MOST_COLUMNS + 1):
            firsts = self._cut(count)
            columns = self._made(firsts)
            width = sum(c.width + BETWEEN_COLUMNS for c in columns) - BETWEEN_COLUMNS
            scale = max(1.0, width / self.page[0], max(c.height for c in columns) / self.page[1])
            if scale < GAIN * best_scale:
                best, best_scale = firsts, scale
        return self._made(best)

    def _made(self, firsts: Sequence[int]) -> list[_Column]:
        columns, graph = [], self.graph
        for first, after in zip(firsts, [*firsts[1:], len(graph.layers)], strict=True):
            ends = [(graph.x[v], graph.sizes[v][0] / 2) for layer in graph.layers[first:after] for v in layer]
            ends += [(graph.x[v], 0.0) for v in graph.layers[first - 1] if first]
            left, right = min(x - half for x, half in ends), max(x + half for x, half in ends)
            height = sum(self.heights[first:after]) + sum(self.gaps[first : after - 1])
            columns.append(_Column(first, after - 1, left, right - left, height))
        return columns

    def _cut(self, count: int) -> list[int]:
        """The first layers of at most `count` columns, the highest of which is as low as can be."""
        low, high = max(self.heights), sum(self.heights) + sum(self.gaps)
        for _ in range(30):
            middle = (low + high) / 2
            low, high = (low, middle) if len(self._filled(middle)) <= count else (middle, high)
        return self._filled(high)

    def _filled(self, most: float) -> list[int]:
        """The first layers of columns that are no higher than that where a cut is possible."""
        firsts, used, cut, since = [0], 0.0, None, 0.0
        for layer, height in enumerate(self.heights):
            if used and used + height > most and cut is not None:
                firsts.append(cut)
                used, cut = used - since, None
            used += height + self.gaps[layer]
            if len(self.graph.layers[layer]) == 1 and layer + 1 < len(self.heights):
                cut, since = layer + 1, used
        return firsts


def _down(begin: Point, end: Point, bend: float, long: bool) -> Piece:
    """A line that leaves and arrives upright."""
    (x, top), (to, bottom) = begin, end
    if abs(x - to) < 0.5:
        return Piece((begin, end), long)
    middle = top + bend * (bottom - top)
    return Piece((begin, (x, middle), (to, middle), end), long, curved=True)
