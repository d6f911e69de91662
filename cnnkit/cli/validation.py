"""What `export` and `validate` share: the inputs to compare on, and how a report is shown."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from cnnkit.cli.output import note, say, say_table

if TYPE_CHECKING:
    from cnnkit.network import Sequential
    from cnnkit.onnx.report import ValidationReport
    from cnnkit.types import Array

MAX_SAMPLES = 1000
"""Test samples to compare on: the reference evaluator is slow."""


def inputs_for(model: Sequential, dataset: Mapping[str, str] | None, data_dir: str | None) -> tuple[Array | None, str]:
    """The first test samples of the model's dataset, or None for random inputs; and in words what they are."""
    from cnnkit.data import load_dataset
    from cnnkit.errors import CnnkitError

    expression = (dataset or {}).get("name")
    if not expression:
        return None, "random inputs (the model does not say what it was trained on)"
    try:
        x = load_dataset(expression, data_dir).test.x[:MAX_SAMPLES]
    except CnnkitError as error:
        return None, f"random inputs ({expression} cannot be loaded: {error})"
    if x.shape[1:] != model.input_shape:
        return None, f"random inputs (the samples of {expression} do not have the shape {model.input_shape})"
    return x, f"{len(x)} test samples of {expression}"


def show_report(report: ValidationReport, inputs: str) -> None:
    """Print one row for each runtime, and what the rows cannot hold."""
    from cnnkit.onnx.report import COLUMNS

    note(f"compared on {inputs}")
    say_table(COLUMNS, report.rows())
    for remark in report.remarks():
        say(remark)
