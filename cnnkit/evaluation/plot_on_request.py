"""Pictures of a model that take seconds or minutes: they are drawn where they are asked for."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, cast

from cnnkit.components import Loss, installed_catalog
from cnnkit.errors import PlotError
from cnnkit.evaluation.plot_subject import Subject
from cnnkit.network import Network, Node

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MOST_CHANNELS = 40


def cost(kind: str, subject: Subject) -> str:
    """What a kind will compute, to be told before; "" for one that takes no time. PlotError if it does not fit."""
    if kind == "landscape":
        from cnnkit.evaluation.landscape import MOST_SAMPLES, SIDE

        samples = min(MOST_SAMPLES, len(subject.samples))
        return f"the loss at {SIDE} x {SIDE} points: {SIDE * SIDE} evaluations of {samples} test samples"
    if kind == "maximisation":
        from cnnkit.attribution.maximisation import STEPS

        count = min(MOST_CHANNELS, _maximised(subject).out_shape[0])
        return f"{STEPS} steps of gradient ascent for each of {count} channels"
    return ""


def _maximised(subject: Subject) -> Node:
    """The layer that was asked for, or the last convolution, or of a network without one the last layer.

    Raises PlotError for a model that does not take images.
    """
    shape = subject.model.input_shape
    if len(shape) != 3 or shape[0] not in (1, 3):
        raise PlotError(f"images of 1 or 3 channels can be shown, inputs of shape {shape} cannot")
    if subject.layer is not None:
        return subject.node(lambda node: len(node.out_shape) > 0, "outputs")
    nodes = subject.model.nodes
    return next((n for n in reversed(nodes) if getattr(n.layer.params.get("weight"), "ndim", 0) == 4), nodes[-1])


def _maximisation(subject: Subject) -> Figure:
    from cnnkit.attribution.maximisation import maximise
    from cnnkit.plotting.maximisation import draw_maximisation

    node, model = _maximised(subject), subject.model
    channels = range(min(MOST_CHANNELS, node.out_shape[0]))
    images, _ = maximise(model, node, channels)
    are_classes = bool(model.labels) and node.out_shape == model.output_shape
    names = [model.labels[channel] if are_classes else str(channel) for channel in channels]
    more = f", the first {len(channels)} of {node.out_shape[0]:,}" if len(channels) < node.out_shape[0] else ""
    title = f"{subject.name}: what each channel of {node.name} answers to most{more}"
    return draw_maximisation(images, names, title)


def _landscape(subject: Subject) -> Figure:
    from cnnkit.evaluation.landscape import landscape
    from cnnkit.plotting.landscape import draw_landscape

    loss = cast(Loss, installed_catalog().build("loss", _loss(subject.model)))
    found = landscape(subject.model, subject.samples, loss)
    title = f"{subject.name}: the loss of {found.samples} test samples around the model"
    return draw_landscape(found.steps, found.losses, title, f"loss, {loss!r}")


def _loss(model: Network) -> str:
    """That of the model's task."""
    match model.task.gives:
        case "classes" if model.has_probabilities:
            return "CrossEntropy()"
        case "labels" if model.task.from_logits:
            return "BinaryCrossEntropy()"
    return "MSE()"


ON_REQUEST: dict[str, Callable[[Subject], Figure]] = {"maximisation": _maximisation, "landscape": _landscape}
