"""Trainer: how a model is trained."""

from __future__ import annotations

import functools
import signal
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Never

from cnnkit.components import Callback
from cnnkit.errors import CnnkitError, ConfigError, ShapeError
from cnnkit.input_units import warn_of_units
from cnnkit.network import (
    Augmented,
    Forecast,
    Network,
    Objective,
    Session,
    Told,
    available_cores,
    available_memory,
    busy_workers,
    training_session,
)
from cnnkit.network.kernels.compiled.choice import require
from cnnkit.option_declaration import Option
from cnnkit.option_values import whole_or_none
from cnnkit.training.checkpoint import Checkpoints
from cnnkit.training.class_balance import check_balance, class_weights, weighted
from cnnkit.training.data_checks import (
    Checked,
    Given,
    Parts,
    check_data,
    check_values,
    parts_of,
    samples_of,
    with_validation,
)
from cnnkit.training.groups import groups_of
from cnnkit.training.interruption import StopRequest, stop_on_interrupt
from cnnkit.training.kernel_choice import Kernels, chosen, products_of
from cnnkit.training.loop import STOPPED, Loop
from cnnkit.training.notebook_progress import shown
from cnnkit.training.overview import TrainingOverview
from cnnkit.training.preflight import begin, check_collecting, preflight
from cnnkit.training.progress import Progress
from cnnkit.training.run import Run
from cnnkit.training_options import TrainingOptions, Value
from cnnkit.types import Data, Inputs, Samples
from cnnkit.waiting_line import waiting
from cnnkit.wording import counted


def _progress(name: str, given: Progress | bool | None) -> Progress | bool:
    if given is None or isinstance(given, Progress | bool):
        return given or False
    raise ConfigError(f"{name} must be True, False, or an object that is told of steps and epochs, got {given!r:.80}")


@dataclass(kw_only=True, eq=False, repr=False)
class Trainer(TrainingOptions):
    """Trains a model: `Trainer(optimizer="Adam(0.001)", epochs=5).fit(model, data)`.

    Components are given as objects, or as expressions. What is assigned to a trainer while it trains takes effect in
    its next training. Raises ConfigError for values outside what is allowed.
    """

    workers: Value[int | None] = Option(
        None, whole_or_none, about="Number of parallel workers; all cores by default. Never changes a result."
    )
    progress: Option[Progress | bool | None, Progress | bool] = Option(
        True,
        _progress,
        about="Whether each epoch is shown: live in a terminal or notebook, else as a line; False for silence.",
    )

    def fit(
        self,
        model: Network,
        data: Given,
        *more: Never,
        validation: float | tuple[Inputs, Any] | Samples | None = None,
        stop: StopRequest | None = None,
        checkpoints: Checkpoints | None = None,
        recipe: Mapping[str, Any] | None = None,
    ) -> Run:
        """Train the model in place and return the run.

        data: a dataset, or inputs (N, C, H, W) with their targets: class indices or names (N,), or values (N, F); the
        model adopts the names if it has no labels, and the range of the inputs; validation: the share of the training
        samples to validate on after each epoch, chosen evenly over the classes, or a pair of inputs and targets; None
        for those of the data; stop: looked at after each step, to end before all epochs are done; checkpoints: where
        they are kept, and whether to continue from the latest one, which gives the same bits as a training that was
        never interrupted; recipe: the whole one, which the run keeps; None for its table [train] alone.
        Without a `stop`, the first Ctrl-C ends the training after the step, and gives back the run with what there is;
        a second one is a KeyboardInterrupt, but of the measuring on the test samples it ends that alone. Your own
        signal handlers stay in force; the first KeyboardInterrupt that one raises is like the first Ctrl-C.
        A model that cannot be measured on the test samples is still trained: the run then has a warning.
        Raises what `prepare` raises, ConfigError for a callback or keep = "best" that needs what there is not, and
        TrainingError, naming the layer, if a loss, gradient or weight is not finite.
        """
        if more:
            raise ConfigError("fit takes inputs and targets as a pair: trainer.fit(model, (x, y))")
        data = with_validation(data, validation, self.seed)
        if stop is None:
            with stop_on_interrupt() as stop:
                return self._fit(model, data, stop, checkpoints, recipe)
        return self._fit(model, data, stop, checkpoints, recipe)

    def _fit(
        self,
        model: Network,
        data: Given,
        stop: StopRequest,
        checkpoints: Checkpoints | None,
        recipe: Mapping[str, Any] | None,
    ) -> Run:
        callbacks = list(self.callbacks)
        try:
            run = self._trained(model, data, stop, checkpoints, recipe)
        except BaseException:
            self._tell(callbacks, None)
            raise
        self._tell(callbacks, run)
        return run

    def _tell(self, callbacks: Sequence[Callback], run: Run | None) -> None:
        """Let callbacks look at the whole training; what one of them raises must not lose it."""
        for callback in callbacks:
            try:
                callback.after_training(run)
            except Exception as error:
                why = str(error) if isinstance(error, CnnkitError) else f"{type(error).__name__}: {error}"
                self.warn(f"the callback {callback!r} failed after the training: {why}")

    def _trained(
        self,
        model: Network,
        data: Given,
        stop: StopRequest,
        checkpoints: Checkpoints | None,
        recipe: Mapping[str, Any] | None,
    ) -> Run:
        parts = parts_of(data, model, self.loss)
        begin(self, model, is_validated=bool(parts.validation))
        checked = self._prepared(model, data, parts)
        train, validation, test = checked.train, checked.validation, checked.test
        dataset = {"name": data.name, "digest": data.digest} if isinstance(data, Data) else None
        options, workers = self.copied(), self.workers or available_cores()
        begun = checkpoints.recorded("train").get("kernels", "numpy") if checkpoints and checkpoints.resume else None
        options.kernels = self._kernels(model, train, self.kernels or begun)
        weights = class_weights(options, train.y, checked.labels, model.output_shape[0])
        sessions = functools.partial(_session, options, model, self._augmented(model, train), workers, weights)
        train_table = options.recipe()
        about = {
            "train": train_table,
            "layers": model.expressions(),
            "dataset": {"name": data.name, "digest": data.training_digest or data.digest}
            if isinstance(data, Data)
            else None,
            "samples": list(train.x.shape),
        }
        progress = shown(self.progress)
        loop = Loop(
            options,
            model,
            sessions,
            validation,
            workers=workers,
            progress=progress,
            stop=stop,
            checkpoints=checkpoints,
            about=about,
        )
        before = model.labels, model.input_range, model.framing, model.task
        model.labels, model.input_range = checked.labels, checked.input_range
        model.framing = data.framing if isinstance(data, Data) else model.framing
        model.task = self.loss.task(train.y, model.output_shape)
        try:
            with progress:
                progress.training_started(self._overview(model, checked, data))
                history, reason = loop.run()
        except BaseException:
            if not loop.updates:  # nothing was trained: the model says what it said
                model.labels, model.input_range, model.framing, model.task = before
            raise
        stopped = reason == STOPPED and checkpoints is not None  # who goes on measures in the end
        metrics, warning = self._measured(model, test, stop) if test and not stopped else ({}, "")
        return Run(
            model,
            history,
            metrics,
            reason,
            signal=stop.signal,
            recipe=dict(recipe or {"train": train_table}),
            dataset=dataset,
            settings=loop.settings | ({"class_weight": list(weights)} if weights else {}),
            warning=warning,
            kept_epoch=loop.kept_epoch,
            partial_steps=loop.partial_steps,
        )

    def _overview(self, model: Network, checked: Checked, data: Given) -> TrainingOverview:
        engine, batch = model.engine_for(self.loss), min(self.batch_size, len(checked.train))
        return TrainingOverview(
            layers=len(model.nodes),
            parameters=model.parameter_count(),
            data=data.name if isinstance(data, Data) else "",
            training_samples=len(checked.train),
            validation_samples=len(checked.validation or ()),
            test_samples=len(checked.test or ()),
            workers=1 if self.gradient else busy_workers(engine, batch, self.workers or available_cores()),
            batch_size=batch,
            tile=engine.tile_for(batch),
            why_tile=engine.why_tile(batch),
        )

    def prepare(self, model: Network, data: Given) -> Checked:
        """What `check` gives, after all that is known of model and trainer without a look at the inputs; warnings told.

        Raises what `check` raises, ConfigError for parts that do not go together, and ComponentError for a part that
        does not keep to its contract.
        """
        return self._prepared(model, data, parts_of(data, model, self.loss))

    def _prepared(self, model: Network, data: Given, parts: Parts) -> Checked:
        warnings = preflight(self, model, parts)
        with waiting("checking the samples"):
            checked = self.check(model, data)
        for warning in (*warnings, *checked.warnings):
            self.warn(warning)
        return checked

    def check(self, model: Network, data: Given) -> Checked:
        """The samples to train, validate and test on, if the model can be trained and measured on all of them here.

        Raises ShapeError if inputs or targets do not fit the model, DataError for targets that can mean nothing or two
        things, TrainingError for an input or target that is not finite, CostError for a network that makes too much of
        a sample, or for too long, and ConfigError if the memory does not suffice.
        """
        checked = self.check_but_memory(model, data)
        self._forecast(model, checked).require()
        return checked

    def check_but_memory(self, model: Network, data: Given) -> Checked:
        """What `check` gives, and raises, without a look at the memory that there is."""
        engine = model.engine_for(self.loss)
        engine.cost.check()
        checked = check_data(model, self.loss, data)
        check_balance(self, checked.train.y, checked.labels, model.output_shape[0])
        engine.check_training(len(checked.train), min(self.batch_size, len(checked.train)), self.accumulate or 1)
        for part in (checked.validation, checked.test):
            engine.check_evaluation(len(part or ()), self.objective)
            check_collecting(self.metrics, model, part)
        return checked

    def session(
        self, model: Network, samples: Samples, labels: Sequence[str] = (), *, augmented: bool = True
    ) -> AbstractContextManager[Session]:
        """The steps of a training on these samples; schedule, clipping and averages are the caller's business.

        labels: the names of the classes, of a model that has not adopted them.
        """
        weights = class_weights(self, samples.y, labels or model.labels, model.output_shape[0])
        samples = self._augmented(model, samples) if augmented else samples
        options = self.copied()
        options.kernels = self._kernels(model, samples, self.kernels)
        return _session(options, model, samples, self.workers or available_cores(), weights)

    def _kernels(self, model: Network, samples: Samples, given: Kernels | None) -> Kernels:
        """Those that train on these samples; given: those that are not to be chosen."""
        return chosen(given, 0.0 if given else products_of(model, len(samples), self.epochs), self.warn)

    def forecast(self, model: Network, data: Given) -> Forecast:
        """How much memory training the model on this data will take. Raises ShapeError if they do not fit."""
        return self._forecast(model, parts_of(data, model, self.loss))

    def _forecast(self, model: Network, parts: Parts | Checked) -> Forecast:
        train, others = parts.train, (parts.validation, parts.test)
        kept = 2 if self.keep == "best" else 0
        kept += 3 if self.averages else 0
        kept += 2 if self.accumulate else 0
        if self.rollback is not None:
            kept += 1 + len(self.optimizer.slots())
        if self.kernels == "compiled":  # a pass is measured with them
            require()
        return Forecast(
            model.engine_for(self.loss, compiled=self.kernels == "compiled"),
            self._augmented(model, train),
            self.objective.in_training(),
            self.optimizer,
            min(self.batch_size, len(train)),
            self.workers or available_cores(),
            evaluated=max(len(part or ()) for part in others),
            copies=kept,
            numeric=self.gradient is not None,
            available=available_memory(),
        )

    def evaluate(self, model: Network, samples: Samples, told: Told | None = None) -> dict[str, float]:
        """Loss and metrics on samples, in prediction mode, after the checks of `check`, which raise the same.

        told: who is given what the loss takes, `told(samples, outputs)`, some samples after others, by several threads;
        the memory of the outputs is used again afterwards.
        """
        samples = samples_of(model, self.loss, samples)
        if not len(samples):
            raise ShapeError("expected at least one sample to measure on, got none")
        warn_of_units(model.units, check_values(model, self.loss, samples, "test"), samples.x.dtype)
        return self._evaluated(model, samples, told)

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
        warning = f"the model was trained, but could not be measured on the test samples: {why}"
        self.warn(warning)
        return {}, warning

    def warn(self, text: str) -> None:
        """Tell whom the training is shown to; as a Python warning where it is shown to nobody yet."""
        (self.progress if isinstance(self.progress, Progress) else Progress()).warn(text)

    def _evaluated(self, model: Network, samples: Samples, told: Told | None = None) -> dict[str, float]:
        workers, engine = self.workers or available_cores(), model.engine_for(self.loss)
        with waiting(f"measuring on {counted(len(samples), 'sample')}"):
            return self.objective.means(engine.evaluate(samples, self.objective, workers, told))

    def _augmented(self, model: Network, samples: Samples) -> Samples:
        if not self.augmentations:
            return samples
        return Augmented(samples.x, samples.y, self.augmentations, model.output_shape[0])

    @property
    def objective(self) -> Objective:
        """The loss with the metrics beside it."""
        return Objective(self.loss, tuple(self.metrics))


def _session(
    options: TrainingOptions, model: Network, samples: Samples, workers: int, weights: tuple[float, ...] | None
) -> AbstractContextManager[Session]:
    groups = groups_of(model, options)
    engine = model.engine_for(options.loss, groups.frozen, compiled=options.kernels == "compiled")
    return training_session(
        engine,
        samples,
        Objective(weighted(options.loss, weights), tuple(options.metrics)).in_training(),
        options.optimizer,
        min(options.batch_size, len(samples)),
        workers,
        options.gradient,
        groups,
    )


Trainer.__doc__ = f"{Trainer.__doc__}\n{Option.documentation(Trainer)}\n"
