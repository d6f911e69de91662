"""A step that does not end soon after a signal is given up, and the training goes on from before it, bit for bit."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np
import pytest

from cnnkit.components import Layer
from cnnkit.network import Sequential
from cnnkit.registry.unfinished_runs import Runs
from cnnkit.training import Run, Trainer
from cnnkit.training import interruption as module
from cnnkit.training.checkpoint import Checkpoints
from cnnkit.training.interruption import StopRequest, stop_on_signals
from cnnkit.types import Array, Cache, Context, Data, Grads, Samples, Shape

RNG = np.random.default_rng(0)
MAIN = os.getpid()


def hang() -> None:
    """Somebody asks for an end, which does not come."""
    os.kill(MAIN, signal.SIGTERM)
    while True:
        time.sleep(0.001)


class Slow(Layer):
    """Passes all on; in one of its calls of a training, it sends a signal and then takes for ever."""

    hangs = -1
    """In which call, of all networks; counted down."""
    ignores = False
    """Whether the first interruption is lost, as in a callback of the interpreter."""

    def build(self, in_shape: Shape, rng: np.random.Generator) -> Shape:
        return in_shape

    def forward(self, x: Array, ctx: Context) -> tuple[Array, Cache]:
        if ctx.training and os.getpid() == MAIN:
            Slow.hangs -= 1
            if Slow.hangs == 0:
                try:
                    hang()
                except module.StepAbandonedError:
                    if not Slow.ignores:
                        raise
                    Slow.ignores = False
                    while True:
                        time.sleep(0.001)
        return x, None

    def backward(self, dy: Array, cache: Cache, ctx: Context) -> tuple[Array, Grads]:
        return dy, {}


def samples(count: int) -> Samples:
    y = RNG.integers(0, 3, count)
    return Samples((y[:, None, None, None] + RNG.normal(size=(count, 1, 4, 4))).astype(np.float32), y)


DATA = Data(samples(128), samples(40), samples(40))


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(module, "PATIENCE", 0.01)
    monkeypatch.setattr(module, "PAUSE", 0.01)
    yield
    assert not [thread for thread in threading.enumerate() if thread.name == "cnnkit-stop"]


def network() -> Sequential:
    return Sequential(["Conv2D(4, 3)", "BatchNorm2D()", Slow(), "ReLU()", "Flatten()", "Dense(3)"], (1, 4, 4))


def train(stop: StopRequest | None = None, checkpoints: Checkpoints | None = None, **options: Any) -> Run:
    trainer = Trainer(optimizer="Adam()", epochs=3, batch_size=32, progress=False, **options)
    return trainer.fit(network(), DATA, stop=stop or StopRequest(), checkpoints=checkpoints)


def equal(one: Run, other: Run) -> bool:
    pairs = zip(one.model.state().values(), other.model.state().values(), strict=True)
    losses = one.history["loss"] == other.history["loss"]
    return losses and all(np.array_equal(a, b) for a, b in pairs) and one.metrics == other.metrics


def run_of(call: int, folder: Path, **options: Any) -> tuple[Run, Run]:
    """What is stopped in a call of the slow layer, and what it becomes when it is continued."""
    place = Runs(folder).new("net")
    Slow.hangs = call
    with stop_on_signals() as stop:
        stopped = train(stop, Checkpoints(place), **options)
    Slow.hangs = -1
    return stopped, train(None, Checkpoints(place, resume=True), **options)


@pytest.mark.parametrize("options", [{"workers": 1}, {"workers": 2}, {"workers": 1, "accumulate": 2, "average": 0.9}])
@pytest.mark.parametrize("call", [6, 9])
def test_a_step_is_given_up_without_a_trace(tmp_path: Path, call: int, options: dict[str, Any]) -> None:
    """Its batch normalisation has taken in the batch already, in the process that hangs and in the others."""
    stopped, continued = run_of(call, tmp_path, **options)
    assert (stopped.signal, stopped.reason) == (signal.SIGTERM, "stopped by the user")
    assert len(stopped.history["loss"]) < 3
    Slow.hangs = -1
    assert equal(continued, train(**options))


def test_what_is_swallowed_is_tried_again(tmp_path: Path) -> None:
    Slow.ignores = True
    stopped, _ = run_of(6, tmp_path, workers=1)
    assert (stopped.signal, Slow.ignores) == (signal.SIGTERM, False)


def test_even_the_first_step(tmp_path: Path) -> None:
    calls = _calls_before_the_first_step()
    stopped, continued = run_of(calls + 1, tmp_path, workers=1)
    assert (stopped.history["loss"], stopped.kept_epoch) == ([], None)
    assert equal(continued, train(workers=1))


def test_a_training_that_has_no_step_yet_ends_as_by_a_second_signal() -> None:
    def end(number: int, _frame: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, end)
    try:
        with stop_on_signals() as stop, pytest.raises(KeyboardInterrupt):
            hang()
        assert stop.signal == signal.SIGTERM
        assert signal.getsignal(signal.SIGTERM) is end
    finally:
        signal.signal(signal.SIGTERM, before)


def test_a_step_that_ends_soon_is_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PATIENCE", 3600)
    with stop_on_signals() as stop:
        with stop.step():
            os.kill(MAIN, signal.SIGTERM)
        assert stop.signal == signal.SIGTERM
        assert stop.reminded()  # between steps nothing is given up


class Impatience:
    """Sends a signal when so many functions have been called."""

    def __init__(self, calls: int) -> None:
        self.calls = calls

    def __call__(self, _frame: FrameType, event: str, _argument: object) -> None:
        if event in ("call", "c_call"):
            self.calls -= 1
            if self.calls == 0:
                signal.raise_signal(signal.SIGTERM)


def test_a_second_signal_may_come_anywhere_in_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """The handler waits for nothing that the code that it interrupts may hold."""

    def too_late(number: int, _frame: object) -> None:
        raise TimeoutError("the handler hangs")

    def second(number: int, _frame: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(module, "PATIENCE", 3600)
    before = {one: signal.signal(one, do) for one, do in ((signal.SIGTERM, second), (signal.SIGALRM, too_late))}
    signal.setitimer(signal.ITIMER_REAL, 20)
    try:
        calls, came = 0, True
        while came:
            calls += 1
            signal.signal(signal.SIGTERM, second)
            impatience = Impatience(calls)
            try:
                with stop_on_signals() as stop:
                    signal.raise_signal(signal.SIGTERM)
                    sys.setprofile(impatience)
                    stop.end()
                    sys.setprofile(None)
            except KeyboardInterrupt:
                pass
            finally:
                sys.setprofile(None)
                stop.end()
            came = impatience.calls <= 0
        assert calls > 5
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        for one, handler in before.items():
            signal.signal(one, handler)


def _calls_before_the_first_step() -> int:
    """Of the slow layer in training: what is measured of the memory, and looked at before."""
    found: list[int] = []

    class Counting(StopRequest):
        def step(self) -> Any:
            found.append(-Slow.hangs)
            return super().step()

    Slow.hangs = 0
    train(Counting(), workers=1)
    Slow.hangs = -1
    return found[0]


def test_a_reminder_needs_no_system_call(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on Windows, which has none for it."""
    monkeypatch.delattr(signal, "pthread_kill")
    with stop_on_signals() as stop, pytest.raises(module.StepAbandonedError), stop.step():
        hang()
