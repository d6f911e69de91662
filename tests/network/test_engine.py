"""The engine: exact gradients, exact sums, and nothing that depends on tiles or workers."""

from __future__ import annotations

import errno
import os
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cnnkit.components import Layer
from cnnkit.errors import ShapeError, TrainingError
from cnnkit.layers import (
    BatchNorm2D,
    Concat,
    Conv2D,
    Dense,
    Dropout,
    Flatten,
    MaxPool2D,
    ReLU,
    Residual,
    Softmax,
)
from cnnkit.losses import MSE, CrossEntropy
from cnnkit.metrics import Accuracy
from cnnkit.network import Engine, Objective, Sequential, Session, Sums, training_session
from cnnkit.network.execution.threads import _controller, one_blas_thread
from cnnkit.network.execution.worker_processes import SharedSession
from cnnkit.optimizers import Adam
from cnnkit.training import Trainer
from cnnkit.types import Array, Cache, Context, Grads, Preprocessing, Samples

RULE = Adam(0.01)
OBJECTIVE = Objective(CrossEntropy(), (Accuracy(),))


def branched(dtype: str = "float64", dropout: float = 0.3) -> Sequential:
    body = [
        Conv2D(4, 3, padding="same"),
        BatchNorm2D(),
        Residual(Conv2D(4, 3, padding="same"), BatchNorm2D(), ReLU()),
        Concat([Conv2D(3, 1), ReLU()], []),
        MaxPool2D(2),
        Flatten(),
        Dropout(dropout),
        Dense(5),
    ]
    preprocessing = Preprocessing(1 / 255, (0.4,), (0.3,))
    return Sequential(body, (2, 6, 6), preprocessing=preprocessing, input_dtype="uint8", seed=3, dtype=dtype)  # type: ignore[arg-type]  # options of any type


def samples(count: int = 40, seed: int = 0) -> Samples:
    rng = np.random.default_rng(seed)
    return Samples(rng.integers(0, 256, (count, 2, 6, 6)).astype(np.uint8), rng.integers(0, 5, count))


@pytest.fixture(autouse=True)
def small_tiles(monkeypatch: pytest.MonkeyPatch) -> None:
    """Five tiles for forty samples, which would be one otherwise."""
    tiles_of(8, monkeypatch)


def tiles_of(size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Engine, "tile_for", lambda engine, batch_size: size)


def session_for(model: Sequential, data: Samples, objective: Objective = OBJECTIVE) -> Session:
    return Session(model.engine(), data, objective, RULE, len(data))


def step(session: Session, number: int = 0) -> float:
    sums = session.step(np.arange(len(session.samples)), (7, 0, number))
    return sums.loss / sums.count


def test_gradient_is_the_derivative_of_the_mean_loss() -> None:
    model = branched()
    session = session_for(model, samples())
    step(session)
    vector, analytic = model.parameters.vector, session.gradient.copy()
    rng = np.random.default_rng(1)
    h = 1e-7  # small enough to cross no kink of a rectifier or a maximum
    for _ in range(3):
        direction = rng.normal(size=vector.size)
        start = vector.copy()
        vector[...] = start + h * direction
        above = step(session)
        vector[...] = start - h * direction
        below = step(session)
        vector[...] = start
        numeric = (above - below) / (2 * h)
        assert analytic @ direction == pytest.approx(numeric, rel=1e-6)


def trained(workers: int) -> tuple[bytes, dict[str, Array], list[Sums]]:
    model, data = branched("float32"), samples(45)
    sums = []
    with training_session(model.engine(), data, OBJECTIVE, RULE, 40, workers) as session:
        assert isinstance(session, SharedSession) == (workers > 1)
        for number in range(4):  # the last batch is smaller than the others, and than all workers' tiles
            sums.append(session.step(np.arange(number * 10, 45), (7, 0, number)) if number else step_of(session))
            gradient = session.gradient.tobytes()
            session.update(0.01, number + 1, 0.5)
    return gradient, model.state(), sums


def step_of(session: Session) -> Sums:
    return session.step(np.arange(40), (7, 0, 0))


@pytest.mark.parametrize("workers", [2, 3, 5])
def test_any_number_of_workers_gives_the_same_bits(workers: int) -> None:
    gradient, state, sums = trained(1)
    other_gradient, other_state, other_sums = trained(workers)
    assert gradient == other_gradient
    assert all(state[name].tobytes() == other_state[name].tobytes() for name in state)
    assert [one.pack().tobytes() for one in sums] == [one.pack().tobytes() for one in other_sums]


def test_rounds_give_the_same_bits(monkeypatch: pytest.MonkeyPatch) -> None:
    """With less memory for the gradients of tiles, they are added in several rounds."""

    def one(workers: int) -> bytes:
        model = Sequential(["Flatten()", "Dropout(0.5)", "Dense(5)"], (2, 6, 6), seed=1)
        with training_session(model.engine(), samples(), OBJECTIVE, RULE, 40, workers) as session:
            rounds.append(len(session.rounds(40)))
            step(session)
            return session.gradient.tobytes()

    rounds: list[int] = []
    expected = one(1)
    monkeypatch.setattr("cnnkit.network.execution.session.SLOT_BYTES", 0)
    assert one(1) == one(2) == one(3) == expected
    assert rounds == [1, 5, 3, 2]


def test_tiles_draw_different_numbers() -> None:
    masks = []

    class Watch(Layer):
        def forward(self, x: Array, ctx: Context) -> tuple[Array, Cache]:
            masks.append(ctx.rng.random(4))
            masks.append(ctx.rng.random(4))  # goes on, instead of beginning again
            return x, None

        def backward(self, dy: Array, cache: Cache, ctx: Context) -> tuple[Array, Grads]:
            return dy, {}

    step(session_for(Sequential([Watch(), Flatten(), Dense(5)], (2, 6, 6)), samples()))
    assert len({mask.tobytes() for mask in masks}) == len(masks) == 10


def test_parameters_leave_the_shared_memory_with_the_session() -> None:
    model = branched()
    with training_session(model.engine(), samples(), OBJECTIVE, RULE, 40, 2) as session:
        step(session)
    before = model.parameters.vector.copy()
    if (child := os.fork()) == 0:
        model.parameters.vector[...] = 0
        os._exit(0)
    os.waitpid(child, 0)
    assert (model.parameters.vector == before).all()
    assert np.shares_memory(model.nodes[0].layer.params["weight"], model.parameters.vector)


def test_a_session_that_failed_is_over() -> None:
    FailsInWorkers.home = os.getpid()
    model = Sequential([FailsInWorkers("shape"), Flatten(), Dense(5)], (2, 6, 6))
    with training_session(model.engine(), samples(), OBJECTIVE, RULE, 40, 2) as session:
        with pytest.raises(ShapeError):
            step(session)
        with pytest.raises(TrainingError, match="has ended or failed: start a new one"):
            step(session)


def test_one_blas_thread_ends_with_its_last_user() -> None:
    def threads() -> set[int]:
        """Of NumPy's BLAS: what other packages bring, and other tests have loaded since, is not ours to limit."""
        return {info["num_threads"] for info in _controller().info() if info["user_api"] == "blas"}

    before = threads()
    first, second = one_blas_thread(), one_blas_thread()
    first.__enter__()
    second.__enter__()
    first.__exit__(None, None, None)
    assert threads() == {1}
    second.__exit__(None, None, None)
    assert threads() == before


def children() -> set[str]:
    return set(Path(f"/proc/self/task/{os.getpid()}/children").read_text().split())


def test_workers_end_with_the_session() -> None:
    before = children()
    with training_session(branched().engine(), samples(), OBJECTIVE, RULE, 40, 3) as session:
        step(session)
        assert len(children() - before) == 2
    assert children() == before


def test_a_killed_worker_is_told() -> None:
    before = children()
    with training_session(branched().engine(), samples(), OBJECTIVE, RULE, 40, 2) as session:
        step(session)
        (worker,) = children() - before
        os.kill(int(worker), signal.SIGKILL)
        with pytest.raises(TrainingError, match="a worker process ended unexpectedly; was it killed"):
            step(session)
    assert children() == before


def test_workers_that_cannot_all_be_started_are_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    before, files, fork, forks = children(), os.listdir("/proc/self/fd"), os.fork, []

    def limited() -> int:
        forks.append(1)
        if len(forks) == 3:
            raise OSError(errno.EAGAIN, "no more processes")
        return fork()

    monkeypatch.setattr(os, "fork", limited)
    with (
        pytest.raises(TrainingError, match="cannot start 4 workers: no more processes; use fewer"),
        training_session(branched().engine(), samples(), OBJECTIVE, RULE, 40, 4),
    ):
        pass
    assert children() == before
    assert len(os.listdir("/proc/self/fd")) == len(files)


@pytest.mark.parametrize(("name", "call"), [("kill", 1), ("waitpid", 2), ("close", 1), ("close", 2)])
def test_an_end_that_is_interrupted_is_ended_by_the_next_one(
    monkeypatch: pytest.MonkeyPatch, name: str, call: int
) -> None:
    before, files, original, calls = children(), os.listdir("/proc/self/fd"), getattr(os, name), []
    model = branched()
    with training_session(model.engine(), samples(), OBJECTIVE, RULE, 40, 3) as session:
        state = {key: array.tobytes() for key, array in model.state().items()}

        def interrupted(*arguments: Any) -> Any:
            calls.append(1)
            if len(calls) == call:
                if name == "close":
                    original(*arguments)
                raise KeyboardInterrupt
            return original(*arguments)

        monkeypatch.setattr(os, name, interrupted)
        with pytest.raises(KeyboardInterrupt):
            session.close()  # type: ignore[attr-defined]  # of several workers
    assert children() == before
    assert len(os.listdir("/proc/self/fd")) <= len(files) + 1  # of a pair that was being closed
    assert {key: array.tobytes() for key, array in model.state().items()} == state


class FailsInWorkers(Layer):
    """Works in one process alone."""

    home = os.getpid()

    def __init__(self, error: str) -> None:
        self.error = error

    def forward(self, x: Array, ctx: Context) -> tuple[Array, Cache]:
        if os.getpid() != self.home:
            raise {"shape": ShapeError, "value": ValueError}[self.error]("too odd")
        return x, None

    def backward(self, dy: Array, cache: Cache, ctx: Context) -> tuple[Array, Grads]:
        return dy, {}


@pytest.mark.parametrize(
    ("error", "kind", "text"),
    [
        ("shape", ShapeError, r"^too odd\nin the forward pass of layer fails_in_workers_1"),
        ("value", TrainingError, "a worker process failed: ValueError: too odd"),
    ],
)
def test_an_error_of_a_worker_is_raised_here(error: str, kind: type[Exception], text: str) -> None:
    FailsInWorkers.home = os.getpid()
    model = Sequential([FailsInWorkers(error), Flatten(), Dense(5)], (2, 6, 6))
    with (
        pytest.raises(kind, match=text),
        training_session(model.engine(), samples(), OBJECTIVE, RULE, 40, 2) as session,
    ):
        step(session)


def test_batch_statistics_do_not_depend_on_the_tiles(monkeypatch: pytest.MonkeyPatch) -> None:
    gradients = []
    for tile in (3, 7, 40):
        tiles_of(tile, monkeypatch)
        model = branched(dropout=0.0)
        session = session_for(model, samples())
        step(session)
        gradients.append((session.gradient.copy(), model.state()["batch_norm2d_1.running_var"]))
    for gradient, variance in gradients[1:]:
        np.testing.assert_allclose(gradient, gradients[0][0], rtol=1e-9, atol=1e-12)
        np.testing.assert_allclose(variance, gradients[0][1], rtol=1e-12)


def test_random_layers_draw_anew_in_every_step_and_again_the_same_for_its_key() -> None:
    session = session_for(branched(), samples())
    first, second, again = (step(session, number) for number in (0, 1, 0))
    assert first == again
    assert first != second


def test_loss_and_metrics_are_means_over_all_samples() -> None:
    model, data = branched(), samples(37)
    sums = model.engine().evaluate(data, OBJECTIVE, 2)
    logits = model.logits(data.x)
    losses, _ = CrossEntropy().forward(logits, data.y)
    assert sums.count == 37
    assert sums.loss / 37 == pytest.approx(losses.mean())
    assert Accuracy().value(sums.metrics[0]) == pytest.approx(np.mean(logits.argmax(axis=1) == data.y))


def test_final_softmax_is_left_out_for_a_loss_from_logits() -> None:
    model = Sequential([Flatten(), Dense(5), Softmax()], (2, 6, 6))
    x = samples().x
    np.testing.assert_allclose(model.predict_proba(x), model.engine().predict(x, 1), rtol=1e-5)
    np.testing.assert_allclose(model.logits(x), model.engine(logits=True).predict(x, 1))
    assert not np.allclose(model.logits(x), model.predict_proba(x))


def test_softmax_stays_for_a_loss_on_outputs() -> None:
    model = Sequential([Flatten(), Dense(5), Softmax()], (2, 6, 6))
    assert step(session_for(model, samples(), Objective(MSE()))) < 1.0  # outputs are probabilities


def test_trace_gives_the_output_of_every_node() -> None:
    model, data = branched("float32"), samples(3)
    values = model.trace(data.x)
    assert [value.shape for value in values] == [(3, *node.out_shape) for node in model.nodes]
    np.testing.assert_allclose(values[-1], model.logits(data.x), rtol=1e-4, atol=1e-5)


class ForgetsBias(Layer):
    """A dense layer whose backward leaves one gradient out."""

    def build(self, in_shape: tuple[int, ...], rng: np.random.Generator) -> tuple[int, ...]:
        self.params = {"weight": np.ones((5, in_shape[0])), "bias": np.zeros(5)}
        return (5,)

    def forward(self, x: Array, ctx: Context) -> tuple[Array, Cache]:
        return x @ self.params["weight"].T + self.params["bias"], x

    def backward(self, dy: Array, x: Cache, ctx: Context) -> tuple[Array, Grads]:
        return dy @ self.params["weight"], {"weight": dy.T @ x}


def test_missing_gradient_is_named() -> None:
    model = Sequential([Flatten(), ForgetsBias()], (2, 6, 6))
    with pytest.raises(
        ShapeError, match=r"forgets_bias_1 .* must return a gradient for each parameter.*'bias': \(5,\)"
    ):
        step(session_for(model, samples()))


class Returns(Layer):
    """A layer whose author has misread the contract."""

    def __init__(self, ahead: str = "", back: str = "") -> None:
        self.ahead = ahead
        self.back = back

    def forward(self, x: Array, ctx: Context) -> Any:
        return {"": (x, None), "array": x, "none": None, "row": (x[0], None), "number": (1.0, None)}[self.ahead]

    def backward(self, dy: Array, cache: Cache, ctx: Context) -> Any:
        return {"": (dy, {}), "array": dy, "none": None, "row": (dy[:, :1], {})}[self.back]


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        (Returns(ahead="array"), r"forward must return \(y, cache\) with y an array, it returned an array of"),
        (Returns(ahead="none"), r"with y an array, it returned NoneType"),
        (Returns(ahead="row"), r"with y of shape \(\d, 3\); it returned an array of shape \(3,\) as y"),
        (Returns(ahead="number"), r"it returned \(float, NoneType\)"),
        (Returns(back="array"), r"backward must return \(dx, grads\) with grads a dict, it returned an array of"),
        (Returns(back="none"), r"with grads a dict, it returned NoneType"),
        (Returns(back="row"), r"with dx of shape \(\d, 3\); it returned an array of shape \(\d, 1\) as dx"),
    ],
)
def test_a_layer_that_returns_something_else_is_told_what_to_return(layer: Layer, message: str) -> None:
    model = Sequential(["Dense(3)", layer, "Dense(2)"], (3,))
    with pytest.raises(ShapeError, match=message) as caught:
        Trainer(epochs=1, workers=1).fit(model, (np.ones((4, 3), np.float32), np.zeros(4, np.int64)))
    assert "pass of layer returns_1" in "".join(caught.value.__notes__)
