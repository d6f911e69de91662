"""How long a layer takes beside a built-in one of the same shape: to be read, never a verdict."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

from cnnkit.components import BatchCoupledLayer, Layer, Merge, installed_catalog
from cnnkit.errors import CnnkitError
from cnnkit.testing.comparing import checking
from cnnkit.testing.layer_trial import Trial
from cnnkit.types import Shape

BATCH, SIZE = 32, 16
"""Samples, and rows and columns of their images: enough for the time to be that of the numbers, not of the calls."""
RUNS = 15


@dataclass(frozen=True)
class Speed:
    """The time of forward and backward in training, and that of a built-in layer on the same inputs."""

    expression: str
    in_shape: Shape
    seconds: float
    beside: str
    """The expression of the built-in layer."""
    seconds_beside: float

    @property
    def ratio(self) -> float:
        """How many times as long it takes; below 1, it is faster."""
        return self.seconds / self.seconds_beside

    def __str__(self) -> str:
        return (
            f"{self.expression} on {BATCH} inputs of shape {self.in_shape}: {1000 * self.seconds:.3g} ms forward and "
            f"backward, {self.ratio:.2g} times as long as {self.beside}"
        )


def speed_of(layer: Layer | Merge, in_shape: Shape) -> Speed | None:
    """Beside a convolution that gives as many channels, a dense layer, or where the shape is another one, ReLU.

    in_shape: images are tried with `SIZE` rows and columns if the layer takes those. None for a merge and for a layer
    that is coupled over the batch: what surrounds them takes part in their time.
    """
    if not isinstance(layer, Layer) or isinstance(layer, BatchCoupledLayer):
        return None
    larger: Shape = (*in_shape[:1], *(SIZE for _ in in_shape[1:]))
    with suppress(Exception):  # whatever is raised, it does not take this shape
        return _compared(layer, larger)
    return _compared(layer, in_shape)


def _compared(layer: Layer, in_shape: Shape) -> Speed:
    own = Trial.make(layer, in_shape, batch=BATCH)
    expression = _beside(in_shape, own.built.out_shape)
    built_in = installed_catalog().build("layer", expression)
    if not isinstance(built_in, Layer):
        raise CnnkitError(f"expected a layer to compare with, got {expression}")
    other = Trial.make(built_in, in_shape, batch=BATCH)
    times: tuple[list[float], list[float]] = ([], [])
    with checking():
        for _ in range(RUNS):  # in turn, so that both have the same neighbours on the machine
            for trial, found in zip((own, other), times, strict=True):
                found.append(_timed(lambda trial=trial: _pass(trial)))  # type: ignore[misc]  # mypy gives no type to a lambda with a default
    seconds, beside = map(statistics.median, times)
    return Speed(repr(layer), in_shape, seconds, expression, beside)


def _beside(in_shape: Shape, out_shape: Shape) -> str:
    match in_shape, out_shape:
        case (_, height, width), (filters, *size) if size == [height, width]:
            return f"Conv2D({filters}, 3, padding=1)"
        case (_,), (units,):
            return f"Dense({units})"
    return "ReLU()"


def _pass(trial: Trial) -> None:
    trial.forward(fill=0.0)
    trial.backward()


def _timed(call: Callable[[], None]) -> float:
    began = time.perf_counter()
    call()
    return time.perf_counter() - began
