"""`cnnkit models export-bundle` and `import`: versions that go from one registry to another, and ONNX files."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from cnnkit.cli.models_onnx import is_onnx, preprocessing_of, register_onnx
from cnnkit.cli.onnx_check import inputs_for, not_written, remember, show_report, warn_of_faults
from cnnkit.cli.options import (
    DataFolder,
    DatasetChoice,
    Debug,
    Json,
    Reference,
    RegistryFolder,
    TrustChoice,
    expanded_path,
)
from cnnkit.cli.output import say, say_json, say_pairs


def export_bundle(
    ref: Reference,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", callback=expanded_path, metavar="FILE", help="Default: <name>-<number>.zip."),
    ] = None,
    dataset: DatasetChoice = None,
    trust: TrustChoice = None,
    registry: RegistryFolder = None,
    data_dir: DataFolder = None,
    as_json: Json = False,
    _debug: Debug = False,
) -> None:
    """Write a version as one zip file.

    The bundle holds its own file, its ONNX file and a model card. It is written only if an installed runtime gives
    the model's answers; a warning names each that does not.
    """
    from cnnkit import api
    from cnnkit.errors import CheckError
    from cnnkit.registry import Registry
    from cnnkit.registry.trust import trusted

    may_choose = trusted(trust)
    store = Registry(registry)
    record = store.read(ref)
    version = record.version
    target = output or Path(f"{version.name}-{version.number}.zip")
    model, record = record.model(), replace(record, state={})  # the model has copies
    x, inputs = inputs_for(model, dataset, record.manifest, data_dir, may_choose)
    report = api.write_bundle(record, model, target, x, inputs)
    remember(report, store, version)
    warn_of_faults(report)
    if as_json:
        path = str(target) if report.ok else None
        say_json({"ref": version.ref, "path": path, "validation": {"inputs": inputs, **report.to_dict()}})
    else:
        show_report(report, inputs)
    if not report.ok:
        raise CheckError(not_written(target, report, version.ref, "the answers of its ONNX file"))
    if not as_json:
        say_pairs({"exported": version.ref, "file": target})


def import_version(
    file: Annotated[
        Path,
        typer.Argument(
            callback=expanded_path, help="A version file (.h5), a bundle (.zip) from export-bundle, or an ONNX file."
        ),
    ],
    name: Annotated[
        str | None, typer.Option("--name", help="Model to add it to; default: its own, else the name of the ONNX file.")
    ] = None,
    labels: Annotated[
        Path | None,
        typer.Option(callback=expanded_path, metavar="FILE", help="ONNX file: names of the classes, one in each line."),
    ] = None,
    output: Annotated[
        str | None, typer.Option(metavar="NAME", help="ONNX file: which of its outputs the network gives.")
    ] = None,
    scale: Annotated[
        float | None,
        typer.Option(
            metavar="X", help="ONNX file: multiply samples by it first, as by 0.00392157 to make 0 to 1 of bytes."
        ),
    ] = None,
    mean: Annotated[
        str | None,
        typer.Option(
            metavar="X[,X...]", help="ONNX file: subtract it from scaled samples; one for each channel, or for all."
        ),
    ] = None,
    std: Annotated[
        str | None,
        typer.Option(metavar="X[,X...]", help="ONNX file: divide by it then; one for each channel, or for all."),
    ] = None,
    registry: RegistryFolder = None,
    as_json: Json = False,
    _debug: Debug = False,
) -> None:
    """Register a version from a file.

    It becomes the next version of its model, unless that version is already registered. An ONNX file of any program
    becomes a network that gives its answers, which is proved on random inputs before anything is registered.
    """
    from cnnkit.errors import ConfigError, RegistryError
    from cnnkit.registry import Registry
    from cnnkit.registry.bundle import read_version_file
    from cnnkit.registry.exchange import find, receive

    store = Registry(registry)
    if is_onnx(file):
        register_onnx(file, name, labels, output, preprocessing_of(scale, mean, std), store, as_json)
        return
    given = {"--labels": labels, "--output": output, "--scale": scale, "--mean": mean, "--std": std}
    if told := [option for option, value in given.items() if value is not None]:
        raise ConfigError(
            f"{' and '.join(told)} {'is' if len(told) == 1 else 'are'} for ONNX files, and {file} is none"
        )
    data = read_version_file(file)
    try:
        there = find(store, receive(data, name))
    except RegistryError as error:
        error.add_note(f"in {file}")
        raise
    version = there or store.add(data, name)
    if as_json:
        document = {"ref": version.ref, "path": str(version.path), "digest": version.digest}
        say_json({**document, "file": str(file), "new": there is None})
    elif there:
        say(f"{file} is already registered, as {version.ref}")
    else:
        say_pairs({"imported": version.ref, "file": version.path, "digest": version.digest})
