"""The engine: exact gradients, exact sums, and nothing that depends on tiles or workers."""

from __future__ import annotations

import numpy as np
import pytest

from cnnkit.components import Layer
from cnnkit.errors import ShapeError
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
from cnnkit.network import Engine, Objective, Sequential
from cnnkit.types import Array, Cache, Context, Grads, Preprocessing, Samples

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
    return Sequential(body, (2, 6, 6), preprocessing=preprocessing, input_dtype="uint8", seed=3, dtype=dtype)  # type: ignore[arg-type]


def samples(count: int = 40, seed: int = 0) -> Samples:
    rng = np.random.default_rng(seed)
    return Samples(rng.integers(0, 256, (count, 2, 6, 6)).astype(np.uint8), rng.integers(0, 5, count))


def engine_with(model: Sequential, workers: int, tile: int) -> Engine:
    engine = model.engine(workers)
    engine.tile = tile
    return engine


def step(engine: Engine, data: Samples, step_number: int = 0) -> float:
    sums = engine.train_step(data, np.arange(len(data)), OBJECTIVE, (7, 0, step_number))
    return sums.loss / sums.count


def test_gradient_is_the_derivative_of_the_mean_loss() -> None:
    model, data = branched(), samples()
    engine = engine_with(model, 1, 16)
    step(engine, data)
    vector, analytic = model.parameters.vector, engine.gradient.copy()
    rng = np.random.default_rng(1)
    h = 1e-7  # small enough to cross no kink of a rectifier or a maximum
    for _ in range(3):
        direction = rng.normal(size=vector.size)
        start = vector.copy()
        vector[...] = start + h * direction
        above = step(engine, data)
        vector[...] = start - h * direction
        below = step(engine, data)
        vector[...] = start
        numeric = (above - below) / (2 * h)
        assert analytic @ direction == pytest.approx(numeric, rel=1e-6)


@pytest.mark.parametrize("workers", [2, 3, 5])
def test_any_number_of_workers_gives_the_same_bits(workers: int) -> None:
    def trained(count: int) -> tuple[Array, dict[str, Array], float]:
        model = branched("float32")
        engine = engine_with(model, count, 8)
        losses = []
        for number in range(3):
            losses.append(step(engine, samples(), number))
            model.parameters.vector -= np.float32(0.1) * engine.gradient
        engine.workers.close()
        return engine.gradient, model.state(), losses[-1]

    gradient, state, loss = trained(1)
    other_gradient, other_state, other_loss = trained(workers)
    assert gradient.tobytes() == other_gradient.tobytes()
    assert all(state[name].tobytes() == other_state[name].tobytes() for name in state)
    assert loss == other_loss


def test_batch_statistics_do_not_depend_on_the_tiles() -> None:
    gradients = []
    for tile in (3, 7, 40):
        model = branched(dropout=0.0)
        engine = engine_with(model, 1, tile)
        step(engine, samples())
        gradients.append((engine.gradient.copy(), model.state()["batch_norm2d_1.running_var"]))
    for gradient, variance in gradients[1:]:
        np.testing.assert_allclose(gradient, gradients[0][0], rtol=1e-9, atol=1e-12)
        np.testing.assert_allclose(variance, gradients[0][1], rtol=1e-12)


def test_random_layers_draw_anew_in_every_step_and_again_the_same_for_its_key() -> None:
    model = branched()
    engine = engine_with(model, 1, 16)
    first, second, again = (step(engine, samples(), number) for number in (0, 1, 0))
    assert first == again
    assert first != second


def test_loss_and_metrics_are_means_over_all_samples() -> None:
    model, data = branched(), samples(37)
    sums = engine_with(model, 2, 8).evaluate(data, OBJECTIVE)
    logits = model.logits(data.x)
    losses, _ = CrossEntropy().forward(logits, data.y)
    assert sums.count == 37
    assert sums.loss / 37 == pytest.approx(losses.mean())
    assert Accuracy().value(sums.metrics[0]) == pytest.approx(np.mean(logits.argmax(axis=1) == data.y))


def test_final_softmax_is_left_out_for_a_loss_from_logits() -> None:
    model = Sequential([Flatten(), Dense(5), Softmax()], (2, 6, 6))
    x = samples().x
    np.testing.assert_allclose(model.predict_proba(x), model.engine().predict(x), rtol=1e-5)
    np.testing.assert_allclose(model.logits(x), model.engine(logits=True).predict(x))
    assert not np.allclose(model.logits(x), model.predict_proba(x))


def test_softmax_stays_for_a_loss_on_outputs() -> None:
    model = Sequential([Flatten(), Dense(5), Softmax()], (2, 6, 6))
    engine = model.engine(1)
    sums = engine.train_step(samples(), np.arange(40), Objective(MSE()), (0, 0, 0))
    assert sums.loss / sums.count < 1.0  # outputs are probabilities


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
        step(model.engine(1), samples())
