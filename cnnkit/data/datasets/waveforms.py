"""Signals that are computed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from cnnkit.components.checks import not_negative, whole
from cnnkit.components.contracts import Dataset
from cnnkit.data.datasets.light_images import check_size
from cnnkit.types import Array, Data, Samples

FEWEST, MOST = 2.0, 6.0
"""Periods in a signal."""
SHORTEST = 16
"""Values of a signal in which the shapes of a few periods show."""
SHAPES: dict[str, Callable[[Array], Array]] = {
    "sine": lambda u: np.sin(2 * np.pi * u),
    "square": lambda u: np.where(u < 0.5, 1.0, -1.0),
    "triangle": lambda u: 4 * np.abs(u - 0.5) - 1,
    "sawtooth": lambda u: 2 * u - 1,
}
"""Each is a function of the place in a period, 0 <= u < 1, with values from -1 to 1."""
PEAK = 8 * (len(SHAPES) + 2)
"""Bytes of a value while signals are made, in float64: u, each shape of it, and the one that is chosen."""


class Waveforms(Dataset):
    """Sine, square, triangle and sawtooth waves of random frequency and phase, with noise: nothing to download.

    x_t = wave(u_t) + noise n_t,  u_t = f t / L + p, modulo 1,  t = 0 .. L - 1

    sine: sin(2 pi u); square: 1 for u < 1/2, else -1; triangle: 4 |u - 1/2| - 1; sawtooth: 2 u - 1. A signal has
    f periods, uniform from 2 to 6, and a phase p, uniform from 0 to 1; n is from the standard normal distribution.

    x: (N, 1, L) float32, about -1 to 1; y: (N,) int64, the wave. train, test: how many signals; length: L, 16 or more;
    noise: the standard deviation of the noise; seed: chooses the signals. Raises ConfigError for other arguments, and
    for more than 2 GiB.
    """

    def __init__(
        self, train: int = 4_000, test: int = 1_000, length: int = 128, noise: float = 0.5, seed: int = 0
    ) -> None:
        self.train = whole("train", train)
        self.test = whole("test", test)
        self.length = whole("length", length, at_least=SHORTEST)
        self.noise = not_negative("noise", noise)
        self.seed = whole("seed", seed, at_least=0)
        check_size(self, self.train + self.test, (1, self.length), PEAK)

    def load(self, data_dir: Path) -> Data:
        """Compute the signals; `data_dir` is not used."""
        train, test = (self._samples(part, count) for part, count in enumerate((self.train, self.test)))
        return Data(train, test, labels=tuple(SHAPES))

    def is_complete(self, data_dir: Path) -> bool:
        """There are no files."""
        return True

    def _samples(self, part: int, count: int) -> Samples:
        rng = np.random.default_rng([self.seed, part])
        y = rng.integers(0, len(SHAPES), count)
        periods, phase = rng.uniform(FEWEST, MOST, (count, 1)), rng.uniform(0, 1, (count, 1))
        u = (periods * np.arange(self.length) / self.length + phase) % 1
        waves = np.choose(y[:, None], [wave(u) for wave in SHAPES.values()])
        x = waves + self.noise * rng.standard_normal(waves.shape)
        return Samples(x[:, None].astype(np.float32), y)
