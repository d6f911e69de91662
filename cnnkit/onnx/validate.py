"""Validation: an exported file must give the model's answers on every runtime, or tell which layer does not."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from onnx import ModelProto

from cnnkit.components import Runtime
from cnnkit.components.checks import positive
from cnnkit.errors import OnnxError
from cnnkit.network import Network
from cnnkit.onnx.available_runtimes import Available, available_runtimes, built
from cnnkit.onnx.description import labels_json
from cnnkit.onnx.difference import distance, magnitude, relative, subtract
from cnnkit.onnx.divergence import first_divergence
from cnnkit.onnx.executable_model import Program, TrustedProgram, check_batch, outputs_of, samples_of
from cnnkit.onnx.expected_answers import FLOAT16_TOLERANCE, Answers, allowed, answers
from cnnkit.onnx.file_content import declared_batch, digest, exports
from cnnkit.onnx.inputs import as_input, random_inputs
from cnnkit.onnx.isolated import IsolatedProgram, limits_for
from cnnkit.onnx.load import OPERATORS, Signature, read_file
from cnnkit.onnx.outputs import (
    LABEL,
    PROBABILITIES,
    given_by,
    output_names,
    output_shape,
    possible_outputs,
    probabilities_of,
)
from cnnkit.onnx.report import RuntimeResult, ValidationReport
from cnnkit.onnx.unrolling import without_reference
from cnnkit.types import Array, Inputs
from cnnkit.waiting_line import waiting

MOST_SHOWN = 20
"""Outputs that an error names, and characters of each: a file may have any number of any length."""


def validate_onnx(
    path: str | os.PathLike[str],
    model: Network,
    x: Inputs | None = None,
    runtimes: Sequence[Runtime | str] | None = None,
    *,
    tolerance: float = 1e-5,
) -> ValidationReport:
    """Run the file on several runtimes and compare its outputs with the model's, sample by sample.

    With a one of the file's logits, scores or values for a sample, b that of the model in float64, and c in float32:

        absolute = |a - b|
        relative = max(absolute / s, |probability - softmax(a)|)
        s        = max(|b|, the mean of that over all samples, and pixels, for this output)
        rounding = max(|c - b|, the mean of that, of pixels the largest of the sample) / s

    Each output has its own scale: a large one must not hide that a small one is wrong. The rounding error of a logit
    grows with the terms that were added up, not with the sum, which may happen to be near zero in one sample, as in a
    regression: hence the means. A network that is ill-conditioned, where numbers cancel that are much larger than what
    is left, loses more digits in any order of adding: its own rounding measures that. Rounding moves softmax, too, by
    as much as its logits moved, so the file's probabilities are measured against its own logits (softmax over axis 1,
    of labels the sigmoid, in float64).

    A runtime agrees if for every output of every sample

        absolute / s <= allowed = max(tolerance, min(10 rounding, 0.1))
        |probability - softmax(a)| <= tolerance

    and no label flips. A flip is another argmax, of logits or probabilities, in a sample whose highest logit is ahead
    of every other by more than what is allowed for both, and whose probabilities by more than 2 tolerance: closer ones
    are ties. Of several labels, it is one on the other side of its limit, a probability of 1/2, that was further from
    it than is allowed. The first sample runs alone, the others together: the batch axis must be dynamic. A file that
    declares a fixed batch is given so many at a time, the last of them filled up with the last sample.

    Compared are those outputs that the file has. Of `probabilities` without logits the differences are as of logits
    above; a `label` must be the model's unless that is a tie.

    The file passes if at least as many runtimes agree as do not, and what it declares of its input, outputs and labels
    fits the model; a runtime that does not agree is then itself at fault, and the report names it.

    x: (N, *input_shape), N >= 1, in the dataset's dtype and units, such as its test samples; if None, 64 random ones.
    A file that takes float32 is given them in that.
    runtimes: runtimes or their expressions; if None, all that are installed, also those of plugins.

    A file that holds anything else than what exporting the model gives, whatever its metadata say, is foreign: it is
    checked and executed in a separate process, with limits of time and memory, and only if all its operators are
    among those that layers are exported with, and its shapes show that it takes no more than such a file may. The
    report's `exported` is then False. So are the files that `export_float16` and `export_int8` write. One that holds
    numbers in float16 is compared with a tolerance of 1e-2 at least; one in int8 is expected to fail, and the report
    says why.

    Raises OnnxError for a file that cannot be read or is refused, or a runtime that is not installed, ConfigError or
    ShapeError for arguments that do not fit. Differing answers, or a runtime without an answer within the limits,
    raise nothing: the report says so.
    """
    path = Path(path)
    inputs, chosen = _arguments(model, x, runtimes, tolerance)
    data = read_file(path)
    batch, content, own = declared_batch(data), digest(data), []
    check_batch(batch, model)
    for proto in exports(data, model):
        if digest(proto.SerializeToString(deterministic=True)) == content:
            return _report(TrustedProgram(proto), path, model, inputs, chosen, tolerance)
        own.append(proto)
    operators = OPERATORS.union(node.op_type for proto in own for node in proto.graph.node)
    limits = limits_for(model, len(inputs), batch, own)
    with IsolatedProgram(data, path, operators, limits, chosen.runtimes) as program:
        return replace(_report(program, path, model, inputs, chosen, tolerance), exported=False)


def validate_proto(
    proto: ModelProto,
    path: Path,
    model: Network,
    x: Inputs | None = None,
    runtimes: Sequence[Runtime | str] | None = None,
    *,
    tolerance: float = 1e-5,
) -> ValidationReport:
    """What `validate_onnx` does, for an export that is in memory; `path` is its name in the report."""
    inputs, chosen = _arguments(model, x, runtimes, tolerance)
    program = TrustedProgram(proto)
    check_batch(program.signature.batch, model)
    return _report(program, path, model, inputs, chosen, tolerance)


def _arguments(
    model: Network, x: Inputs | None, runtimes: Sequence[Runtime | str] | None, tolerance: float
) -> tuple[Array, Available]:
    positive("tolerance", tolerance)
    model.check_cost()
    inputs = random_inputs(model) if x is None else as_input(model, x)
    chosen = available_runtimes() if runtimes is None else Available(built(runtimes))
    return inputs, without_reference(chosen, model)


def _report(
    program: Program, path: Path, model: Network, x: Array, chosen: Available, tolerance: float
) -> ValidationReport:
    names = given_by(possible_outputs(model), program.signature.outputs) or output_names(model)
    precision = program.signature.precision
    if precision == "float16":
        tolerance = max(tolerance, FLOAT16_TOLERANCE)
    with waiting("running the model"):
        expected = answers(model, x, names)
    results = []
    for runtime in chosen.runtimes:
        with waiting(f"running the file on {runtime!r}"):
            results.append(_validate(runtime, program, expected, tolerance))
    return ValidationReport(
        path,
        tolerance,
        tuple(results),
        precision=precision,
        left_out=chosen.left_out(),
        rounding=expected.largest_rounding,
        problem=_problem(program.signature, model, names),
    )


def _problem(signature: Signature, model: Network, names: Sequence[str]) -> str:
    """What the file declares that does not fit the model; "" if all fits.

    The reference evaluator ignores it, other runtimes refuse what differs, or pass it on.
    """
    if signature.labels is not None and signature.labels != labels_json(model):
        return f"the file names the labels {signature.labels:.100}, the model has {labels_json(model):.100}"
    for name in names:
        expected = "int64" if name == LABEL else "float32"
        if (given := signature.outputs.get(name, expected)) != expected:
            return f"the file declares the output {name!r} of {given}, expected {expected}"
    sizes, wanted = signature.sizes, [signature.batch or "N", *model.input_shape]
    if sizes is None:
        return ""
    fits = len(sizes) == len(wanted) and all(size in ("N", n) for size, n in zip(sizes, wanted, strict=True))
    kinds = dict.fromkeys([model.input_dtype, "float32"])
    if fits and signature.dtype in kinds:
        return ""
    return (
        f"the file declares an input of {signature.dtype} ({', '.join(map(str, sizes))}), expected "
        f"{' or '.join(kinds)} ({', '.join(map(str, wanted))}) with a batch axis of any size"
    )


def _validate(runtime: Runtime, program: Program, expected: Answers, tolerance: float) -> RuntimeResult:
    model = expected.single
    try:
        given = _outputs(runtime, program, expected)
    except OnnxError as error:
        return RuntimeResult(repr(runtime), len(expected.x), ok=False, error=str(error))
    label = given.pop(LABEL, None)
    outputs, *probabilities = given.values() or [expected.outputs]  # of a label alone, all else is as it should be
    absolute = distance(outputs, expected.outputs)
    by_outputs = relative(absolute, expected.scale)
    by_probabilities = np.zeros(len(outputs))
    for one in probabilities:
        by_probabilities = magnitude(subtract(one, probabilities_of(model, outputs)))
    most = allowed(expected.rounding, tolerance)
    scaled = most * expected.scale
    turned = flipped(model, expected.names, [outputs, *probabilities], expected.outputs, label, scaled, tolerance)
    flips = tuple(np.flatnonzero(turned.reshape(len(turned), -1).any(axis=1)).tolist())
    excess = np.maximum(_largest(by_outputs - most), by_probabilities - tolerance)
    worst = int(excess.argmax())
    within = bool(excess[worst] <= 0)
    divergence, problem = None, ""
    if flips or not within:
        try:
            divergence = first_divergence(runtime, program, expected, flips[0] if within else worst, tolerance)
        except OnnxError as error:
            problem = f"the first diverging layer cannot be found: {error}"
    return RuntimeResult(
        repr(runtime),
        len(expected.x),
        ok=within and not flips,
        max_absolute=float(absolute.max()),
        max_relative=float(np.maximum(_largest(by_outputs), by_probabilities).max()),
        worst_sample=worst,
        flips=flips,
        divergence=divergence,
        error=problem,
    )


def _largest(values: Array) -> Array:
    """Of each sample: (N, ...) -> (N,)."""
    return np.asarray(values.reshape(len(values), -1).max(axis=1))


def flipped(
    model: Network,
    names: Sequence[str],
    given: Sequence[Array],
    expected: Array,
    label: Array | None,
    error: Array,
    probability_error: float,
) -> Array:
    """Where another class or label is said, (N, ...) bool, unless ours is a tie: what is allowed could turn it.

    given: the outputs, and the probabilities if there are any; label: what the file says itself, if it does; error: of
    each output that is allowed, (N, ...).
    """
    if model.task.gives == "values":
        return np.zeros(len(expected), bool)
    own = [expected, *(probabilities_of(model, expected) for _ in given[1:])]
    at = 0.0 if model.task.from_logits and names[0] != PROBABILITIES else 0.5
    ours = _said(model, expected, at)
    clear = np.ones(ours.shape, bool)
    differs = np.zeros(ours.shape, bool) if label is None else label != ours
    errors = error, np.full(expected.shape, probability_error)
    for theirs, values, most, limit in zip(given, own, errors, (at, 0.5), strict=False):
        clear &= _is_clear(model, values, most, limit)
        differs |= _said(model, theirs, limit) != ours
    return np.asarray(clear & differs)


def _said(model: Network, values: Array, limit: float) -> Array:
    """The class of each sample or pixel, or which labels are there: those from a limit on."""
    return values.argmax(axis=1) if model.task.gives == "classes" else values >= limit


def _is_clear(model: Network, values: Array, error: Array, limit: float) -> Array:
    """Whether these errors leave the highest class (axis 1) as it is, or each label on its side of the limit."""
    if model.task.gives == "labels":
        return np.asarray(distance(values, np.full_like(values, limit)) > error)
    best = values.argmax(axis=1, keepdims=True)
    error = np.where(np.isfinite(values), error, 0)  # what is not a number is found by its distance
    others = values + error
    np.put_along_axis(others, best, -np.inf, axis=1)
    lowest = np.take_along_axis(values - error, best, axis=1)
    return np.asarray(lowest[:, 0] > others.max(axis=1))


def _outputs(runtime: Runtime, program: Program, expected: Answers) -> dict[str, Array]:
    """What the file gives for all samples: the first alone, the others in batches that bound the memory."""
    x, model = expected.x, expected.single
    if program.signature.batch:
        return _run(runtime, program, expected, x)
    chunk = samples_of(program.chunk_bytes, model)
    parts = [_run(runtime, program, expected, x[:1])]
    parts += [_run(runtime, program, expected, x[start : start + chunk]) for start in range(1, len(x), chunk)]
    return {name: np.concatenate([part[name] for part in parts]) for name in expected.names}


def _run(runtime: Runtime, program: Program, answers: Answers, x: Array) -> dict[str, Array]:
    outputs = outputs_of(program, runtime, x)
    for name in answers.names:
        expected = (len(x), *output_shape(answers.model, name))
        if name not in outputs:
            given = ", ".join(repr(other)[:MOST_SHOWN] for other in list(outputs)[:MOST_SHOWN])
            raise OnnxError(f"{runtime!r}: the file has no output {name!r}, only {given}")
        if outputs[name].shape != expected:
            raise OnnxError(
                f"{runtime!r}: {name} have shape {outputs[name].shape} for a batch of {len(x)}, expected {expected}"
            )
    return {name: outputs[name] for name in answers.names}
