"""What a training would do, without doing it: its samples, steps, parameters and memory."""

from __future__ import annotations

from dataclasses import dataclass

from cnnkit.network import Forecast, Network
from cnnkit.training.trainer import Trainer
from cnnkit.types import Data


@dataclass(frozen=True)
class TrainingPlan:
    """The size of a training."""

    training_samples: int
    validation_samples: int
    test_samples: int
    steps_in_an_epoch: int
    steps_in_all: int
    parameters: int
    memory: Forecast
    warnings: tuple[str, ...]
    """What the user should know of the data."""

    def counts(self) -> dict[str, int]:
        """The numbers by name."""
        return {name: value for name, value in vars(self).items() if isinstance(value, int)}


def plan_of(trainer: Trainer, model: Network, data: Data) -> TrainingPlan:
    """What `trainer.fit(model, data)` would do.

    Raises what `Trainer.check` raises, but nothing where the memory does not suffice: see `plan.memory.require()`.
    """
    warnings = trainer.check_but_memory(model, data).warnings
    steps = -(-len(data.train) // trainer.update_size)
    return TrainingPlan(
        len(data.train),
        len(data.validation or ()),
        len(data.test),
        steps,
        steps * trainer.epochs,
        model.parameter_count(),
        trainer.forecast(model, data),
        warnings,
    )
