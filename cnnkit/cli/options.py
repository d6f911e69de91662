"""The options that several commands share, each with one name, one meaning and one help text."""

from __future__ import annotations

import enum
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cnnkit.errors import ConfigError
from cnnkit.terminal import be_quiet
from cnnkit.training_options import OPTIONS
from cnnkit.user_folders import expanded

if TYPE_CHECKING:
    from cnnkit.evaluation.file_inputs import Invert

_REFERENCE = re.compile(r"[a-z0-9][a-z0-9._-]*@[a-z0-9._-]+")


@dataclass
class Settings:
    """What holds for the whole process."""

    debug: bool = False


def _switch_debug(context: typer.Context, value: bool) -> None:
    if value:
        context.find_root().obj.debug = True


def _switch_quiet(value: bool) -> None:
    if value:
        be_quiet(True)


def _refuse_broken(value: bool) -> None:
    if value:
        from cnnkit.components import installed_catalog
        from cnnkit.errors import ComponentError
        from cnnkit.waiting_line import waiting

        with waiting("asking the plugins"):
            broken = installed_catalog().broken()
        if broken:
            raise ComponentError("\n  ".join(["--strict-plugins: plugins are broken", *broken]))


def _expanded(folder: str | None) -> str | None:
    """Expand `~`, which a shell leaves as it is in `--registry=~/models`."""
    return folder and str(expanded(folder))


def expanded_path(path: Path | None) -> Path | None:
    """Expand `~` in the path of a file or folder, which a shell leaves as it is in `--output=~/model.onnx`."""
    return path and expanded(path)


def expanded_names(names: list[str]) -> list[str]:
    """Expand `~` in several paths."""
    return [str(expanded(name)) if name.startswith("~") else name for name in names]


def check_order(ref: str, files: Iterable[str | Path], right: str) -> None:
    """Raise ConfigError if what stands in the place of a file is a reference, and what stands in its place is not.

    right: the command with both in their places.
    """
    if "@" in ref:
        return
    if any(_REFERENCE.fullmatch(str(file)) and not Path(file).exists() for file in files):
        raise ConfigError(f"the arguments seem to be swapped: expected {right}")


class Inverting(enum.StrEnum):
    """When light and dark of image files are swapped."""

    AUTO = "auto"
    ON = "on"
    OFF = "off"

    @property
    def choice(self) -> Invert:
        """What it is called in the library."""
        return "auto" if self is Inverting.AUTO else self is Inverting.ON


Debug = Annotated[
    bool, typer.Option("--debug", callback=_switch_debug, is_eager=True, help="Show the traceback of an error.")
]
Quiet = Annotated[
    bool,
    typer.Option(
        "--quiet", "-q", callback=_switch_quiet, is_eager=True, help="Show no progress and no notes, only warnings."
    ),
]
StrictPlugins = Annotated[
    bool,
    typer.Option(
        "--strict-plugins",
        callback=_refuse_broken,
        help="Do nothing if an installed plugin is broken, even if it is not needed.",
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document instead of tables.")]
Epochs = Annotated[int | None, typer.Option(help=OPTIONS["epochs"].about)]
BatchSize = Annotated[int | None, typer.Option(help=OPTIONS["batch_size"].about)]
LearningRate = Annotated[float | None, typer.Option("--lr", help="Learning rate of the recipe's optimizer.")]
Seed = Annotated[int | None, typer.Option(help=OPTIONS["seed"].about)]
Kernels = Annotated[str | None, typer.Option(metavar="numpy|compiled|auto", help=OPTIONS["kernels"].about)]
Workers = Annotated[int | None, typer.Option(help="Worker processes; all cores by default. Never changes a result.")]
Overrides = Annotated[
    list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Replace a value of the recipe; repeatable.")
]
DatasetChoice = Annotated[
    str | None,
    typer.Option(
        "--dataset",
        metavar="EXPR",
        help='A dataset, such as "MNIST()", or the path of data; default: the one trained on.',
    ),
]
LossChoice = Annotated[
    str | None, typer.Option("--loss", metavar="EXPR", help='A loss, such as "MSE()"; default: the one trained with.')
]
MetricChoice = Annotated[
    list[str] | None,
    typer.Option(
        "--metric",
        metavar="EXPR",
        help='A metric, such as "ROCAUC()"; repeatable. Default: those trained with.',
    ),
]
TrustChoice = Annotated[
    list[str] | None,
    typer.Option(
        "--trust",
        metavar="DIST",
        help="A distribution whose components a model file may use, in addition to those in CNNKIT_TRUST; repeatable.",
    ),
]
RuntimeChoice = Annotated[
    list[str] | None,
    typer.Option(
        "--runtimes",
        "--runtime",
        metavar="EXPR",
        help='A runtime, such as "OnnxRuntime", or "all" that are installed, which is the default; repeatable.',
    ),
]
InvertChoice = Annotated[
    Inverting,
    typer.Option(
        "--invert",
        help="Swap light and dark in image files; auto: in those that are dark on light, if the model was trained on "
        "light on dark.",
    ),
]
Fit = Annotated[
    bool,
    typer.Option(
        "--fit", help="Cut out what an image file shows, and frame it as the images that the model was trained on."
    ),
]
SampleNumber = Annotated[
    int | None,
    typer.Option("--sample", metavar="N", help="Instead of a file: the test sample with this number, counted from 0."),
]
RegistryFolder = Annotated[
    str | None,
    typer.Option("--registry", callback=_expanded, help="Registry folder; default: CNNKIT_REGISTRY, or ./registry."),
]
DataFolder = Annotated[
    str | None,
    typer.Option(
        "--data-dir",
        callback=_expanded,
        help="Folder of data files; default: CNNKIT_DATA_DIR, or one in the user's cache folder.",
    ),
]
Reference = Annotated[str, typer.Argument(metavar="REF", help="name@3, name@latest or name@ALIAS.")]
