"""`cnnkit gradcheck`: the gradients of a layer or a loss against finite differences."""

from __future__ import annotations

import math
from typing import Annotated, cast

import typer

from cnnkit.cli.options import Debug, Json
from cnnkit.cli.output import say, say_json
from cnnkit.waiting_line import waiting

MAX_PARAMETERS = 2**24
MAX_INPUTS = 1_000_000


def gradcheck(
    expression: Annotated[
        str, typer.Argument(metavar="EXPR", help='A layer or a loss, such as "Conv2D(8, 3)" or "Huber()".')
    ],
    shape: Annotated[
        str,
        typer.Option(
            "--input", metavar="SHAPE", help="Shape of one input, C,H,W or F; of a loss, that of the network's outputs."
        ),
    ] = "3,8,8",
    targets: Annotated[
        str | None,
        typer.Option(
            "--targets", metavar="SHAPE", help="Shape of one target of a loss. Default: all kinds that it takes."
        ),
    ] = None,
    as_json: Json = False,
    _debug: Debug = False,
) -> None:
    """Check the gradients of a layer or a loss.

    Compares them with finite differences, including ties, large inputs and zeros; exits with 1 if they are wrong.
    """
    from cnnkit.components import Layer, Loss, Merge, installed_catalog
    from cnnkit.errors import ConfigError
    from cnnkit.testing import gradient_check

    kind = _kind(expression)
    subject = cast(Layer | Merge | Loss, installed_catalog().build(kind, expression))
    if targets is not None and kind == "layer":
        raise ConfigError(f"--targets is for losses, and {subject!r} is a layer: leave it out")
    target_shape = None if targets is None else _shape(targets, "--targets")
    in_shape = _shape(shape, "--input")
    if kind == "layer":
        _check_size(expression, in_shape)
    with waiting("checking the gradients"):
        report = gradient_check(subject, in_shape, target_shape=target_shape)
    if as_json:
        document = {kind: report.subject, "ok": report.ok, "threshold": report.threshold, "errors": report.errors}
        say_json(document | {"surrogates": report.surrogates})
    else:
        say(str(report))
    if not report.ok:
        raise typer.Exit(1)


def _check_size(expression: str, in_shape: tuple[int, ...]) -> None:
    """Raises ConfigError for a layer that a check would take minutes for, before it has its weights."""
    from cnnkit.components import Layer, Merge, installed_catalog
    from cnnkit.network import Sequential

    layer = cast(Layer | Merge, installed_catalog().build("layer", expression))
    if isinstance(layer, Layer) or layer.branches:  # or it joins what only the check knows
        Sequential([layer], in_shape, limit=MAX_PARAMETERS).check_cost()


def _kind(expression: str) -> str:
    """Whether it names a layer or a loss; of a name that neither has, the kind that has one close to it."""
    from cnnkit.components import installed_catalog
    from cnnkit.components.expressions import parse
    from cnnkit.errors import ComponentError
    from cnnkit.wording import did_you_mean

    call, catalog = parse(expression), installed_catalog()
    for kind in ("layer", "loss"):
        try:
            catalog.find(kind, call.name, call.distribution)
        except ComponentError:
            continue
        return kind
    is_close = {kind: bool(did_you_mean(call.name, catalog.names(kind))) for kind in ("layer", "loss")}
    return "loss" if is_close["loss"] and not is_close["layer"] else "layer"


def _shape(text: str, option: str) -> tuple[int, ...]:
    from cnnkit.errors import ShapeError

    sizes = text.split(",")
    if not all(size.isdecimal() and size.strip("0") for size in sizes):
        raise ShapeError(f"{option} must be positive numbers separated by commas, such as 3,8,8, got {text!r}")
    shape = tuple(int(size) for size in sizes if len(size) < 10)
    if len(shape) < len(sizes) or math.prod(shape) > MAX_INPUTS:
        raise ShapeError(
            f"{option} may have at most {MAX_INPUTS:,} numbers, since each is moved in turn, got {text[:80]!r}"
        )
    return shape
