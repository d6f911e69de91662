"""What a child process is asked to do, and the data that it does it on."""

from __future__ import annotations

import dataclasses
import json
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.networks import CLASSES, NETWORKS, PREPROCESSING
from cnnkit.data import load_dataset
from cnnkit.errors import ConfigError
from cnnkit.network import Sequential, keyed_rng
from cnnkit.types import Array, Inputs, Samples, Shape

MNIST_SHAPE = (1, 28, 28)


@dataclass(frozen=True)
class Job:
    """One training, or one prediction of many images, the same for every framework."""

    network: str
    data: str
    """A folder from `stored`."""
    samples: int
    batch: int
    workers: int
    """How many cores may be used."""
    variant: str = ""
    """How the framework does it, in its module's own words."""
    optimizer: str = "Adam(0.001)"
    schedule: str = "Constant()"
    epochs: int = 1_000
    """How long the schedule is; there may be fewer turns."""
    dropout: bool = True
    evaluate: bool = False
    """Whether a turn is an epoch and then the accuracy on the test samples."""
    raw: bool = False
    """Whether the peers keep the images as bytes and convert them batch by batch, as cnnkit does."""
    seed: int = 0

    def to_json(self) -> str:
        """For a command line."""
        return json.dumps(dataclasses.asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Job:
        """What `to_json` was given."""
        return cls(**json.loads(text))

    def model(self) -> Sequential:
        """The network with the initial parameters that all frameworks start from."""
        return NETWORKS[self.network].build(self.seed, dropout=self.dropout)

    def train(self) -> Samples:
        """The samples to train on, raw."""
        return load(self.data, "train").take(slice(self.samples))

    def batches(self, epoch: int) -> Iterator[Array]:
        """The positions of each batch's samples, in the order of `cnnkit.Trainer`."""
        order = keyed_rng("order", self.seed, epoch).permutation(self.samples)
        for start in range(0, len(order), self.batch):
            yield order[start : start + self.batch]


@contextmanager
def stored(kind: str | None, shape: Shape, count: int, target_shape: Shape = ()) -> Iterator[str]:
    """A folder with `count` training samples, and MNIST's test samples if they are MNIST's, for as long as needed.

    kind: "mnist", "random", or None for MNIST where the shape is its own, and else random ones; target_shape: of the
    classes of a random one.
    Raises ConfigError if MNIST does not have this shape or as many samples.
    """
    with tempfile.TemporaryDirectory(prefix="cnnkit-benchmark-") as folder:
        if kind == "random" or (kind is None and shape != MNIST_SHAPE):
            rng = np.random.default_rng(0)
            images = rng.integers(0, 256, (count, *shape), np.uint8)
            save(folder, "train", Samples(images, rng.integers(0, CLASSES, (count, *target_shape))))
        else:
            data = load_dataset("MNIST()")
            if shape != data.input_shape or count > len(data.train):
                raise ConfigError(
                    f"expected at most {len(data.train)} samples of shape {data.input_shape}, as MNIST has them, got "
                    f"{count} of shape {shape}; use --data random"
                )
            save(folder, "train", data.train.take(slice(count)))
            save(folder, "test", data.test)
        yield folder


def save(folder: str, part: str, samples: Samples) -> None:
    """Write samples where a job finds them."""
    np.save(Path(folder) / f"{part}_x.npy", samples.x)
    np.save(Path(folder) / f"{part}_y.npy", samples.y)


def load(folder: str, part: str) -> Samples:
    """Samples that `save` has written."""
    return Samples(np.load(Path(folder) / f"{part}_x.npy"), np.load(Path(folder) / f"{part}_y.npy"))


def prepared(x: Inputs) -> Array:
    """Raw images as the first layer sees them, float32, (N, C, H, W)."""
    factor, offset = PREPROCESSING.affine(np.dtype(np.float32), x.ndim)
    return np.add(np.multiply(x, factor, dtype=np.float32), offset)
