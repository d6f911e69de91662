"""Means of the weights that a training has on its way, with which it ends."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager

from cnnkit.errors import ConfigError
from cnnkit.network import Network
from cnnkit.training_options import TrainingOptions
from cnnkit.types import Array

PARAMETERS = "all.parameters"


class Average:
    """A mean of a model's parameters and buffers. Buffers, such as running statistics, are averaged alike."""

    follows_steps = True
    """Whether every step changes it."""

    def __init__(self, model: Network) -> None:
        self._model = model
        self.vectors = {name: array.copy() for name, array in self._weights().items()}
        """The averages by name: of all parameters together, and of each buffer."""

    def has_begun(self, epoch: int) -> bool:
        """Whether there is a mean after so many epochs."""
        return True

    def update(self, step: int) -> None:
        """Take in the weights after an update; step: its number, from 1."""

    def epoch_ended(self, epoch: int) -> None:
        """Take in the weights at the end of an epoch; epoch: its number, from 1."""

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """The model has the averages inside the block, and its own weights again after it."""
        own = {name: array.copy() for name, array in self._weights().items()}
        self._put(self.vectors)
        try:
            yield
        finally:
            self._put(own)

    def keep(self) -> None:
        """Give the model the averages for good."""
        self._put(self.vectors)

    def _take(self, share: float) -> None:
        """Move all averages by this share of the way to the present weights."""
        for name, weights in self._weights().items():
            average = self.vectors[name]
            average += share * (weights - average)

    def _put(self, vectors: dict[str, Array]) -> None:
        for name, weights in self._weights().items():
            weights[...] = vectors[name]

    def _weights(self) -> dict[str, Array]:
        buffers = {
            f"{node.name}.{name}": buffer for node in self._model.nodes for name, buffer in node.layer.buffers.items()
        }
        return {PARAMETERS: self._model.parameters.vector} | buffers


class MovingAverage(Average):
    """The exponential moving average of the weights, step by step.

    average = keep * average + (1 - keep) * weights,    keep = min(decay, (1 + n) / (10 + n)) in step n = 1, 2, ...

    The first steps keep less, so that the initial weights are soon forgotten.
    Source: Polyak, Juditsky (1992), Acceleration of Stochastic Approximation by Averaging; the decay of the first
    steps is that of TensorFlow's ExponentialMovingAverage.
    """

    def __init__(self, model: Network, decay: float) -> None:
        super().__init__(model)
        self.decay = decay

    def update(self, step: int) -> None:
        self._take(1 - min(self.decay, (1 + step) / (10 + step)))


class AverageOfEpochs(Average):
    """The mean of the weights at the ends of all epochs after the first `before`.

    average = average + (weights - average) / n          in the n-th of these epochs; before, it is the weights

    Source: Izmailov, Podoprikhin, Garipov, Vetrov, Wilson (2018), Averaging Weights Leads to Wider Optima and Better
    Generalization. They take the statistics of batch normalisation anew; here they are averaged, too.
    """

    follows_steps = False

    def __init__(self, model: Network, before: int) -> None:
        super().__init__(model)
        self.before = before

    def has_begun(self, epoch: int) -> bool:
        return epoch > self.before

    def epoch_ended(self, epoch: int) -> None:
        if epoch > self.before + 1:
            self._take(1 / (epoch - self.before))
        else:
            for name, weights in self._weights().items():
                self.vectors[name][...] = weights


def average_of(model: Network, options: TrainingOptions) -> Average | None:
    """The mean that the options ask for."""
    if options.average is not None:
        return MovingAverage(model, options.average)
    if options.average_epochs is not None:
        return AverageOfEpochs(model, math.floor(options.average_epochs * options.epochs))
    return None


def check_averages(options: TrainingOptions) -> None:
    """Raises ConfigError for two means at once."""
    if options.average is not None and options.average_epochs is not None:
        raise ConfigError("average and average_epochs are two means of the weights, and a training ends with one")
