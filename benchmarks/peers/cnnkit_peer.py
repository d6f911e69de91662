"""cnnkit: what `Trainer.fit` does in an epoch, all of it: order, steps, optimizer, metrics, callbacks."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from importlib.metadata import version

import numpy as np

from benchmarks.child_job import Job, load
from benchmarks.turn_child import Turns
from cnnkit import Trainer
from cnnkit.components import Callback
from cnnkit.types import Data


class EachTurn(Callback):
    """Lets the training wait for the parent between epochs."""

    def __init__(self, turns: Turns) -> None:
        self.turns = turns
        self._orders: Iterator[int] = iter(())

    def start(self, quantities: Mapping[str, bool]) -> None:
        self._orders = iter(self.turns)
        next(self._orders)

    def after_epoch(self, history: Mapping[str, list[float]]) -> str:
        self.turns.done(**{name: values[-1] for name, values in history.items() if name != "seconds"})
        if next(self._orders, None) is None:
            raise SystemExit  # the parent wants no more
        return ""


def main(job: Job, turns: Turns) -> None:
    """Train until there are no more turns."""
    turns.versions = {"cnnkit": version("cnnkit"), "numpy": np.__version__}
    trainer = Trainer(
        optimizer=job.optimizer,
        schedule=job.schedule,
        epochs=job.epochs,
        batch_size=job.batch,
        callbacks=[EachTurn(turns)],
        seed=job.seed,
        workers=job.workers,
        kernels="compiled" if job.variant == "compiled" else "numpy",
    )
    train = job.train()
    if job.evaluate:
        test = load(job.data, "test")
        trainer.fit(job.model(), Data(train, test, validation=test))
    else:
        trainer.fit(job.model(), train)
