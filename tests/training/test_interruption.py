"""Trainings that are ended from outside, in Python and by signals, and what their runs say."""

from __future__ import annotations

import functools
import os
import signal
import threading
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import pytest

from cnnkit.components import Callback
from cnnkit.layers import BatchNorm2D
from cnnkit.network import Sequential
from cnnkit.optimizers import SGD
from cnnkit.terminal import leave_terminal
from cnnkit.training import Run, Trainer
from cnnkit.training.interruption import StopRequest, stop_on_signals
from cnnkit.training.progress import Progress
from cnnkit.types import Array, Data, Samples

RNG = np.random.default_rng(0)


def blobs(count: int) -> Samples:
    y = RNG.integers(0, 3, count)
    return Samples((np.eye(3)[y] * 4 + RNG.normal(size=(count, 3))).astype(np.float32), y)


DATA = Data(blobs(100), blobs(40), blobs(40))
STEPS = 10


@pytest.fixture(autouse=True)
def handlers() -> Iterator[None]:
    """Whatever a test does, the handlers are the same after it as before, and `fit` leaves them so, too."""
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = [signal.getsignal(number) for number in numbers]
    yield
    after = [signal.getsignal(number) for number in numbers]
    for number, handler in zip(numbers, before, strict=True):
        signal.signal(number, handler)
    assert after == before


class After(Progress):
    """Does something after some of all steps."""

    def __init__(self, step: int, do: Callable[[], Any]) -> None:
        self.step, self.do, self.steps, self.epochs = step, do, 0, 0

    def step_done(self, step: int, samples: int, means: Mapping[str, float]) -> None:
        self.steps += 1
        if self.steps == self.step:
            self.do()

    def epoch_done(self, means: Mapping[str, float]) -> None:
        self.epochs += 1


def interrupt() -> None:
    signal.raise_signal(signal.SIGINT)


def fit(progress: Progress, stop: StopRequest | None = None, **options: Any) -> Run:
    settings: dict[str, Any] = {"epochs": 5, "batch_size": 10, "workers": 1, "optimizer": "SGD(0.1)"}
    trainer = Trainer(**settings | options, progress=progress)
    return trainer.fit(Sequential(["Dense(3)"], (3,), seed=1), DATA, stop=stop)


@pytest.mark.parametrize("workers", [1, 2])
def test_an_interrupted_fit_gives_back_its_run(workers: int) -> None:
    progress = After(2 * STEPS + 3, interrupt)
    run = fit(progress, workers=workers)
    assert (run.reason, run.signal) == ("stopped by the user", signal.SIGINT)
    assert (progress.steps, len(run.history["loss"])) == (23, 2)
    assert (run.kept_epoch, run.partial_steps) == (2, 3)
    assert run.record()["settings"]["partial_steps"] == 3
    assert run.record()["settings"]["reason"] == run.reason
    assert run.metrics["accuracy"] > 0.3  # the model is as the last step left it, and is measured
    whole = fit(After(0, len), epochs=2)  # type: ignore[arg-type]  # never called
    assert run.history["loss"] == whole.history["loss"]
    assert (run.model.parameters.vector != whole.model.parameters.vector).any()


def test_one_that_is_interrupted_in_the_first_epoch_has_steps_alone() -> None:
    run = fit(After(4, interrupt))
    names = ["loss", "accuracy", "validation_loss", "validation_accuracy", "lr", "seconds"]
    assert run.history == {name: [] for name in names}
    assert (run.kept_epoch, run.partial_steps) == (None, 4)
    assert "accuracy" in run.metrics


def test_the_second_interrupt_is_one_at_once() -> None:
    def twice() -> None:
        interrupt()
        interrupt()

    progress = After(3, twice)
    with pytest.raises(KeyboardInterrupt):
        fit(progress)
    assert progress.steps == 3


def test_an_interrupt_of_the_evaluation_loses_nothing() -> None:
    class Once(Trainer):
        def _evaluated(self, *arguments: Any) -> dict[str, float]:
            interrupt()
            return super()._evaluated(*arguments)

    run = Once(epochs=2, workers=1).fit(Sequential(["Dense(3)"], (3,)), DATA)
    assert (run.reason, len(run.history["loss"]), run.signal) == ("all epochs done", 2, signal.SIGINT)
    assert "accuracy" in run.metrics


@pytest.mark.parametrize("handler", [signal.default_int_handler, "own"])
def test_a_second_interrupt_ends_the_evaluation_alone(handler: Any) -> None:
    """Of a finished training and of one that was stopped; the trained model is worth more than its metrics."""

    class Impatient(Trainer):
        def _evaluated(self, *arguments: Any) -> dict[str, float]:
            interrupt()
            interrupt()
            return super()._evaluated(*arguments)

    before = signal.signal(signal.SIGINT, raise_interrupt if handler == "own" else handler)
    for progress, reason in ((After(0, len), "all epochs done"), (After(3, interrupt), "stopped by the user")):  # type: ignore[arg-type]  # never called
        trainer = Impatient(epochs=2, batch_size=10, workers=1, progress=progress)
        with pytest.warns(RuntimeWarning, match="could not be measured") as warned:
            run = trainer.fit(Sequential(["Dense(3)"], (3,)), DATA)
        assert (run.reason, run.metrics, run.signal) == (reason, {}, signal.SIGINT)
        assert run.warning == str(warned[0].message)
        assert run.warning == (
            "the model was trained, but could not be measured on the test samples: it was interrupted"
        )
    signal.signal(signal.SIGINT, before)


def test_who_gives_a_request_hears_of_interrupts_of_the_evaluation() -> None:
    class Interrupted(Trainer):
        def _evaluated(self, *arguments: Any) -> dict[str, float]:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Interrupted(epochs=1, workers=1).fit(Sequential(["Dense(3)"], (3,)), DATA, stop=StopRequest())


def test_a_class_of_ones_own_is_asked_once() -> None:
    calls: list[object] = []

    class Counted(Trainer):
        def fit(self, *arguments: Any, **options: Any) -> Run:
            calls.append(arguments)
            return super().fit(*arguments, **options)

    Counted(epochs=1, workers=1).fit(Sequential(["Dense(3)"], (3,)), DATA)
    assert len(calls) == 1


def test_a_handler_of_the_users_own_stays_in_force() -> None:
    heard: list[int] = []
    signal.signal(signal.SIGINT, lambda number, frame: heard.append(number))
    progress = After(3, interrupt)
    run = fit(progress)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    assert (heard, run.reason, progress.steps) == ([signal.SIGINT], "all epochs done", 5 * STEPS)


def raise_interrupt(*_: object) -> None:
    raise KeyboardInterrupt


class Interrupts(Callback):
    """Ends a training as a user would."""

    def after_epoch(self, history: Mapping[str, list[float]]) -> str:
        raise KeyboardInterrupt


def test_a_keyboard_interrupt_that_is_raised_is_a_request_too() -> None:
    run = fit(After(0, len), callbacks=[Interrupts()])  # type: ignore[arg-type]  # never called
    assert (run.reason, len(run.history["loss"]), run.kept_epoch, run.partial_steps) == ("stopped by the user", 1, 1, 0)
    signal.signal(signal.SIGINT, raise_interrupt)
    run = fit(After(STEPS + 2, interrupt))
    signal.signal(signal.SIGINT, signal.default_int_handler)
    assert (run.reason, run.signal, len(run.history["loss"])) == ("stopped by the user", signal.SIGINT, 1)


HOME = os.getpid()


class InHalves(SGD):
    """Moves by half a step, and by the other half; something happens in between, in the third update."""

    def __init__(self, lr: float, do: Callable[[], Any]) -> None:
        self.lr, self.do = lr, do

    def __repr__(self) -> str:
        return "InHalves()"

    def slots(self) -> tuple[str, ...]:
        return ()

    def update(self, params: Array, grads: Array, state: Any, lr: float, step: int) -> None:
        params -= 0.5 * lr * grads
        if step == 3 and os.getpid() == HOME:
            self.do()
        params -= 0.5 * lr * grads


class Absorbs(BatchNorm2D):
    """Is interrupted in its third batch, when it has one of the two statistics."""

    batches = 0

    def absorb(self, total: Array) -> None:
        mean = self.buffers["running_mean"].copy()
        super().absorb(total)
        self.batches += 1
        if self.batches == 3 and os.getpid() == HOME:
            whole, self.buffers["running_mean"][...] = self.buffers["running_mean"].copy(), mean
            interrupt()
            self.buffers["running_mean"][...] = whole


def stopped_in_step_3(number: int, workers: int, *, absorbing: bool) -> Run:
    """The run of a training that such a signal came to, in an update or where batch statistics are absorbed."""
    x = np.asarray(DATA.train.x).reshape(100, 3, 1, 1)
    norm = Absorbs() if absorbing else BatchNorm2D()
    model = Sequential([norm, "Flatten()", "Dense(2000)", "Dense(3)"], (3, 1, 1), seed=1)
    rule = InHalves(0.1, (lambda: None) if absorbing else functools.partial(signal.raise_signal, number))
    trainer = Trainer(optimizer=rule, epochs=5, batch_size=64, workers=workers)
    return trainer.fit(model, Samples(x, DATA.train.y))


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize(
    ("number", "absorbing"), [(signal.SIGINT, False), (signal.SIGINT, True), (signal.SIGUSR1, False)]
)
def test_an_interrupt_by_a_handler_tears_no_step_apart(number: int, absorbing: bool, workers: int) -> None:
    expected = stopped_in_step_3(signal.SIGINT, 1, absorbing=absorbing)
    before = signal.signal(number, raise_interrupt)
    run = stopped_in_step_3(number, workers, absorbing=absorbing)
    assert signal.getsignal(number) is raise_interrupt
    signal.signal(number, before)
    assert (run.reason, run.signal) == ("stopped by the user", number)
    assert (len(run.history["loss"]), run.partial_steps) == (1, 1)
    for name, array in expected.model.state().items():
        np.testing.assert_array_equal(run.model.state()[name], array)


def test_a_handler_that_is_set_in_the_meantime_stays() -> None:
    before = signal.signal(signal.SIGUSR1, raise_interrupt)
    fit(After(3, lambda: signal.signal(signal.SIGUSR1, signal.SIG_IGN)))
    assert signal.signal(signal.SIGUSR1, before) is signal.SIG_IGN


def test_a_step_that_is_torn_apart_all_the_same_is_no_run() -> None:
    with pytest.raises(KeyboardInterrupt) as error:
        fit(After(0, len), optimizer=InHalves(0.1, raise_interrupt))  # type: ignore[arg-type]  # never called
    assert error.value.__notes__ == [
        "interrupted in the middle of a training step: the model is only partly updated, do not use it"
    ]


def test_who_gives_a_request_is_asked_alone() -> None:
    with pytest.raises(KeyboardInterrupt):
        fit(After(3, interrupt), StopRequest())


def test_in_other_threads_nothing_changes() -> None:
    runs: list[Run] = []
    thread = threading.Thread(target=lambda: runs.append(fit(After(0, len))))  # type: ignore[arg-type]  # never called
    thread.start()
    thread.join()
    assert runs[0].reason == "all epochs done"


def test_the_next_fit_begins_afresh() -> None:
    assert fit(After(3, interrupt)).signal == signal.SIGINT
    assert fit(After(0, len)).signal is None  # type: ignore[arg-type]  # never called


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_signals_are_requests(number: signal.Signals) -> None:
    with stop_on_signals() as request:
        os.kill(os.getpid(), number)
        assert request.signal == number


def test_a_terminal_that_hangs_up_again_is_not_impatient() -> None:
    """The shell and the system may both tell."""
    with stop_on_signals() as request:
        for number in (signal.SIGHUP, signal.SIGHUP):
            os.kill(os.getpid(), number)
        assert request.signal == signal.SIGHUP
    with stop_on_signals() as request:
        for number in (signal.SIGTERM, signal.SIGHUP):
            os.kill(os.getpid(), number)
        assert request.signal == signal.SIGTERM


def test_a_signal_that_is_ignored_stays_so() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    with stop_on_signals() as request:
        os.kill(os.getpid(), signal.SIGHUP)
        assert request.signal is None
    signal.signal(signal.SIGHUP, before)


def test_what_is_no_lost_terminal_is_kept(capfd: pytest.CaptureFixture[str]) -> None:
    leave_terminal()
    print("still here", flush=True)
    assert capfd.readouterr().out == "still here\n"


def test_the_epoch_that_was_kept_is_told() -> None:
    run = fit(Progress(), optimizer="SGD(9.0)", keep="best", epochs=6)
    values = run.history["validation_accuracy"]
    assert run.kept_epoch == values.index(max(values)) + 1
    assert run.record()["settings"]["kept_epoch"] == run.kept_epoch
    assert run.reason == "all epochs done"
    last = fit(Progress(), epochs=3)
    assert (last.kept_epoch, last.partial_steps) == (3, 0)
    assert last.record()["settings"].keys() == {"workers", "tile"}


def test_the_epoch_that_was_kept_has_no_steps_beside_it() -> None:
    run = fit(After(2 * STEPS + 3, interrupt), keep="best")
    assert (len(run.history["loss"]), run.partial_steps) == (2, 0)
    assert run.kept_epoch in (1, 2)


def patient(monitor: str) -> dict[str, Any]:
    return {"optimizer": "SGD(9.0)", "keep": "best", "epochs": 30, "callbacks": [f"EarlyStopping({monitor!r}, 2)"]}


def test_a_reason_says_what_was_kept_if_that_was_judged_by_another_quantity() -> None:
    run = fit(Progress(), **patient("validation_loss"))
    assert run.reason.startswith("validation_loss has not improved for 2 epochs")
    assert run.reason.endswith(f"; kept epoch {run.kept_epoch}, the best by validation_accuracy")
    run = fit(Progress(), **patient("validation_accuracy"))
    best = max(run.history["validation_accuracy"])
    assert run.reason == (
        f"validation_accuracy has not improved for 2 epochs; the best was {best:.6g} in epoch {run.kept_epoch}"
    )
