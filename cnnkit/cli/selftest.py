"""`cnnkit selftest`: does an ONNX file still give the answers that it brings along?"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cnnkit.cli.onnx_check import show_report, warn_of_faults
from cnnkit.cli.options import Debug, Json, Quiet, RuntimeChoice, expanded_path
from cnnkit.cli.output import say_json


def selftest(
    file: Annotated[Path, typer.Argument(callback=expanded_path, help="An ONNX file that cnnkit exported.")],
    runtime: RuntimeChoice = None,
    _quiet: Quiet = False,
    as_json: Json = False,
    _debug: Debug = False,
) -> None:
    """Check an ONNX file by itself.

    Runs the sample that the file brings along on every installed runtime; exits with 1 if none of them gives the
    answers that the file says. It needs no model and no registry. The file runs in a separate process, with limits,
    and is refused if it uses operators that no layer is exported with.
    """
    from cnnkit.errors import CheckError
    from cnnkit.onnx.selftest import selftest

    report = selftest(file, runtime or None)
    warn_of_faults(report)
    if as_json:
        say_json(report.to_dict())
    else:
        show_report(report, "the golden pair of the file")
    if not report.ok:
        raise CheckError(f"{file} does not give the answers that its golden pair says")
