"""A model as an ONNX file in float16 or int8, with a report of what that loses."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from onnx import ModelProto

from cnnkit.components.checks import not_negative
from cnnkit.errors import ConfigError
from cnnkit.network import Network
from cnnkit.onnx.expected_answers import FLOAT16_TOLERANCE
from cnnkit.onnx.precision.basis import Basis, basis_of
from cnnkit.onnx.precision.finishing import finish
from cnnkit.onnx.precision.float16 import check_numbers, layers_for_float16, rounded_in_float32, to_float16
from cnnkit.onnx.precision.int8 import layers_for_int8, to_int8
from cnnkit.onnx.precision.layers import ARITHMETIC, Layers
from cnnkit.onnx.precision.measuring import error_of, loss_of, score_of
from cnnkit.onnx.precision.ranges import value_ranges, widened
from cnnkit.onnx.precision.report import PrecisionReport
from cnnkit.onnx.precision.running import Running
from cnnkit.types import Data
from cnnkit.waiting_line import waiting
from cnnkit.wording import counted

MAX_LOSS = 1.0
"""Points of a hundred that the score of a file in int8 may be lower, unless somebody says otherwise."""
Reduced = tuple[ModelProto, PrecisionReport]


def float16_file(
    model: Network, data: Data, path: Path, keep: Sequence[str] = (), ignore_index: int | None = None, **options: Any
) -> Reduced:
    """The model as an ONNX model with its layers in float16, and what that loses.

    It may be used, `report.ok`, if on the test samples, with every number rounded to float16, no output differs from
    the one in float32 by more than a hundredth, in the terms of `validate_onnx`, and no answer does but ties.
    data: what the model was trained on; path: its name in the report; keep: layers that stay in float32; ignore_index:
    the class that is not counted; options: as of `to_onnx`.
    Raises OnnxError without ONNX Runtime, and naming the layers whose numbers float16 cannot hold, or whose values on
    test samples or those of training are beyond half of what it can; and what `basis_of` raises.
    """
    basis = basis_of(model, data, path, "float16", keep, options)
    layers, proto = basis.layers, basis.proto
    chosen = _chosen(basis, layers_for_float16(layers, proto), keep, "float16")
    with waiting(f"looking for large values in {counted(len(data.test), 'sample')}"):
        ranges = widened(basis.ranges, value_ranges(proto, model, data.test.x))
    check_numbers(proto, layers, chosen, ranges)

    file, report = _measured(basis, "float16", to_float16, chosen, FLOAT16_TOLERANCE, ignore_index, rounded_in_float32)
    problem = ""
    if report.flips or not report.largest <= FLOAT16_TOLERANCE:
        problem = (
            f"in float16 an output differs by {report.largest:.1e}, where {FLOAT16_TOLERANCE:g} is allowed, and "
            f"{report.flips:,} answers are different ones"
        )
    return file, _with_problem(report, problem)


def int8_file(
    model: Network,
    data: Data,
    path: Path,
    keep: Sequence[str] = (),
    max_loss: float = MAX_LOSS,
    ignore_index: int | None = None,
    **options: Any,
) -> Reduced:
    """The model as an ONNX model with its layers in int8, and what that loses.

    It may be used, `report.ok`, if on the test samples the score, see `score_of`, falls by `max_loss` points of a
    hundred at most. Other arguments and errors as of `float16_file`, but any number can be held.
    """
    not_negative("max_loss", max_loss)
    basis = basis_of(model, data, path, "int8", keep, options)
    chosen = _chosen(basis, layers_for_int8(basis.layers, basis.ranges), keep, "int8")

    def reduced(proto: ModelProto, layers: Layers, some: Sequence[str]) -> ModelProto:
        return to_int8(proto, layers, some, basis.ranges)

    file, report = _measured(basis, "int8", reduced, chosen, 0.0, ignore_index)
    problem = ""
    if not report.loss <= max_loss:
        problem = f"in int8 the {report.score} falls by {report.loss:.2f} points, and may fall by {max_loss:g}"
    return file, _with_problem(report, problem)


def _chosen(basis: Basis, fit: Sequence[str], keep: Sequence[str], precision: str) -> list[str]:
    chosen = [layer for layer in fit if layer not in keep]
    if not any(basis.layers.operators(layer) & ARITHMETIC for layer in chosen):
        raise ConfigError(f"no layer would be in {precision}: each is kept in float32, or can be in nothing else")
    return chosen


def _itself(file: ModelProto) -> ModelProto:
    return file


def _measured(
    basis: Basis,
    precision: str,
    reduced: Callable[[ModelProto, Layers, Sequence[str]], ModelProto],
    chosen: Sequence[str],
    tolerance: float,
    ignore_index: int | None,
    run_as: Callable[[ModelProto], ModelProto] = _itself,
) -> Reduced:
    """The finished file, and its report without a verdict.

    reduced: gives a file with some layers in less precision; chosen: these; tolerance: as of `loss_of`; run_as: what
    ONNX Runtime runs in the place of such a file.
    """
    original, model, test = basis.proto, basis.model, basis.data.test
    file = measured = reduced(original, basis.layers, chosen)
    if basis.wanted is not original:
        file = reduced(basis.wanted, Layers(model, basis.wanted), chosen)
    finish(file, measured, basis, tolerance)
    score = score_of(model, ignore_index)
    with waiting(f"measuring on {counted(len(test), 'sample')}"):
        loss = loss_of(run_as(measured), original, model, test, score, tolerance)
    with Running(original, model) as running:
        expected = running.answers(basis.compared)[0]
    errors = {}
    for layer in chosen:
        if basis.layers.operators(layer) & ARITHMETIC:
            with waiting(f"measuring {layer}"):
                alone = run_as(reduced(original, basis.layers, [layer]))
                errors[layer] = error_of(alone, model, basis.compared, expected)
    return file, PrecisionReport(
        path=basis.path,
        precision=precision,
        samples=len(test),
        calibration=len(basis.x),
        score=score.key,
        before=loss.before,
        after=loss.after,
        flips=loss.flips,
        answers=loss.answers,
        largest=loss.largest,
        original_bytes=basis.wanted.ByteSize(),
        bytes=file.ByteSize(),
        layers=dict(sorted(errors.items(), key=lambda item: -item[1])),
        in_float32=tuple(layer for layer in basis.layers.nodes if layer not in chosen),
    )


def _with_problem(report: PrecisionReport, problem: str) -> PrecisionReport:
    if not problem:
        return report
    worst = next(iter(report.layers))
    return replace(report, problem=f"{problem}: keep layers that lose most in float32, such as {worst}")
