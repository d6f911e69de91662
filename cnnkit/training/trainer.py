"""Trainer: the loop over epochs and batches."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal, cast

import numpy as np

from cnnkit.components import Callback, Component, Loss, Metric, Optimizer, Schedule, installed_catalog
from cnnkit.components.checks import one_of, positive, whole
from cnnkit.errors import ConfigError, ShapeError, TrainingError
from cnnkit.network import Objective, Sequential, Session, Sums, Threads, available_cores, training_session
from cnnkit.training.callbacks import better
from cnnkit.training.interruption import StopRequest
from cnnkit.training.progress import Progress
from cnnkit.training.run import History, Run
from cnnkit.types import Array, Data, Samples

if TYPE_CHECKING:
    from collections.abc import Iterator


class Trainer:
    """Trains a model: `Trainer(optimizer="Adam(0.001)", epochs=5).fit(model, data)`.

    optimizer, loss, schedule, metrics, callbacks: components, or their expressions; clip_norm: the largest Euclidean
    norm that the whole gradient may have (Pascanu et al. 2013), None for no limit; keep: "best" goes back to the epoch
    with the best validation in the end; seed: of the order of samples and of every random layer; workers: how many
    tiles are worked on at once, all cores if None, never changing a result.
    Raises ConfigError for values outside what is allowed.
    """

    def __init__(
        self,
        *,
        optimizer: str | Optimizer = "Adam(0.001)",
        loss: str | Loss = "CrossEntropy()",
        epochs: int = 10,
        batch_size: int = 64,
        schedule: str | Schedule = "Constant()",
        metrics: Sequence[str | Metric] = ("Accuracy()",),
        callbacks: Sequence[str | Callback] = (),
        clip_norm: float | None = None,
        keep: Literal["last", "best"] = "last",
        seed: int = 0,
        workers: int | None = None,
        progress: Progress | None = None,
        stop: StopRequest | None = None,
    ) -> None:
        self.optimizer = cast(Optimizer, _component("optimizer", optimizer))
        self.loss = cast(Loss, _component("loss", loss))
        self.schedule = cast(Schedule, _component("schedule", schedule))
        self.metrics = [cast(Metric, _component("metric", metric)) for metric in metrics]
        self.callbacks = [cast(Callback, _component("callback", callback)) for callback in callbacks]
        keys = [metric.key for metric in self.metrics]
        if doubled := next((key for key in keys if keys.count(key) > 1), ""):
            raise ConfigError(f"two metrics are called {doubled!r}, and a history can hold only one of them")
        self.epochs = whole("epochs", epochs)
        self.batch_size = whole("batch_size", batch_size)
        self.clip_norm = None if clip_norm is None else positive("clip_norm", clip_norm)
        self.keep = one_of("keep", keep, ("last", "best"))
        self.seed = whole("seed", seed, at_least=0)
        self.workers = None if workers is None else whole("workers", workers)
        self.progress = progress or Progress()
        self.stop = stop or StopRequest()

    def fit(self, model: Sequential, data: Data | Samples | tuple[Array, Array]) -> Run:
        """Train the model in place and say how it went.

        data: a dataset, or inputs (N, C, H, W) with their targets: (N,) class indices or (N, F) values.
        Raises ShapeError if the data does not fit the model, and TrainingError if the loss is not finite.
        """
        train, validation, test = _parts(data)
        for part in (train, validation, test):
            _check(model, part)
        if self.keep == "best" and validation is None:
            raise ConfigError('keep = "best" compares epochs by validation samples: set data.validation, such as 0.1')
        engine = model.engine(logits=self.loss.from_logits)
        workers = self.workers or available_cores()
        threads = Threads(workers)
        try:
            with (
                training_session(engine, train, self.objective, min(self.batch_size, len(train)), workers) as session,
                self.progress,
            ):
                history, reason = self._epochs(model, session, validation, threads)
            metrics = self.means(engine.evaluate(test, self.objective, threads)) if test else {}
        finally:
            threads.close()
        return Run(
            model,
            history,
            metrics,
            reason,
            signal=self.stop.signal,
            dataset={"name": data.name, "digest": data.digest} if isinstance(data, Data) else None,
            settings={"workers": workers, "tile": session.tile},
        )

    def evaluate(self, model: Sequential, samples: Samples) -> dict[str, float]:
        """Loss and metrics on samples, in prediction mode. Raises ShapeError if they do not fit the model."""
        _check(model, samples)
        threads = Threads(self.workers or available_cores())
        try:
            return self.means(model.engine(logits=self.loss.from_logits).evaluate(samples, self.objective, threads))
        finally:
            threads.close()

    @property
    def objective(self) -> Objective:
        """The loss with the metrics beside it."""
        return Objective(self.loss, tuple(self.metrics))

    def means(self, sums: Sums) -> dict[str, float]:
        """The mean loss and the metrics, by name, of what was summed up."""
        values = zip(self.metrics, sums.metrics, strict=True)
        return {"loss": sums.loss / sums.count} | {metric.key: metric.value(total) for metric, total in values}

    def _epochs(
        self, model: Sequential, session: Session, validation: Samples | None, threads: Threads
    ) -> tuple[History, str]:
        history: History = {}
        best: tuple[float, dict[str, Array]] | None = None
        monitor = f"validation_{self.metrics[0].key if self.metrics else 'loss'}"
        stepper = _Stepper(self, session)
        for callback in self.callbacks:
            callback.start()
        reason = "all epochs done"
        for epoch in range(self.epochs):
            began = time.perf_counter()
            means, finished = stepper.epoch(epoch)
            if not finished:
                reason = "stopped by the user"
                break
            if validation:
                sums = session.engine.evaluate(validation, self.objective, threads)
                means |= {f"validation_{name}": value for name, value in self.means(sums).items()}
            self.progress.epoch_done(means)
            means |= {"lr": stepper.rate, "seconds": time.perf_counter() - began}
            for name, value in means.items():
                history.setdefault(name, []).append(value)
            if self.keep == "best" and (best is None or better(monitor, means[monitor], best[0])):
                best = means[monitor], model.state()
            if reasons := [text for callback in self.callbacks if (text := callback.after_epoch(history))]:
                reason = "; ".join(reasons)
                break
        if best is not None:
            model.load_state(best[1])
        return history, reason


class _Stepper:
    """The steps of a training, with the optimizer's state."""

    def __init__(self, trainer: Trainer, session: Session) -> None:
        self.rate = trainer.optimizer.lr
        self._trainer = trainer
        self._session = session
        self._parameters = session.engine.parameters.vector
        self._state = {name: np.zeros_like(self._parameters) for name in trainer.optimizer.slots()}
        self._step = 0

    def epoch(self, epoch: int) -> tuple[dict[str, float], bool]:
        """Train one epoch; the means of loss and metrics, and whether it was finished."""
        trainer, total = self._trainer, None
        batches = list(self._batches(epoch))
        trainer.progress.epoch_started(epoch + 1, trainer.epochs, len(batches))
        means: dict[str, float] = {}
        for number, batch in enumerate(batches):
            self.rate = trainer.optimizer.lr * trainer.schedule.factor(epoch + number / len(batches), trainer.epochs)
            sums = self._session.step(batch, (trainer.seed, epoch, number))
            self._update(sums, epoch, number)
            total = sums if total is None else total + sums
            means = trainer.means(total)
            trainer.progress.step_done(number + 1, len(batch), means)
            if trainer.stop.signal is not None:
                return means, False
        return means, True

    def _batches(self, epoch: int) -> Iterator[Array]:
        order = np.random.default_rng([self._trainer.seed, epoch]).permutation(len(self._session.samples))
        for start in range(0, len(order), self._trainer.batch_size):
            yield order[start : start + self._trainer.batch_size]

    def _update(self, sums: Sums, epoch: int, number: int) -> None:
        gradient = self._session.gradient
        norm = math.sqrt(float(np.dot(gradient, gradient)))
        if not (math.isfinite(sums.loss) and math.isfinite(norm)):
            raise TrainingError(
                f"epoch {epoch + 1}, step {number + 1}: the loss is {sums.loss / sums.count:g} and the gradient's norm "
                f"{norm:g} at learning rate {self.rate:g}; nothing was registered. Expected finite numbers: lower the "
                "learning rate, or limit the gradient with clip_norm"
            )
        if self._trainer.clip_norm is not None and norm > self._trainer.clip_norm:
            gradient *= self._trainer.clip_norm / norm
        self._step += 1
        self._trainer.optimizer.update(self._parameters, gradient, self._state, self.rate, self._step)


def _component(kind: str, given: str | Component) -> Component:
    return installed_catalog().build(kind, given)


def _parts(data: Any) -> tuple[Samples, Samples | None, Samples | None]:
    match data:
        case Data():
            return data.train, data.validation, data.test
        case Samples():
            return data, None, None
        case (x, y):
            return Samples(np.asarray(x), np.asarray(y)), None, None
    raise ConfigError(f"expected a dataset, or a pair of arrays (inputs, targets), got {type(data).__name__}")


def _check(model: Sequential, samples: Samples | None) -> None:
    if samples is None:
        return
    if len(samples) == 0:
        raise ShapeError("expected at least one sample, got none")
    if samples.x.shape[1:] != model.input_shape:
        raise ShapeError(
            f"the model takes inputs of shape {model.input_shape}, the data has {tuple(samples.x.shape[1:])}: "
            "build the model with the data's input_shape"
        )
