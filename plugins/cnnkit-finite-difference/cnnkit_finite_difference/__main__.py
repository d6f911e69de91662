"""`python -m cnnkit_finite_difference`: the convolution in plain loops beside the fast one, on real digits."""

from __future__ import annotations

import sys

import numpy as np

from cnnkit import Sequential, Trainer, load_dataset
from cnnkit.plugin import Array, Samples

LAYERS = ("{}(4, 3, padding=1)", "ReLU()", "MaxPool2D(2)", "{}(8, 3)", "Flatten()", "Dense(10)")
SAMPLES, TIMES = 16, 5
DIFFERENCE = 1e-5
"""What may be between two gradients in float32 that add up in another order, relative to the largest number."""


def measured(convolution: str, samples: Samples, times: int) -> tuple[Array, float]:
    """The gradient of one training step with these convolutions, and the seconds of the fastest of several."""
    model = Sequential([layer.format(convolution) for layer in LAYERS], samples.x.shape[1:])
    before = model.parameters.vector.copy()
    seconds = _seconds(model, samples, "SGD(1.0)", 1)
    gradient = before - model.parameters.vector  # a step at the rate 1 subtracts it
    if times > 1:
        seconds = min(seconds, _seconds(model, samples, "SGD(1e-9)", times - 1))
    return gradient, seconds


def _seconds(model: Sequential, samples: Samples, optimizer: str, steps: int) -> float:
    """The time of the fastest of several steps, each a separate epoch."""
    trainer = Trainer(optimizer=optimizer, metrics=[], epochs=steps, batch_size=len(samples), workers=1)
    return min(trainer.fit(model, samples).history["seconds"])


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
