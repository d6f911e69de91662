"""What can be known of a trainer and a model before the first step, so that no work is lost to it."""

from __future__ import annotations

import difflib
import functools
import inspect
import math
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import numpy as np

from cnnkit.components import Component
from cnnkit.components.attributes import unread
from cnnkit.errors import ConfigError, ShapeError
from cnnkit.layers import BatchNorm2D
from cnnkit.network import Sequential
from cnnkit.training.steps import factor_at, rate_of

if TYPE_CHECKING:
    from cnnkit.training.trainer import Trainer

LOOKS = 1000
"""At how many points of a training its schedule is asked for a factor before it begins."""


def preflight(trainer: Trainer, model: Sequential, samples: int) -> None:
    """Look at what a training on so many samples is made of; nothing is changed, and no sample is read.

    Raises ConfigError for attributes that nothing reads, ComponentError for a rate or factor that is no number from 0
    on, and ShapeError for a batch that has no statistics.
    """
    for thing, name in _parts(trainer, model):
        for attribute in unread(thing):
            raise _unread_error(name(), thing, attribute)
    rate_of(trainer.optimizer)
    for epoch in np.linspace(0.0, trainer.epochs, min(LOOKS, 2 * trainer.epochs), endpoint=False).tolist():
        factor_at(trainer.schedule, epoch, trainer.epochs)
    _check_statistics(model, samples, trainer.batch_size)


def _parts(trainer: Trainer, model: Sequential) -> Iterator[tuple[object, Callable[[], str]]]:
    """All that takes part, each with what tells its name."""
    yield trainer, lambda: "the trainer"
    yield model, lambda: "the model"
    for node in model.nodes:
        yield node.layer, node.__str__
    single = trainer.optimizer, trainer.loss, trainer.gradient, trainer.schedule
    for one in (*single, *trainer.metrics, *trainer.augmentations, *trainer.callbacks):
        if one is not None:
            yield one, functools.partial("the {0.kind} {0!r}".format, one)


def _unread_error(name: str, thing: object, attribute: str) -> ConfigError:
    options = [*inspect.signature(type(thing)).parameters]
    close = difflib.get_close_matches(attribute, options, n=1)
    hint = f"did you mean {close[0]}?" if close else "remove it with `del`"
    if isinstance(thing, Component) and options:
        hint += f"; what {type(thing).__name__} can be told are its arguments: {', '.join(options)}"
    return ConfigError(
        f"{name} has the attribute {attribute} = {getattr(thing, attribute)!r:.80}, which nothing reads, so that it "
        f"would change nothing: {hint}"
    )


def _check_statistics(model: Sequential, samples: int, batch_size: int) -> None:
    """Raises ShapeError if a batch gives a channel of batch normalisation a single number."""
    smallest = samples % batch_size or min(samples, batch_size)
    if smallest > 1:
        return
    for node in model.nodes:
        if isinstance(node.layer, BatchNorm2D) and math.prod(node.in_shapes[0][1:]) == 1:
            raise ShapeError(
                f"{node} would see a single number in each channel, which has no variance: its inputs are 1 x 1, and "
                f"{samples:,} samples in batches of {batch_size} leave a batch of one; choose another batch size, or "
                "normalise where the images are larger"
            )
