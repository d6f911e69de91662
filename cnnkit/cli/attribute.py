"""`cnnkit attribute`: which parts of an image speak for what a registered model says of it."""

from __future__ import annotations

import enum
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
    Reference,
    RegistryFolder,
    SampleNumber,
    TrustChoice,
    check_order,
    expanded_path,
)
from cnnkit.cli.output import say_json, say_pairs, say_table, warn
from cnnkit.waiting_line import waiting
from cnnkit.wording import percent

if TYPE_CHECKING:
    from cnnkit.attribution import Attribution
    from cnnkit.network import Network

MOST = 10
"""Numbers of a vector that are printed."""


class Method(enum.StrEnum):
    """How parts of an input are weighed."""

    GRADCAM = "gradcam"
    INTEGRATED = "integrated-gradients"
    OCCLUSION = "occlusion"
    GRADIENT = "gradient"


def attribute(
    ref: Reference,
    image: Annotated[
        Path | None,
        typer.Argument(
            callback=expanded_path, metavar="[IMAGE]", help="An image file, or a .npy array in the dataset's own units."
        ),
    ] = None,
    sample: SampleNumber = None,
    method: Annotated[Method, typer.Option(help="How parts of the image are weighed.")] = Method.GRADCAM,
    chosen: Annotated[
        str | None,
        typer.Option(
            "--class", metavar="NAME|INDEX", help="The class, label or value to explain; default: what is predicted."
        ),
    ] = None,
    layer: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="gradcam: a layer with maps, named as in summary; default: the last on all paths, before pooling.",
        ),
    ] = None,
    baseline: Annotated[
        float | None, typer.Option(help="integrated-gradients: the pixel value to start from; default: black.")
    ] = None,
    steps: Annotated[
        int | None, typer.Option(help="integrated-gradients: from there to the image; default: 128.")
    ] = None,
    window: Annotated[
        int | None,
        typer.Option(help="occlusion: height and width of what is covered; default: a quarter of the image."),
    ] = None,
    stride: Annotated[
        int | None, typer.Option(help="occlusion: from one window to the next; default: a third of the window.")
    ] = None,
    fill: Annotated[
        float | None, typer.Option(help="occlusion: the pixel value that covers the image; default: black.")
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            callback=expanded_path,
            metavar="FILE",
            help="A .png, .svg or .pdf file; default: <name>-<number>-<image>-<method>.png.",
        ),
    ] = None,
    invert: InvertChoice = Inverting.AUTO,
    fit: Fit = False,
    dataset: DatasetChoice = None,
    trust: TrustChoice = None,
    registry: RegistryFolder = None,
    data_dir: DataFolder = None,
    as_json: Json = False,
    _debug: Debug = False,
) -> None:
    """Show what in an image speaks for an answer.

    Draws the image beside a map with its outline: orange speaks for the class, blue against it. Of inputs that are no
    images, it prints the numbers that count most.
    """
    from cnnkit.attribution import attribution
    from cnnkit.attribution.score import NOUNS
    from cnnkit.errors import ConfigError
    from cnnkit.evaluation.attribution_picture import is_drawn, name_of, over, place, write_attribution
    from cnnkit.plotting.saving import check_target
    from cnnkit.registry import Registry
    from cnnkit.registry.trust import trusted

    if image is not None:
        check_order(ref, [image], f"cnnkit attribute {image} {ref}")
    may_choose = trusted(trust)
    record = Registry(registry).read(ref)
    version = record.version
    model, record = record.model(), replace(record, state={})  # the model has copies
    shown = f"sample-{sample}" if image is None else image.stem
    file = output or Path(f"{version.name}-{version.number}-{shown}-{method.value}.png")
    if is_drawn(model):
        check_target(file)
    elif output is not None:
        raise ConfigError(
            f"{version.ref} takes inputs of shape {model.input_shape}, of which no picture is drawn: remove --output"
        )
    target: Any = None
    if image is not None and sample is None:
        x, source, _ = from_file(image, record, model, invert, fit, may_choose)
    elif sample is not None and image is None:
        if fit or invert is not Inverting.AUTO:
            raise ConfigError("--fit and --invert prepare image files, and --sample N is none: remove them")
        one, target, source = from_dataset(sample, dataset, record, model, data_dir, may_choose)
        x = one[None]
    else:
        raise ConfigError("expected one image: give either IMAGE, the path of a file, or --sample N")
    options = {
        "layer": layer, "baseline": baseline, "steps": steps, "window": window, "stride": stride, "fill": fill,
    }  # fmt: skip
    with waiting("attributing"):
        explained = None if chosen is None else _target(chosen, model)
        found = attribution(model, x, method=method.value, target=explained, **options)
        index = int(found.targets[0])
        true = _true(target, index, model)
        share = float(model.predict_proba(x)[0][found.targets[0]]) if _has_share(model) else None
        if is_drawn(model):
            write_attribution(model, x[0], found, share, file, version.ref, source, true)
    gap = None if found.incompleteness is None else float(found.incompleteness[0])
    pixels = None if found.pixels is None else int(found.pixels[0])
    for hint in _hints(found, name_of(model, index), place(model), gap, pixels):
        warn(hint)
    name = model.labels[index] if model.labels else str(index)
    if as_json:
        say_json(
            {
                "ref": version.ref,
                "image": source,
                "method": found.method,
                "layer": found.layer,
                "gives": model.task.gives,
                "target": name,
                "index": index,
                "probability": share,
                "true": true,
                "score": float(found.scores[0]),
                "pixels": pixels,
                "incompleteness": gap,
                "map": found.maps[0].tolist(),
                "path": str(file) if is_drawn(model) else None,
            }
        )
        return
    facts: dict[str, object] = {"model": version.ref, "image": source}
    is_value = model.task.gives == "values"
    what = "output" if is_value else NOUNS[model.task.gives]
    facts[what] = name if share is None else f"{name} ({percent(share)})"
    if true is not None:
        facts["true"] = true
    facts["value" if is_value else "logit"] = float(found.scores[0])
    if pixels is not None:
        facts["mean over"] = over(model, found)
    facts["method"] = f"{found.method} of {found.layer}" if found.layer else found.method
    if gap is not None:
        facts["completeness"] = f"adds up to the difference from the baseline within {100 * gap:.2g} %"
    if is_drawn(model):
        facts["file"] = file
    say_pairs(facts)
    if not is_drawn(model):
        _say_largest(found)


def _hints(found: Attribution, name: str, place: str, gap: float | None, pixels: int | None) -> list[str]:
    """Why the map may not be what was meant; name: of what is explained; place: what is answered for."""
    from cnnkit.attribution.attribution import INCOMPLETE, missing

    hints = []
    if gap is not None and gap > INCOMPLETE:
        hints.append(missing(gap))
    if pixels == 0:
        hints.append(f"no {place} is predicted to be {name}: the map is of the mean logit over all {place}s")
    if not found.maps[0].any():
        or_layer = " or --layer" if found.layer else ""
        hints.append(
            f"by this method nothing speaks for {name}, the map is 0 everywhere: use another --method{or_layer}"
        )
    return hints


def _target(chosen: str, model: Network) -> int | str:
    """A name if there is a class of that name, else an index."""
    if chosen in model.labels or not (chosen.isascii() and chosen.isdecimal() and len(chosen) < 10):
        return chosen
    return int(chosen)


def _true(target: Any, index: int, model: Network) -> str | None:
    """What is true of the sample: its class, its labels, or the value with this index; None if that is of pixels."""
    import numpy as np

    names = model.labels or [*map(str, range(model.output_shape[0]))]
    if isinstance(target, int):
        return names[target]
    if np.shape(target) != model.output_shape or len(model.output_shape) != 1 or model.task.gives == "classes":
        return None
    if model.task.gives == "values":
        return f"{target[index]:.6g}"
    return ", ".join(name for name, there in zip(names, target, strict=True) if there >= 0.5) or "none of the labels"


def _has_share(model: Network) -> bool:
    """Whether it gives a probability of the input as a whole."""
    return model.has_probabilities and len(model.output_shape) == 1


def _say_largest(found: Attribution) -> None:
    """The numbers of an input that count most, with their places."""
    import numpy as np

    values = found.maps[0]
    order = np.argsort(-np.abs(values), axis=None, kind="stable")[:MOST]
    places = zip(*np.unravel_index(order, values.shape), strict=True)
    say_table(
        ("input", "attribution"),
        [(", ".join(map(str, map(int, place))), float(values[place])) for place in places],
        numbers=("input",),
    )
