"""Validation: an exported file must give the model's answers on every runtime, or tell which layer does not."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from onnx import ModelProto

from cnnkit.components import Runtime
from cnnkit.components.checks import positive
from cnnkit.network import Network
from cnnkit.onnx.available_runtimes import ALL, Available, chosen_runtimes
from cnnkit.onnx.executable_model import Program, TrustedProgram, block_of, check_batch
from cnnkit.onnx.expected_answers import FLOAT16_TOLERANCE, ExpectedAnswers, NotFiniteError
from cnnkit.onnx.file_content import Declaration, declaration_of, digest, exports
from cnnkit.onnx.file_metadata import metadata_problem
from cnnkit.onnx.inputs import as_input, random_inputs
from cnnkit.onnx.isolated import IsolatedProgram, limits_for
from cnnkit.onnx.load import OPERATORS, Signature, read_file
from cnnkit.onnx.outputs import LABEL, given_by, output_names, possible_outputs
from cnnkit.onnx.report import ValidationReport
from cnnkit.onnx.runtime_comparison import compared
from cnnkit.onnx.unrolling import without_reference
from cnnkit.types import Inputs
from cnnkit.waiting_line import waiting


def validate_onnx(
    path: str | os.PathLike[str],
    model: Network,
    x: Inputs | None = None,
    runtimes: Sequence[Runtime | str] | None = None,
    *,
    tolerance: float = 1e-5,
    latency: bool = False,
    metadata: Mapping[str, str] | None = None,
) -> ValidationReport:
    """Run the file on several runtimes and compare its outputs with the model's, sample by sample.

    With a one of the file's logits, scores or values for a sample, b that of the model in float64, and c in float32:

        absolute = |a - b|
        relative = max(absolute / s, |probability - softmax(a)| / p)
        p        = the largest softmax(a) of the sample, or pixel; 1 of several labels
        s        = max(|b|, f v) for this output
        f        = the mean of |b| over all samples, but no more than 4 times its median over those where it is not 0
        v        = the median of |b| / f over all outputs of the sample, but no less than 1
        rounding = |c - b| / s, with a floor of the same kind, and of pixels the largest of the sample

    In f and v, |b| of an image is its mean over the pixels. Each output has its own scale: a large one must not hide
    that a small one is wrong, nor may a sample that is far larger than all others. Probabilities have no outliers, and
    f is their mean. The rounding error of a logit grows with the terms that were added up, not with the sum, which may
    happen to be near zero in one sample, as in a regression: hence f and v. A network that is ill-conditioned, where
    numbers cancel that are much larger than what is left, loses more digits in any order of adding: its own rounding
    measures that. Rounding moves softmax, too, by as much as its logits moved, so the file's probabilities are measured
    against its own logits (softmax over axis 1, of labels the sigmoid, in float64).

    A runtime agrees if for every output of every sample

        absolute / s <= allowed = max(tolerance, min(10 rounding, 0.1))
        |probability - softmax(a)| / p <= tolerance

    and no label flips. A flip is another argmax, of logits or probabilities, in a sample whose highest logit is ahead
    of every other by more than what is allowed for both, and whose probabilities by more than 2 tolerance p: closer
    ones are ties. There, no logit is allowed more than rounding explains, or the tolerance times the largest |b| of the
    sample. Of several labels, it is one on the other side of its limit, a probability of 1/2, that was further from it
    than is allowed. The first sample runs alone, the others together, and a single one twice as well: the batch axis
    must be dynamic. A file that declares a fixed batch is given so many at a time, the last of them filled up with the
    last sample.

    Compared are those outputs that the file has. Of `probabilities` without logits the differences are as of logits
    above; a `label` must be the model's unless that is a tie.

    The file passes if at least as many runtimes agree as give other answers, and what it declares of its input and
    outputs fits the model, as does what its metadata say of labels, preprocessing and input, and the golden pair, whose
    answers must be the model's. A runtime that gives other answers is then itself at fault, and the report names it.
    One that cannot run the file says why, and counts for neither.

    x: (N, *input_shape), N >= 1, in the dataset's dtype and units, such as its test samples; if None, 64 random ones.
    They are taken block by block, and memory does not grow with N. A file that takes float32 is given them in that.
    runtimes: runtimes or their expressions; "all", or None for the list, means all that are installed, also those of
    plugins.
    latency: whether to measure how long a run takes, which is no part of the verdict.
    metadata: what the file must say under further keys if it has them, such as the `reference` to a version.

    A file that holds anything else than what exporting the model gives, its metadata left aside, is foreign: it is
    checked and executed in a separate process, with limits of time and memory, and only if all its operators are
    among those that layers are exported with, and its shapes show that it takes no more than such a file may. The
    report's `exported` is then False, as it is where metadata contradict the model.

    No runtime is asked, and the report has no results, where the model's own answers in float32 are not finite: its
    `problem` says for how many samples, and since which layer.

    Raises OnnxError for a file that cannot be read or is refused, or a runtime that is not installed, ConfigError or
    ShapeError for arguments that do not fit. Differing answers, or a runtime without an answer within the limits,
    raise nothing: the report says so.
    """
    path = Path(path)
    inputs, chosen = _arguments(model, x, runtimes, tolerance)
    data = read_file(path)
    declared = declaration_of(data, path)
    check_batch(declared.batch, model)
    trusted, own = _own_export(data, declared, model)
    if trusted is not None:
        with trusted:
            problem = metadata_problem(data, path, model, metadata)
            del data  # what runtimes take beside it may be several times as much
            report = _report(trusted, path, model, inputs, chosen, tolerance, latency=latency)
        return report.contradicted(problem)
    operators = OPERATORS.union(node.op_type for proto in own for node in proto.graph.node)
    limits = limits_for(model, len(inputs), declared.batch, own)
    with IsolatedProgram(data, path, operators, limits, chosen.runtimes) as program:
        problem = metadata_problem(data, path, model, metadata, program.signature.precision)
        report = _report(program, path, model, inputs, chosen, tolerance, latency=latency)
    return replace(report, exported=False).contradicted(problem)


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
    with TrustedProgram(proto) as program:
        return validate_program(program, path, model, x, runtimes, tolerance=tolerance)


def validate_program(
    program: TrustedProgram,
    path: Path,
    model: Network,
    x: Inputs | None = None,
    runtimes: Sequence[Runtime | str] | None = None,
    *,
    tolerance: float = 1e-5,
) -> ValidationReport:
    """What `validate_proto` does, for an export that is in memory no more, and is not afterwards."""
    inputs, chosen = _arguments(model, x, runtimes, tolerance)
    check_batch(program.signature.batch, model)
    report = _report(program, path, model, inputs, chosen, tolerance)
    program.rest()
    return report


def _own_export(data: bytes, declared: Declaration, model: Network) -> tuple[TrustedProgram | None, list[ModelProto]]:
    """The export of the model that a file holds the same as, if it does; and those that it does not."""
    content = digest(data)
    others: list[ModelProto] = []
    for proto in exports(declared, model):
        if digest(proto.SerializeToString(deterministic=True)) == content:
            return TrustedProgram(proto), others
        others.append(proto)
    return None, others


def _arguments(
    model: Network, x: Inputs | None, runtimes: Sequence[Runtime | str] | None, tolerance: float
) -> tuple[Inputs, Available]:
    positive("tolerance", tolerance)
    model.check_cost()
    inputs = random_inputs(model) if x is None else as_input(model, x)
    return inputs, without_reference(chosen_runtimes([ALL] if runtimes is None else runtimes), model)


def _report(
    program: Program,
    path: Path,
    model: Network,
    x: Inputs,
    chosen: Available,
    tolerance: float,
    *,
    latency: bool = False,
) -> ValidationReport:
    names = given_by(possible_outputs(model), program.signature.outputs) or output_names(model)
    precision = program.signature.precision
    if precision == "float16":
        tolerance = max(tolerance, FLOAT16_TOLERANCE)
    results = []
    with np.errstate(over="ignore", invalid="ignore"):  # what comes of it is looked at
        try:
            with waiting("running the model"):
                expected = ExpectedAnswers(model, x, block_of(model), names)
        except NotFiniteError as error:
            return ValidationReport(path, tolerance, (), precision=precision, rounding=math.inf, problem=str(error))
        for runtime in chosen.runtimes:
            with waiting(f"running the file on {runtime!r}"):
                results.append(compared(runtime, program, expected, tolerance, latency=latency))
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
