"""Writing a model as an ONNX file that is self-contained: preprocessing, weights, labels, probabilities."""

from __future__ import annotations

import importlib.metadata
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, cast

import numpy as np
from onnx import ModelProto, TensorProto, checker, helper, shape_inference

from cnnkit.components.checks import whole
from cnnkit.errors import ConfigError, OnnxError
from cnnkit.file_kinds import ONNX
from cnnkit.file_writing import check_target, write_whole
from cnnkit.network import INPUT, Network, Node
from cnnkit.network.execution.operation import operation_of
from cnnkit.onnx import description
from cnnkit.onnx.golden_pair import golden_pair
from cnnkit.onnx.graph_builder import GraphBuilder
from cnnkit.onnx.inputs import one_sample, random_inputs
from cnnkit.onnx.load import MAX_ONNX_FILE_BYTES
from cnnkit.onnx.outputs import (
    BEFORE_LABEL,
    BOUNDED,
    LABEL,
    LOGITS,
    PROBABILITIES,
    SCORES,
    VALUES,
    chosen_outputs,
    lower_outputs,
)
from cnnkit.onnx.simplification import remove_unused, simplify
from cnnkit.types import Array, Inputs, as_inputs
from cnnkit.user_folders import expanded

PREPROCESSING = "preprocessing"
OWN = {PREPROCESSING, BOUNDED, BEFORE_LABEL, LOGITS, PROBABILITIES, LABEL, SCORES, VALUES}
"""What a file calls values that are no node's."""
SUFFIX = ".onnx"
MIN_OPSET, MAX_OPSET = 13, 23
"""From the first opset with an axis-wise Softmax to the newest that the oldest allowed onnx package knows."""
MAX_BATCH = 65_536
"""Most samples that a file may take at once."""


class Lowered(NamedTuple):
    """A model as a graph, and where in it to find what."""

    graph: GraphBuilder
    preprocessed: str
    """Name of the value that enters the first layer."""
    values: list[str]
    """Names of the nodes' outputs, in the order of `model.nodes`."""


def export_onnx(
    model: Network,
    path: str | os.PathLike[str],
    *,
    opset: int = 17,
    batch: int | None = None,
    outputs: Sequence[str] | None = None,
    fold: bool = True,
    metadata: Mapping[str, str] | None = None,
    input_dtype: str | None = None,
    sample: Inputs | None = None,
) -> Path:
    """Write the model in prediction mode as one ONNX file and return its path.

    The file is what `to_onnx` gives, with a golden pair for `cnnkit selftest`: `sample`, of the model's input_shape, or
    a random one, with the model's answers. It appears complete or not at all; an ONNX file of that name is replaced.
    Raises OnnxError if it cannot be written, and what `to_onnx` raises.
    """
    x = random_inputs(model, 1) if sample is None else one_sample(model, np.asarray(as_inputs(sample))[None])
    proto = to_onnx(
        model,
        opset=opset,
        batch=batch,
        outputs=outputs,
        fold=fold,
        metadata=metadata,
        input_dtype=input_dtype,
        golden=(x, "a random sample" if sample is None else "a given sample"),
    )
    return write_onnx(proto.SerializeToString(deterministic=True), path)


def write_onnx(data: bytes, path: str | os.PathLike[str]) -> Path:
    """Write the bytes of an ONNX model as a file, complete or not at all. Raises OnnxError if that cannot be done."""
    path = expanded(path)
    check_onnx_target(path)
    write_whole(path, data, OnnxError)
    return path


def check_onnx_target(path: Path) -> None:
    """Find out, before the work is done, that no ONNX file can be written there. Raises OnnxError.

    Its name must end in .onnx, and what is there is only replaced if it is one.
    """
    check_target(path, OnnxError, ONNX)
    if path.suffix.lower() != SUFFIX:
        raise OnnxError(f"cannot write {path}: expected the name of an ONNX file, which ends in {SUFFIX}")


def to_onnx(
    model: Network,
    *,
    opset: int = 17,
    batch: int | None = None,
    outputs: Sequence[str] | None = None,
    fold: bool = True,
    metadata: Mapping[str, str] | None = None,
    input_dtype: str | None = None,
    golden: tuple[Array, str] | None = None,
) -> ModelProto:
    """The model in prediction mode as an ONNX model, checked in full.

    Input `input` (N, *input_shape) in the dataset's units and dtype, or in `input_dtype`: "float32" is for runtimes and
    converters that do not accept uint8. Outputs, (N, *output_shape) float32: `logits` and `probabilities` of classes or
    labels, `scores` of classes that have no probabilities, `values` to regress. The IR version is the lowest that knows
    the opset. The metadata holds `labels`, `preprocessing` and `input` as JSON, `cnnkit_version`, and whatever
    `metadata` adds.

    batch: how many samples the file takes at once, N; any number if None.
    outputs: which of them the file has, in that order, `label` among them: int64, of classes the index of the highest
    logit, (N,) or (N, H, W), of labels 1 where the probability is 1/2 or more, (N, K) or (N, K, H, W), else 0.
    fold: batch normalisations go into the weights of the Conv, ConvTranspose or Gemm before them, and constants are
    computed, which changes no more than the rounding; False writes each layer by itself.
    golden: of the file's golden pair, its sample, (1, *input_shape), in the dataset's units and dtype, and where that
    comes from; the file has no pair if None.
    Raises ConfigError for an opset outside 13 to 23, a batch or outputs that cannot be, an input dtype that cannot hold
    the dataset's values or metadata that is not text, OnnxError for a layer that ONNX cannot express or a model over
    2 GB, and CostError for a model whose outputs for a sample are too large.
    """
    if not MIN_OPSET <= whole("opset", opset) <= MAX_OPSET:
        raise ConfigError(f"opset must be a whole number from {MIN_OPSET} to {MAX_OPSET}, got {opset}")
    if batch is not None and not 1 <= whole("batch", batch) <= MAX_BATCH:
        raise ConfigError(f"batch must be a whole number from 1 to {MAX_BATCH:,}, or None for any, got {batch}")
    if input_dtype not in (None, model.input_dtype, "float32"):
        raise ConfigError(
            f"the input of the file can be float32 or what the model's dataset gives, {model.input_dtype}, "
            f"got {input_dtype!r}"
        )
    names = chosen_outputs(model, outputs)
    model.check_cost(batch or 1)
    # First, for the model in float64 takes as much memory as two files.
    pair = golden and golden_pair(model, *golden, names, input_dtype or model.input_dtype)
    lowered = lower(model, opset, input_dtype, batch)
    graph = lowered.graph
    lower_outputs(model, graph, lowered.preprocessed, lowered.values, names)
    if fold:
        simplify(graph, names, {*lowered.values})
    remove_unused(graph, names)
    size = sum(len(tensor.raw_data) for tensor in graph.initializers)
    if size > MAX_ONNX_FILE_BYTES:
        raise OnnxError(f"the model has {size:,} bytes of weights; an ONNX file can hold {MAX_ONNX_FILE_BYTES:,}")
    body = helper.make_graph(
        graph.nodes,
        "cnnkit",
        [graph.value_info("input", description.describe_input(model))],
        [graph.value_info(name, description.describe_output(model, name)) for name in names],
        value_info=[graph.inferred(value) for node in graph.nodes for value in node.output if value not in names],
    )
    version = importlib.metadata.version("cnnkit")
    proto = helper.make_model(
        body,
        opset_imports=[graph.opset_id],
        ir_version=graph.ir_version,
        producer_name="cnnkit",
        producer_version=version,
        doc_string=description.describe_network(model),
    )
    entries = description.metadata(model, version, metadata or {})
    helper.set_model_props(proto, entries | ({description.GOLDEN: pair.to_json()} if pair else {}))
    while graph.initializers:  # one at a time: a message copies what it is given, and the weights may be most of memory
        proto.graph.initializer.append(graph.initializers.popleft())
    data = cast(bytes, proto.SerializeToString())
    del proto  # the checker makes copies of its own
    try:
        checker.check_model(data, full_check=True)
    except (checker.ValidationError, shape_inference.InferenceError) as error:
        raise OnnxError(f"the exported model is not valid ONNX: {str(error).strip()}") from error
    return cast(ModelProto, ModelProto.FromString(data))


def lower(model: Network, opset: int, input_dtype: str | None = None, batch: int | None = None) -> Lowered:
    """Write all nodes of the model into a graph, yet without outputs; input_dtype: the model's own if None.

    Raises OnnxError, naming the layer that cannot be expressed.
    """
    graph = GraphBuilder(opset, batch)
    preprocessed = _lower_preprocessing(model, graph, input_dtype or model.input_dtype)
    values: list[str] = []
    owners: dict[int, str] = {}
    for node in model.nodes:
        owner = owners.setdefault(id(node.layer), _value_name(node))
        inputs = [preprocessed if i == INPUT else values[i] for i in node.inputs]
        values.append(_lower_node(node, graph, inputs, owner))
    return Lowered(graph, preprocessed, values)


def _lower_preprocessing(model: Network, graph: GraphBuilder, input_dtype: str) -> str:
    factor, offset = model.preprocessing.affine(np.dtype(np.float32), len(model.input_shape))
    x = graph.input("input", input_dtype, model.input_shape)
    graph.begin(PREPROCESSING, str(model.preprocessing), {"factor": factor, "offset": offset})
    if input_dtype != "float32":
        x = graph.add("Cast", x, to=TensorProto.FLOAT)
    if np.any(factor != 1):
        x = graph.add("Mul", x, factor)
    if np.any(offset != 0):
        x = graph.add("Add", x, offset)
    return x


def _value_name(node: Node) -> str:
    """What the file calls the output of a node: its name, unless the file calls something else so."""
    return f"{node.name}.node" if node.name in OWN else node.name


def _lower_node(node: Node, graph: GraphBuilder, inputs: Sequence[str], owner: str) -> str:
    layer = node.layer
    graph.begin(_value_name(node), repr(layer), {**layer.params, **layer.buffers}, owner)
    try:
        value = operation_of(layer).lower(graph, inputs)
        lowered = graph.shape(value)
    except OnnxError as error:
        raise OnnxError(f"{node}: {error}") from None
    if lowered != node.out_shape:
        raise OnnxError(f"{node}: its outputs have shape {node.out_shape}, but {lowered} when lowered to ONNX")
    return value
