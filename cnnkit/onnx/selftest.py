"""The self-test of a file: its golden pair on some runtimes, with nothing but the file; whoever made it."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from pathlib import Path

from cnnkit.components import Runtime
from cnnkit.errors import OnnxError
from cnnkit.onnx.available_runtimes import ALL, chosen_runtimes
from cnnkit.onnx.description import GOLDEN
from cnnkit.onnx.difference import distance
from cnnkit.onnx.executable_model import Program, outputs_of
from cnnkit.onnx.file_content import declaration_of, metadata_entry
from cnnkit.onnx.golden_pair import MAX_TEXT, GoldenPair, read_golden_pair
from cnnkit.onnx.isolated import WEIGHTS, IsolatedProgram, Limits
from cnnkit.onnx.load import OPERATORS, read_file
from cnnkit.onnx.outputs import LABEL
from cnnkit.onnx.report import RuntimeResult, ValidationReport
from cnnkit.onnx.runtimes import version_of
from cnnkit.types import Array
from cnnkit.waiting_line import waiting

NUMBERS = 10**11
"""That the nodes of a file may touch in its one run: no model says how many it needs."""
VALUES_BYTES = 512 * 2**20
"""What a run may take beside several times the size of the file."""
MAX_INPUT_BYTES = 64 * 2**20
"""Most bytes of a fixed batch that is filled with the one sample."""


def selftest(path: str | os.PathLike[str], runtimes: Sequence[Runtime | str] | None = None) -> ValidationReport:
    """Run the sample of a file's golden pair, and compare the outputs with those that the pair says.

    With a of what the file gives for an output and b of the pair, over all numbers of the output:

        max|a - b| <= tolerance * max|b|, and every label is the same

    where the pair may say other scales than max|b|, one for each number or channel of the output.

    runtimes: runtimes or their expressions; if None, all that are installed. As of a validation, the file passes if at
    least as many agree as do not.

    The file is a stranger's: it runs in a separate process, with limits of time and memory, and only if all its
    operators are among those that the built-in layers are exported with. The pair tells whether a file still does what
    it did where it was made; it proves nothing of who made it.
    Raises OnnxError for a file that cannot be read, has no pair or a malformed one, or is refused, or a runtime that is
    not installed.
    """
    path = Path(path)
    chosen = chosen_runtimes([ALL] if runtimes is None else runtimes)
    data = read_file(path)
    pair, batch = _golden_pair(data, path), declaration_of(data, path).batch
    if (needed := pair.input.nbytes * (batch or 1)) > MAX_INPUT_BYTES:
        raise OnnxError(
            f"{path} takes batches of {batch:,} samples, {needed:,} bytes; expected {MAX_INPUT_BYTES:,} at most"
        )
    limits = Limits((batch or 1, *pair.input.shape[1:]), NUMBERS, WEIGHTS * len(data) + VALUES_BYTES)
    results = []
    with IsolatedProgram(data, path, OPERATORS, limits, chosen.runtimes) as program:
        for runtime in chosen.runtimes:
            with waiting(f"running the file on {runtime!r}"):
                results.append(_compare(runtime, program, pair))
    return ValidationReport(path, pair.tolerance, tuple(results), left_out=chosen.left_out(), exported=False)


def _golden_pair(data: bytes, path: Path) -> GoldenPair:
    try:
        text = metadata_entry(data, GOLDEN, MAX_TEXT)
        if text is not None:
            return read_golden_pair(text)
    except OnnxError as error:
        raise OnnxError(f"{path}: {error}") from None
    raise OnnxError(
        f"{path} has no golden pair, a sample with the answers that are right for it: export the model again, or "
        "compare the file with its model by `cnnkit validate`"
    )


def _compare(runtime: Runtime, program: Program, pair: GoldenPair) -> RuntimeResult:
    version = ""
    try:
        version = version_of(runtime)
        given = outputs_of(program, runtime, pair.input)
    except OnnxError as error:
        return RuntimeResult(repr(runtime), 1, ok=False, version=version, answered=False, error=str(error))
    try:
        for name, expected in pair.outputs.items():
            _check_output(runtime, name, given.get(name), expected)
    except OnnxError as error:
        return RuntimeResult(repr(runtime), 1, ok=False, version=version, error=str(error))
    numbers = [name for name in pair.outputs if name != LABEL]
    absolute = max((float(distance(given[name], pair.outputs[name]).max()) for name in numbers), default=0.0)
    relative = max((pair.relative(name, given[name]) for name in numbers), default=0.0)
    flipped = LABEL in pair.outputs and bool((given[LABEL] != pair.outputs[LABEL]).any())
    return RuntimeResult(
        repr(runtime),
        1,
        ok=relative <= pair.tolerance and not flipped,
        version=version,
        max_absolute=absolute if numbers else math.nan,
        max_relative=relative if numbers else math.nan,
        budget=relative / pair.tolerance,
        worst_sample=0,
        flips=(0,) if flipped else (),
    )


def _check_output(runtime: Runtime, name: str, given: Array | None, expected: Array) -> None:
    """Raise OnnxError for an output that is missing or is no array as that of the pair."""
    if given is None:
        raise OnnxError(f"{runtime!r}: the file has no output {name!r}, of which its golden pair has values")
    if given.shape != expected.shape or given.dtype.kind not in "biuf":
        raise OnnxError(
            f"{runtime!r}: {name} have shape {given.shape} and are {given.dtype}, in the golden pair {expected.shape} "
            f"and {expected.dtype}"
        )
