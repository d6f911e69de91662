"""The picture of an attribution: what its title, captions and scale say."""

from __future__ import annotations

import math
from pathlib import Path

from cnnkit.attribution import Attribution
from cnnkit.attribution.score import NOUNS
from cnnkit.network import Network
from cnnkit.types import Array
from cnnkit.wording import counted, percent

SCALES = {
    "gradcam": "Grad-CAM: weighted maps of the layer",
    "integrated-gradients": "added to {score}",
    "occlusion": "fall of {score} when covered",
    "gradient": "change of {score} for one unit",
}
NAMES = {
    "gradcam": "Grad-CAM",
    "integrated-gradients": "integrated gradients",
    "occlusion": "occlusion",
    "gradient": "input gradient",
}


def is_drawn(model: Network) -> bool:
    """Whether the inputs of a model are images that a screen can show, or signals."""
    return len(model.input_shape) == 2 or (len(model.input_shape) == 3 and model.input_shape[0] in (1, 3))


def name_of(model: Network, index: int) -> str:
    """What is explained, in a sentence."""
    if model.labels:
        return model.labels[index]
    if model.task.gives == "values":
        return "the value" if model.output_shape[0] == 1 else f"output {index}"
    return f"{NOUNS[model.task.gives]} {index}"


def place(model: Network) -> str:
    """What a network answers for each of: the pixels of an image, or the positions of a signal."""
    return "pixel" if len(model.output_shape) == 3 else "position"


def over(model: Network, found: Attribution) -> str:
    """The pixels that the first sample's score is the mean over; "" of a network that says one thing of an input."""
    if found.pixels is None:
        return ""
    every, there, noun = math.prod(model.output_shape[1:]), int(found.pixels[0]), place(model)
    if model.task.gives == "values":
        return f"all {every:,} {noun}s"
    if not there:
        return f"all {every:,} {noun}s, none of which is predicted so"
    return f"{counted(there, noun)} predicted so"


def write_attribution(
    model: Network,
    image: Array,
    found: Attribution,
    share: float | None,
    path: Path,
    name: str,
    source: str,
    true: str | None = None,
) -> Path:
    """Write the picture for the first sample.

    image: (C, H, W), or a signal (C, L); share: the probability of what is explained, if it has one; name, source: of
    the model, and where the image is from; true: what it is of, if that is known.
    Raises PlotError if it cannot be written.
    """
    from cnnkit.plotting.attribution_maps import draw_attribution
    from cnnkit.plotting.saving import save

    score = f"{found.scores[0]:.4g}" if model.task.gives == "values" else f"logit {found.scores[0]:.4g}"
    what = "value" if model.task.gives == "values" else "logit"
    if found.pixels is not None:
        score, what = f"mean {score} of {over(model, found)}", f"mean {what}"
    said = score if share is None else percent(share)
    method = f"{NAMES[found.method]} of {found.layer}" if found.layer else NAMES[found.method]
    label = name_of(model, int(found.targets[0]))
    truth = "" if true is None else f", true {true}"
    figure = draw_attribution(
        image,
        found.maps[0],
        f"{name}: what speaks for {label} ({said}){truth}",
        caption=source,
        method=method if found.maps[0].any() else f"{method}: 0 everywhere",
        scale=SCALES[found.method].format(score=f"the {what}"),
    )
    return save(figure, path)
