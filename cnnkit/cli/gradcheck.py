"""`cnnkit gradcheck`: the gradients of a layer, a loss or a whole network against finite differences."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, cast

import typer

from cnnkit.cli.options import DataFolder, Debug, Json, Overrides, RegistryFolder
from cnnkit.cli.output import say, say_json
from cnnkit.cli.recipe_arguments import refuse_model_name, resolve, shape_in
from cnnkit.waiting_line import waiting

if TYPE_CHECKING:
    from cnnkit.components import Loss
    from cnnkit.testing import GradientReport

MAX_PARAMETERS = 2**24
MAX_INPUTS = 1_000_000
INPUT = "3,8,8"
LOSSES = {"classes": "CrossEntropy()", "labels": "BinaryCrossEntropy()", "values": "MSE()"}
"""By what a model gives, a loss that it may have been trained with."""


def gradcheck(
    subject: Annotated[
        str,
        typer.Argument(
            metavar="EXPR|RECIPE|REF",
            help='A layer or a loss, such as "Conv2D(8, 3)" or "Huber()"; a recipe, or a model such as name@latest.',
        ),
    ],
    shape: Annotated[
        str | None,
        typer.Option(
            "--input",
            metavar="SHAPE",
            help=f"Shape of one input, C,H,W, C,L or F; of a loss, of the network's outputs. Default: {INPUT}.",
        ),
    ] = None,
    targets: Annotated[
        str | None,
        typer.Option(
            "--targets", metavar="SHAPE", help="Shape of one target of a loss. Default: all kinds that it takes."
        ),
    ] = None,
    loss: Annotated[
        str | None,
        typer.Option("--loss", metavar="EXPR", help="The loss for a network. Default: the recipe's, or one that fits."),
    ] = None,
    overrides: Overrides = None,
    registry: RegistryFolder = None,
    data_dir: DataFolder = None,
    as_json: Json = False,
    _debug: Debug = False,
) -> None:
    """Check gradients of layers, losses, networks.

    Compares them with finite differences; exits with 1 if they are wrong. Layers and losses are tried with ties, large
    inputs and zeros, too; of a network, a training step.
    """
    from cnnkit.errors import ConfigError

    if is_network := _is_network(subject):
        if shape is not None:
            raise ConfigError(f"--input is for layers and losses; {subject} has inputs of its own: leave it out")
        kind = "network"
    elif given := [n for n, v in (("--loss", loss), ("--set", overrides)) if v]:
        raise ConfigError(f"{given[0]} is for networks, and {subject} is a layer or a loss: leave it out")
    else:
        refuse_model_name(subject, registry)
        kind = _kind(subject)
    target_shape = None if targets is None else _shape(targets, "--targets")
    if is_network:
        report = _of_network(subject, loss, target_shape, overrides, registry, data_dir)
    else:
        report = _of_component(kind, subject, _shape(INPUT if shape is None else shape, "--input"), target_shape)
    if as_json:
        document = {kind: report.subject, "ok": report.ok, "threshold": report.threshold, "errors": report.errors}
        say_json(document | {"surrogates": report.surrogates})
    else:
        say(str(report))
    if not report.ok:
        raise typer.Exit(1)


def _is_network(subject: str) -> bool:
    """Whether it names a recipe or a registered model; an expression has neither form."""
    from cnnkit.training.recipe import SUFFIX, recipe_names

    return subject.endswith(SUFFIX) or subject in recipe_names() or ("@" in subject and "(" not in subject)


def _of_component(
    kind: str, expression: str, shape: tuple[int, ...], target_shape: tuple[int, ...] | None
) -> GradientReport:
    from cnnkit.components import Layer, Merge, installed_catalog
    from cnnkit.errors import ConfigError
    from cnnkit.testing import gradient_check

    subject = cast("Layer | Merge | Loss", installed_catalog().build(kind, expression))
    if target_shape is not None and kind == "layer":
        raise ConfigError(f"--targets is for losses, and {subject!r} is a layer: leave it out")
    if kind == "layer":
        _check_size(expression, shape)
    with waiting("checking the gradients"):
        return gradient_check(subject, shape, target_shape=target_shape)


def _check_size(expression: str, in_shape: tuple[int, ...]) -> None:
    """Raises ConfigError for a layer that a check would take minutes for, before it has its weights."""
    from cnnkit.components import Layer, Merge, installed_catalog
    from cnnkit.network import Sequential

    layer = cast(Layer | Merge, installed_catalog().build("layer", expression))
    if isinstance(layer, Layer) or layer.branches:  # or it joins what only the check knows
        Sequential([layer], in_shape, limit=MAX_PARAMETERS).check_cost()


def _of_network(
    subject: str,
    loss: str | None,
    target_shape: tuple[int, ...] | None,
    overrides: list[str] | None,
    registry: str | None,
    data_dir: str | None,
) -> GradientReport:
    """Of a recipe with its data and loss, of a registered model with random inputs."""
    from cnnkit.components import installed_catalog
    from cnnkit.data import load_dataset
    from cnnkit.errors import ConfigError
    from cnnkit.registry import Registry
    from cnnkit.testing import network_gradient_check
    from cnnkit.training.assembly import model_for
    from cnnkit.training.recipe import SUFFIX

    if "@" in subject and not subject.endswith(SUFFIX):
        if overrides:
            raise ConfigError(f"--set overrides values of a recipe; {subject} is a registered model")
        model, samples = Registry(registry).load(subject), None
        expression = loss or LOSSES[model.task.gives]
    else:
        recipe = resolve(subject, overrides, data_dir, registry)
        if target_shape is not None:
            raise ConfigError(f"--targets is for losses and registered models; {subject} has data: leave it out")
        data = load_dataset(recipe.data.dataset, data_dir)
        model, samples = model_for(recipe, data), data.train
        expression = loss or recipe.train.loss
    chosen = cast("Loss", installed_catalog().build("loss", expression))
    with waiting("checking the gradients"):
        return network_gradient_check(model, chosen, samples=samples, target_shape=target_shape)


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
    return shape_in(text, option, MAX_INPUTS, ", since each is moved in turn")
