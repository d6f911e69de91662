"""`cnnkit validate`: does an ONNX file give the answers of a registered model?"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cnnkit.cli.onnx_check import inputs_for, remember, show_report, warn_of_faults
from cnnkit.cli.options import (
    DataFolder,
    DatasetChoice,
    Debug,
    Json,
    Quiet,
    Reference,
    RegistryFolder,
    RuntimeChoice,
    StrictPlugins,
    TrustChoice,
    check_order,
    expanded_path,
)
from cnnkit.cli.output import note, say_json


def validate(
    file: Annotated[Path, typer.Argument(callback=expanded_path, help="An ONNX file.")],
    ref: Reference,
    runtime: RuntimeChoice = None,
    dataset: DatasetChoice = None,
    trust: TrustChoice = None,
    registry: RegistryFolder = None,
    data_dir: DataFolder = None,
    _quiet: Quiet = False,
    as_json: Json = False,
    _strict: StrictPlugins = False,
    _debug: Debug = False,
) -> None:
    """Compare an ONNX file with a model.

    Runs it on every installed runtime; exits with 1 if none of them gives the model's answers, and warns about each
    that does not. The verdict is stored with the version if the file is identical to its export. Any other file runs
    in a separate process, with limits, and is refused if it uses operators that no layer is exported with.
    """
    from cnnkit.errors import CheckError
    from cnnkit.onnx.validate import validate_onnx
    from cnnkit.registry import Registry
    from cnnkit.registry.trust import trusted

    check_order(ref, [file], f"cnnkit validate {ref} {file}")
    may_choose = trusted(trust)
    store = Registry(registry)
    record = store.read(ref)
    model = record.model()
    x, inputs = inputs_for(model, dataset, record.manifest, data_dir, may_choose)
    report = validate_onnx(file, model, x, runtime or None)
    if report.exported:
        remember(report, store, record.version)
    else:
        ref = record.version.ref
        note(
            f"the verdict is not stored: {file} differs from the export of {ref}; `cnnkit export {ref}` validates that"
        )
    warn_of_faults(report)
    if as_json:
        say_json({"ref": record.version.ref, "inputs": inputs, **report.to_dict()})
    else:
        show_report(report, inputs)
    if not report.ok:
        what = f"{file} is in int8 and" if report.precision == "int8" else f"{file}"
        raise CheckError(f"{what} does not give the answers of {record.version.ref}")
