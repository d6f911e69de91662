"""Layers of a directed graph without circles, such that a picture of it has few crossings and many straight lines.

Every box stands below those that it takes something from, by the longest way to it. A line that passes several layers
has a place of its own in each, so that it never runs through a box; the lines of one box share theirs. Barycentres
order the layers, then what can be is set straight.

Source: Sugiyama, Tagawa, Toda (1981), Methods for Visual Understanding of Hierarchical System Structures; straight
lines first, as in Brandes, Koepf (2001), Fast and Simple Horizontal Coordinate Assignment.
"""

from __future__ import annotations

import bisect
import graphlib
import itertools
import math
from collections import defaultdict
from collections.abc import Sequence

from cnnkit.errors import PlotError

MOST_JOINTS = 4000
"""Parts of lines from layer to layer; their number may grow with the square of the number of boxes."""
BESIDE_BOX, BESIDE_LINE = 20.0, 11.0
"""Points between two boxes, and beside a line."""
SWEEPS, ROUNDS = 16, 60


class Layered:
    """Boxes and places of lines, from here on both "vertices", in layers."""

    def __init__(self, sizes: Sequence[tuple[float, float]], edges: Sequence[tuple[int, int]]) -> None:
        self.boxes = len(sizes)
        self.sizes = list(sizes)
        self.edges = sorted(edges)
        self.layer = [0] * self.boxes
        for a, b in self.edges:
            self.layer[b] = max(self.layer[b], self.layer[a] + 1)
        self.above: list[list[int]] = [[] for _ in sizes]
        self.below: list[list[int]] = [[] for _ in sizes]
        self.source = list(range(self.boxes))
        """Of each vertex, the box that it belongs to, or whose line it is."""
        self._lines()
        self.layers: list[list[int]] = [[] for _ in range(max(self.layer) + 1)]
        for vertex in sorted(range(len(self.layer)), key=lambda v: (v >= self.boxes, self._rank(v))):
            self.layers[self.layer[vertex]].append(vertex)
        self.x = [0.0] * len(self.layer)

    def is_box(self, vertex: int) -> bool:
        """Whether it is a box, else a place of a line."""
        return vertex < self.boxes

    def _rank(self, vertex: int) -> int:
        """Lines stand right of the boxes at first, the later they begin the nearer: nested ones do not cross."""
        return vertex if self.is_box(vertex) else -self.source[vertex]

    def _lines(self) -> None:
        needed = [self.layer[a] for a in range(self.boxes)]
        for a, b in self.edges:
            needed[a] = max(needed[a], self.layer[b] - 1)
        if (count := len(self.edges) + sum(needed) - sum(self.layer)) > MOST_JOINTS:
            raise PlotError(
                f"the network has too many connections for a picture: from layer to layer they have {count:,} parts, "
                f"and a picture can show up to {MOST_JOINTS:,}; read its summary instead"
            )
        place: dict[tuple[int, int], int] = {}
        for a in range(self.boxes):
            before = a
            for layer in range(self.layer[a] + 1, needed[a] + 1):
                place[a, layer] = vertex = len(self.layer)
                self.layer.append(layer)
                self.source.append(a)
                self.sizes.append((0.0, 0.0))
                self.above.append([])
                self.below.append([])
                self._join(before, vertex)
                before = vertex
        for a, b in self.edges:
            self._join(place.get((a, self.layer[b] - 1), a), b)

    def _join(self, upper: int, lower: int) -> None:
        self.below[upper].append(lower)
        self.above[lower].append(upper)

    # Order within the layers

    def order(self) -> None:
        """Order each layer by the mean place of what it is joined to, down and up, and keep the fewest crossings."""
        best, fewest = [list(layer) for layer in self.layers], self.crossings()
        for sweep in range(SWEEPS):
            if not fewest:
                break
            down = sweep % 2 == 0
            for layer in self.layers[1:] if down else reversed(self.layers[:-1]):
                self._sort(layer, self.above if down else self.below)
            if (crossings := self.crossings()) < fewest:
                best, fewest = [list(layer) for layer in self.layers], crossings
        self.layers = best
        self.position = self._positions()

    def _positions(self) -> list[int]:
        position = [0] * len(self.layer)
        for layer in self.layers:
            for index, vertex in enumerate(layer):
                position[vertex] = index
        return position

    def _sort(self, layer: list[int], joined: list[list[int]]) -> None:
        position = self._positions()
        mean = {v: sum(position[u] for u in joined[v]) / len(joined[v]) if joined[v] else position[v] for v in layer}
        layer.sort(key=mean.__getitem__)

    def crossings(self) -> int:
        """How many pairs of joints cross each other, in the present order."""
        position, crossings = self._positions(), 0
        for layer in self.layers:
            ends: list[int] = []
            for vertex in layer:
                lower = sorted(position[v] for v in self.below[vertex])
                crossings += sum(len(ends) - bisect.bisect_right(ends, end) for end in lower)
                for end in lower:
                    bisect.insort(ends, end)
        return crossings

    # Across

    def place_across(self) -> None:
        """Find the x of each vertex: as many joints straight as can be, no overlaps, and short ways for the others."""
        group = self._straight()
        right: dict[int, dict[int, float]] = {one: {} for one in dict.fromkeys(group)}
        left: dict[int, dict[int, float]] = {one: {} for one in right}
        for layer in self.layers:
            for a, b in itertools.pairwise(layer):
                space = BESIDE_BOX if self.is_box(a) and self.is_box(b) else BESIDE_LINE
                space += (self.sizes[a][0] + self.sizes[b][0]) / 2
                ga, gb = group[a], group[b]
                right[ga][gb] = left[gb][ga] = max(space, right[ga].get(gb, 0.0))
        ordered = list(graphlib.TopologicalSorter(left).static_order())
        x = dict.fromkeys(ordered, 0.0)
        for one in ordered:
            x[one] = max((x[other] + space for other, space in left[one].items()), default=0.0)
        joined: dict[int, list[int]] = defaultdict(list)
        for upper, lowers in enumerate(self.below):
            for lower in lowers:
                if group[upper] != group[lower]:
                    joined[group[upper]].append(group[lower])
                    joined[group[lower]].append(group[upper])
        for turn in range(ROUNDS):
            for one in ordered if turn % 2 else reversed(ordered):
                if others := joined[one]:
                    low = max((x[other] + space for other, space in left[one].items()), default=-math.inf)
                    high = min((x[other] - space for other, space in right[one].items()), default=math.inf)
                    x[one] = max(low, min(high, sum(x[other] for other in others) / len(others)))
        self.x = [x[group[vertex]] for vertex in range(len(self.layer))]

    def _straight(self) -> list[int]:
        """For each vertex its group, named after its first: vertices that stand straight below each other."""
        lower: dict[int, int] = {}
        upper: dict[int, int] = {}
        kept: dict[int, list[tuple[int, int]]] = defaultdict(list)
        candidates = [(a, b) for a, lowers in enumerate(self.below) for b in lowers if self._may_be_straight(a, b)]
        for a, b in sorted(candidates, key=lambda edge: self._preference(*edge)):
            places = kept[self.layer[a]]
            here = self.position[a], self.position[b]
            crossed = any((here[0] - p) * (here[1] - q) < 0 for p, q in places)
            if a not in lower and b not in upper and not crossed:
                lower[a], upper[b] = b, a
                places.append(here)
        group = list(range(len(self.layer)))
        for vertex in sorted(range(len(self.layer)), key=self.layer.__getitem__):
            if vertex in upper:
                group[vertex] = group[upper[vertex]]
        return group

    def _preference(self, a: int, b: int) -> tuple[int, int, int, int]:
        lines = self.is_box(a) + self.is_box(b)
        kind = {0: 0, 2: 1, 1: 2}[lines]  # within a line, then from box to box, then where a line begins or ends
        return kind, self.layer[a], self.position[a], self.position[b]

    def _may_be_straight(self, a: int, b: int) -> bool:
        """Of three boxes or more, the one in the middle alone, so that they stand evenly around the other."""
        if not (self.is_box(a) and self.is_box(b)):
            return True
        lowers = sorted(filter(self.is_box, self.below[a]), key=self.position.__getitem__)
        uppers = sorted(filter(self.is_box, self.above[b]), key=self.position.__getitem__)
        return all(len(row) <= 2 or 2 * row.index(one) == len(row) - 1 for row, one in ((lowers, b), (uppers, a)))
