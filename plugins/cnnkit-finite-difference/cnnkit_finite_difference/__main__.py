"""`python -m cnnkit_finite_difference`: the convolution in plain loops beside the fast one, on real digits."""

from __future__ import annotations

import sys
import time

import numpy as np

from cnnkit import Sequential, load_dataset
from cnnkit.losses import CrossEntropy
from cnnkit.network import Objective, training_session
from cnnkit.optimizers import SGD
from cnnkit.types import Array, Samples

LAYERS = ("{}(4, 3, padding=1)", "ReLU()", "MaxPool2D(2)", "{}(8, 3)", "Flatten()", "Dense(10)")
SAMPLES, TIMES = 16, 5
DIFFERENCE = 1e-5
"""What may be between two gradients in float32 that add up in another order, relative to the largest number."""


def measured(convolution: str, samples: Samples, times: int) -> tuple[Array, float]:
    """The gradient of one training step with these convolutions, and the seconds of the fastest of several."""
    model = Sequential([layer.format(convolution) for layer in LAYERS], samples.x.shape[1:])
    count = len(samples)
    seconds = []
    with training_session(model.engine(), samples, Objective(CrossEntropy()), SGD(), count, workers=1) as session:
        for _ in range(times):
            began = time.perf_counter()
            session.step(np.arange(count), (0, 0, 0))
            seconds.append(time.perf_counter() - began)
        return session.gradient.copy(), min(seconds)


def main() -> int:
    """Print both times and the largest difference; 1 if that is too large."""
    samples = load_dataset("Digits()").train.take(slice(SAMPLES))
    slow, slow_seconds = measured("LoopConv2D", samples, 1)
    fast, fast_seconds = measured("Conv2D", samples, TIMES)
    difference = float(np.abs(slow - fast).max() / np.abs(fast).max())
    lines = [
        f"one training step with {SAMPLES} digits through {', '.join(LAYERS).format('Conv2D', 'Conv2D')}:",
        f"  LoopConv2D  {1e3 * slow_seconds:9.2f} ms",
        f"  Conv2D      {1e3 * fast_seconds:9.2f} ms, {slow_seconds / fast_seconds:,.0f} times as fast",
        f"  the gradients differ by {difference:.1e} of their largest number, {DIFFERENCE:.0e} is allowed",
    ]
    sys.stdout.write("\n".join(lines) + "\n")
    return int(difference > DIFFERENCE)


if __name__ == "__main__":
    sys.exit(main())
