"""An ONNX model that runtimes can execute: one that is trusted, in this process."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Protocol, cast

import numpy as np
import onnx
from onnx import ModelProto, ValueInfoProto

from cnnkit.components import Runtime
from cnnkit.errors import OnnxError
from cnnkit.layers import AdaptiveMaxPool2D, AvgPool2D, Conv2D, ConvTranspose2D, LPPool2D
from cnnkit.layers.reparametrised import innermost
from cnnkit.network import Network
from cnnkit.network.execution.available_memory import readable
from cnnkit.network.execution.threads import in_threads
from cnnkit.onnx.load import Signature, signature_of
from cnnkit.onnx.parts import Part, PartRun, run_part
from cnnkit.onnx.runner import Runner, median_seconds
from cnnkit.onnx.runtimes import execute
from cnnkit.onnx.unrolling import COPIED, window_numbers
from cnnkit.types import Array

MAX_SAMPLES, OUTPUT_BYTES = 1000, 16 * 2**20
"""Samples to compare on, and most bytes of their outputs, unless two have more: the reference evaluator is slow, and
differences are held in float64, a few times."""
LAYER_RUNS, GROUP_RUNS, LAID, POOLED = 6_000, 50_000, 10_000_000, 100_000
"""About so many times layers are run to compare: what a network of thousands keeps of a sample leaves no room for many;
and groups of convolutions, which the reference evaluator takes one by one for each sample; the numbers that transposed
convolutions lay down, one by one in Python; and those that pooling gives other than plain maxima, as slowly."""
SLOWLY_POOLED = (AvgPool2D, LPPool2D, AdaptiveMaxPool2D)
VALUE_BYTES = 512 * 2**20
"""Most bytes of layer outputs in all runs of a runtime, unless two samples have more."""
CHUNK_BYTES = 32 * 2**20
"""Most bytes of layer outputs and copied windows in one run: a runtime may keep all of them, and scratch."""


class Program(Protocol):
    """What validation needs of a file: what it declares, and its outputs for some inputs."""

    signature: Signature
    chunk_bytes: int
    """Most bytes of layer outputs in one run."""

    def run(self, runtime: Runtime, x: Array, further: Sequence[ValueInfoProto] = ()) -> dict[str, Array]:
        """All outputs for x, by name.

        further: values of the file that shall be outputs, too; those that it does not have are skipped.
        Raises OnnxError if the runtime cannot execute the file.
        """

    def latency(self, runtime: Runtime, x: Array) -> float:
        """Seconds of a run, as `median_seconds` measures them."""

    def run_part(self, runtime: Runtime, part: Part, values: Mapping[str, Array]) -> PartRun:
        """Execute a part of the file alone; values: for the inputs that it may have.

        Raises OnnxError if the runtime cannot, or if there is no such part in the file.
        """


class TrustedProgram:
    """An export of our own, which is executed in this process.

    It lies in a file that is removed at the end: the caller may let go of `proto`, so that its weights are in memory
    but for what a runtime makes of them.
    Raises OnnxError if there is no room for the file.
    """

    def __init__(self, proto: ModelProto) -> None:
        self.signature = signature_of(proto)
        self.chunk_bytes = CHUNK_BYTES
        self._runner = Runner()
        data = cast(bytes, proto.SerializeToString(deterministic=True))
        try:
            with ExitStack() as folder:
                self.file = Path(folder.enter_context(TemporaryDirectory(prefix="cnnkit-"))) / "model.onnx"
                self.file.write_bytes(data)
                self._folder = folder.pop_all()
        except OSError as error:
            raise OnnxError(
                f"cannot write the {len(data):,} bytes of the ONNX file to a temporary one, which runtimes read: "
                f"{error.strerror or error}; let TMPDIR name a folder with room for it"
            ) from error

    def __enter__(self) -> TrustedProgram:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Free what the last runtime keeps, and remove the file."""
        self.rest()
        self._folder.close()

    def rest(self) -> None:
        """Free what the last runtime keeps, maybe several times the size of the file."""
        self._runner = Runner()

    def run(self, runtime: Runtime, x: Array, further: Sequence[ValueInfoProto] = ()) -> dict[str, Array]:
        """As `Program` says; an interruption does not wait for the runtime."""

        def go(x: Array) -> dict[str, Array]:
            if further:
                return execute(runtime, with_outputs(self.file.read_bytes(), further), {"input": x})
            return self._runner.ready(runtime, self.file)({"input": x})

        (outputs,) = in_threads(1, go, [x], apart=True)
        return outputs

    def latency(self, runtime: Runtime, x: Array) -> float:
        """As `Program` says."""

        def go(x: Array) -> float:
            return median_seconds(self._runner.ready(runtime, self.file), {"input": x})

        (seconds,) = in_threads(1, go, [x], apart=True)
        return seconds

    def run_part(self, runtime: Runtime, part: Part, values: Mapping[str, Array]) -> PartRun:
        """As `Program` says."""
        proto = onnx.load_model(self.file)
        (run,) = in_threads(1, lambda given: run_part(runtime, proto, part, given), [values], apart=True)
        return run


def outputs_of(
    program: Program, runtime: Runtime, x: Array, further: Sequence[ValueInfoProto] = ()
) -> dict[str, Array]:
    """What the file gives for these samples; one of a fixed batch runs so many at a time, the last of them again.

    further: as of `Program.run`. Raises OnnxError if the runtime cannot execute it, or gives another number of samples.
    """
    x, batch = as_declared(program.signature, x), program.signature.batch
    if batch is None:
        return program.run(runtime, x, further)
    added, parts = {value.name for value in further}, []
    for start in range(0, len(x), batch):
        part = x[start : start + batch]
        outputs = program.run(runtime, np.concatenate([part, np.repeat(part[-1:], batch - len(part), axis=0)]), further)
        for name, output in outputs.items():
            if name not in added and output.shape[:1] != (batch,):
                raise OnnxError(f"{runtime!r}: {name} have shape {output.shape} for a batch of {batch}")
        parts.append({name: output[: len(part)] if output.ndim else output for name, output in outputs.items()})
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]} if parts[1:] else parts[0]


def with_outputs(data: bytes, further: Sequence[ValueInfoProto]) -> bytes:
    """The model with further ones of its values as outputs."""
    if not further:
        return data
    proto = onnx.load_model_from_string(data)
    present = {name for node in proto.graph.node for name in node.output} - {out.name for out in proto.graph.output}
    proto.graph.output.extend(value for value in further if value.name in present)
    return cast(bytes, proto.SerializeToString())


def value_bytes(model: Network) -> int:
    """Bytes of all layers' outputs for one sample."""
    return sum(math.prod(node.out_shape) for node in model.nodes) * 4


def run_bytes(model: Network) -> int:
    """What a run takes for each sample: all layers' outputs, and what is copied for one of the layers."""
    return value_bytes(model) + COPIED * window_numbers(model)


def samples_of(chunk_bytes: int, model: Network, samples: int | None = None) -> int:
    """How many samples to run together: two at least, so that the batch axis must be dynamic, unless one is too large.

    samples: how many there are, if that is known; a single one runs twice, too.
    """
    each = run_bytes(model)
    most = max(2 if each <= CHUNK_BYTES else 1, chunk_bytes // each)
    return most if samples is None else min(most, max(2, samples))


def check_batch(batch: int | None, model: Network) -> None:
    """Raise OnnxError for a file whose fixed batch takes more memory than validation may; None for any batch."""
    needed = (batch or 1) * run_bytes(model)
    if batch is not None and batch > 1 and needed > VALUE_BYTES:
        raise OnnxError(
            f"the file takes batches of {batch:,} samples, which need about {readable(needed)} of memory for the "
            f"layers' values, and validation takes at most {readable(VALUE_BYTES)}: export it with a smaller batch, or "
            "without validation"
        )


def compared_samples(model: Network) -> int:
    """How many samples a validation shall compare, two at least; fewer of a network with large outputs or many layers.

    Time and memory of a validation are then in proportion to the layers.
    """
    runs = max(1, LAYER_RUNS // len(model.nodes))
    layers = [innermost(node.layer) for node in model.nodes]
    groups = sum(layer.groups for layer in layers if isinstance(layer, Conv2D) and layer.groups > 1)
    transposed = [node for node, layer in zip(model.nodes, layers, strict=True) if isinstance(layer, ConvTranspose2D)]
    laid = sum(node.cost.seen for node in transposed if node.cost)
    slow = [node for node, layer in zip(model.nodes, layers, strict=True) if isinstance(layer, SLOWLY_POOLED)]
    pooled = sum(math.prod(node.out_shape) for node in slow)
    outputs = 4 * math.prod(model.output_shape)
    most = min(
        MAX_SAMPLES,
        OUTPUT_BYTES // outputs,
        GROUP_RUNS // max(1, groups),
        LAID // max(1, laid),
        POOLED // max(1, pooled),
        VALUE_BYTES // value_bytes(model),
    )
    return max(2, min(most, runs * samples_of(CHUNK_BYTES, model)))


def block_of(model: Network) -> int:
    """How many samples are compared at a time: as many as memory holds the answers of, whatever there are."""
    each = max(4 * math.prod(model.output_shape), math.prod(model.input_shape) * np.dtype(model.input_dtype).itemsize)
    return max(2, min(MAX_SAMPLES, OUTPUT_BYTES // each))


def as_declared(signature: Signature, x: Array) -> Array:
    """Inputs in the dtype that the file takes, if that is float32: each uint8 is one, too."""
    return x.astype(np.float32) if signature.dtype == "float32" else x
