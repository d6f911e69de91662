"""`cnnkit datasets`: which there are, and fetching their files."""

from __future__ import annotations

import inspect
from typing import Annotated

import typer

from cnnkit.cli.options import DataFolder, Debug, Json
from cnnkit.cli.output import say_json, say_pairs, say_table

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="List datasets and fetch their files.")


@app.command(name="list")
def list_datasets(as_json: Json = False, _debug: Debug = False) -> None:
    """List the datasets that are installed."""
    from cnnkit.components import installed_catalog

    catalog = installed_catalog()
    rows = []
    for plugin in catalog.plugins:
        for name, cls in catalog.classes(plugin, "dataset").items():
            rows.append((name, plugin.distribution, (inspect.getdoc(cls) or "").partition("\n")[0]))
    headings = ("dataset", "distribution", "description")
    if as_json:
        say_json([dict(zip(("name", *headings[1:]), row, strict=True)) for row in sorted(rows)])
    else:
        say_table(headings, sorted(rows))


@app.command()
def fetch(
    expression: Annotated[str, typer.Argument(metavar="EXPR", help='A dataset, such as "MNIST()".')],
    data_dir: DataFolder = None,
    as_json: Json = False,
    _debug: Debug = False,
) -> None:
    """Fetch a dataset and show what it holds.

    Downloads the files that are missing into the data folder.
    """
    from cnnkit.data import load_dataset

    data = load_dataset(expression, data_dir)
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
        say_pairs(about | {"input": " x ".join(map(str, data.input_shape)), "labels": ", ".join(data.labels)})
