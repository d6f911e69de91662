"""The proof of an import: the file and the model give the same answers, before anything is kept."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import numpy as np
from google.protobuf.message import EncodeError  # type: ignore[import-untyped]  # it ships no types
from onnx import ModelProto, TensorProto, helper, numpy_helper

from cnnkit.components import Runtime
from cnnkit.errors import CheckError, CnnkitError, OnnxError
from cnnkit.network import Network
from cnnkit.onnx.export import to_onnx
from cnnkit.onnx.importing.constant_folding import without_unused
from cnnkit.onnx.importing.foreign_graph import ForeignGraph, ForeignNode
from cnnkit.onnx.isolated import IsolatedProgram, limits_for
from cnnkit.onnx.runtimes import OnnxRuntime, ReferenceEvaluator, is_installed
from cnnkit.types import Array, Shape
from cnnkit.waiting_line import waiting

DRAWS, SAMPLES = 4, 8
"""Kinds of random samples, and how many there are of all kinds together; more if the file takes more at once."""
TOLERANCE, ROUNDING = 1e-4, 2e-6
"""Largest difference, relative to how far the answers of a draw are apart, and in any case relative to the largest one:
where an answer is mostly a constant, float32 has few digits for what the sample changes in it."""
OWN_ROUNDING = 10
"""How many times what the network itself loses in float32 a difference may be."""
BLOCK = 4
"""Pixels of a block, each way."""
INPUT, OUTPUT = "input", "output"
"""What the file that is run calls its ends."""


@dataclass(frozen=True)
class Proof:
    """How far the answers of the model are from those of the file."""

    difference: float
    """The largest one, relative to the largest number that the file gives for the draw."""
    samples: int
    runtime: str
    depends: bool
    """Whether the answers were different ones for different inputs."""

    def __str__(self) -> str:
        told = (
            f"the model gives the answers of the file to {self.difference:.1e} of the largest, on {self.samples} "
            f"random inputs by {self.runtime} in a process of its own"
        )
        return told if self.depends else f"{told}, which did not depend on the inputs: try it on samples of yours"


def prove(graph: ForeignGraph, output: str, model: Network, path: Path, batch: int) -> Proof:
    """Compare the file with the model on random inputs of several kinds; if a runtime differs, another one is asked.

    graph: what was read of the file that the output needs, nothing of it rewritten, and which of its ends have the
    channels last; output: which of its values the model gives; batch: how many it takes at once, 0 for any.
    Raises CheckError for different answers, OnnxError if the file cannot be executed within the limits of a file that
    comes from elsewhere.
    """
    proto = _executable(graph, output, len(model.output_shape) + 1)
    try:
        data = cast(bytes, proto.SerializeToString())
    except EncodeError:  # protobuf ends at 2 GiB
        raise OnnxError(f"{path} cannot be imported: to run it, its constants would take 2 GiB or more") from None
    size = batch or SAMPLES
    x = random_inputs(model, -(-SAMPLES // size) * size)
    runtimes: list[Runtime] = [OnnxRuntime()] if is_installed(OnnxRuntime) else []
    runtimes.append(ReferenceEvaluator())
    operators = {node.op_type for node in proto.graph.node}
    limits = limits_for(model, len(x), batch or None, [to_onnx(model)])
    with np.errstate(all="ignore"):  # an infinity is an answer
        ours = model.outputs(x)
    problem: CnnkitError | None = None
    with (
        waiting("running the file in a process of its own"),
        IsolatedProgram(data, path, operators, limits, runtimes) as program,
    ):
        for runtime in runtimes:
            try:
                parts = [program.run(runtime, x[at : at + size])[OUTPUT] for at in range(0, len(x), size)]
                return _compared(np.concatenate(parts), ours, model, x, runtime, path)
            except CheckError as error:
                problem = error
            except OnnxError as error:  # not each runtime has every operator in every form
                problem = problem or error
    raise cast(CnnkitError, problem)


def in_advance(graph: ForeignGraph, folded: ForeignGraph) -> ForeignGraph:
    """The graph with what does not depend on the samples as constants, so that all shapes are known before it runs.

    folded: the same graph once its constants are computed, and the shapes that it computes are known.
    """
    known = {name: node for node in folded.nodes for name in node.outputs if name}
    computed = folded.constants.keys() - graph.constants.keys()
    nodes = []
    for node in graph.nodes:
        names = [*filter(None, node.outputs)]
        other = known.get(names[0]) if names else None
        if other is not None and computed.intersection(other.inputs):
            nodes.append(other)
        elif not computed.issuperset(names):
            nodes.append(node)
    return without_unused(replace(graph, nodes=nodes, constants=graph.constants | folded.constants))


def _compared(given: Array, ours: Array, model: Network, x: Array, runtime: Runtime, path: Path) -> Proof:
    """The proof, if the answers of the file are those of the model. Raises CheckError if not."""
    if [n for n in given.shape if n != 1] != [n for n in ours.shape if n != 1]:
        raise CheckError(
            f"{path} cannot be imported: for {len(x)} samples its outputs have shape {given.shape}, and those of the "
            f"network made of it {ours.shape}"
        )
    given, worst, depends = given.reshape(ours.shape).astype(np.float64), -1.0, False
    for draw in _draws(len(x)):
        theirs, own = given[draw], ours[draw]
        finite = np.isfinite(theirs)
        if draw.start and not finite.all():
            continue  # the later draws may be beyond what the file can compute
        if not np.array_equal(_kinds(theirs), _kinds(own)):
            raise CheckError(
                f"{path} cannot be imported: it and the network made of it do not overflow in the same places"
            )
        if not finite.any():
            continue
        largest = float(np.abs(theirs[finite]).max())
        spread = float(np.ptp(np.where(finite, theirs, 0), axis=0).max())
        difference = float(np.abs(theirs[finite] - own[finite]).max())
        allowed = max(TOLERANCE * spread, ROUNDING * largest)
        if difference > allowed:
            exact = model.again(dtype="float64").outputs(x[draw])
            allowed = max(allowed, OWN_ROUNDING * float(np.abs(exact[finite] - own[finite]).max()))
        if not difference <= allowed:
            raise CheckError(
                f"{path} cannot be imported: on random inputs its answers and those of the network made of it differ "
                f"by {difference:.1e}, where {allowed:.1e} is allowed; please report this fault of the import"
            )
        worst, depends = max(worst, difference / (largest or 1.0)), depends or spread > 0
    if worst < 0:
        raise OnnxError(f"{path} cannot be imported: its answers are not finite for any inputs that were tried")
    return Proof(worst, len(x), f"{runtime!r}", depends)


def _kinds(values: Array) -> Array:
    """0 for finite numbers, 1 and -1 for infinities, 2 for what is no number."""
    return np.where(np.isfinite(values), 0, np.where(np.isnan(values), 2, np.sign(values)))


def _draws(count: int) -> list[slice]:
    """The places of each draw among so many samples."""
    return [slice(count * draw // DRAWS, count * (draw + 1) // DRAWS) for draw in range(DRAWS)]


def random_inputs(model: Network, count: int) -> Array:
    """Samples as networks are written for: normalised noise, images of 0 to 1, large noise, and images of bytes."""
    rng = np.random.default_rng(0)
    parts: list[Array] = []
    for draw, place in enumerate(_draws(count)):
        shape = (place.stop - place.start, *model.input_shape)
        if model.input_dtype == "uint8":
            parts.append((256 * (_blocks(rng, shape) if draw % 2 else rng.random(shape))).astype(np.uint8))
        elif draw % 2:
            parts.append(((255 if draw > 1 else 1) * _blocks(rng, shape)).astype(np.float32))
        else:
            parts.append((30 if draw else 1) * rng.standard_normal(shape, np.float32))
    return np.concatenate(parts)


def _blocks(rng: np.random.Generator, shape: Shape) -> Array:
    """Numbers from 0 to 1, the same in blocks of pixels: sums of neighbours do not vanish as those of noise do."""
    axes = range(2, len(shape))
    found = rng.random((*shape[:2], *(-(-shape[axis] // BLOCK) for axis in axes)))
    for axis in axes:
        found = found.repeat(BLOCK, axis).take(range(shape[axis]), axis)
    return found


def _executable(graph: ForeignGraph, output: str, axes: int) -> ModelProto:
    """The file as one that a runtime takes: its weights inside, its ends named, its images with the channels first."""
    entrance = graph.inputs[0]
    sizes: list[Any] = list(entrance.sizes or ())
    if graph.transposed_inputs:
        sizes = [sizes[0], sizes[-1], *sizes[1:-1]]
        first = helper.make_node("Transpose", [INPUT], [_own(entrance.name)], perm=[0, *range(2, len(sizes)), 1])
    else:
        first = helper.make_node("Identity", [INPUT], [_own(entrance.name)])
    sizes[0] = sizes[0] if isinstance(sizes[0], int) else "N"
    if graph.transposed_output:
        last = helper.make_node("Transpose", [_own(output)], [OUTPUT], perm=[0, axes - 1, *range(1, axes - 1)])
    else:
        last = helper.make_node("Identity", [_own(output)], [OUTPUT])
    nodes = [first, *map(_node, graph.nodes), last]
    used = {name for node in nodes for name in node.input}
    kind = helper.np_dtype_to_tensor_dtype(np.dtype(entrance.dtype))
    body = helper.make_graph(
        nodes,
        "imported",
        [helper.make_tensor_value_info(INPUT, kind, sizes)],
        [helper.make_tensor_value_info(OUTPUT, TensorProto.FLOAT, [None] * axes)],
        [numpy_helper.from_array(array, _own(name)) for name, array in graph.constants.items() if _own(name) in used],
    )
    opset = helper.make_opsetid("", graph.opset)
    return helper.make_model(body, opset_imports=[opset], ir_version=max(4, helper.find_min_ir_version_for([opset])))


def _node(node: ForeignNode) -> Any:
    attributes: dict[str, Any] = {
        name: numpy_helper.from_array(value) if isinstance(value, np.ndarray) else value
        for name, value in node.attributes.items()
    }
    empty = [name for name, value in attributes.items() if isinstance(value, list) and not value]
    given: dict[str, Any] = {name: value for name, value in attributes.items() if name not in empty}
    made = helper.make_node(node.operator, [*map(_own, node.inputs)], [*map(_own, node.outputs)], node.name, **given)
    made.attribute.extend(helper.make_attribute(name, [], attr_type=7) for name in empty)
    return made


def _own(name: str) -> str:
    """A value of the file by a name that is never one of the ends."""
    return f"file:{name}" if name else ""
