"""Validation: an exported file must give the model's answers on every runtime, or tell which layer does not."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import cast

import numpy as np
from onnx import ModelProto

from cnnkit.components import Runtime, installed_catalog
from cnnkit.components.checks import positive
from cnnkit.errors import ConfigError, OnnxError, ShapeError
from cnnkit.network import Sequential
from cnnkit.onnx.compare import first_divergence, magnitude, relative, softmax, subtract
from cnnkit.onnx.load import load_onnx
from cnnkit.onnx.report import RuntimeResult, ValidationReport
from cnnkit.onnx.runtimes import RUNTIMES, ensure_installed, is_installed
from cnnkit.types import Array, Inputs

DEFAULT_SAMPLES = 64
INPUT_BYTES = 64 * 2**20
"""Most bytes of random inputs, unless two of them take more."""
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

    With a the file's and b the model's outputs for one sample:

        absolute = max|a_logits - b_logits|
        relative = max(absolute / s, max|a_probabilities - softmax(a_logits)|)
        s        = max(max|b_logits|, the median of that over all samples)

    The rounding error of a logit grows with the terms that were added up, not with the sum, which may happen to be near
    zero in one sample, as in a regression: hence the median. Rounding moves softmax, too, by as much as its logits
    moved, so the file's probabilities are measured against its own logits (softmax over axis 1, in float64).

    A runtime passes if relative <= tolerance for every sample and no label flips. A flip is another argmax, of logits
    or probabilities, in a sample whose two highest logits differ by more than 2 tolerance s, and whose probabilities by
    more than 2 tolerance: closer ones are ties. The first sample runs alone, the others together: the batch axis must
    be dynamic.

    x: (N, *input_shape), N >= 1, in the dataset's dtype and units, such as its test samples; if None, 64 random ones.
    runtimes: runtimes or their expressions; if None, all that come with cnnkit and are installed.
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
    model.check_cost()
    inputs = _random_inputs(model) if x is None else _as_input(model, x)
    not_installed = () if runtimes is not None else tuple(cls.__name__ for cls in RUNTIMES if not is_installed(cls))
    chosen = _choose(runtimes)
    expected = model.logits(inputs)
    results = tuple(_validate(runtime, proto, model, inputs, expected, tolerance) for runtime in chosen)
    return ValidationReport(path, tolerance, results, not_installed)


def _choose(runtimes: Sequence[Runtime | str] | None) -> list[Runtime]:
    if runtimes is None:
        return [cls() for cls in RUNTIMES if is_installed(cls)]
    chosen = [cast(Runtime, installed_catalog().build("runtime", runtime)) for runtime in runtimes]
    if not chosen:
        raise ConfigError("validation needs at least one runtime, got an empty list")
    for runtime in chosen:
        ensure_installed(runtime)
    return chosen


def _validate(
    runtime: Runtime, proto: ModelProto, model: Sequential, x: Array, expected: Array, tolerance: float
) -> RuntimeResult:
    try:
        logits, probabilities = _outputs(runtime, proto.SerializeToString(), model, x)
    except OnnxError as error:
        return RuntimeResult(repr(runtime), len(x), ok=False, error=str(error))
    scale = magnitude(expected)
    scale = np.maximum(scale, np.median(scale))
    absolute = magnitude(subtract(logits, expected))
    differences = np.maximum(relative(absolute, scale), magnitude(subtract(probabilities, softmax(logits))))
    worst = int(differences.argmax())
    flips = _flips(logits, probabilities, expected, tolerance * scale, tolerance)
    within = bool(differences[worst] <= tolerance)
    divergence, problem = None, ""
    if flips or not within:
        try:
            divergence = first_divergence(runtime, proto, model, x, flips[0] if within else worst, tolerance)
        except OnnxError as error:
            problem = f"the first diverging layer cannot be found: {error}"
    return RuntimeResult(
        repr(runtime),
        len(x),
        ok=within and not flips,
        max_absolute=float(absolute.max()),
        max_relative=float(differences[worst]),
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


def _outputs(runtime: Runtime, data: bytes, model: Sequential, x: Array) -> tuple[Array, Array]:
    """Logits and probabilities for all samples: the first alone, the others in batches that bound the memory."""
    per_sample = sum(math.prod(node.out_shape) for node in model.nodes) * 4
    chunk = max(2, CHUNK_BYTES // per_sample)
    parts = [_run(runtime, data, model, x[:1])]
    parts += [_run(runtime, data, model, x[start : start + chunk]) for start in range(1, len(x), chunk)]
    logits, probabilities = zip(*parts, strict=True)
    return np.concatenate(logits), np.concatenate(probabilities)


def _run(runtime: Runtime, data: bytes, model: Sequential, x: Array) -> tuple[Array, Array]:
    outputs = runtime.run(data, {"input": x})
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
    each = math.prod(model.input_shape) * np.dtype(model.input_dtype).itemsize
    shape = (min(DEFAULT_SAMPLES, max(2, INPUT_BYTES // each)), *model.input_shape)
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
