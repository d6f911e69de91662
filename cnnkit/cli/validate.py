"""`cnnkit validate`: does an ONNX file give the answers of a registered model?"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cnnkit.cli.options import (
    DataFolder,
    DatasetChoice,
    Debug,
    Json,
    Reference,
    RegistryFolder,
    RuntimeChoice,
    TrustChoice,
    expanded_path,
)
from cnnkit.cli.output import say_json
from cnnkit.cli.validation import inputs_for, remember, show_report, warn_of_faults


def validate(
    file: Annotated[Path, typer.Argument(callback=expanded_path, help="An ONNX file.")],
    ref: Reference,
    runtime: RuntimeChoice = None,
    dataset: DatasetChoice = None,
    trust: TrustChoice = None,
    registry: RegistryFolder = None,
    data_dir: DataFolder = None,
    as_json: Json = False,
    _debug: Debug = False,
) -> None:
    """Compare an ONNX file with a model.

    Runs it on every installed runtime; exits 1 if none of them gives the model's answers, and warns of each that does
    not. If the file says that it was exported from this version, the verdict is kept with the version.
    """
    from cnnkit.errors import CheckError
    from cnnkit.onnx.load import load_onnx
    from cnnkit.onnx.validate import validate_proto
    from cnnkit.registry import Registry
    from cnnkit.registry.trust import trusted

    may_choose = trusted(trust)
    store = Registry(registry)
    record = store.read(ref)
    model = record.model()
    x, inputs = inputs_for(model, dataset, record.manifest, data_dir, may_choose)
    proto = load_onnx(file)
    report = validate_proto(proto, file, model, x, runtime or None)
    if record.version.digest in (entry.value for entry in proto.metadata_props if entry.key == "digest"):
        remember(report, store, record.version)
    warn_of_faults(report)
    if as_json:
        say_json({"ref": record.version.ref, "inputs": inputs, **report.to_dict()})
    else:
        show_report(report, inputs)
    if not report.ok:
        raise CheckError(f"{file} does not give the answers of {record.version.ref}")
