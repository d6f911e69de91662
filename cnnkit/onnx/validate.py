"""Validation: an exported file must give the model's answers on every runtime, or tell which layer does not."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import cast

import numpy as np
from onnx import ModelProto, helper

from cnnkit.components import Runtime, installed_catalog
from cnnkit.components.checks import positive
from cnnkit.errors import ConfigError, OnnxError, ShapeError
from cnnkit.network import Sequential
from cnnkit.onnx.answers import Answers, allowed, answers
from cnnkit.onnx.available import Available, available_runtimes
from cnnkit.onnx.compare import as_declared, first_divergence
from cnnkit.onnx.difference import magnitude, relative, softmax, subtract
from cnnkit.onnx.load import load_onnx
from cnnkit.onnx.report import RuntimeResult, ValidationReport
from cnnkit.onnx.runtimes import ensure_installed, execute
from cnnkit.types import Array, Inputs

DEFAULT_SAMPLES = 64
CHUNK_BYTES = 32 * 2**20
"""Most bytes of layer outputs in one run: a runtime may keep all of them, and several times that as scratch."""


def validate_onnx(
    path: str | os.PathLike[str],
    model: Sequential,
    x: Inputs | None = None,
    runtimes: Sequence[Runtime | str] | None = None,
    *,
    tolerance: float = 1e-5,
) -> ValidationReport:
    """Run the file on several runtimes and compare its outputs with the model's, sample by sample.

    With a the file's outputs for one sample, b the logits of the model in float64, and c those in float32:

        absolute = max|a_logits - b|
        relative = max(absolute / s, max|a_probabilities - softmax(a_logits)|)
        s        = max(max|b|, the median of that over all samples)
        rounding = max(max|c - b|, the median of that over all samples) / s

    The rounding error of a logit grows with the terms that were added up, not with the sum, which may happen to be near
    zero in one sample, as in a regression: hence the medians. A network that is ill-conditioned, where numbers cancel
    that are much larger than what is left, loses more digits in any order of adding: its own rounding measures that.
    Rounding moves softmax, too, by as much as its logits moved, so the file's probabilities are measured against its
    own logits (softmax over axis 1, in float64).

    A runtime agrees if for every sample

        absolute / s <= allowed = max(tolerance, min(10 rounding, 0.1))
        max|a_probabilities - softmax(a_logits)| <= tolerance

    and no label flips. A flip is another argmax, of logits or probabilities, in a sample whose two highest logits
    differ by more than 2 allowed s, and whose probabilities by more than 2 tolerance: closer ones are ties. The first
    sample runs alone, the others together: the batch axis must be dynamic.

    The file passes if a runtime agrees and the input that it declares fits the model; the fault of a runtime that does
    not agree is its own then, and the report names it.

    x: (N, *input_shape), N >= 1, in the dataset's dtype and units, such as its test samples; if None, 64 random ones.
    A file that takes float32 is given them in that.
    runtimes: runtimes or their expressions; if None, all that are installed, also those of plugins.
    Raises OnnxError for a file that cannot be read or a runtime that is not installed, ConfigError or ShapeError for
    arguments that do not fit. That answers differ is not raised: the report says it.
    """
    return validate_proto(load_onnx(path), Path(path), model, x, runtimes, tolerance=tolerance)


def validate_proto(
    proto: ModelProto,
    path: Path,
    model: Sequential,
    x: Inputs | None = None,
    runtimes: Sequence[Runtime | str] | None = None,
    *,
    tolerance: float = 1e-5,
) -> ValidationReport:
    """What `validate_onnx` does, for a model that is in memory; `path` is its name in the report."""
    positive("tolerance", tolerance)
    inputs = _random_inputs(model) if x is None else _as_input(model, x)
    chosen = available_runtimes() if runtimes is None else Available(_built(runtimes))
    expected = answers(model, inputs)
    results = tuple(_validate(runtime, proto, expected, tolerance) for runtime in chosen.runtimes)
    return ValidationReport(
        path,
        tolerance,
        results,
        left_out=chosen.left_out(),
        rounding=expected.largest_rounding,
        problem=_problem(proto, model),
    )


def _problem(proto: ModelProto, model: Sequential) -> str:
    """What the file declares of its input that does not fit the model; "" if all fits.

    The reference evaluator takes no notice of it, other runtimes refuse what differs.
    """
    declared = next((value.type.tensor_type for value in proto.graph.input if value.name == "input"), None)
    if declared is None or not declared.HasField("shape"):
        return ""
    sizes = [dim.dim_value if dim.HasField("dim_value") else "N" for dim in declared.shape.dim]
    wanted = ["N", *model.input_shape]
    fits = len(sizes) == len(wanted) and all(size in ("N", n) for size, n in zip(sizes, wanted, strict=True))
    kind = helper.tensor_dtype_to_np_dtype(declared.elem_type).name
    kinds = dict.fromkeys([model.input_dtype, "float32"])
    if fits and kind in kinds:
        return ""
    return (
        f"the file declares an input of {kind} ({', '.join(map(str, sizes))}), expected {' or '.join(kinds)} "
        f"({', '.join(map(str, wanted))}) with a batch axis of any size"
    )


def _built(runtimes: Sequence[Runtime | str]) -> list[Runtime]:
    built = [cast(Runtime, installed_catalog().build("runtime", runtime)) for runtime in runtimes]
    if not built:
        raise ConfigError("validation needs at least one runtime, got an empty list")
    for runtime in built:
        ensure_installed(runtime)
    return built


def _validate(runtime: Runtime, proto: ModelProto, expected: Answers, tolerance: float) -> RuntimeResult:
    try:
        logits, probabilities = _outputs(runtime, proto, expected.single, expected.x)
    except OnnxError as error:
        return RuntimeResult(repr(runtime), len(expected.x), ok=False, error=str(error))
    absolute = magnitude(subtract(logits, expected.logits))
    by_logits = relative(absolute, expected.scale)
    by_probabilities = magnitude(subtract(probabilities, softmax(logits)))
    most = allowed(expected.rounding, tolerance)
    flips = _flips(logits, probabilities, expected.logits, most * expected.scale, tolerance)
    excess = np.maximum(by_logits - most, by_probabilities - tolerance)
    worst = int(excess.argmax())
    within = bool(excess[worst] <= 0)
    divergence, problem = None, ""
    if flips or not within:
        try:
            divergence = first_divergence(runtime, proto, expected, flips[0] if within else worst, tolerance)
        except OnnxError as error:
            problem = f"the first diverging layer cannot be found: {error}"
    return RuntimeResult(
        repr(runtime),
        len(expected.x),
        ok=within and not flips,
        max_absolute=float(absolute.max()),
        max_relative=float(np.maximum(by_logits, by_probabilities).max()),
        worst_sample=worst,
        flips=flips,
        divergence=divergence,
        error=problem,
    )


def _flips(
    logits: Array, probabilities: Array, expected: Array, logit_error: Array, probability_error: float
) -> tuple[int, ...]:
    """Samples with another label, unless ours is a tie: its lead is within twice the error that is allowed."""
    allowed = 2 * logit_error.reshape(-1, *(1,) * (expected.ndim - 2))  # (N,) -> (N, ...), without the class axis
    clear = (_lead(expected) > allowed) & (_lead(softmax(expected)) > 2 * probability_error)
    ours = expected.argmax(axis=1)
    differs = clear & ((logits.argmax(axis=1) != ours) | (probabilities.argmax(axis=1) != ours))
    return tuple(np.flatnonzero(differs.reshape(len(expected), -1).any(axis=1)).tolist())


def _lead(values: Array) -> Array:
    """How far the highest of the classes (axis 1) is above the second, 0 if there is only one."""
    top = np.sort(values, axis=1)[:, -2:]
    return subtract(top[:, -1], top[:, 0])


def _outputs(runtime: Runtime, proto: ModelProto, model: Sequential, x: Array) -> tuple[Array, Array]:
    """Logits and probabilities for all samples: the first alone, the others in batches that bound the memory."""
    data, x = proto.SerializeToString(), as_declared(proto, x)
    per_sample = sum(int(np.prod(node.out_shape)) for node in model.nodes) * 4
    chunk = max(2, CHUNK_BYTES // per_sample)
    parts = [_run(runtime, data, model, x[:1])]
    parts += [_run(runtime, data, model, x[start : start + chunk]) for start in range(1, len(x), chunk)]
    logits, probabilities = zip(*parts, strict=True)
    return np.concatenate(logits), np.concatenate(probabilities)


def _run(runtime: Runtime, data: bytes, model: Sequential, x: Array) -> tuple[Array, Array]:
    outputs = execute(runtime, data, {"input": x})
    expected = (len(x), *model.output_shape)
    for name in ("logits", "probabilities"):
        if name not in outputs:
            raise OnnxError(f"{runtime!r}: the file has no output {name!r}, only {', '.join(map(repr, outputs))}")
        if outputs[name].shape != expected:
            raise OnnxError(
                f"{runtime!r}: {name} have shape {outputs[name].shape} for a batch of {len(x)}, expected {expected}"
            )
    return outputs["logits"], outputs["probabilities"]


def _random_inputs(model: Sequential) -> Array:
    """Uniform over what the dataset gives: 0..255, or 0..1/scale, which preprocessing brings to 0..1."""
    rng = np.random.default_rng(0)
    shape = (DEFAULT_SAMPLES, *model.input_shape)
    if model.input_dtype == "uint8":
        return rng.integers(0, 256, shape, np.uint8)
    return (rng.random(shape) / model.preprocessing.scale).astype(np.float32)


def _as_input(model: Sequential, given: Inputs) -> Array:
    x = np.asarray(given)
    if x.shape[1:] != model.input_shape or not len(x):
        expected = ", ".join(map(str, ("N", *model.input_shape)))
        raise ShapeError(f"expected x of shape ({expected}) with at least one sample, got {x.shape}")
    if not np.can_cast(x.dtype, model.input_dtype, "same_kind"):
        raise ConfigError(f"expected x of {model.input_dtype}, what the model's dataset gives, got {x.dtype}")
    return x.astype(model.input_dtype)
