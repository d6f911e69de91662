"""How a validation report shows itself."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import onnx

from cnnkit.network import Sequential
from cnnkit.onnx.export import export_onnx
from cnnkit.onnx.report import COLUMNS
from cnnkit.onnx.validate import validate_onnx


def test_a_report_is_a_line_in_an_interpreter_and_a_table_in_a_notebook(tmp_path: Path) -> None:
    model = Sequential(["Dense(2)"], (3,))
    report = validate_onnx(export_onnx(model, tmp_path / "a & b.onnx"), model, runtimes=["ReferenceEvaluator()"])
    assert repr(report) == (
        f"<ValidationReport: {tmp_path / 'a & b.onnx'} passed (tolerance 1e-05) on 64 samples, "
        f"ReferenceEvaluator() {onnx.__version__} pass>"
    )
    page = ElementTree.fromstring(f"<div>{report._repr_html_()}</div>")
    assert [cell.text for cell in page.iter("th")] == list(COLUMNS)
    assert [cell.text for cell in page.iter("td")] == list(report.rows()[0])
    assert "a & b.onnx passed" in "".join(page.itertext())
    failed = replace(report, results=(), problem="it is <wrong>")
    assert repr(failed).endswith("FAILED (tolerance 1e-05)>")
    assert "it is <wrong>" in "".join(ElementTree.fromstring(f"<div>{failed._repr_html_()}</div>").itertext())
