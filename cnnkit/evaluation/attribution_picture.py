"""The picture of an attribution: what its title, captions and scale say."""

from __future__ import annotations

from pathlib import Path

from cnnkit.attribution import Attribution
from cnnkit.attribution.score import NOUNS
from cnnkit.network import Network
from cnnkit.types import Array
from cnnkit.wording import percent

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


def write_attribution(
    model: Network, image: Array, found: Attribution, share: float | None, path: Path, name: str, source: str
) -> Path:
    """Write the picture for the first sample.

    image: (C, H, W), or a signal (C, L); share: the probability of what is explained, if it has one; name, source: of
    the model, and where the image is from. Raises PlotError if it cannot be written.
    """
    from cnnkit.plotting.attribution_maps import draw_attribution
    from cnnkit.plotting.saving import save

    index, is_value = int(found.targets[0]), model.task.gives == "values"
    label = model.labels[index] if model.labels else f"{NOUNS[model.task.gives]} {index}"
    score = f"{'' if is_value else 'logit '}{found.scores[0]:.4g}"
    said = score if share is None else percent(share)
    figure = draw_attribution(
        image,
        found.maps[0],
        f"{name}: what speaks for {label} ({said})",
        caption=source,
        method=f"{NAMES[found.method]} of {found.layer}" if found.layer else NAMES[found.method],
        scale=SCALES[found.method].format(score="the value" if is_value else "the logit"),
    )
    return save(figure, path)
