"""The picture of an attribution: what its title, captions and scale say."""

from __future__ import annotations

from pathlib import Path

from cnnkit.attribution import Attribution
from cnnkit.attribution.score import NOUNS
from cnnkit.network import Network
from cnnkit.types import Array

SCALES = {
    "gradcam": "Grad-CAM: weighted maps of the layer",
    "integrated-gradients": "what the pixel adds to {score}",
    "occlusion": "fall of {score} when it is covered",
    "gradient": "change of {score} for one unit of the pixel",
}
NAMES = {
    "gradcam": "Grad-CAM",
    "integrated-gradients": "integrated gradients",
    "occlusion": "occlusion",
    "gradient": "input gradient",
}


def is_drawn(model: Network) -> bool:
    """Whether the inputs of a model are images that a screen can show."""
    return len(model.input_shape) == 3 and model.input_shape[0] in (1, 3)


def write_attribution(
    model: Network, image: Array, found: Attribution, share: float | None, path: Path, name: str, source: str
) -> Path:
    """Write the picture for the first sample, (C, H, W); share: the probability of what is explained, if it has one.

    name, source: of the model, and where the image is from. Raises PlotError if it cannot be written.
    """
    from cnnkit.plotting.attribution_maps import draw_attribution
    from cnnkit.plotting.predictions import percent
    from cnnkit.plotting.saving import save

    index, is_value = int(found.targets[0]), model.task.gives == "values"
    label = model.labels[index] if model.labels else f"{NOUNS[model.task.gives]} {index}"
    said = f"{found.scores[0]:.4g}" if share is None else percent(share)
    figure = draw_attribution(
        image,
        found.maps[0],
        f"{name}: what speaks for {label} ({said})",
        caption=source,
        method=f"{NAMES[found.method]} of {found.layer}" if found.layer else NAMES[found.method],
        scale=SCALES[found.method].format(score="the value" if is_value else "the logit"),
    )
    return save(figure, path)
