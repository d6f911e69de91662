"""`cnnkit datasets`: which there are, fetching their files, and what they hold."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from cnnkit.cli.options import DataFolder, Debug, Json, expanded_path
from cnnkit.cli.output import note, say, say_json, say_pairs, say_table, warn_in_short
from cnnkit.waiting_line import waiting
from cnnkit.wording import sizes

if TYPE_CHECKING:
    from cnnkit.components import Component
    from cnnkit.types import Preprocessing

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="List, fetch and show datasets.")
Expression = Annotated[
    str,
    typer.Argument(metavar="EXPR", help='A dataset, such as "MNIST()", or the path of your data, as train takes it.'),
]


@app.command(name="list")
def list_datasets(data_dir: DataFolder = None, as_json: Json = False, _debug: Debug = False) -> None:
    """List installed datasets.

    Shows whether the files of each are in place.
    """
    from cnnkit.components import installed_catalog
    from cnnkit.data import default_data_dir

    folder = Path(data_dir) if data_dir else default_data_dir()
    catalog = installed_catalog()
    rows = []
    for plugin, classes in catalog.all_classes("dataset"):
        for name, cls in classes.items():
            about = (inspect.getdoc(cls) or "").partition("\n")[0]
            rows.append((name, plugin.distribution, _in_place(cls, folder), about))
    rows.sort(key=lambda row: row[:2])
    if as_json:
        say_json([dict(zip(("name", "distribution", "in_place", "description"), row, strict=True)) for row in rows])
        return
    words = {True: "in place", False: "missing", None: ""}
    headings = ("dataset", "distribution", "files", "description")
    say_table(headings, [(*row[:2], words[row[2]], row[3]) for row in rows], ("distribution",))
    note(f"data folder: {folder}")


@app.command()
def fetch(expression: Expression, data_dir: DataFolder = None, as_json: Json = False, _debug: Debug = False) -> None:
    """Fetch a dataset and show what it holds.

    Downloads missing files into the data folder; an interrupted download is resumed.
    """
    from cnnkit.data import load_dataset
    from cnnkit.data.named import named_dataset

    data = load_dataset(named_dataset(expression), data_dir)
    about: dict[str, object] = {
        "dataset": data.name,
        "train": len(data.train),
        "test": len(data.test),
        "input": list(data.input_shape),
        "dtype": str(data.train.x.dtype),
        "labels": list(data.labels),
        "digest": data.digest,
    }
    if as_json:
        say_json(about)
    else:
        say_pairs(about | {"input": sizes(data.input_shape), "labels": ", ".join(data.labels)})


@app.command()
def show(
    expression: Expression,
    output: Annotated[
        Path | None,
        typer.Option(
            "-o",
            "--output",
            callback=expanded_path,
            help="Draw samples of each class into this file: .png, .svg or .pdf.",
        ),
    ] = None,
    augment: Annotated[
        list[str] | None,
        typer.Option(metavar="EXPR", help='Augment the drawn samples, such as by "Shift(2)"; repeatable, in order.'),
    ] = None,
    data_dir: DataFolder = None,
    as_json: Json = False,
    _debug: Debug = False,
) -> None:
    """Show shapes, ranges and classes of a dataset.

    Downloads missing files into the data folder, as fetch does.
    """
    from cnnkit.components import installed_catalog
    from cnnkit.data import describe, load_dataset
    from cnnkit.data.named import named_dataset
    from cnnkit.errors import ConfigError
    from cnnkit.plotting.samples import write_samples
    from cnnkit.plotting.saving import check_target

    if augment and not output:
        raise ConfigError("--augment changes the picture: choose its file with -o, such as -o samples.png")
    augmentations = [cast(Any, installed_catalog().build("augmentation", one)) for one in augment or ()]
    if output:
        check_target(output)
    data = load_dataset(named_dataset(expression), data_dir)
    warn_in_short(data)
    with waiting("describing the samples"):
        about = describe(data)
    if output:
        write_samples(data, output, augmentations)
        about["picture"] = str(output)
    if as_json:
        say_json(about)
        return
    say_pairs(
        about
        | {"input": sizes(about["input"]), "samples": _by_part(about["samples"], "{:,}".format)}
        | {name: _by_part(about[name], _interval) for name in ("input_range", "target_range") if name in about}
        | {"preprocessing": _preprocessing(data.preprocessing), "classes": len(about["classes"])}
    )
    if about["classes"]:
        say()
        _say_classes(about["classes"], list(about["samples"]))


def _say_classes(classes: list[dict[str, Any]], parts: list[str]) -> None:
    headings = ["class", *(heading for part in parts for heading in (part, "share"))]
    say_table(
        headings,
        [
            (
                entry["label"],
                *(cell for part in parts for cell in (entry[part]["samples"], _percent(entry[part]["share"]))),
            )
            for entry in classes
        ],
    )


def _in_place(cls: type[Component], folder: Path) -> bool | None:
    """Whether a dataset, as it is without arguments, has its files; None if it does not say, or needs arguments."""
    from cnnkit.arguments import signature
    from cnnkit.components import Dataset

    parameters = signature(cls).parameters.values()
    if any(one.default is one.empty and one.kind not in (one.VAR_POSITIONAL, one.VAR_KEYWORD) for one in parameters):
        return None
    dataset = cls()
    return dataset.is_complete(folder) if isinstance(dataset, Dataset) else None


def _by_part(values: dict[str, Any], shown: Any) -> str:
    return ", ".join(f"{name} {shown(value)}" for name, value in values.items())


def _interval(bounds: list[float]) -> str:
    return f"{bounds[0]:g} to {bounds[1]:g}"


def _preprocessing(preprocessing: Preprocessing) -> str:
    """What becomes of a value x, such as x / 255."""
    scale, mean, std = preprocessing.scale, preprocessing.mean, preprocessing.std
    scaled = "x" if scale == 1 else f"x / {1 / scale:g}" if scale < 1 else f"x * {scale:g}"
    if set(mean) == {0.0} and set(std) == {1.0}:
        return scaled if scale != 1 else "none"
    means, stds = (", ".join(f"{value:g}" for value in values) for values in (mean, std))
    return f"({scaled} - mean) / std, mean {means}, std {stds}"


def _percent(share: float) -> str:
    return f"{share:.1%}"
