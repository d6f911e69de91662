"""`cnnkit export`: a registered model as an ONNX file that other runtimes have been seen to agree with."""

from __future__ import annotations

import dataclasses
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cnnkit.cli.options import DataFolder, Debug, Json, Reference, RegistryFolder
from cnnkit.cli.output import say_json, say_pairs
from cnnkit.cli.validation import inputs_for, show_report

if TYPE_CHECKING:
    from cnnkit.registry import Record


def export(
    ref: Reference,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE", help="Default: <name>-<number>.onnx.")
    ] = None,
    opset: Annotated[int, typer.Option(help="Version of the ONNX operator set.")] = 17,
    validate: Annotated[
        bool, typer.Option("--validate/--no-validate", help="Compare with the model on every installed runtime.")
    ] = True,
    registry: RegistryFolder = None,
    data_dir: DataFolder = None,
    as_json: Json = False,
    _debug: Debug = False,
) -> None:
    """Write a model as an ONNX file.

    The file is kept only if every installed runtime gives the model's answers.
    """
    from cnnkit import api
    from cnnkit.errors import CheckError
    from cnnkit.registry import Registry

    store = Registry(registry)
    record = store.read(ref)
    version = record.version
    model = store.load(version.ref)
    target = output or Path(f"{version.name}-{version.number}.onnx")
    report, inputs = None, None
    # The file gets its name once it has passed, so that a file of that name is one that was seen to be right.
    draft = _draft(target)
    try:
        api.export_onnx(model, draft, opset=opset, metadata=_metadata(record))
        if validate:
            x, inputs = inputs_for(model, record.manifest.dataset, data_dir)
            report = dataclasses.replace(api.validate_onnx(draft, model, x), path=target)
        passed = report is None or report.ok
        if passed:
            os.replace(draft, target)
    finally:
        draft.unlink(missing_ok=True)
    if as_json:
        validation = report and {"inputs": inputs, **report.to_dict()}
        say_json(
            {"ref": version.ref, "path": str(target) if passed else None, "opset": opset, "validation": validation}
        )
    elif report and inputs:
        show_report(report, inputs)
    if not passed:
        raise CheckError(f"{target} was not kept: it does not give the answers of {version.ref}")
    if not as_json:
        say_pairs({"exported": version.ref, "file": target, "validated": "no" if report is None else "yes"})


def _draft(target: Path) -> Path:
    from cnnkit.errors import OnnxError

    if target.is_dir() or not target.absolute().parent.is_dir():
        raise OnnxError(f"cannot write {target}: expected the name of a file in a folder that exists")
    return target.with_name(f".{target.name}.{os.getpid()}.tmp")


def _metadata(record: Record) -> dict[str, str]:
    manifest = record.manifest
    entries = {"reference": record.version.ref, "digest": record.version.digest}
    if manifest.recipe:
        entries["recipe"] = json.dumps(manifest.recipe, ensure_ascii=False)
    if manifest.dataset:
        entries |= {"dataset": manifest.dataset["name"], "dataset_digest": manifest.dataset["digest"]}
    return entries
