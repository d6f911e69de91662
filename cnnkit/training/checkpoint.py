"""Checkpoints: everything a training needs to continue as if it had never stopped.

Random numbers are keyed by seed, epoch, step, tile and layer, and schedules depend on the epoch and the history alone:
there is no generator and no schedule whose state would have to be kept.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Protocol

import numpy as np

from cnnkit.components.checks import positive, whole
from cnnkit.errors import CnnkitError, ConfigError, ShapeError, TrainingError
from cnnkit.network import Network, Session, Sums
from cnnkit.training.averaging import Average
from cnnkit.training.run import History
from cnnkit.types import Array

OPTIMIZER, AVERAGE, BEST, BEGAN = "Optimizer.", "Average_", "Best_", "Began_"
"""What the names of other arrays than the model's begin with; names of layers are lower case."""
AGAIN = 10.0
"""Seconds after which a checkpoint that could not be written is tried again."""


class CheckpointStore(Protocol):
    """Keeps the latest checkpoint of a run: plain values as in JSON, and arrays by name."""

    def save(self, record: Mapping[str, Any], arrays: Mapping[str, Array]) -> None:
        """Replace the checkpoint in one step. Raises RegistryError or OSError; the one before is kept then."""

    def load(self) -> tuple[dict[str, Any], dict[str, Array]]:
        """The latest checkpoint. Raises RegistryError if there is none, or if it is damaged."""


@dataclass
class Position:
    """How far a training is: what changes from step to step, beside the model and the optimizer's vectors."""

    epoch: int = 0
    """Epochs that are done."""
    step: int = 0
    """Steps that are done in the next one."""
    updates: int = 0
    seconds: float = 0.0
    """Spent in the epoch before it was interrupted."""
    rate_factor: float = 1.0
    """What the learning rate is multiplied with after rollbacks."""
    rollbacks: int = 0
    """How often the epoch was restarted."""
    history: History = field(default_factory=dict)
    best: float | None = None
    """The monitored quantity of the best epoch so far, if that is kept."""
    hints: dict[str, str] = field(default_factory=dict)
    """What the user was told of each trouble with learning."""
    loss_before: float | None = None
    """Of some training samples before the first step, to which hints compare; None if it is not known."""
    sums: Sums | None = None
    """What the steps of the epoch add up to."""
    best_state: dict[str, Array] = field(default_factory=dict)
    """The model's in that epoch."""
    began: dict[str, Array] = field(default_factory=dict)
    """All arrays as they were when the epoch began, if the training may go back there."""

    def to_record(self) -> dict[str, Any]:
        """All of it but the arrays, as plain values."""
        record = {name: value for name, value in vars(self).items() if name not in ("sums", "best_state", "began")}
        for name in ("hints", "loss_before"):
            if not record[name]:
                del record[name]
        if self.sums is not None:
            record["sums"] = asdict(self.sums) | {"metrics": [metric.tolist() for metric in self.sums.metrics]}
        return record

    @classmethod
    def from_record(cls, record: Any) -> Position:
        """What `to_record` has written. Raises TrainingError for anything else."""
        from cnnkit.training.position_record import checked

        values = dict(checked(record))
        if sums := values.pop("sums"):
            try:
                sums["metrics"] = tuple(np.array(metric, np.float64) for metric in sums["metrics"])
            except (TypeError, ValueError) as error:
                raise TrainingError(f"the checkpoint has sums of metrics that are not numbers: {error}") from error
        return cls(**values, sums=Sums(**sums) if sums else None)

    def check(self, epochs: int, quantities: Iterable[str], state: Mapping[str, Array]) -> None:
        """Raises TrainingError if a training of so many epochs, with this history and model, cannot have been here."""
        recorded = {name: len(values) for name, values in self.history.items()}
        expected = dict.fromkeys(quantities, self.epoch) if self.epoch else {}
        problems = {
            f"epoch {self.epoch} of {epochs}": self.epoch > epochs,
            f"a history of {recorded!r:.300}": recorded != expected,
            "sums of the steps, or none": (self.sums is not None) != (self.step > 0),
            "the state of the best epoch, or none": self.best_state.keys()
            != (state.keys() if self.best is not None else set()),
            "weights that are not finite": not all(np.isfinite(array).all() for array in state.values()),
        }
        if wrong := [text for text, is_so in problems.items() if is_so]:
            raise TrainingError(f"the checkpoint cannot be one of this training: it has {', '.join(wrong)}")


class Checkpoints:
    """When checkpoints of a training are written, and whether it continues from the latest one.

    store: keeps them; steps, minutes: how far they are apart, whichever is reached first, None for no limit of that
    kind; resume: continue from the store's checkpoint instead of starting over; recipe: the whole recipe, stored
    with it. Raises ConfigError for limits that are not above 0.
    """

    def __init__(
        self,
        store: CheckpointStore,
        *,
        steps: int | None = None,
        minutes: float | None = 5.0,
        resume: bool = False,
        recipe: Mapping[str, Any] | None = None,
    ) -> None:
        self.store = store
        self.steps = None if steps is None else whole("steps", steps)
        self.minutes = None if minutes is None else positive("minutes", minutes)
        self.resume = resume
        self.recipe = None if recipe is None else dict(recipe)
        self.failure = ""
        """Why the latest attempt to write one failed, "" if it did not."""
        self._loaded: tuple[dict[str, Any], dict[str, Array]] | None = None
        """What `recorded` has loaded, until `read` takes it."""
        self._begin()

    def is_due(self) -> bool:
        """Asked once after each step."""
        self._steps_since += 1
        waited = time.monotonic() - self._last
        if self.failure:
            return waited >= AGAIN
        by_steps = self.steps is not None and self._steps_since >= self.steps
        return by_steps or (self.minutes is not None and waited >= 60 * self.minutes)

    def write(self, arrays: Mapping[str, Array], position: Position, about: Mapping[str, Any]) -> bool:
        """Keep where a training is; whether that worked. A failure, such as a full disk, does not end a training.

        arrays: of the model and the optimizer; about: what must be the same when the training continues.
        """
        prefixed = {f"{BEST}{name}": array for name, array in position.best_state.items()}
        prefixed |= {f"{BEGAN}{name}": array for name, array in position.began.items()}
        record = {"recipe": self.recipe, **about, "position": position.to_record()}
        try:
            self.store.save(record, {**arrays, **prefixed})
            self.failure = ""
        except (CnnkitError, OSError, MemoryError) as error:
            self.failure = str(error) or type(error).__name__
        self._begin()
        return not self.failure

    def recorded(self, key: str) -> dict[str, Any]:
        """What the checkpoint to continue from says of a part of `about`, a table; `read` need not load it again."""
        if self._loaded is None:
            self._loaded = self.store.load()
        found = self._loaded[0].get(key)
        return found if isinstance(found, dict) else {}

    def read(self, about: Mapping[str, Any]) -> tuple[dict[str, Array], Position]:
        """The arrays and the position to continue from. Raises ConfigError for the checkpoint of another training."""
        (record, arrays), self._loaded = self._loaded or self.store.load(), None
        for key, here in about.items():
            if (there := record.get(key)) != here:
                raise ConfigError(
                    f"the checkpoint belongs to another training: its {key} is {there!r:.300}, here it is {here!r:.300}"
                )
        position = Position.from_record(record.get("position"))
        position.best_state, position.began = _taken(arrays, BEST), _taken(arrays, BEGAN)
        return arrays, position

    def _begin(self) -> None:
        self._steps_since, self._last = 0, time.monotonic()


def arrays_of(model: Network, session: Session, average: Average | None) -> dict[str, Array]:
    """Everything that steps change in place: copies of the model's arrays, the vectors of optimizer and average."""
    return model.state() | _vectors(session, average)


def put_back_vectors(arrays: Mapping[str, Array], session: Session, average: Average | None) -> None:
    """Set the vectors of optimizer and average among what `arrays_of` gave. Raises ShapeError if they do not fit."""
    vectors = {name: array for name, array in arrays.items() if name.startswith((OPTIMIZER, AVERAGE))}
    here = _vectors(session, average)
    shapes = [{name: array.shape for name, array in some.items()} for some in (vectors, here)]
    if shapes[0] != shapes[1]:
        raise ShapeError(f"the checkpoint has the vectors {shapes[0]}, this training has {shapes[1]}")
    for name, vector in here.items():
        vector[...] = vectors[name]


def state_of(arrays: Mapping[str, Array]) -> dict[str, Array]:
    """The model's arrays among what `arrays_of` gave."""
    return {name: array for name, array in arrays.items() if not name.startswith((OPTIMIZER, AVERAGE))}


def _vectors(session: Session, average: Average | None) -> dict[str, Array]:
    vectors = {f"{OPTIMIZER}{name}": vector for name, vector in session.state.items()}
    averaged = average.vectors if average else {}
    return vectors | {f"{AVERAGE}{name}": vector for name, vector in averaged.items()}


def _taken(arrays: dict[str, Array], prefix: str) -> dict[str, Array]:
    """Those whose names begin so, without that; `arrays` keeps the others."""
    names = [name for name in arrays if name.startswith(prefix)]
    return {name.removeprefix(prefix): arrays.pop(name) for name in names}
