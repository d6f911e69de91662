"""What every kind of training does in its steps: which batches there are, and how gradients are clipped."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

from cnnkit.network import keyed_rng
from cnnkit.types import Array


def batches(seed: int, epoch: int, samples: int, batch_size: int) -> list[Array]:
    """The positions of the samples in each batch of an epoch, in an order that depends on seed and epoch alone."""
    order = keyed_rng("order", seed, epoch).permutation(samples)
    return [order[start : start + batch_size] for start in range(0, samples, batch_size)]


def endless_batches(seed: int, samples: int, batch_size: int) -> Iterator[tuple[tuple[int, int, int], Array]]:
    """The batches of one epoch after another, each with its key (seed, epoch, step)."""
    for epoch in itertools.count():
        for step, batch in enumerate(batches(seed, epoch, samples, batch_size)):
            yield (seed, epoch, step), batch


def clipping(norm: float, limit: float | None) -> float:
    """What a gradient of this norm is multiplied with, so that its norm is not above the limit; None for no limit."""
    return limit / norm if limit is not None and norm > limit else 1.0
