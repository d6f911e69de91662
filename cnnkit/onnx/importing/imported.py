"""From an ONNX file to a network that is trained, registered and exported like any other."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from cnnkit.errors import CnnkitError, ConfigError, OnnxError
from cnnkit.network import Graph
from cnnkit.network.network import InputDtype
from cnnkit.onnx.importing.batch_axis import free_batch
from cnnkit.onnx.importing.constant_folding import fold_constants
from cnnkit.onnx.importing.draft import Value
from cnnkit.onnx.importing.ends import cut, task_of
from cnnkit.onnx.importing.foreign_file import read_graph
from cnnkit.onnx.importing.foreign_graph import ForeignGraph, ForeignValue
from cnnkit.onnx.importing.image_layout import channels_first
from cnnkit.onnx.importing.own_files import is_own, own_end, restore_layers
from cnnkit.onnx.importing.patterns import find_patterns
from cnnkit.onnx.importing.preprocessing import take_preprocessing
from cnnkit.onnx.importing.proof import Proof, in_advance, prove
from cnnkit.onnx.importing.reshapes import plain_reshapes
from cnnkit.onnx.importing.translation import translate
from cnnkit.printable_text import printable
from cnnkit.types import Shape, Task
from cnnkit.user_folders import expanded

DTYPES = ("float32", "uint8")
MOST_NODES = 10_000
"""Operators of a file, a millisecond each."""
MOST_SAMPLES = 1_024
"""Samples that a file may have been written for."""
MOST_PRODUCER = 200
"""Characters of the name of the program that wrote the file."""


@dataclass(frozen=True)
class Imported:
    """A network that was made of a file."""

    model: Graph
    origin: dict[str, Any]
    """What is recorded of the file: `digest`, `producer`, `opset`, `output`, and whether it takes `channels_last`."""
    proof: Proof
    name: str
    """Of the registered model that cnnkit exported; "" for other files."""

    @property
    def layout(self) -> str:
        """How the samples are laid out that the network takes, if they are not as in the file; "" if they are."""
        if not self.origin["channels_last"]:
            return ""
        first, *others = self.model.input_shape
        ours, theirs = (", ".join(map(str, sizes)) for sizes in ((first, *others), (*others, first)))
        order = ", ".join(map(str, (0, len(others) + 1, *range(1, len(others) + 1))))
        return f"(N, {ours}), channels first, where the file takes (N, {theirs}): give it x.transpose({order})"


def import_file(
    path: str | os.PathLike[str], *, labels: Sequence[str] | None = None, output: str | None = None
) -> Imported:
    """Make a network of an ONNX file, and prove that it gives the file's answers.

    labels: names of the classes, those of the file's metadata if None; output: which of several outputs, or any value
    by its name.
    Raises OnnxError for a file that cannot be read, or that does what no layer does, with all that is missing;
    CheckError if the answers differ.
    """
    path = expanded(Path(path))
    if labels is not None:
        _check_labels(labels)
    original = read_graph(path)
    try:
        end = own_end(original) if output is None else None
        chosen = cut(original, end.output if end else output)
        folded = reduced(original, chosen)
        plain = in_advance(original, folded)
        model, graph = network_of(folded, chosen, labels, end.task if end else None)
    except CnnkitError as error:
        raise OnnxError(f"{path} cannot be imported: {error}") from error
    plain.transposed_inputs, plain.transposed_output = graph.transposed_inputs, graph.transposed_output
    proof = prove(plain, chosen, model, path, graph.baked_batch)
    origin = {
        "digest": graph.digest,
        "producer": printable(graph.producer)[:MOST_PRODUCER],
        "opset": graph.opset,
        "output": printable(chosen)[:MOST_PRODUCER],
        "channels_last": bool(graph.transposed_inputs),
    }
    model.origin = origin
    name = graph.metadata.get("reference", "").partition("@")[0] if is_own(graph) else ""
    return Imported(model, origin, proof, name)


def reduced(original: ForeignGraph, chosen: str) -> ForeignGraph:
    """The graph that gives one value, with all that is constant computed, and a free batch.

    original: what `cut` has left, which stays as it is but for its outputs.
    """
    original.outputs = [ForeignValue(chosen, "float32", None)]
    return fold_constants(free_batch(original))


def network_of(
    folded: ForeignGraph, chosen: str, labels: Sequence[str] | None = None, task: Task | None = None
) -> tuple[Graph, ForeignGraph]:
    """The network that gives a value of a reduced graph, and the graph that it was translated from.

    task: what it predicts; what its end says if None. Raises OnnxError for what no layer does.
    """
    graph = folded if is_own(folded) else channels_first(plain_reshapes(folded))
    entrance = _entrance(graph)
    preprocessing = take_preprocessing(graph)
    shape = _input_shape(entrance)
    if len(graph.nodes) > MOST_NODES:
        raise OnnxError(f"{len(graph.nodes):,} operators are to be translated; expected at most {MOST_NODES:,}")
    if graph.baked_batch > MOST_SAMPLES:
        raise OnnxError(
            f"it takes {graph.baked_batch:,} samples at once, which a proof would have to run; expected at most "
            f"{MOST_SAMPLES:,}: export the model for one sample, or with a free batch size"
        )
    numbers = sum(array.size for array in graph.constants.values())  # before patterns give some a second name
    restore_layers(graph)
    find_patterns(graph, chosen)
    draft, values = translate(graph, shape, numbers)
    if chosen not in values:
        raise OnnxError(f"no layer gives the output {printable(chosen)[:100]!r}, a further one of its operator")
    graph.transposed_output = bool(graph.transposed_inputs) and _is_channels_last(values[chosen])
    end = values[chosen].as_node() if graph.transposed_output else draft.plain("output", values[chosen])
    if labels is not None and len(end.shape) != 2 and len(labels) != end.shape[0]:
        raise OnnxError(
            f"the file tells {end.shape[0]:,} classes, and {len(labels):,} labels are given: expected one for each"
        )
    if not draft.drawn:
        raise OnnxError("nothing in it computes anything: no network can be made of it")
    model = Graph(
        draft.given(end),
        shape,
        preprocessing=preprocessing,
        input_dtype=cast(InputDtype, entrance.dtype),
        labels=_labels(graph.metadata, end.shape) if labels is None else labels,
        limit=draft.limit,
    )
    model.task = task or task_of(model)
    model.load_state(draft.arrays())
    model.check_cost(graph.baked_batch or 1)
    return model, graph


def _is_channels_last(value: Value) -> bool:
    """Whether an image or a signal of the network has its channels behind the pixels in the file."""
    return len(value.order) > 1 and value.order == (*range(1, len(value.order)), 0)


def _entrance(graph: ForeignGraph) -> ForeignValue:
    """The only input. Raises OnnxError for several that are needed, and for numbers that no network takes."""
    used = {name for node in graph.nodes for name in node.inputs}
    needed = [value for value in graph.inputs if value.name in used]
    if len(needed) != 1:
        names = ", ".join(f"{printable(value.name)[:100]} of shape {_sizes(value)}" for value in needed) or "none"
        hint = (
            "; if others are constants that its exporter left out, as tf2onnx does of Keras' Normalization, export it "
            "without that layer"
        )
        raise OnnxError(
            f"it takes {len(needed)} inputs ({names}), and a network takes one{hint if len(needed) > 1 else ''}"
        )
    graph.inputs = needed
    if needed[0].dtype not in DTYPES:
        raise OnnxError(f"its input is of {needed[0].dtype}; a network takes {' or '.join(DTYPES)}")
    return needed[0]


def _input_shape(entrance: ForeignValue) -> Shape:
    sizes = (entrance.sizes or ())[1:]
    if not sizes or not all(isinstance(size, int) and size > 0 for size in sizes):
        raise OnnxError(
            f"its input {printable(entrance.name)[:100]} has the shape {_sizes(entrance)}, and a network "
            "takes samples of one fixed shape behind the batch axis: export the file with fixed sizes, or fix them by "
            "`python -m onnxruntime.tools.make_dynamic_shape_fixed --input_name NAME --input_shape 1,3,224,224 IN OUT`"
        )
    return tuple(int(size) for size in sizes)


def _sizes(value: ForeignValue) -> str:
    return "unknown" if value.sizes is None else printable(f"({', '.join(map(str, value.sizes))})")[:200]


def _check_labels(labels: Sequence[str]) -> None:
    """Raise ConfigError for labels that are no list of names, each another."""
    if isinstance(labels, str | os.PathLike):
        raise ConfigError(
            f"expected a list of the names of the classes as labels, got {str(labels)!r:.100}; if that is a file with "
            "a name in each line, read it: Path(...).read_text().splitlines()"
        )
    twice = [label for label, count in Counter(labels).items() if count > 1]
    if twice:
        raise ConfigError(f"two classes are called {printable(str(twice[0]))[:100]!r}; expected another label for each")


def _labels(metadata: Mapping[str, str], shape: Shape) -> Sequence[str]:
    """The names of the classes that the metadata hold; none if they hold no list of texts for answers of this shape."""
    try:
        said = json.loads(metadata.get("labels", "[]"))
    except (ValueError, RecursionError):
        return ()
    if not isinstance(said, list) or len(shape) == 2 or len(said) != shape[0]:
        return ()
    return tuple(said) if all(isinstance(label, str) for label in said) else ()
