"""`cnnkit export`: a registered model as an ONNX file that other runtimes have been seen to agree with."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from cnnkit.cli.onnx_check import inputs_for, not_written, remember, show_report, warn_of_faults
from cnnkit.cli.options import (
    DataFolder,
    DatasetChoice,
    Debug,
    Json,
    Quiet,
    Reference,
    RegistryFolder,
    RuntimeChoice,
    TrustChoice,
    expanded_path,
)
from cnnkit.cli.output import say_json, say_pairs
from cnnkit.waiting_line import waiting


def export(
    ref: Reference,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", callback=expanded_path, metavar="FILE", help="Default: <name>-<number>.onnx."),
    ] = None,
    opset: Annotated[int, typer.Option(help="Version of the ONNX operator set.")] = 17,
    batch: Annotated[
        int | None, typer.Option(metavar="N", help="Samples that the file takes at once; default: any number.")
    ] = None,
    outputs: Annotated[
        str | None,
        typer.Option(
            metavar="NAMES", help="Some of logits,probabilities,label, in this order; default: all but the label."
        ),
    ] = None,
    fold: Annotated[
        bool, typer.Option("--fold/--no-fold", help="Put batch normalisations into the weights before them.")
    ] = True,
    input_dtype: Annotated[
        str | None,
        typer.Option(
            "--input", metavar="DTYPE", help="float32 for runtimes that do not accept uint8; default: the dataset's."
        ),
    ] = None,
    fp16: Annotated[bool, typer.Option("--fp16", help="Weights and values in float16: half the size.")] = False,
    int8: Annotated[
        bool,
        typer.Option(
            "--int8",
            help="Weights and values in 8 bits, with ranges that training samples give: a quarter of the size.",
        ),
    ] = False,
    keep: Annotated[
        list[str] | None,
        typer.Option(
            "--keep", metavar="LAYER", help="A layer that stays in float32 with --fp16 or --int8; repeatable."
        ),
    ] = None,
    max_loss: Annotated[
        float | None,
        typer.Option(
            "--max-loss",
            metavar="POINTS",
            help="How much lower the score of a file with --int8 may be, in points of a hundred; default: 1.",
        ),
    ] = None,
    validate: Annotated[
        bool, typer.Option("--validate/--no-validate", help="Compare with the model on every installed runtime.")
    ] = True,
    runtime: RuntimeChoice = None,
    dataset: DatasetChoice = None,
    trust: TrustChoice = None,
    registry: RegistryFolder = None,
    data_dir: DataFolder = None,
    _quiet: Quiet = False,
    as_json: Json = False,
    _debug: Debug = False,
) -> None:
    """Write a model as an ONNX file.

    The file is written only if an installed runtime gives the model's answers; a warning names each that does not.
    The verdict is stored with the version.

    With --fp16 or --int8 the file is smaller and its answers differ. ONNX Runtime runs it on the test samples, beside
    the one in float32, and a table shows what it loses, and in which layers. It is written only if it loses little: in
    float16 no answer but ties, in int8 no more than --max-loss. That is accuracy, of labels F1, and of values R2.
    """
    from cnnkit.cli.export_precision import check_choice, export_with_less_precision
    from cnnkit.errors import CheckError, ConfigError
    from cnnkit.onnx.executable_model import TrustedProgram
    from cnnkit.onnx.export import check_onnx_target, to_onnx, write_onnx
    from cnnkit.onnx.inputs import golden_sample
    from cnnkit.onnx.validate import validate_program
    from cnnkit.registry import Registry
    from cnnkit.registry.bundle import provenance
    from cnnkit.registry.trust import trusted

    may_choose = trusted(trust)
    if runtime and not validate:
        raise ConfigError(
            "--runtime chooses where to validate, but --no-validate turns validation off: remove one of them"
        )
    check_choice(fp16, int8, keep, max_loss, validate and not runtime)
    store = Registry(registry)
    record = store.read(ref)
    version = record.version
    model, record = record.model(), replace(record, state={})  # the model has copies
    target = output or Path(f"{version.name}-{version.number}.onnx")
    check_onnx_target(target)
    names = outputs and [name.strip() for name in outputs.split(",")]
    if fp16 or int8:
        export_with_less_precision(
            model,
            version.ref,
            record.manifest,
            target,
            int8=int8,
            keep=keep or [],
            max_loss=max_loss,
            dataset=dataset,
            data_dir=data_dir,
            trust=may_choose,
            as_json=as_json,
            opset=opset,
            batch=batch,
            outputs=names,
            fold=fold,
            input_dtype=input_dtype,
            metadata=provenance(record),
        )
        return
    report = None
    x, inputs = inputs_for(model, dataset, record.manifest, data_dir, may_choose)
    with waiting("exporting"):
        proto = to_onnx(
            model,
            opset=opset,
            batch=batch,
            outputs=names,
            fold=fold,
            metadata=provenance(record),
            input_dtype=input_dtype,
            golden=golden_sample(model, x, inputs),
        )
    if validate:
        with TrustedProgram(proto) as program:
            del proto  # what runtimes take beside it may be several times as much
            report = validate_program(program, target, model, x, runtime or None)
            data = program.file.read_bytes()
        remember(report, store, version)
        warn_of_faults(report)
    else:
        data = proto.SerializeToString(deterministic=True)
    passed = report is None or report.ok
    if passed:
        write_onnx(data, target)
    if as_json:
        validation = report and {"inputs": inputs, **report.to_dict()}
        say_json(
            {"ref": version.ref, "path": str(target) if passed else None, "opset": opset, "validation": validation}
        )
    elif report:
        show_report(report, inputs)
    if report and not report.ok:
        raise CheckError(not_written(target, report, version.ref, "its answers"))
    if not as_json:
        say_pairs({"exported": version.ref, "file": target, "validated": "no" if report is None else "yes"})
