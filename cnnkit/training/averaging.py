"""The moving average of the weights."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from cnnkit.network import Network
from cnnkit.types import Array

PARAMETERS = "all.parameters"


class Average:
    """The exponential moving average of a model's parameters and buffers, step by step.

    average = keep * average + (1 - keep) * weights,    keep = min(decay, (1 + n) / (10 + n)) in step n = 1, 2, ...

    The first steps keep less, so that the initial weights are soon forgotten. Buffers, such as running statistics, are
    averaged alike.
    Source: Polyak, Juditsky (1992), Acceleration of Stochastic Approximation by Averaging; the decay of the first
    steps is that of TensorFlow's ExponentialMovingAverage.
    """

    def __init__(self, model: Network, decay: float) -> None:
        self.decay = decay
        self._model = model
        self.vectors = {name: array.copy() for name, array in self._weights().items()}
        """The averages by name: of all parameters together, and of each buffer."""

    def update(self, step: int) -> None:
        """Take in the weights after an update; step: its number, from 1."""
        kept = min(self.decay, (1 + step) / (10 + step))
        for name, weights in self._weights().items():
            average = self.vectors[name]
            average += (1 - kept) * (weights - average)

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

    def _put(self, vectors: dict[str, Array]) -> None:
        for name, weights in self._weights().items():
            weights[...] = vectors[name]

    def _weights(self) -> dict[str, Array]:
        buffers = {
            f"{node.name}.{name}": buffer for node in self._model.nodes for name, buffer in node.layer.buffers.items()
        }
        return {PARAMETERS: self._model.parameters.vector} | buffers
