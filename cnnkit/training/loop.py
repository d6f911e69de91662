"""The loop over epochs and batches."""

from __future__ import annotations

import math
import signal
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from cnnkit.components import Callback
from cnnkit.components.error_naming import Naming
from cnnkit.errors import ComponentError, TrainingError
from cnnkit.network import Network, Objective, Session, Sums
from cnnkit.training import not_finite
from cnnkit.training.averaging import average_of
from cnnkit.training.callbacks import EarlyStopping, best_of, better
from cnnkit.training.checkpoint import Checkpoints, Position, arrays_of, put_back_vectors, state_of
from cnnkit.training.history_recording import PENALTY, Recorder, quantities_of
from cnnkit.training.interruption import StepAbandonedError, StopRequest
from cnnkit.training.optimizer_check import Movement
from cnnkit.training.progress import Progress
from cnnkit.training.run import History
from cnnkit.training.steps import accumulated, clipped, factor_at, feedback_of, rate_of, updates
from cnnkit.training.training_hints import Hints, about_gap
from cnnkit.training.watching import Watchers
from cnnkit.training_options import TrainingOptions
from cnnkit.types import Array, Samples

ALL_DONE = "all epochs done"
STOPPED = "stopped by the user"
MOST_ROLLBACKS = 5
"""How often one epoch is restarted before the training gives up."""


class Loop:
    """One training, from its beginning or from a checkpoint to its end."""

    def __init__(
        self,
        options: TrainingOptions,
        model: Network,
        sessions: Callable[[], AbstractContextManager[Session]],
        validation: Samples | None,
        *,
        workers: int,
        progress: Progress,
        stop: StopRequest,
        checkpoints: Checkpoints | None,
        about: dict[str, Any],
    ) -> None:
        self.settings: dict[str, Any] = {}
        """As a run has them."""
        self.kept_epoch: int | None = None
        self.partial_steps = 0
        """As a run has them."""
        self._options = options
        self._model = model
        self._sessions = sessions
        self._validation = validation
        self._workers = workers
        self._progress = progress
        self._stop = stop
        self._checkpoints = checkpoints
        self._about = about
        """What must be the same when a checkpoint is resumed."""
        self._plain = Objective(options.loss, tuple(options.metrics))
        """What is measured, whatever the weights of classes in the training."""
        self._average = average_of(model, options)
        self._recorder = Recorder(model, options.record, options.epochs)
        self._watchers = Watchers(options.callbacks, model)
        self._position = Position()
        self._none_yet: History = {}
        """The history before the end of the first epoch."""
        self._rate = 0.0
        self._feedback = 1.0
        """Of the schedule, to the epochs that are done."""
        self._told_of_changes = False
        self._is_in_step = False
        """Whether weights, buffers and records may be from before and after a step at once."""

    @property
    def updates(self) -> int:
        """How many updates have moved the parameters, before a checkpoint as well."""
        return self._position.updates

    def run(self) -> tuple[History, str]:
        """Train; the history, and why it ended."""
        quantities = quantities_of(
            self._options.metrics,
            self._recorder,
            validated=bool(self._validation),
            penalized=self._options.penalizes,
        )
        quantities |= self._watchers.quantities
        self._none_yet = {name: [] for name in quantities}
        arrays, reason = self._resumed(quantities)
        while True:
            # Workers have their own buffers from when they are forked: going back starts a new session.
            if arrays is not None:
                self._model.load_state(state_of(arrays))
            with self._sessions() as self._session:
                self.settings = {"workers": self._session.workers, "tile": self._session.tile}
                if arrays is not None:
                    put_back_vectors(arrays, self._session, self._average)
                self._movement = Movement(self._session)
                self._began, self._is_in_step = self._position.updates, False
                self._hints = Hints(
                    self._session, self._plain, self._model, self._options.update_size, self._position.loss_before
                )
                if not self._began:
                    self._position.loss_before = self._hints.begin()
                try:
                    reason = self._epochs(quantities, reason)
                    break
                except NotFiniteError as error:
                    arrays = self._rolled_back(error)
                except KeyboardInterrupt as error:
                    if not self._stop.takes_interrupts or self._stop.signal is not None:
                        raise
                    if self._is_in_step:
                        error.add_note(
                            "interrupted in the middle of a training step: the model is only partly "
                            "updated, do not use it"
                        )
                        raise
                    self._stop.signal, reason = signal.SIGINT, STOPPED
                    break
        self.kept_epoch, self.partial_steps = self._position.epoch or None, self._position.step
        if self._average and self._average.has_begun(self._position.epoch):
            self._average.keep()
            self.partial_steps *= self._average.follows_steps
        if self._position.best_state:
            reason = self._gone_back(reason, quantities)
        if self.partial_steps:
            self.settings["partial_steps"] = self.partial_steps
        if reason != ALL_DONE:
            self.settings["reason"] = reason
        self._compare()
        if self._position.hints:
            self.settings["hints"] = list(self._position.hints.values())
        return {name: [] for name in quantities} | _copied(self._position.history), reason

    def _gone_back(self, reason: str, quantities: dict[str, bool]) -> str:
        """Take the weights of the best epoch; the reason, which names that epoch if another quantity was watched."""
        monitor = self._monitor
        self._model.load_state(self._position.best_state)
        _, epoch = best_of(self._position.history[monitor], quantities[monitor])
        self.kept_epoch, self.partial_steps = epoch or 1, 0  # the first is kept while there are only NaN
        self.settings["kept_epoch"] = self.kept_epoch
        watched = {one.monitor for one in self._options.callbacks if isinstance(one, EarlyStopping)}
        if reason in (ALL_DONE, STOPPED) or watched <= {monitor}:
            return reason
        return f"{reason}; kept epoch {self.kept_epoch}, the best by {monitor}"

    def _resumed(self, quantities: dict[str, bool]) -> tuple[dict[str, Array] | None, str]:
        """Go to where the latest checkpoint is, if one is to be resumed: its arrays, and why it had ended, if so."""
        if self._checkpoints is None or not self._checkpoints.resume:
            return None, ""
        arrays, self._position = self._checkpoints.read(self._about)
        self._position.check(self._options.epochs, quantities, state_of(arrays))
        reason = ""
        for epoch in range(1, self._position.epoch + 1):  # callbacks may remember what they have seen
            reason = self._verdict({name: values[:epoch] for name, values in self._position.history.items()})
        return arrays, reason if self._position.epoch < self._options.epochs else ""

    def _epochs(self, quantities: dict[str, bool], reason: str) -> str:
        options, position = self._options, self._position
        while not reason and position.epoch < options.epochs:
            if options.rollback is not None and position.step == 0:
                position.began = {name: array.copy() for name, array in self._arrays().items()}
            if sums := self._epoch():
                is_whole = self._began == 0 and position.epoch + 1 == options.epochs
                self._movement.check(at_the_end=is_whole)
                self._end_epoch(sums, quantities)
                told = self._verdict(position.history)
                reason = told if position.epoch < options.epochs else ""  # nothing is left to be ended
            if not reason and position.epoch < options.epochs and self._stop.signal is not None:
                self._checkpoint()
                return STOPPED
        self._checkpoint()  # until the model is registered, this is where it is safe
        return reason or ALL_DONE

    def _epoch(self) -> Sums | None:
        """Train the rest of an epoch; what its steps add up to, None if it was stopped before its end."""
        options, position = self._options, self._position
        each = updates(options, position.epoch, self._session.samples.y)
        self._feedback = feedback_of(options.schedule, self._none_yet | position.history)
        if position.step >= len(each):
            raise TrainingError(f"the checkpoint is at step {position.step}, but an epoch has {len(each)}")
        self._progress.epoch_started(position.epoch + 1, options.epochs, len(each))
        began = time.perf_counter() - position.seconds
        while True:
            step = each[position.step]
            sums = self._step(step, len(each))
            if sums is None:
                return None
            position.seconds = time.perf_counter() - began
            self._progress.step_done(position.step, sum(map(len, step)), self._session.objective.means(sums))
            if position.step == len(each):
                return sums
            if self._stop.signal is not None:
                return None
            if self._checkpoints and self._checkpoints.is_due():
                self._checkpoint()

    def _step(self, batches: list[Array], steps: int) -> Sums | None:
        """One step, of one batch or several, and its update; what the steps of the epoch add up to.

        None if it was given up: everything is as it was before the step.
        """
        options, position, session = self._options, self._position, self._session
        self._is_in_step = True
        factor = factor_at(options.schedule, position.epoch + position.step / steps, options.epochs)
        self._rate = rate_of(options.optimizer) * factor * self._feedback * position.rate_factor
        key = (options.seed, position.epoch, position.step * (options.accumulate or 1))
        buffers = [(buffer, buffer.copy()) for node in self._model.nodes for buffer in node.layer.buffers.values()]
        try:
            with self._stop.step():
                sums, norm = accumulated(session, batches, key, self._look_at_batch)
        except StepAbandonedError:  # what else it changes, it does not read
            for buffer, before in buffers:
                buffer[...] = before
            self._is_in_step = False
            return None
        at = position.epoch + 1, position.step + 1, steps
        self._watchers.step(session, sums, norm, self._rate, at)
        scale, norm = clipped(session, norm, options)
        session.update(self._rate, position.updates + 1, scale)
        self._movement.step(self._rate * norm)
        if not not_finite.weights_are_finite(session.engine):
            raise self._not_finite("the update overflowed", not_finite.first_weights(session.engine))
        position.updates += 1
        if self._average:
            self._average.update(position.updates)
        position.step += 1
        position.sums = sums if position.sums is None else session.objective.total((position.sums, sums))
        self._is_in_step = False
        return position.sums

    def _look_at_batch(self, sums: Sums, norm: float, batch: Array, key: tuple[int, int, int]) -> None:
        """Raises NotFiniteError for a loss or gradient that is not finite."""
        if not (math.isfinite(sums.loss) and math.isfinite(norm)):
            found = f"the loss is {sums.loss / sums.count:g} and the gradient's norm {norm:g}"
            raise self._not_finite(found, not_finite.first_not_finite(self._session, batch, key))

    def _end_epoch(self, sums: Sums, quantities: dict[str, bool]) -> None:
        """Measure the epoch, record it, and move on to the next one."""
        options, position = self._options, self._position
        if self._average:
            self._average.epoch_ended(position.epoch + 1)
        with self._average.in_place() if self._average else nullcontext():
            self._measure(sums, quantities)
        position.epoch += 1
        self._look()
        position.step, position.sums, position.seconds, position.rollbacks, position.began = 0, None, 0.0, 0, {}
        if self._checkpoints and position.epoch < options.epochs and self._checkpoints.is_due():
            self._checkpoint()

    def _measure(self, sums: Sums, quantities: dict[str, bool]) -> None:
        options, position = self._options, self._position
        if place := not_finite.first_buffer(self._model):
            raise self._not_finite("running statistics overflowed", place)
        began = time.perf_counter()
        means = self._session.objective.means(sums)
        if self._validation:
            measured = self._session.engine.evaluate(self._validation, self._plain, self._workers)
            means |= {f"validation_{name}": value for name, value in self._plain.means(measured).items()}
        if self._options.penalizes:
            means[PENALTY] = self._session.penalties.value()
        self._progress.epoch_done(dict(means))
        means |= {"lr": self._rate, "seconds": position.seconds + time.perf_counter() - began}
        for name, value in (means | self._recorder.values() | self._watchers.values()).items():
            position.history.setdefault(name, []).append(value)
        monitor = self._monitor
        if options.keep == "best" and (
            position.best is None or better(means[monitor], position.best, quantities[monitor])
        ):
            position.best, position.best_state = means[monitor], self._model.state()

    def _look(self) -> None:
        """Tell of trouble with learning, of each kind once."""
        accuracy = self._position.history.get("accuracy", [None])[-1]
        epoch = self._position.epoch
        for trouble, hint in self._hints.after(epoch, accuracy, is_last=epoch == self._options.epochs).items():
            self._tell(trouble, hint)

    def _compare(self) -> None:
        """Tell of a training whose accuracy holds for its own samples alone."""
        if self._validation and self._position.epoch:
            epoch, augmented = self.kept_epoch or 0, bool(self._options.augmentations)
            hint = about_gap(self._position.history, epoch, self._validation, self._model.input_shape, augmented)
            if hint:
                self._tell("overfitting", hint)

    def _tell(self, trouble: str, hint: str) -> None:
        if trouble not in self._position.hints:
            self._position.hints[trouble] = hint
            self._progress.warn(hint)

    def _verdict(self, history: History) -> str:
        """Why callbacks end the training, "" if they do not."""
        told = [_asked(callback, history) for callback in self._options.callbacks]
        if not self._told_of_changes and (changed := self._changed()):
            self._told_of_changes = True
            self._progress.warn(
                f"while it trained, a callback changed {changed}; the recipe records what the training started with: "
                "to change the learning rate and have it recorded, use a schedule"
            )
        return "; ".join(filter(None, told))

    def _changed(self) -> str:
        """What of the recipe is not as it was when the training began, as text."""
        rate_of(self._options.optimizer)  # as a part of a recipe, NaN would say less
        begun, now = self._about["train"], self._options.recipe()
        return ", ".join(
            f"{key} from {begun.get(key)} to {now.get(key)}" for key in begun | now if begun.get(key) != now.get(key)
        )

    @property
    def _monitor(self) -> str:
        """What the best epoch is the best by."""
        return f"validation_{self._options.metrics[0].key if self._options.metrics else 'loss'}"

    def _arrays(self) -> dict[str, Array]:
        return arrays_of(self._model, self._session, self._average)

    def _checkpoint(self) -> None:
        if self._checkpoints and not self._checkpoints.write(self._arrays(), self._position, self._about):
            self._progress.warn(f"no checkpoint could be written: {self._checkpoints.failure}")

    def _rolled_back(self, error: NotFiniteError) -> dict[str, Array]:
        """Go back to where the epoch began, with a lower rate; the arrays of that moment. Raises `error` in the end."""
        factor, position = self._options.rollback, self._position
        if factor is None or position.rollbacks == MOST_ROLLBACKS:
            raise error
        position.rate_factor *= factor
        position.rollbacks += 1
        position.updates -= position.step
        position.step, position.sums, position.seconds = 0, None, 0.0
        self._progress.warn(f"{error.place}; the epoch restarts with {position.rate_factor:g} times the rate")
        return position.began

    def _not_finite(self, found: str, place: str) -> NotFiniteError:
        position = self._position
        at = f"epoch {position.epoch + 1}, step {position.step + 1}"
        advice = "" if self._options.clip_norm else ", limit the gradient with clip_norm"
        advice += "" if self._options.rollback else ", or set rollback = 0.5 to go back and try half the rate"
        return NotFiniteError(
            f"{at}: {found} at learning rate {self._rate:g}; nothing was registered. First non-finite value: {place}. "
            f"Expected finite numbers: lower the learning rate{advice}",
            f"{at}: {place} is not finite",
        )


def _asked(callback: Callback, history: History) -> str:
    """What a callback says after an epoch. Raises ComponentError unless it is text."""
    with Naming(callback):
        given = callback.after_epoch(_copied(history))
    if not isinstance(given, str):
        raise ComponentError(
            f"the callback {callback!r} must return text from after_epoch, why the training should end, or an empty "
            f"one to continue; it returned {given!r:.80}"
        )
    return given


def _copied(history: History) -> History:
    return {name: list(values) for name, values in history.items()}


class NotFiniteError(TrainingError):
    """A loss, gradient or weight is NaN or infinite."""

    def __init__(self, message: str, place: str) -> None:
        super().__init__(message)
        self.place = place
