"""`cnnkit explain`: a page that shows how a registered model sees one image."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cnnkit.cli.one_input import from_dataset, from_file
from cnnkit.cli.options import (
    DataFolder,
    DatasetChoice,
    Debug,
    Fit,
    InvertChoice,
    Inverting,
    Json,
    LossChoice,
    Reference,
    RegistryFolder,
    SampleNumber,
    TrustChoice,
    expanded_path,
)
from cnnkit.cli.output import say_json, say_pairs, warn
from cnnkit.cli.recorded_components import recorded_loss
from cnnkit.waiting_line import waiting
from cnnkit.wording import percent

if TYPE_CHECKING:
    from cnnkit.explanation import Explanation
    from cnnkit.network import Network
    from cnnkit.types import Array


SHOWN = 6
"""Values that are printed."""


def explain(
    ref: Reference,
    image: Annotated[
        Path | None,
        typer.Option(
            callback=expanded_path, metavar="FILE", help="An image file, or a .npy array in the dataset's own units."
        ),
    ] = None,
    sample: SampleNumber = None,
    layer: Annotated[
        str | None,
        typer.Option(
            metavar="NAME", help="Only this layer, named as in summary, in depth: all of its maps and filters."
        ),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            callback=expanded_path,
            metavar="FILE",
            help="Default: <name>-<number>.html, or <name>-<number>-<layer>.html.",
        ),
    ] = None,
    label: Annotated[
        str | None,
        typer.Option(
            metavar="NAME|INDEX", help="The true class; default: the sample's, or for a file what is predicted."
        ),
    ] = None,
    invert: InvertChoice = Inverting.AUTO,
    fit: Fit = False,
    loss: LossChoice = None,
    dataset: DatasetChoice = None,
    trust: TrustChoice = None,
    registry: RegistryFolder = None,
    data_dir: DataFolder = None,
    as_json: Json = False,
    _debug: Debug = False,
) -> None:
    """Show how a model sees one image.

    Writes a self-contained page: each layer's formula, cost, pictures forward and backward, one number computed step
    by step, and a gradient check.
    """
    import numpy as np

    from cnnkit.components.predicted_class import not_finite
    from cnnkit.errors import ConfigError, DataError
    from cnnkit.explanation import explain, write_page
    from cnnkit.file_kinds import PAGE
    from cnnkit.file_writing import check_target
    from cnnkit.registry import Registry
    from cnnkit.registry.trust import trusted

    may_choose = trusted(trust)
    record = Registry(registry).read(ref)
    version = record.version
    ending = "" if layer is None else f"-{layer}"
    target_file = output or Path(f"{version.name}-{version.number}{ending}.html")
    check_target(target_file, DataError, PAGE)
    model, record = record.model(), replace(record, state={})  # the model has copies
    target: Any = None
    picture = None
    if image is not None and sample is None:
        x, source, picture = from_file(image, record, model, invert, fit, may_choose)
    elif sample is not None and image is None:
        if fit or invert is not Inverting.AUTO:
            raise ConfigError("--fit and --invert prepare image files, and --sample N is none: remove them")
        x, target, source = from_dataset(sample, dataset, record, model, data_dir, may_choose)
    else:
        raise ConfigError("expected one image to explain: give either --image FILE or --sample N")
    if label is not None:
        target = _class(label, model)
    chosen: Any = loss or recorded_loss(record.manifest, may_choose)
    with waiting("explaining"):
        explanation = explain(model, x, target=target, loss=chosen, title=version.ref, source=source, picture=picture)
        write_page(explanation, target_file, layer=layer)
    if np.isnan(explanation.scores).any():
        warn(not_finite(version.ref, "the image"))
    wrong = [trace.node.name for trace in explanation.trace.layers if trace.check and not trace.check.ok]
    if wrong:
        warn(f"the gradient check failed in {', '.join(wrong)}")
    if as_json:
        say_json(_document(explanation, target_file, layer))
        return
    facts: dict[str, object] = {"explained": version.ref, "image": source}
    if said := _said(explanation):
        facts["predicted"] = said
    guessed = " (the predicted class; see --label)" if explanation.target_class is not None else " (as predicted)"
    facts |= {
        "target": f"{_target(explanation)}{'' if explanation.target_known else guessed}",
        "loss": explanation.trace.loss,
        "file": target_file,
    }
    say_pairs(facts)


def _class(label: str, model: Network) -> int:
    """The index of a class, by its name or else by its index."""
    from cnnkit.class_indices import NAMED, listed
    from cnnkit.errors import ConfigError

    if model.task.gives != "classes" or len(model.output_shape) != 1:
        raise ConfigError(f"the model gives {model.gives}: remove --label, and choose a sample with --sample")
    if label in model.labels:
        return model.labels.index(label)
    classes = model.output_shape[0]
    if label.isascii() and label.isdecimal() and len(label) < 10 and int(label) < classes:
        return int(label)
    names = model.labels or [*map(str, range(min(classes, NAMED + 1)))]
    raise ConfigError(
        f"the model has no class {label!r}; expected an index below {classes}, or one of: {listed(names)}"
    )


def _said(explanation: Explanation) -> str:
    """What the network says of the image; "" for values that are NaN."""
    from cnnkit.explanation import pixels

    if explanation.is_of_pixels and explanation.model.task.gives != "values":
        return pixels.counts(explanation, pixels.said(explanation), SHOWN)
    if explanation.predicted is not None:
        p = explanation.probabilities
        share = "" if p is None else f" ({percent(float(p[explanation.predicted]))})"
        return f"{explanation.label(explanation.predicted)}{share}"
    if explanation.model.task.gives == "labels":
        return ", ".join(map(explanation.label, explanation.labels)) or "none of the labels"
    return "" if explanation.model.task.gives == "classes" else _shown(explanation.scores)


def _target(explanation: Explanation) -> str:
    from cnnkit.explanation import pixels

    if explanation.target_class is not None:
        return explanation.label(explanation.target_class)
    if explanation.is_of_pixels and explanation.model.task.gives != "values":
        return pixels.counts(explanation, pixels.true(explanation) >= 0.5, SHOWN)
    if explanation.model.task.gives == "labels":
        true = [explanation.label(index) for index, there in enumerate(explanation.target[0]) if there >= 0.5]
        return ", ".join(true) or "none of the labels"
    return _shown(explanation.target[0])


def _shown(values: Array) -> str:
    """The first of some values."""
    values = values.ravel()
    return ", ".join(f"{value:.6g}" for value in values[:SHOWN]) + (", ..." if len(values) > SHOWN else "")


def _document(explanation: Explanation, file: Path, layer: str | None) -> dict[str, object]:
    layers = [
        {
            "name": trace.node.name,
            "layer": repr(trace.node.layer),
            "forward_ms": trace.forward_ms,
            "backward_ms": trace.backward_ms,
            "gradient_error": trace.check and trace.check.error,
            "gradient_ok": trace.check and trace.check.ok,
        }
        for trace in explanation.trace.layers
        if layer in (None, trace.node.name)
    ]
    predicted, probabilities = explanation.predicted, explanation.probabilities
    return {
        "ref": explanation.title,
        "path": str(file),
        "image": explanation.source,
        "gives": explanation.model.task.gives,
        "predicted": None if predicted is None else explanation.label(predicted),
        "probability": None if predicted is None or probabilities is None else float(probabilities[predicted]),
        "outputs": explanation.scores.tolist(),
        "target": _target(explanation),
        "target_known": explanation.target_known,
        "loss": explanation.trace.loss,
        "layers": layers,
    }
