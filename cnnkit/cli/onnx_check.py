"""What `export` and `validate` share: the inputs to compare on, how a report is shown, and how it is remembered."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cnnkit.cli.output import note, say, say_table, warn
from cnnkit.cli.recorded_components import recorded_dataset

if TYPE_CHECKING:
    from cnnkit.network import Network
    from cnnkit.onnx.report import ValidationReport
    from cnnkit.registry import Manifest, Registry, Version
    from cnnkit.registry.trust import Trust
    from cnnkit.types import Array


def inputs_for(
    model: Network, chosen: str | None, manifest: Manifest, data_dir: str | None, trust: Trust
) -> tuple[Array | None, str]:
    """The first test samples of the chosen dataset, else of the recorded one, else None; and a description.

    Raises what `load_dataset` raises for a chosen dataset.
    """
    from cnnkit.data import load_dataset
    from cnnkit.data.named import named_dataset
    from cnnkit.errors import CnnkitError
    from cnnkit.onnx.executable_model import compared_samples

    try:
        data = load_dataset(named_dataset(chosen) if chosen else recorded_dataset(manifest, data_dir, trust), data_dir)
    except CnnkitError as error:
        if chosen:
            raise
        return None, f"random inputs ({error})"
    x = data.test.x[: compared_samples(model)]
    if chosen or x.shape[1:] == model.input_shape:
        return x, f"{len(x)} test samples of {data.name}"
    return None, f"random inputs (the samples of {data.name} do not have the shape {model.input_shape})"


def show_report(report: ValidationReport, inputs: str) -> None:
    """Print one row for each runtime, and what the rows cannot hold."""
    from cnnkit.onnx.report import COLUMNS

    note(f"compared on {inputs}")
    say_table(COLUMNS, report.rows(), ("worst sample", "absolute"))
    for remark in report.remarks():
        say(remark)


def warn_of_faults(report: ValidationReport) -> None:
    """Warn of each runtime that a right file must not be run on."""
    for fault in report.faults():
        warn(fault)


def remember(report: ValidationReport, store: Registry, version: Version) -> None:
    """Store the verdict of a report beside the version; warns where the registry cannot be written to."""
    import datetime
    import math

    from cnnkit.errors import RegistryError
    from cnnkit.registry import Verdict

    results = report.decisive()
    errors = [result.max_relative for result in results]
    verdict = Verdict(
        digest=version.digest,
        ok=report.ok,
        runtimes=tuple(result.runtime for result in results),
        max_relative=max(errors) if errors and all(map(math.isfinite, errors)) else None,
        flips=sum(len(result.flips) for result in results),
        time=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    )
    try:
        store.set_verdict(version.ref, verdict)
    except RegistryError as error:
        warn(f"the verdict is not stored: {error}")
