"""What can be known of a trainer and a model before the first step, so that no work is lost to it."""

from __future__ import annotations

import functools
import inspect
import math
from collections.abc import Callable, Iterator, Sequence
from typing import TypeGuard

import numpy as np

from cnnkit.components import BatchCoupledLoss, CollectingMetric, Component, Metric
from cnnkit.components.attributes import unread
from cnnkit.components.checks import are_shares
from cnnkit.components.error_naming import Naming
from cnnkit.components.quantities import HOW_TO_VALIDATE
from cnnkit.errors import ConfigError, ShapeError
from cnnkit.layers import BatchNorm1D, BatchNorm2D
from cnnkit.losses.class_loss import ignored_by
from cnnkit.metrics import METRICS
from cnnkit.metrics.class_metric import _ClassMetric
from cnnkit.network import Network
from cnnkit.network.graph.final_layers import about_end
from cnnkit.training.averaging import check_averages
from cnnkit.training.data_checks import NAMES, Parts
from cnnkit.training.groups import groups_of
from cnnkit.training.history_recording import Recorder, quantities_of
from cnnkit.training.steps import check_clipping, factor_at, rate_of
from cnnkit.training.watching import Watchers, added_to
from cnnkit.training_options import OPTIONS, TrainingOptions
from cnnkit.types import Samples, blocks
from cnnkit.wording import did_you_mean

WITHOUT = "remove it from the metrics, or write metrics=[] for none"
ALIKE = 0.85
"""From which similarity on an attribute of a model or trainer is a misspelt option, as `epoch` is, and no note."""
ELSEWHERE = {
    *("trainable", "requires_grad", "frozen", "freeze", "training", "device"),
    *("lr", "learning_rate", "momentum", "weight_decay", "shuffle", "verbose", "max_epochs", "validation_split"),
}
"""Attributes that change a model or a training in other libraries."""
LOOKS = 1000
"""At how many points of a training its schedule is asked for a factor before it begins."""


def begin(options: TrainingOptions, model: Network, *, is_validated: bool) -> None:
    """Let all that looks at whole epochs begin.

    Raises ConfigError where keep = "best" has nothing to compare epochs by, and what recording and callbacks raise.
    """
    if options.keep == "best" and not is_validated:
        raise ConfigError(f'keep = "best" compares epochs by validation samples, and there are none: {HOW_TO_VALIDATE}')
    recorder = Recorder(model, options.record, options.epochs)
    quantities = quantities_of(options.metrics, recorder, validated=is_validated, penalized=options.penalizes)
    quantities |= added_to(quantities, Watchers(options.callbacks, model).quantities, options.epochs)
    for callback in options.callbacks:
        with Naming(callback):
            callback.start(dict(quantities))
    with Naming(options.schedule):
        options.schedule.begin(dict(quantities))


def preflight(options: TrainingOptions, model: Network, parts: Parts) -> list[str]:
    """Look at what a training is made of, and return what its user should know; changes nothing, and reads no input.

    Raises ConfigError for attributes that nothing reads, an end of the network that never suits the loss, and a
    metric of classes where targets are none; ComponentError for a rate or factor that is not a number of at least 0;
    and ShapeError for a batch that has no statistics.
    """
    for thing, name in _parts(options, model):
        for attribute in unread(thing):
            _check_attribute(name(), thing, attribute)
    groups_of(model, options)
    check_clipping(options)
    check_averages(options)
    rate_of(options.optimizer)
    for epoch in np.linspace(0.0, options.epochs, min(LOOKS, 2 * options.epochs), endpoint=False).tolist():
        factor_at(options.schedule, epoch, options.epochs)
    _check_statistics(model, len(parts.train), options.batch_size)
    _check_class_metrics(options, model, parts)
    return list(filter(None, [about_end(model.nodes, options.loss)]))


def _parts(options: TrainingOptions, model: Network) -> Iterator[tuple[object, Callable[[], str]]]:
    """All that takes part, each with what tells its name."""
    yield options, lambda: "the trainer"
    yield model, lambda: "the model"
    for node in model.nodes:
        yield node.layer, node.__str__
    for name, option in OPTIONS.items():
        value = getattr(options, name) if option.kind else None
        for one in value if isinstance(value, list) else [value]:
            if one is not None:
                yield one, functools.partial("the {0.kind} {0!r}".format, one)


def _check_attribute(name: str, thing: object, attribute: str) -> None:
    """Raises ConfigError for an attribute that nothing reads; a model or trainer may carry notes of its user."""
    options = [*inspect.signature(type(thing)).parameters]
    is_component = isinstance(thing, Component)
    close = did_you_mean(attribute, options, 1, 0.6 if is_component else ALIKE)
    if not (is_component or close or attribute in ELSEWHERE):
        return
    hint = close or "remove it with `del`"
    if is_component and options:
        hint += f"; the options of {type(thing).__name__} are its arguments: {', '.join(options)}"
    raise ConfigError(
        f"{name} has the attribute {attribute} = {getattr(thing, attribute)!r:.80}, which nothing reads, so it would "
        f"have no effect: {hint}"
    )


def _check_class_metrics(options: TrainingOptions, model: Network, parts: Parts) -> None:
    """Raises ConfigError where a metric would take the largest of labels or values for a class, or count others."""
    metrics = [one for one in options.metrics if _is_of_classes(one)]
    ignored = ignored_by(options.loss)
    if other := next((one for one in metrics if ignored is not None and one.ignore_index != ignored), None):
        raise ConfigError(
            f"the loss {options.loss!r} does not count targets that are {ignored}, and the metric {other!r} would: "
            f"write ignore_index={ignored} among its arguments"
        )
    if metrics and isinstance(options.loss, BatchCoupledLoss):
        raise ConfigError(
            f"the metric {metrics[0]!r} needs an output for each class, and {options.loss!r} compares samples by "
            f"outputs that stand for no class: {WITHOUT}"
        )
    metric = next((one for one in metrics if not isinstance(one, CollectingMetric)), None)
    if metric is None:
        return
    counts = f"the metric {metric!r} counts the samples of which the one right class has the largest output, and"
    if options.loss.gives == "labels":
        raise ConfigError(f"{counts} {options.loss!r} trains labels, any number of which may be there: {WITHOUT}")
    if options.loss.task(parts.train.y, model.output_shape).gives != "values":
        return
    for name, part in zip(NAMES, parts[:3], strict=True):
        if not part or part.y.shape[1:] != model.output_shape:
            continue
        if not all(are_shares(part.y[block]).all() for block in blocks(part.y)):
            raise ConfigError(f"{counts} the {name} targets are values: {WITHOUT}")


def _is_of_classes(metric: Metric) -> TypeGuard[_ClassMetric]:
    """Whether it has the sums of one of cnnkit's own, and these are of one class of several."""
    own = [cls.sums for cls in METRICS if issubclass(cls, _ClassMetric)]
    return type(metric).sums in own and getattr(metric, "threshold", None) is None


def check_collecting(metrics: Sequence[Metric], model: Network, part: Samples | None) -> None:
    """Ask metrics that are measured after an epoch for the first rows of their samples, so that none is lost to what
    they refuse.
    """
    even = np.broadcast_to(np.float32(1 / model.output_shape[0]), (1, *model.output_shape))
    for metric in metrics:
        if part and isinstance(metric, CollectingMetric):
            with Naming(metric):
                metric.sums(even, part.y[:1])


def _check_statistics(model: Network, samples: int, batch_size: int) -> None:
    """Raises ShapeError if a batch gives a channel of batch normalisation a single number."""
    smallest = samples % batch_size or min(samples, batch_size)
    if smallest > 1:
        return
    for node in model.nodes:
        in_shape = node.in_shapes[0]
        if isinstance(node.layer, BatchNorm1D | BatchNorm2D) and math.prod(in_shape[1:]) == 1:
            what, larger = {
                1: ("vectors", "by LayerNorm() instead"),
                2: ("of length 1", "where the signals are longer"),
                3: ("1 x 1", "where the images are larger"),
            }[len(in_shape)]
            raise ShapeError(
                f"{node} would see a single number in each channel, which has no variance: its inputs are {what}, and "
                f"{samples:,} samples in batches of {batch_size} leave a batch of one; choose another batch size, or "
                f"normalise {larger}"
            )
