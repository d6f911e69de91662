"""The plan: which nodes run together, as what."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from cnnkit.components import Layer, Merge
from cnnkit.network.kernels import Kernel, kernel_for
from cnnkit.network.node import INPUT, Node


@dataclass(frozen=True)
class Step:
    """What the engine runs in one go: a node, or several consecutive ones as one kernel."""

    node: Node
    """The first node; the only one that may have parameters."""
    output: int
    """Index of the last node, whose output this step gives."""
    run: Layer | Merge | Kernel


def plan(nodes: Sequence[Node]) -> list[Step]:
    """The steps for these nodes, with a kernel wherever there is one."""
    uses = Counter(source for node in nodes for source in node.inputs)
    steps = []
    at = 0
    while at < len(nodes):
        node = nodes[at]
        chain = [node]
        while chain[-1].index + 1 < len(nodes) and _follows(nodes[chain[-1].index + 1], chain[-1], uses):
            chain.append(nodes[chain[-1].index + 1])
        found = kernel_for([link.layer for link in chain], needs_dx=node.inputs != (INPUT,))
        run, used = found or (node.layer, 1)
        steps.append(Step(node, node.index + used - 1, run))
        at += used
    return steps


def _follows(node: Node, before: Node, uses: Counter[int]) -> bool:
    """Whether a node is the only one that takes the output of the node before it."""
    return node.inputs == (before.index,) and uses[before.index] == 1
