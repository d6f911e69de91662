"""A training in a separate process, `python -m tests.network.one_training TRAINING`: its forecast, then itself."""

from __future__ import annotations

import dataclasses
import json
import sys
from dataclasses import dataclass

import numpy as np

from benchmarks.networks import CLASSES, NETWORKS
from cnnkit.network import Sequential
from cnnkit.training import Trainer
from cnnkit.types import Data, Samples, Shape

LARGE = ("Conv2D(64, 3, padding=1)", "ReLU()", "Conv2D(64, 3, padding=1)", "ReLU()", "AvgPool2D(4)")
WIDE = ("Flatten()", "Dense(4096)", "ReLU()", "Dense(4096)", "ReLU()", "Dense(10)")
OTHERS: dict[str, tuple[tuple[str, ...], Shape]] = {
    "large": ((*LARGE, "Flatten()", "Dense(10)"), (3, 224, 224)),
    "large-bn": (("Conv2D(64, 3, padding=1)", "BatchNorm2D()", *LARGE[1:], "Flatten()", "Dense(10)"), (3, 224, 224)),
    "wide": (WIDE, (3, 32, 32)),
}


@dataclass(frozen=True)
class Training:
    """Two full batches and a rest, in one epoch, with an evaluation."""

    network: str
    batch: int
    workers: int
    optimizer: str = "Adam(0.001)"
    keep: str = "last"

    def to_json(self) -> str:
        return json.dumps(dataclasses.asdict(self))

    def model(self) -> Sequential:
        if self.network in NETWORKS:
            return NETWORKS[self.network].build()
        layers, shape = OTHERS[self.network]
        return Sequential(layers, shape, input_dtype="uint8")

    def data(self, shape: Shape) -> Data:
        rng = np.random.default_rng(0)

        def samples(count: int) -> Samples:
            return Samples(rng.integers(0, 256, (count, *shape), np.uint8), rng.integers(0, CLASSES, count))

        return Data(samples(2 * self.batch + 5), samples(64), samples(64))

    def trainer(self) -> Trainer:
        return Trainer(optimizer=self.optimizer, epochs=1, batch_size=self.batch, workers=self.workers, keep=self.keep)  # type: ignore[arg-type]  # a text from the command line


def main(text: str) -> None:
    """Say what is expected, and then do it."""
    training = Training(**json.loads(text))
    model, trainer = training.model(), training.trainer()
    data = training.data(model.input_shape)
    footprint = trainer.forecast(model, data).footprint()
    print(json.dumps({**footprint.parts, "total": footprint.total, "added": footprint.added}), flush=True)
    sys.stdin.readline()
    trainer.fit(model, data)


if __name__ == "__main__":
    main(sys.argv[1])
