"""What `export` and `validate` share: the inputs to compare on, how a report is shown, and how it is remembered."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from cnnkit.cli.output import note, say, say_table, warn
from cnnkit.cli.recorded_components import recorded_dataset

if TYPE_CHECKING:
    from cnnkit.network import Network
    from cnnkit.onnx.report import ValidationReport
    from cnnkit.registry import Manifest, Registry, Version
    from cnnkit.registry.trust import Trust
    from cnnkit.types import Inputs


def inputs_for(
    model: Network,
    chosen: str | None,
    manifest: Manifest,
    data_dir: str | None,
    trust: Trust,
    samples: str | None = None,
) -> tuple[Inputs | None, str]:
    """The first test samples of the chosen dataset, else of the recorded one, else None; and a description.

    samples: how many, "all", or None for as many as do not take long.
    Raises what `load_dataset` raises for a chosen dataset, and ConfigError where there are no samples to count.
    """
    from cnnkit.data import load_dataset
    from cnnkit.data.named import named_dataset
    from cnnkit.errors import CnnkitError, ConfigError
    from cnnkit.onnx.executable_model import compared_samples

    most = compared_samples(model) if samples is None else _count(samples)
    try:
        data = load_dataset(named_dataset(chosen) if chosen else recorded_dataset(manifest, data_dir, trust), data_dir)
    except CnnkitError as error:
        if chosen:
            raise
        reason = str(error)
    else:
        x = data.test.take(slice(most)).x
        if chosen or x.shape[1:] == model.input_shape:
            return x, f"{len(x):,} test samples of {data.name}"
        reason = f"the samples of {data.name} do not have the shape {model.input_shape}"
    if samples is not None:
        raise ConfigError(f"--samples {samples}: there are none, choose a dataset with --dataset; {reason}")
    return None, f"random inputs ({reason})"


def _count(samples: str) -> int | None:
    """How many samples are meant; None for all."""
    from cnnkit.errors import ConfigError

    if samples == "all":
        return None
    if not samples.isdecimal() or not int(samples):
        raise ConfigError(f'--samples takes a number, 1 or above, or "all"; got {samples!r}')
    return int(samples)


def show_report(report: ValidationReport, inputs: str) -> None:
    """Print one row for each runtime, and what the rows cannot hold; nothing where none was asked: an error tells."""
    from cnnkit.onnx.report import LEAST, NUMBERS

    if not report.results:
        return
    note(f"compared on {inputs}")
    say_table(report.columns, report.rows(), LEAST, NUMBERS)
    for remark in report.remarks():
        say(remark)


def not_written(path: Path, report: ValidationReport, ref: str, answers: str) -> str:
    """Why a file is not written; answers: whose they are that differ."""
    if not report.results:
        return f"{path} was not written, {ref} cannot be validated: {report.problem}"
    return f"{path} was not written: {answers} would differ from those of {ref}"


def draw_report(report: ValidationReport, name: str, path: Path) -> None:
    """Draw the table as a picture."""
    from cnnkit.plotting.runtimes import RuntimeRow, draw_runtimes
    from cnnkit.plotting.saving import save

    rows = []
    for result in report.results:
        times = result.latency and {"one": result.latency.one, "each": result.latency.batch / result.latency.samples}
        rows.append(
            RuntimeRow(
                result.runtime,
                result.version,
                result.verdict,
                result.max_relative,
                result.budget,
                len(result.flips),
                **times or {},
            )
        )
    verdict = "passed" if report.ok else "FAILED"
    save(draw_runtimes(rows, f"{report.path.name}, compared with {name}: {verdict}"), path)


def warn_of_faults(report: ValidationReport) -> None:
    """Warn of each runtime that a right file must not be run on."""
    for fault in report.faults():
        warn(fault)


def remember(report: ValidationReport, store: Registry, version: Version) -> None:
    """Store the verdict of a report beside the version; warns where the registry cannot be written to.

    There is none, and the one before stays, if runtimes were asked and none has an answer.
    """
    import datetime
    import math

    from cnnkit.errors import RegistryError
    from cnnkit.registry import Verdict

    if report.results and not any(result.answered for result in report.results):
        warn("no verdict is stored: no runtime can run the file")
        return
    results = report.decisive()
    errors = [result.max_relative for result in results]
    verdict = Verdict(
        digest=version.digest,
        ok=report.ok,
        runtimes=tuple(result.name for result in results),
        max_relative=max(errors) if errors and all(map(math.isfinite, errors)) else None,
        flips=sum(len(result.flips) for result in results),
        time=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        samples=max((result.samples for result in results), default=None),
        disagree=tuple(result.name for result in report.results if result.answered and not result.ok),
    )
    try:
        store.set_verdict(version.ref, verdict)
    except RegistryError as error:
        warn(f"the verdict is not stored: {error}")
