"""Where the imported network ends: which output of the file it gives, and what that says of a sample."""

from __future__ import annotations

from cnnkit.errors import OnnxError
from cnnkit.layers import LogSoftmax, Sigmoid, Softmax
from cnnkit.network import CLASSES, Network
from cnnkit.network.graph.final_layers import layer_at_end
from cnnkit.onnx.importing.foreign_graph import ForeignGraph, ForeignNode
from cnnkit.onnx.importing.patterns import remove_unused
from cnnkit.printable_text import printable
from cnnkit.types import Shape, Task
from cnnkit.wording import did_you_mean

PROBABLE = ("Softmax", "LogSoftmax", "Sigmoid")
PASSING = ("Identity", "Flatten", "Reshape", "Cast")
"""Operators that give the numbers that they take."""
SHOWN = 20
"""Outputs in a message."""


def cut(graph: ForeignGraph, wanted: str | None) -> str:
    """Remove from the graph what the output does not need, and return its name.

    wanted: the name of an output or of any value in the file; None for the only output, or the last of several that
    say the same, as probabilities say what logits do.
    Raises OnnxError naming the outputs for several others, and for a value that is not there.
    """
    makers = {name: node for node in graph.nodes for name in node.outputs}
    names = [value.name for value in graph.outputs]
    if wanted is None:
        chosen = names[0] if len(names) == 1 else _same_end(names, makers)
    elif wanted in makers:
        chosen = wanted
    else:
        hint = did_you_mean(wanted, [*names, *makers], 1)
        raise OnnxError(
            f"there is no value {printable(wanted)[:100]!r} in the file{f'; {hint}' if hint else ''}; "
            f"its outputs are {_shown(names)}"
        )
    if chosen not in makers:
        raise OnnxError(f"nothing computes the output {printable(chosen)[:100]!r}: no network can be made of the file")
    remove_unused(graph, chosen)
    return chosen


def _same_end(names: list[str], makers: dict[str, ForeignNode]) -> str:
    """The output that comes last of several that are made of the same value. Raises OnnxError if they are not."""
    chains = {name: _chain(name, makers) for name in names}
    if len({chain[-1] for chain in chains.values()}) == 1:
        return max(names, key=lambda name: _probable(chains[name], makers))
    raise OnnxError(
        f"the file has {len(names)} outputs, {_shown(names)}, and a network has one: choose it with --output NAME, or "
        "import_onnx(path, output=NAME)"
    )


def _chain(name: str, makers: dict[str, ForeignNode]) -> list[str]:
    """A value, and those before it as long as they tell the same."""
    found = [name]
    while (node := makers.get(found[-1])) and node.operator in PROBABLE + PASSING:
        found.append(node.inputs[0])
    return found


def _probable(chain: list[str], makers: dict[str, ForeignNode]) -> int:
    """How many operators in a chain make probabilities."""
    return sum(makers[name].operator in PROBABLE for name in chain[:-1])


def task_of(model: Network) -> Task:
    """What a network predicts, from its end: a Softmax tells classes, a Sigmoid labels; scores are taken for classes
    where they have names or are a vector, and what else it may be are values.
    """
    if layer_at_end(model.nodes, Softmax) or layer_at_end(model.nodes, LogSoftmax):
        return CLASSES
    if layer_at_end(model.nodes, Sigmoid):
        return Task("labels", from_logits=True)
    return CLASSES if model.labels or _is_vector(model.output_shape) else Task("values")


def _is_vector(shape: Shape) -> bool:
    return len(shape) == 1 and shape[0] > 1


def _shown(names: list[str]) -> str:
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(printable(name)[:100] for name in names[:SHOWN]) + more
