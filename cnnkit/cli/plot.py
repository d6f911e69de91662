"""`cnnkit plot`: pictures of a registered model."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cnnkit.cli.options import DataFolder, DatasetChoice, Debug, Json, Quiet, RegistryFolder, TrustChoice, expanded_path
from cnnkit.cli.output import note, say, say_json
from cnnkit.waiting_line import waiting

if TYPE_CHECKING:
    from cnnkit.evaluation.plot_subject import Subject


def plot(
    refs: Annotated[
        list[str], typer.Argument(metavar="REF...", help="name@3, name@latest or name@ALIAS; several to compare.")
    ],
    kind: Annotated[
        str | None,
        typer.Option(
            metavar="KIND",
            help="curves, filters, feature-maps, predictions, misclassified, confusion or calibration; maximisation or "
            "landscape, which take seconds or minutes; compare for several models. Default: all of the first seven "
            "that apply.",
        ),
    ] = None,
    output: Annotated[
        Path,
        typer.Option(
            "--output",
            "-o",
            callback=expanded_path,
            metavar="PATH",
            show_default=False,
            help="A .png, .svg or .pdf file for one picture; otherwise a folder, created if needed, for files "
            "<name>-<number>-<kind>.png. Default: the working directory.",
        ),
    ] = Path(),
    layer: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Layer for filters, feature-maps and maximisation, named as in summary; default: the first "
            "convolution, for maximisation the last one.",
        ),
    ] = None,
    sample: Annotated[int, typer.Option(min=0, help="Test sample for feature-maps, counted from 0.")] = 0,
    dataset: DatasetChoice = None,
    trust: TrustChoice = None,
    registry: RegistryFolder = None,
    data_dir: DataFolder = None,
    _quiet: Quiet = False,
    as_json: Json = False,
    _debug: Debug = False,
) -> None:
    """Draw pictures of models, as files."""
    from cnnkit.cli.recorded_components import chosen_dataset
    from cnnkit.evaluation.plot import write
    from cnnkit.evaluation.plot_subject import Subject
    from cnnkit.registry import Record, Registry
    from cnnkit.registry.trust import trusted
    from cnnkit.types import Data

    may_choose = trusted(trust)

    def subject(record: Record) -> Subject:
        @functools.cache  # samples that do not fit are asked for again by each kind
        def load() -> Data:
            return chosen_dataset(dataset, record.version.ref, record.manifest, data_dir, may_choose)

        return Subject(record, load, layer, sample)

    store = Registry(registry)
    subjects = [subject(store.read(ref)) for ref in refs]
    with waiting("drawing"):
        files, left_out = write(subjects, kind, output, note)
    if as_json:
        say_json(
            {
                "refs": [subject.name for subject in subjects],
                "files": {kind: str(file) for kind, file in files.items()},
                "left_out": left_out,
            }
        )
        return
    for file in files.values():
        say(str(file))
    for reason in dict.fromkeys(left_out.values()):
        kinds = ", ".join(kind for kind, why in left_out.items() if why == reason)
        note(f"skipped {kinds}: {reason}")
