"""`cnnkit gradcheck`: a layer's gradients against finite differences."""

from __future__ import annotations

import math
from typing import Annotated, cast

import typer

from cnnkit.cli.options import Debug, Json
from cnnkit.cli.output import say, say_json
from cnnkit.waiting import waiting

MAX_INPUTS = 1_000_000


def gradcheck(
    expression: Annotated[str, typer.Argument(metavar="EXPR", help='A layer, such as "Conv2D(8, 3)".')],
    shape: Annotated[str, typer.Option("--input", metavar="SHAPE", help="Shape of one input: C,H,W or F.")] = "3,8,8",
    as_json: Json = False,
    _debug: Debug = False,
) -> None:
    """Check a layer's gradients.

    Compares them with finite differences, including ties, large inputs and zeros; exits with 1 if they are wrong.
    """
    from cnnkit.components import Layer, Merge, installed_catalog
    from cnnkit.testing import gradient_check

    layer = cast(Layer | Merge, installed_catalog().build("layer", expression))
    with waiting("checking the gradients"):
        report = gradient_check(layer, _shape(shape))
    if as_json:
        document = {"layer": report.subject, "ok": report.ok, "threshold": report.threshold, "errors": report.errors}
        say_json(document | {"surrogates": report.surrogates})
    else:
        say(str(report))
    if not report.ok:
        raise typer.Exit(1)


def _shape(text: str) -> tuple[int, ...]:
    from cnnkit.errors import ShapeError

    sizes = text.split(",")
    if not all(size.isdecimal() and size.strip("0") for size in sizes):
        raise ShapeError(f"--input must be positive numbers separated by commas, such as 3,8,8, got {text!r}")
    shape = tuple(int(size) for size in sizes if len(size) < 10)
    if len(shape) < len(sizes) or math.prod(shape) > MAX_INPUTS:
        raise ShapeError(
            f"--input may have at most {MAX_INPUTS:,} numbers, since each is moved in turn, got {text[:80]!r}"
        )
    return shape
