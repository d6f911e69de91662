"""Trainer: the loop over epochs and batches."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal, cast

import numpy as np

from cnnkit.components import Callback, Component, Loss, Metric, Optimizer, Schedule, installed_catalog
from cnnkit.components.checks import in_range, one_of, positive, whole
from cnnkit.errors import ConfigError, ShapeError, TrainingError
from cnnkit.network import (
    Forecast,
    Objective,
    Sequential,
    Session,
    Sums,
    available_cores,
    available_memory,
    keyed_rng,
    training_session,
)
from cnnkit.training.callbacks import better
from cnnkit.training.interruption import StopRequest
from cnnkit.training.progress import Progress
from cnnkit.training.run import History, Run
from cnnkit.types import Array, Data, Samples

if TYPE_CHECKING:
    from collections.abc import Iterator

STOPPED = "stopped by the user"


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
    ) -> None:
        self.optimizer = cast(Optimizer, _component("optimizer", optimizer))
        self.loss = cast(Loss, _component("loss", loss))
        self.schedule = cast(Schedule, _component("schedule", schedule))
        self.metrics = [cast(Metric, _component("metric", metric)) for metric in _listed("metrics", metrics)]
        self.callbacks = [cast(Callback, _component("callback", one)) for one in _listed("callbacks", callbacks)]
        keys = [metric.key for metric in self.metrics]
        if doubled := next((key for key in keys if keys.count(key) > 1), ""):
            raise ConfigError(f"two metrics are called {doubled!r}, and a history can hold only one of them")
        self.epochs = whole("epochs", epochs)
        self.batch_size = whole("batch_size", batch_size)
        self.clip_norm = None if clip_norm is None else positive("clip_norm", clip_norm)
        self.keep = one_of("keep", keep, ("last", "best"))
        self.seed = int(in_range("seed", whole("seed", seed, at_least=0), 0, 2**63))
        self.workers = None if workers is None else whole("workers", workers)
        self.progress = progress or Progress()

    def fit(
        self, model: Sequential, data: Data | Samples | tuple[Array, Array], *, stop: StopRequest | None = None
    ) -> Run:
        """Train the model in place and say how it went.

        data: a dataset, or inputs (N, C, H, W) with their targets: (N,) class indices or (N, F) values; stop: looked
        at after each step, to end before all epochs are done.
        Raises ShapeError if the data does not fit the model, ConfigError if the memory does not suffice, and
        TrainingError if the loss is not finite.
        """
        stop = stop or StopRequest()
        train, validation, test = _parts(data)
        if not train:
            raise ShapeError("expected at least one sample to train on, got none")
        for part in filter(None, (train, validation, test)):
            _check(model, part)
        if self.keep == "best" and not validation:
            raise ConfigError('keep = "best" compares epochs by validation samples: set data.validation, such as 0.1')
        engine = model.engine(logits=self.loss.from_logits)
        workers = self.workers or available_cores()
        self.forecast(model, data).require()
        with (
            training_session(
                engine, train, self.objective, self.optimizer, min(self.batch_size, len(train)), workers
            ) as session,
            self.progress,
        ):
            history, reason = self._epochs(model, session, validation, stop)
        metrics = self.means(engine.evaluate(test, self.objective, workers)) if test else {}
        return Run(
            model,
            history,
            metrics,
            reason,
            signal=stop.signal,
            recipe={"train": self.recipe()},
            dataset={"name": data.name, "digest": data.digest} if isinstance(data, Data) else None,
            settings={"workers": session.workers, "tile": session.tile},
        )

    def recipe(self) -> dict[str, Any]:
        """How it trains, as the table [train] of a recipe."""
        table = {
            "optimizer": repr(self.optimizer),
            "loss": repr(self.loss),
            "schedule": repr(self.schedule),
            "metrics": list(map(repr, self.metrics)),
            "callbacks": list(map(repr, self.callbacks)),
            "epochs": self.epochs,
            "batch_size": self.batch_size,
            "seed": self.seed,
            "keep": self.keep,
        }
        return table if self.clip_norm is None else table | {"clip_norm": self.clip_norm}

    def forecast(self, model: Sequential, data: Data | Samples | tuple[Array, Array]) -> Forecast:
        """How much memory training the model on this data will take."""
        train, *others = _parts(data)
        return Forecast(
            model.engine(logits=self.loss.from_logits),
            train,
            self.objective,
            self.optimizer,
            min(self.batch_size, len(train)),
            self.workers or available_cores(),
            evaluated=max(len(part or ()) for part in others),
            copies=2 if self.keep == "best" else 0,
            available=available_memory(),
        )

    def evaluate(self, model: Sequential, samples: Samples) -> dict[str, float]:
        """Loss and metrics on samples, in prediction mode. Raises ShapeError if they do not fit the model."""
        _check(model, samples)
        workers = self.workers or available_cores()
        return self.means(model.engine(logits=self.loss.from_logits).evaluate(samples, self.objective, workers))

    @property
    def objective(self) -> Objective:
        """The loss with the metrics beside it."""
        return Objective(self.loss, tuple(self.metrics))

    def means(self, sums: Sums) -> dict[str, float]:
        """The mean loss and the metrics, by name, of what was summed up."""
        values = zip(self.metrics, sums.metrics, strict=True)
        return {"loss": sums.loss / sums.count} | {metric.key: metric.value(total) for metric, total in values}

    def _epochs(
        self, model: Sequential, session: Session, validation: Samples | None, stop: StopRequest
    ) -> tuple[History, str]:
        history: History = {}
        best: tuple[float, dict[str, Array]] | None = None
        monitor = f"validation_{self.metrics[0].key if self.metrics else 'loss'}"
        stepper = _Stepper(self, session)
        quantities = {"loss": False} | {metric.key: metric.greater_is_better for metric in self.metrics}
        if validation:
            quantities |= {f"validation_{name}": greater for name, greater in quantities.items()}
        quantities |= {"lr": True, "seconds": False}
        for callback in self.callbacks:
            callback.start(quantities)
        reason = "all epochs done"
        for epoch in range(self.epochs):
            began = time.perf_counter()
            means, finished = stepper.epoch(epoch, stop)
            if not finished:
                reason = STOPPED
                break
            if validation:
                sums = session.engine.evaluate(validation, self.objective, self.workers or available_cores())
                means |= {f"validation_{name}": value for name, value in self.means(sums).items()}
            self.progress.epoch_done(means)
            means |= {"lr": stepper.rate, "seconds": time.perf_counter() - began}
            for name, value in means.items():
                history.setdefault(name, []).append(value)
            if self.keep == "best" and (best is None or better(means[monitor], best[0], quantities[monitor])):
                best = means[monitor], model.state()
            if reasons := [text for callback in self.callbacks if (text := callback.after_epoch(history))]:
                reason = "; ".join(reasons)
                break
            if stop.signal is not None and epoch + 1 < self.epochs:
                reason = STOPPED
                break
        if best is not None:
            model.load_state(best[1])
        return history, reason


class _Stepper:
    """The steps of a training."""

    def __init__(self, trainer: Trainer, session: Session) -> None:
        self.rate = trainer.optimizer.lr
        self._trainer = trainer
        self._session = session
        self._updates = 0

    def epoch(self, epoch: int, stop: StopRequest) -> tuple[dict[str, float], bool]:
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
            if stop.signal is not None and number + 1 < len(batches):
                return means, False
        return means, True

    def _batches(self, epoch: int) -> Iterator[Array]:
        order = keyed_rng("order", self._trainer.seed, epoch).permutation(len(self._session.samples))
        for start in range(0, len(order), self._trainer.batch_size):
            yield order[start : start + self._trainer.batch_size]

    def _update(self, sums: Sums, epoch: int, number: int) -> None:
        norm = self._session.norm()
        if not (math.isfinite(sums.loss) and math.isfinite(norm)):
            raise TrainingError(
                f"epoch {epoch + 1}, step {number + 1}: the loss is {sums.loss / sums.count:g} and the gradient's norm "
                f"{norm:g} at learning rate {self.rate:g}; nothing was registered. Expected finite numbers: lower the "
                "learning rate, or limit the gradient with clip_norm"
            )
        limit = self._trainer.clip_norm
        self._updates += 1
        self._session.update(self.rate, self._updates, limit / norm if limit is not None and norm > limit else 1.0)


def _component(kind: str, given: str | Component) -> Component:
    return installed_catalog().build(kind, given)


def _listed(name: str, given: Any) -> Sequence[Any]:
    if isinstance(given, str) or not isinstance(given, Sequence):
        raise ConfigError(f"{name} must be a list, such as [{given!r}], got {given!r}")
    return given


def _parts(data: Any) -> tuple[Samples, Samples | None, Samples | None]:
    match data:
        case Data():
            return data.train, data.validation, data.test
        case Samples():
            return data, None, None
        case (x, y):
            return Samples(np.asarray(x), np.asarray(y)), None, None
    raise ConfigError(f"expected a dataset, or a pair of arrays (inputs, targets), got {type(data).__name__}")


def _check(model: Sequential, samples: Samples) -> None:
    if samples.x.shape[1:] != model.input_shape:
        raise ShapeError(
            f"the model takes inputs of shape {model.input_shape}, the data has {tuple(samples.x.shape[1:])}: "
            "build the model with the data's input_shape"
        )
    model.check_input(samples.x[:1])
