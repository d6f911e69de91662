"""The loop over epochs and batches."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any

from cnnkit.errors import TrainingError
from cnnkit.network import Sequential, Session, Sums, available_cores
from cnnkit.training import diagnosis
from cnnkit.training.averaging import Average
from cnnkit.training.callbacks import better
from cnnkit.training.checkpoint import Checkpoints, Position, arrays_of, put_back_vectors, state_of
from cnnkit.training.interruption import StopRequest
from cnnkit.training.recording import Recorder
from cnnkit.training.run import History
from cnnkit.training.steps import batches, clipping
from cnnkit.types import Array, Samples

if TYPE_CHECKING:
    from cnnkit.training.trainer import Trainer

STOPPED = "stopped by the user"
MOST_ROLLBACKS = 5
"""How often one epoch is begun again before the training is given up."""


class Loop:
    """One training, from its beginning or from a checkpoint to its end."""

    def __init__(
        self,
        trainer: Trainer,
        model: Sequential,
        sessions: Callable[[], AbstractContextManager[Session]],
        validation: Samples | None,
        stop: StopRequest,
        checkpoints: Checkpoints | None,
        about: dict[str, Any],
    ) -> None:
        self.settings: dict[str, int] = {}
        """What the sessions had: workers, tile."""
        self._trainer = trainer
        self._model = model
        self._sessions = sessions
        self._validation = validation
        self._stop = stop
        self._checkpoints = checkpoints
        self._about = about
        """What must be the same when a checkpoint is resumed."""
        self._average = None if trainer.average is None else Average(model, trainer.average)
        self._recorder = Recorder(model, trainer.record, trainer.epochs)
        self._position = Position()
        self._rate = trainer.optimizer.lr

    def run(self) -> tuple[History, str]:
        """Train; the history, and why it ended."""
        quantities = self._quantities()
        for callback in self._trainer.callbacks:
            callback.start(quantities)
        arrays, reason = self._resumed(quantities)
        while True:
            # Workers have buffers of their own from when they are forked: whoever goes back begins a new session.
            if arrays is not None:
                self._model.load_state(state_of(arrays))
            with self._sessions() as self._session:
                self.settings = {"workers": self._session.workers, "tile": self._session.tile}
                if arrays is not None:
                    put_back_vectors(arrays, self._session, self._average)
                try:
                    reason = self._epochs(quantities, reason)
                    break
                except NotFiniteError as error:
                    arrays = self._rolled_back(error)
        if self._average:
            self._average.keep()
        if self._position.best_state:
            self._model.load_state(self._position.best_state)
        return self._position.history, reason

    def _resumed(self, quantities: dict[str, bool]) -> tuple[dict[str, Array] | None, str]:
        """Go to where the latest checkpoint is, if one is to be resumed: its arrays, and why it had ended, if so."""
        if self._checkpoints is None or not self._checkpoints.resume:
            return None, ""
        arrays, self._position = self._checkpoints.read(self._about)
        self._position.check(self._trainer.epochs, quantities, state_of(arrays))
        reason = ""
        for epoch in range(1, self._position.epoch + 1):  # callbacks may remember what they have seen
            reason = self._verdict({name: values[:epoch] for name, values in self._position.history.items()})
        return arrays, reason if self._position.epoch < self._trainer.epochs else ""

    def _epochs(self, quantities: dict[str, bool], reason: str) -> str:
        trainer, position = self._trainer, self._position
        while not reason and position.epoch < trainer.epochs:
            if trainer.rollback is not None and position.step == 0:
                position.began = {name: array.copy() for name, array in self._arrays().items()}
            if sums := self._epoch():
                self._end_epoch(sums, quantities)
                told = self._verdict(position.history)
                reason = told if position.epoch < trainer.epochs else ""  # nothing is left to be ended
            if not reason and position.epoch < trainer.epochs and self._stop.signal is not None:
                self._checkpoint()
                return STOPPED
        self._checkpoint()  # until the model is registered, this is where it is safe
        return reason or "all epochs done"

    def _epoch(self) -> Sums | None:
        """Train the rest of an epoch; what its steps add up to, None if it was stopped before its end."""
        trainer, position = self._trainer, self._position
        each = batches(trainer.seed, position.epoch, len(self._session.samples), trainer.batch_size)
        if position.step >= len(each):
            raise TrainingError(f"the checkpoint is of step {position.step}, an epoch has {len(each)}")
        trainer.progress.epoch_started(position.epoch + 1, trainer.epochs, len(each))
        began = time.perf_counter() - position.seconds
        while True:
            batch = each[position.step]
            sums = self._step(batch, len(each))
            position.seconds = time.perf_counter() - began
            trainer.progress.step_done(position.step, len(batch), trainer.means(sums))
            if position.step == len(each):
                return sums
            if self._stop.signal is not None:
                return None
            if self._checkpoints and self._checkpoints.is_due():
                self._checkpoint()

    def _step(self, batch: Array, steps: int) -> Sums:
        """One step and its update; what the steps of the epoch add up to."""
        trainer, position, session = self._trainer, self._position, self._session
        factor = trainer.schedule.factor(position.epoch + position.step / steps, trainer.epochs)
        self._rate = trainer.optimizer.lr * factor * position.rate_factor
        key = (trainer.seed, position.epoch, position.step)
        sums = session.step(batch, key)
        norm = session.norm()
        if not (math.isfinite(sums.loss) and math.isfinite(norm)):
            found = f"the loss is {sums.loss / sums.count:g} and the gradient's norm {norm:g}"
            raise self._not_finite(found, diagnosis.first_not_finite(session, batch, key))
        session.update(self._rate, position.updates + 1, clipping(norm, trainer.clip_norm))
        if not diagnosis.weights_are_finite(session.engine):
            raise self._not_finite("the update went beyond all numbers", diagnosis.first_weights(session.engine))
        position.updates += 1
        if self._average:
            self._average.update(position.updates)
        position.step += 1
        position.sums = sums if position.sums is None else position.sums + sums
        return position.sums

    def _end_epoch(self, sums: Sums, quantities: dict[str, bool]) -> None:
        """Measure the epoch, record it, and move on to the next one."""
        trainer, position = self._trainer, self._position
        with self._average.in_place() if self._average else nullcontext():
            self._measure(sums, quantities)
        position.epoch += 1
        position.step, position.sums, position.seconds, position.rollbacks, position.began = 0, None, 0.0, 0, {}
        if self._checkpoints and position.epoch < trainer.epochs and self._checkpoints.is_due():
            self._checkpoint()

    def _measure(self, sums: Sums, quantities: dict[str, bool]) -> None:
        trainer, position = self._trainer, self._position
        if place := diagnosis.first_buffer(self._model):
            raise self._not_finite("running statistics have gone beyond all numbers", place)
        began = time.perf_counter()
        means = trainer.means(sums)
        if self._validation:
            workers = trainer.workers or available_cores()
            measured = self._session.engine.evaluate(self._validation, trainer.objective, workers)
            means |= {f"validation_{name}": value for name, value in trainer.means(measured).items()}
        trainer.progress.epoch_done(means)
        means |= {"lr": self._rate, "seconds": position.seconds + time.perf_counter() - began}
        for name, value in (means | self._recorder.values()).items():
            position.history.setdefault(name, []).append(value)
        monitor = f"validation_{trainer.metrics[0].key if trainer.metrics else 'loss'}"
        if trainer.keep == "best" and (
            position.best is None or better(means[monitor], position.best, quantities[monitor])
        ):
            position.best, position.best_state = means[monitor], self._model.state()

    def _verdict(self, history: History) -> str:
        """Why callbacks end the training, "" if they do not."""
        told = [callback.after_epoch(history) for callback in self._trainer.callbacks]
        return "; ".join(filter(None, told))

    def _quantities(self) -> dict[str, bool]:
        """What the history will have, and whether greater is better."""
        quantities = {"loss": False} | {metric.key: metric.greater_is_better for metric in self._trainer.metrics}
        if self._validation:
            quantities |= {f"validation_{name}": greater for name, greater in quantities.items()}
        return quantities | {"lr": True, "seconds": False} | dict.fromkeys(self._recorder.values(), False)

    def _arrays(self) -> dict[str, Array]:
        return arrays_of(self._model, self._session, self._average)

    def _checkpoint(self) -> None:
        if self._checkpoints and not self._checkpoints.write(self._arrays(), self._position, self._about):
            self._trainer.progress.warn(f"no checkpoint could be written: {self._checkpoints.failure}")

    def _rolled_back(self, error: NotFiniteError) -> dict[str, Array]:
        """Go back to where the epoch began, with a lower rate; the arrays of that moment. Raises `error` in the end."""
        factor, position = self._trainer.rollback, self._position
        if factor is None or position.rollbacks == MOST_ROLLBACKS:
            raise error
        position.rate_factor *= factor
        position.rollbacks += 1
        position.updates -= position.step
        position.step, position.sums, position.seconds = 0, None, 0.0
        self._trainer.progress.warn(
            f"{error.place}; the epoch begins anew with {position.rate_factor:g} times the rate"
        )
        return position.began

    def _not_finite(self, found: str, place: str) -> NotFiniteError:
        position = self._position
        at = f"epoch {position.epoch + 1}, step {position.step + 1}"
        advice = "" if self._trainer.clip_norm else ", limit the gradient with clip_norm"
        advice += "" if self._trainer.rollback else ", or set rollback = 0.5 to go back and try half the rate"
        return NotFiniteError(
            f"{at}: {found} at learning rate {self._rate:g}; nothing was registered. What is not finite was first seen "
            f"in {place}. Expected finite numbers: lower the learning rate{advice}",
            f"{at}: {place} is not finite",
        )


class NotFiniteError(TrainingError):
    """A loss, gradient or weight is NaN or infinite."""

    def __init__(self, message: str, place: str) -> None:
        super().__init__(message)
        self.place = place
