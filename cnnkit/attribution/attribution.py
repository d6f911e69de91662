"""`attribute`: maps of which parts of inputs speak for what a network says of them, by any of the methods."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np

from cnnkit import caller_warnings
from cnnkit.attribution.grad_cam import grad_cam, layer_with_maps
from cnnkit.attribution.gradient import gradients
from cnnkit.attribution.integrated_gradients import incompleteness, integrated_gradients
from cnnkit.attribution.occlusion import occlusion
from cnnkit.attribution.passes import Passes
from cnnkit.attribution.score import Score, Target, score_of
from cnnkit.components.checks import finite, one_of, whole
from cnnkit.errors import CnnkitWarning, ConfigError, ShapeError
from cnnkit.input_units import scale_of_images
from cnnkit.network import Network
from cnnkit.types import Array, Inputs, Shape

Method = Literal["gradcam", "integrated-gradients", "occlusion", "gradient"]
METHODS: dict[str, tuple[str, ...]] = {
    "gradcam": ("layer",),
    "integrated-gradients": ("baseline", "steps"),
    "occlusion": ("window", "stride", "fill"),
    "gradient": (),
}
"""The methods, with the options that each takes."""
STEPS, MOST_STEPS = 128, 10_000
INCOMPLETE = 0.05
"""Of the score's difference: what integrated gradients may miss before a warning says so."""


@dataclass(frozen=True)
class Attribution:
    """What speaks for the scores of some samples."""

    method: str
    maps: Array
    """(N, H, W) of gradcam and occlusion, (N, *input_shape) of the other methods."""
    targets: Array
    """(N,) the index of the class, label or value that is explained."""
    scores: Array
    """(N,) float64: its logit or value."""
    layer: str | None = None
    """Of Grad-CAM: the layer whose maps are weighted."""
    pixels: Array | None = None
    """(N,) of a network that answers for each pixel: how many are predicted to be of the target, over which the score
    is the mean; 0 where none is, and it is the mean over all."""
    incompleteness: Array | None = None
    """(N,) of integrated gradients: how far they are from adding up to the difference of scores, as a part of it."""


def attribute(
    model: Network,
    x: Inputs,
    *,
    method: Method = "gradcam",
    target: Target | None = None,
    layer: str | None = None,
    baseline: float | Array | None = None,
    steps: int | None = None,
    window: int | Sequence[int] | None = None,
    stride: int | Sequence[int] | None = None,
    fill: float | None = None,
) -> Array:
    """Which parts of inputs speak for what a network says of them: `attribute(model, x, method="gradcam")`.

    x: (N, *input_shape) in the dataset's own units. target: the index or name of a class, label or value, or an index
    for each sample; None for what is predicted, of pixels what most are that are not called background. What is
    explained is its logit, before a Softmax or Sigmoid, or the value; of networks that answer for each pixel, the mean
    over the pixels that are predicted so, or over all if none is.

    | method | result | options |
    |---|---|---|
    | "gradcam" | (N, H, W), 0 or above | `layer`: the last with maps on all paths, before pooling, or any by its name |
    | "integrated-gradients" | (N, C, H, W) | `baseline`: black, or a number or array; `steps`: 128 |
    | "occlusion" | (N, H, W) | `window`: a quarter of the image; `stride`: a third of that; `fill`: black |
    | "gradient" | (N, C, H, W), per unit of the dataset | |

    Of signals, axes H and W are one, L; vectors (N, F) give (N, F), and have no Grad-CAM.
    Raises ConfigError for a class or layer that the network does not have, and options that the method does not take,
    ShapeError for inputs that do not fit, DataError where the network gives NaN, and CostError for a network that takes
    more memory or time than there is. A CnnkitWarning says where integrated gradients miss more than 5 %.
    """
    found = attribution(
        model, x, method=method, target=target, layer=layer, baseline=baseline, steps=steps, window=window,
        stride=stride, fill=fill,
    )  # fmt: skip
    if (
        found.incompleteness is not None
        and (gap := float(np.nan_to_num(found.incompleteness).max(initial=0))) > INCOMPLETE
    ):
        caller_warnings.warn(missing(gap), CnnkitWarning)
    return found.maps


def missing(gap: float) -> str:
    """What to say of integrated gradients that do not add up."""
    return f"the integrated gradients miss {gap:.1%} of the score's difference from the baseline: use more steps"


def attribution(model: Network, x: Inputs, *, method: str, target: Target | None = None, **options: Any) -> Attribution:
    """As `attribute`, with what the maps are of."""
    one_of("method", method, get_args(Method))
    given = {name: value for name, value in options.items() if value is not None}
    if others := [name for name in given if name not in METHODS[method]]:
        takes = ", ".join(METHODS[method]) or "no options"
        raise ConfigError(f"the method {method} takes {takes}, and not {', '.join(others)}: remove it")
    checked = np.asarray(model.check_input(x))
    score = score_of(model, checked, target)
    passes = Passes(model, score.nodes)
    found: dict[str, Any] = _RUN[method](model, passes, checked, score, given)
    scores = passes.scores(checked, score.weights)
    return Attribution(method, targets=score.targets, scores=scores, pixels=score.pixels, **found)


def _gradient(_model: Network, passes: Passes, x: Array, score: Score, _given: dict[str, Any]) -> dict[str, Any]:
    return {"maps": gradients(passes, x, score.weights)}


def _grad_cam(model: Network, passes: Passes, x: Array, score: Score, given: dict[str, Any]) -> dict[str, Any]:
    node = layer_with_maps(score.nodes, given.get("layer"), model.input_shape)
    return {"maps": grad_cam(passes, x, score.weights, node), "layer": node.name}


def _integrated(model: Network, passes: Passes, x: Array, score: Score, given: dict[str, Any]) -> dict[str, Any]:
    steps = whole("steps", given.get("steps", STEPS))
    if steps > MOST_STEPS:
        raise ConfigError(f"steps must be at most {MOST_STEPS:,}, got {steps:,}")
    start = np.asarray(given.get("baseline", _black(model)))
    if start.dtype.kind not in "iuf" or not np.isfinite(start).all():
        raise ConfigError(f"baseline must be a finite number, or an array of them, got {given['baseline']!r:.80}")
    if start.shape not in ((), model.input_shape):
        raise ShapeError(f"expected a baseline of shape {model.input_shape}, or one number, got {start.shape}")
    baseline = np.broadcast_to(start.astype(score.weights.dtype), model.input_shape)
    maps = integrated_gradients(passes, x, score.weights, baseline, steps)
    return {"maps": maps, "incompleteness": incompleteness(passes, x, score.weights, baseline, maps)}


def _occlusion(model: Network, passes: Passes, x: Array, score: Score, given: dict[str, Any]) -> dict[str, Any]:
    size = model.input_shape[1:] or model.input_shape
    usual = max(1, min(size) // 4) if model.input_shape[1:] else 1
    window = _sides("window", given.get("window", min(usual, *size)), len(size))
    stride = _sides("stride", given.get("stride", [max(1, side // 3) for side in window]), len(size))
    fill = finite("fill", given.get("fill", _black(model)))
    return {"maps": occlusion(passes, x, score.weights, window, stride, fill)}


_RUN: dict[str, Callable[[Network, Passes, Array, Score, dict[str, Any]], dict[str, Any]]] = {
    "gradcam": _grad_cam,
    "integrated-gradients": _integrated,
    "occlusion": _occlusion,
    "gradient": _gradient,
}


def _black(model: Network) -> float:
    """What black is to the model; 0 for what is no image."""
    if len(model.input_shape) != 3:
        return 0.0
    return float(scale_of_images(model.preprocessing, model.input_range, model.input_shape).black)


def _sides(name: str, value: Any, axes: int) -> Shape:
    """A length for each axis, from one for all of them or one for each."""
    if isinstance(value, list | tuple):
        if len(value) != axes:
            raise ConfigError(f"{name} must be a whole number, or {axes} of them, got {value!r}")
        return tuple(whole(name, side) for side in value)
    return (whole(name, value),) * axes
