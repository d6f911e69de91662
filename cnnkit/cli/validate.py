"""`cnnkit validate`: does an ONNX file give the answers of a registered model?"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cnnkit.cli.onnx_check import draw_report, inputs_for, remember, show_report, warn_of_faults
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
    runtimes: RuntimeChoice = None,
    dataset: DatasetChoice = None,
    samples: Annotated[
        str | None,
        typer.Option(metavar="N|all", help="How many test samples; default: up to 1,000, as many as do not take long."),
    ] = None,
    picture: Annotated[
        Path | None,
        typer.Option(
            callback=expanded_path, metavar="FILE", help="Draw the runtimes beside each other, as PNG, SVG or PDF."
        ),
    ] = None,
    reproducer: Annotated[
        Path | None,
        typer.Option(
            callback=expanded_path,
            metavar="FOLDER",
            help="Where answers differ: write the layer in which they begin to, alone, with its values.",
        ),
    ] = None,
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
    that gives others. Latencies are no part of the verdict, which is stored with the version if the file is identical
    to its export. Any other file runs in a separate process, with limits, and is refused if it uses operators that no
    layer is exported with.
    """
    from cnnkit.errors import CheckError
    from cnnkit.onnx.reproducer import make_folder
    from cnnkit.onnx.validate import validate_onnx
    from cnnkit.plotting.saving import check_target
    from cnnkit.registry import Registry
    from cnnkit.registry.bundle import provenance
    from cnnkit.registry.trust import trusted

    check_order(ref, [file], f"cnnkit validate {ref} {file}")
    if picture is not None:
        check_target(picture)
    if reproducer is not None:
        make_folder(reproducer)
    may_choose = trusted(trust)
    store = Registry(registry)
    record = store.read(ref)
    model = record.model()
    x, inputs = inputs_for(model, dataset, record.manifest, data_dir, may_choose, samples)
    report = validate_onnx(file, model, x, runtimes or None, latency=True, metadata=provenance(record))
    written = [] if reproducer is None else report.write_reproducers(reproducer)
    if picture is not None and report.results:
        draw_report(report, record.version.ref, picture)
    if report.exported:
        remember(report, store, record.version)
    else:
        ref = record.version.ref
        note(
            f"the verdict is not stored: {file} differs from the export of {ref}; `cnnkit export {ref}` validates that"
        )
    warn_of_faults(report)
    if as_json:
        say_json(
            {
                "ref": record.version.ref,
                "inputs": inputs,
                **report.to_dict(),
                "reproducers": list(map(str, written)),
                "picture": picture and str(picture),
            }
        )
    else:
        show_report(report, inputs)
        for path in written:
            note(f"wrote {path} and {path.with_suffix('.npz').name}")
    if not report.results:
        raise CheckError(f"{file} cannot be compared with {record.version.ref}: {report.problem}")
    if not report.ok:
        what = f"{file} is in int8 and" if report.precision == "int8" else f"{file}"
        raise CheckError(f"{what} does not give the answers of {record.version.ref}")
