"""Trainer: how a model is trained."""

from __future__ import annotations

import functools
import signal
from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Any, Literal, cast

from cnnkit.components import (
    Augmentation,
    Callback,
    Component,
    GradientMethod,
    Loss,
    Metric,
    Mixing,
    Optimizer,
    Schedule,
    installed_catalog,
)
from cnnkit.components.checks import in_range, one_of, positive, whole
from cnnkit.components.naming import Naming
from cnnkit.errors import CnnkitError, ConfigError
from cnnkit.network import (
    Augmented,
    Forecast,
    Network,
    Objective,
    Session,
    Sums,
    available_cores,
    available_memory,
    training_session,
)
from cnnkit.training.checkpoint import Checkpoints
from cnnkit.training.data_checks import Checked, Given, Parts, check_data, check_values, parts_of, samples_of
from cnnkit.training.interruption import StopRequest, stop_on_interrupt
from cnnkit.training.loop import STOPPED, Loop
from cnnkit.training.preflight import begin, preflight
from cnnkit.training.progress import Progress
from cnnkit.training.run import Run
from cnnkit.types import Data, Samples
from cnnkit.units import warn_of_units

TAKEN = ("loss", "lr", "seconds")
"""What a history has beside metrics."""


class Trainer:
    """Trains a model: `Trainer(optimizer="Adam(0.001)", epochs=5).fit(model, data)`.

    optimizer, loss, schedule, metrics, augmentations, callbacks: components, or their expressions; gradient: likewise a
    gradient method, None for backpropagation; clip_norm: the largest Euclidean norm that the whole gradient may have
    (Pascanu et al. 2013), None for no limit; average: how much of the moving average of the weights each step keeps,
    None to end with the weights of the last step; record: names of arrays, such as "conv2d_1.weight", whose numbers the
    history keeps from every epoch; keep: "best" goes back to the epoch with the best validation in the end; rollback:
    where a loss, gradient or weight is not finite, begin the epoch anew at this many times the rate, None to end with
    an error; seed: of the order of samples, of augmentations and of every random layer; workers: how many tiles are
    worked on at once, all cores if None, never changing a result.
    Raises ConfigError for values outside what is allowed.
    """

    def __init__(
        self,
        *,
        optimizer: str | Optimizer = "Adam(0.001)",
        loss: str | Loss = "CrossEntropy()",
        epochs: int = 10,
        batch_size: int = 64,
        gradient: str | GradientMethod | None = None,
        schedule: str | Schedule = "Constant()",
        metrics: Sequence[str | Metric] = ("Accuracy()",),
        augmentations: Sequence[str | Augmentation | Mixing] = (),
        callbacks: Sequence[str | Callback] = (),
        record: Sequence[str] = (),
        clip_norm: float | None = None,
        average: float | None = None,
        keep: Literal["last", "best"] = "last",
        rollback: float | None = None,
        seed: int = 0,
        workers: int | None = None,
        progress: Progress | None = None,
    ) -> None:
        self.optimizer = cast(Optimizer, _component("optimizer", optimizer))
        self.loss = cast(Loss, _component("loss", loss))
        self.gradient = None if gradient is None else cast(GradientMethod, _component("gradient method", gradient))
        self.schedule = cast(Schedule, _component("schedule", schedule))
        self.metrics = [cast(Metric, _component("metric", metric)) for metric in _listed("metrics", metrics)]
        self.augmentations = [
            cast(Augmentation | Mixing, _component("augmentation", one))
            for one in _listed("augmentations", augmentations)
        ]
        self.callbacks = [cast(Callback, _component("callback", one)) for one in _listed("callbacks", callbacks)]
        self.record = tuple(map(str, _listed("record", record)))
        keys = [_key(metric) for metric in self.metrics]
        if doubled := next((key for key in keys if keys.count(key) > 1), ""):
            raise ConfigError(f"two metrics are called {doubled!r}, and a history can hold only one of them")
        self.epochs = whole("epochs", epochs)
        self.batch_size = whole("batch_size", batch_size)
        self.clip_norm = None if clip_norm is None else positive("clip_norm", clip_norm)
        self.average = None if average is None else in_range("average", positive("average", average), 0.0, 1.0)
        self.keep = one_of("keep", keep, ("last", "best"))
        self.rollback = None if rollback is None else in_range("rollback", positive("rollback", rollback), 0.0, 1.0)
        self.seed = int(in_range("seed", whole("seed", seed, at_least=0), 0, 2**63))
        self.workers = None if workers is None else whole("workers", workers)
        self.progress = progress or Progress()

    def fit(
        self,
        model: Network,
        data: Given,
        *,
        stop: StopRequest | None = None,
        checkpoints: Checkpoints | None = None,
    ) -> Run:
        """Train the model in place and say how it went.

        data: a dataset, or inputs (N, C, H, W) with their targets: class indices or names (N,), or values (N, F); the
        model takes over names if it has no labels, and the range of the inputs. stop: looked at after each step, to end
        before all epochs are done; checkpoints: where they are kept, and whether to go on from the latest one, which
        gives the same bits as a training that was never interrupted.
        Without a `stop`, the first Ctrl-C ends the training after the step, and gives back the run with what there is;
        a second one is a KeyboardInterrupt, but of the measuring on the test samples it ends that alone. Handlers of
        one's own for signals stay in force; the first KeyboardInterrupt that one raises is like the first Ctrl-C.
        A model that cannot be measured on the test samples is trained all the same: the run has a warning then.
        Raises what `prepare` raises, ConfigError for a callback or keep = "best" that needs what there is not, and
        TrainingError, naming the layer, if a loss, gradient or weight is not finite.
        """
        if stop is None:
            with stop_on_interrupt() as stop:
                return self._fit(model, data, stop, checkpoints)
        return self._fit(model, data, stop, checkpoints)

    def _fit(self, model: Network, data: Given, stop: StopRequest, checkpoints: Checkpoints | None) -> Run:
        parts = parts_of(data, model, self.loss)
        begin(self, model, is_validated=bool(parts.validation))
        checked = self._prepared(model, data, parts)
        train, validation, test = checked.train, checked.validation, checked.test
        dataset = {"name": data.name, "digest": data.digest} if isinstance(data, Data) else None
        sessions = functools.partial(self.session, model, train)
        recipe = self.recipe()
        about = {
            "train": recipe,
            "layers": model.expressions(),
            "dataset": {"name": data.name, "digest": data.training_digest or data.digest}
            if isinstance(data, Data)
            else None,
            "samples": list(train.x.shape),
        }
        loop = Loop(self, model, sessions, validation, stop, checkpoints, about)
        before = model.labels, model.input_range, model.task
        model.labels, model.input_range = checked.labels, checked.input_range
        model.task = self.loss.task(train.y, model.output_shape)
        try:
            with self.progress:
                history, reason = loop.run()
        except BaseException:
            if not loop.updates:  # nothing was trained: the model says what it said
                model.labels, model.input_range, model.task = before
            raise
        stopped = reason == STOPPED and checkpoints is not None  # who goes on measures in the end
        metrics, warning = self._measured(model, test, stop) if test and not stopped else ({}, "")
        return Run(
            model,
            history,
            metrics,
            reason,
            signal=stop.signal,
            recipe={"train": recipe},
            dataset=dataset,
            settings=loop.settings,
            warning=warning,
            kept_epoch=loop.kept_epoch,
            partial_steps=loop.partial_steps,
        )

    def prepare(self, model: Network, data: Given) -> Checked:
        """What `check` gives, after all that is known of model and trainer without a look at the inputs; warnings told.

        Raises what `check` raises, ConfigError for parts that do not go together, and ComponentError for a part that
        does not keep to its contract.
        """
        return self._prepared(model, data, parts_of(data, model, self.loss))

    def _prepared(self, model: Network, data: Given, parts: Parts) -> Checked:
        warnings = preflight(self, model, parts)
        checked = self.check(model, data)
        for warning in (*warnings, *checked.warnings):
            self.progress.warn(warning)
        return checked

    def check(self, model: Network, data: Given) -> Checked:
        """The samples to train, validate and test on, if the model can be trained and measured on all of them here.

        Raises ShapeError if inputs or targets do not fit the model, DataError for targets that can mean nothing or two
        things, TrainingError for an input or target that is not finite, and ConfigError if the memory does not suffice.
        """
        model.engine_for(self.loss).cost.check()
        checked = check_data(model, self.loss, data)
        self._forecast(model, checked).require()
        return checked

    def session(self, model: Network, samples: Samples, *, augmented: bool = True) -> AbstractContextManager[Session]:
        """The steps of a training on these samples; schedule, clipping and averages are the caller's business."""
        return training_session(
            model.engine_for(self.loss),
            self._augmented(model, samples) if augmented else samples,
            self.objective,
            self.optimizer,
            min(self.batch_size, len(samples)),
            self.workers or available_cores(),
            self.gradient,
        )

    def recipe(self) -> dict[str, Any]:
        """How it trains, as the table [train] of a recipe."""
        table = {
            "optimizer": repr(self.optimizer),
            "loss": repr(self.loss),
            "schedule": repr(self.schedule),
            "metrics": list(map(repr, self.metrics)),
            "augmentations": list(map(repr, self.augmentations)),
            "callbacks": list(map(repr, self.callbacks)),
            "record": list(self.record),
            "epochs": self.epochs,
            "batch_size": self.batch_size,
            "seed": self.seed,
            "keep": self.keep,
        }
        optional = {
            "gradient": self.gradient and repr(self.gradient),
            "clip_norm": self.clip_norm,
            "rollback": self.rollback,
            "average": self.average,
        }
        return table | {name: value for name, value in optional.items() if value is not None}

    def forecast(self, model: Network, data: Given) -> Forecast:
        """How much memory training the model on this data will take. Raises ShapeError if they do not fit."""
        return self._forecast(model, parts_of(data, model, self.loss))

    def _forecast(self, model: Network, parts: Parts | Checked) -> Forecast:
        train, others = parts.train, (parts.validation, parts.test)
        kept = 2 if self.keep == "best" else 0
        kept += 0 if self.average is None else 3
        if self.rollback is not None:
            kept += 1 + len(self.optimizer.slots())
        return Forecast(
            model.engine_for(self.loss),
            self._augmented(model, train),
            self.objective,
            self.optimizer,
            min(self.batch_size, len(train)),
            self.workers or available_cores(),
            evaluated=max(len(part or ()) for part in others),
            copies=kept,
            numeric=self.gradient is not None,
            available=available_memory(),
        )

    def evaluate(self, model: Network, samples: Samples) -> dict[str, float]:
        """Loss and metrics on samples, in prediction mode, after the checks of `check`, which raise the same."""
        samples = samples_of(model, self.loss, samples)
        if len(samples):
            warn_of_units(model.units, check_values(model, self.loss, samples, "test"), samples.x.dtype)
        return self._evaluated(model, samples)

    def _measured(self, model: Network, test: Samples, stop: StopRequest) -> tuple[dict[str, float], str]:
        """Loss and metrics after the training, and why there are none if that failed: the trained model is worth more.

        Whatever fails here, a metric of a plugin, the reading of a file or the user's patience, must not lose it.
        """
        try:
            return self._evaluated(model, test), ""
        except KeyboardInterrupt:
            if not stop.takes_interrupts:
                raise
            stop.signal = stop.signal or signal.SIGINT
            why = "it was interrupted"
        except Exception as error:
            why = str(error) if isinstance(error, CnnkitError) else f"{type(error).__name__}: {error}"
        warning = f"the model is trained, and could not be measured on the test samples: {why}"
        self.progress.warn(warning)
        return {}, warning

    def _evaluated(self, model: Network, samples: Samples) -> dict[str, float]:
        workers = self.workers or available_cores()
        return self.means(model.engine_for(self.loss).evaluate(samples, self.objective, workers))

    def _augmented(self, model: Network, samples: Samples) -> Samples:
        if not self.augmentations:
            return samples
        return Augmented(samples.x, samples.y, self.augmentations, model.output_shape[0])

    @property
    def objective(self) -> Objective:
        """The loss with the metrics beside it."""
        return Objective(self.loss, tuple(self.metrics))

    def means(self, sums: Sums) -> dict[str, float]:
        """The mean loss and the metrics, by name, of what was summed up."""
        return self.objective.means(sums)


def _component(kind: str, given: str | Component) -> Component:
    return installed_catalog().build(kind, given)


def _key(metric: Metric) -> str:
    """Its name in a history. Raises ConfigError for one that is no text, or that something else has there."""
    with Naming(metric):
        key = metric.key
    if not isinstance(key, str) or not key or key in TAKEN or key.startswith("validation_"):
        raise ConfigError(
            f"the metric {metric!r} is called {key!r}; expected a text other than {', '.join(TAKEN)}, which a history "
            "has anyway, and that does not begin with validation_: give it another key, or its class another name"
        )
    return key


def _listed(name: str, given: Any) -> Sequence[Any]:
    if isinstance(given, str) or not isinstance(given, Sequence):
        raise ConfigError(f"{name} must be a list, such as [{given!r}], got {given!r}")
    return given
