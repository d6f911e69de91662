"""`cnnkit validate`: does an ONNX file give the answers of a registered model?"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cnnkit.cli.options import DataFolder, DatasetChoice, Debug, Json, Reference, RegistryFolder, expanded_path
from cnnkit.cli.output import say_json
from cnnkit.cli.validation import inputs_for, remember, show_report


def validate(
    file: Annotated[Path, typer.Argument(callback=expanded_path, help="An ONNX file.")],
    ref: Reference,
    dataset: DatasetChoice = None,
    registry: RegistryFolder = None,
    data_dir: DataFolder = None,
    as_json: Json = False,
    _debug: Debug = False,
) -> None:
    """Compare an ONNX file with a model.

    Runs it on every installed runtime; exits 1 if one of them gives other answers. If the file says that it was
    exported from this version, the verdict is kept with the version.
    """
    from cnnkit.errors import CheckError
    from cnnkit.onnx.load import load_onnx
    from cnnkit.onnx.validate import validate_proto
    from cnnkit.registry import Registry

    store = Registry(registry)
    record = store.read(ref)
    model = record.model()
    x, inputs = inputs_for(model, dataset, record.manifest.dataset, data_dir)
    proto = load_onnx(file)
    report = validate_proto(proto, file, model, x)
    if record.version.digest in (entry.value for entry in proto.metadata_props if entry.key == "digest"):
        remember(report, store, record.version)
    if as_json:
        say_json({"ref": record.version.ref, "inputs": inputs, **report.to_dict()})
    else:
        show_report(report, inputs)
    if not report.ok:
        raise CheckError(f"{file} does not give the answers of {record.version.ref}")
