"""What the engine refuses because a component does not keep to its contract."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

from cnnkit.components import BatchCoupledLayer, GradientMethod, Layer, Loss, Merge, Metric, Optimizer
from cnnkit.errors import ComponentError, ShapeError
from cnnkit.losses import CrossEntropy
from cnnkit.metrics import Accuracy
from cnnkit.network import Engine, Objective, Sequential, training_session
from cnnkit.optimizers import SGD, Adam
from cnnkit.types import Array, Cache, Context, Grads, Samples, Shape

RNG = np.random.default_rng(0)
SAMPLES = Samples(RNG.normal(size=(40, 6)).astype(np.float32), RNG.integers(0, 5, 40))


@pytest.fixture(autouse=True)
def small_tiles(monkeypatch: pytest.MonkeyPatch) -> None:
    """Three tiles for forty samples, the last of which is smaller."""
    monkeypatch.setattr(Engine, "tile_for", lambda engine, batch_size: 16)


def network(*layers: Layer | Merge | str) -> Sequential:
    return Sequential([*layers, "Dense(5)"], (6,))


def train(
    *,
    layers: Sequence[Layer | Merge | str] = (),
    loss: Loss | None = None,
    metric: Metric | None = None,
    optimizer: Optimizer | None = None,
    method: GradientMethod | None = None,
    workers: int = 1,
) -> None:
    """Two steps of a training with what is under test, the rest as it should be."""
    objective = Objective(loss or CrossEntropy(), [metric or Accuracy()])
    rule = optimizer or SGD(0.1)
    with training_session(network(*layers).engine(), SAMPLES, objective, rule, 40, workers, method) as session:
        for number in range(2):
            session.step(np.arange(40), (0, 0, number))
            session.update(0.1, number + 1)


class LossGives(CrossEntropy):
    """A loss that gives something else than it should."""

    def __init__(self, make: Callable[[Array, Cache], Any], gradient: Callable[[Array], Any] = np.asarray) -> None:
        super().__init__()
        self.make, self.gradient = make, gradient

    def __repr__(self) -> str:
        return "LossGives()"

    def forward(self, outputs: Array, targets: Array) -> Any:
        return self.make(*super().forward(outputs, targets))

    def backward(self, cache: Any, weight: float) -> Any:
        return self.gradient(super().backward(cache, weight))


LOSSES: dict[str, tuple[LossGives, str]] = {
    "a mean": (LossGives(lambda losses, cache: (losses.mean(), cache)), "forward gave (float32, ((an array"),
    "a 0-d array": (LossGives(lambda losses, cache: (np.array(losses.mean()), cache)), "(an array of shape (), "),
    "a column": (LossGives(lambda losses, cache: (losses[:, None], cache)), "(an array of shape (16, 1), "),
    "complex numbers": (LossGives(lambda losses, cache: (losses + 0j, cache)), "(an array of shape (16,), "),
    "no cache": (LossGives(lambda losses, cache: losses), "forward gave an array of shape (16,)"),
    "nothing": (LossGives(lambda losses, cache: None), "forward gave NoneType"),
}
GRADIENTS: dict[str, tuple[LossGives, str]] = {
    "a sum": (LossGives(lambda *both: both, lambda dy: dy.sum(axis=0)), "backward gave an array of shape (5,)"),
    "nothing": (LossGives(lambda *both: both, lambda dy: None), "backward gave NoneType"),
}


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("name", LOSSES)
def test_a_loss_gives_one_number_for_each_sample(name: str, workers: int) -> None:
    loss, came = LOSSES[name]
    with pytest.raises(ShapeError) as error:
        train(loss=loss, workers=workers)
    if workers == 2:  # the shape of what the probe with one sample sees
        came = came.replace("16", "1")
    assert str(error.value).startswith(
        "the loss LossGives() must return (losses, cache) with one number for each sample, losses of shape ("
    )
    assert came in str(error.value)


@pytest.mark.parametrize("name", GRADIENTS)
def test_a_loss_gives_a_gradient_of_the_outputs_shape(name: str) -> None:
    loss, came = GRADIENTS[name]
    with pytest.raises(ShapeError) as error:
        train(loss=loss)
    assert str(error.value) == f"the loss LossGives() must return a gradient of the outputs' shape (16, 5); {came}"


def test_an_evaluation_refuses_such_a_loss_too() -> None:
    loss, _ = LOSSES["a mean"]
    with pytest.raises(ShapeError, match=r"must return \(losses, cache\) with one number for each sample"):
        network().engine().evaluate(SAMPLES, Objective(loss), 1)


def test_so_does_a_gradient_method() -> None:
    loss, _ = LOSSES["a mean"]
    with pytest.raises(ShapeError, match=r"must return \(losses, cache\) with one number for each sample"):
        train(loss=loss, method=Zero())


class MetricGives(Metric):
    """A metric that gives something else than it should."""

    def __init__(self, sums: Callable[[Array], Any], value: Any = 0.5) -> None:
        self.make, self.given = sums, value

    def __repr__(self) -> str:
        return "MetricGives()"

    def sums(self, outputs: Array, targets: Array) -> Any:
        return self.make(outputs)

    def value(self, total: Array) -> Any:
        return self.given


@pytest.mark.parametrize("workers", [1, 2])
def test_sums_of_a_metric_have_one_shape(workers: int) -> None:
    metric = MetricGives(lambda outputs: np.zeros(len(outputs)))
    with pytest.raises(ShapeError, match=r"^the metric MetricGives\(\) must give sums of one shape for every tile"):
        train(metric=metric, workers=workers)


def test_sums_that_numpy_would_broadcast_are_refused() -> None:
    metric = MetricGives(lambda outputs: np.zeros(1 if len(outputs) == 8 else (1, 1)))
    with pytest.raises(ShapeError, match=r"sums\(\) returned \(1, 1\) for one and \(1,\) for another: add up over"):
        train(metric=metric)


@pytest.mark.parametrize(
    ("given", "came"), [(None, "NoneType"), (1j, "complex"), ("one", "str"), (np.array([None]), "array of shape")]
)
def test_sums_of_a_metric_are_numbers(given: Any, came: str) -> None:
    with pytest.raises(
        ComponentError,
        match=rf"^the metric MetricGives\(\) must give what .* sums\(\) returned .*{came}",
    ):
        train(metric=MetricGives(lambda outputs: given))


@pytest.mark.parametrize("given", [None, 1j, [0.5], np.zeros(2)])
def test_a_metric_is_one_number(given: Any) -> None:
    objective = Objective(CrossEntropy(), [MetricGives(np.sum, given)])
    sums = network().engine().evaluate(SAMPLES, objective, 1)
    with pytest.raises(ComponentError, match=r"^the metric MetricGives\(\) must be one number; value\(\) gave "):
        objective.means(sums)


def test_numbers_of_every_kind_are_values() -> None:
    for given in (1, 0.5, np.float32(0.5), np.int64(2), np.array(0.25)):
        objective = Objective(CrossEntropy(), [MetricGives(np.sum, given)])
        sums = network().engine().evaluate(SAMPLES, objective, 1)
        assert objective.means(sums)["metricgives"] == float(given)


class Does(Optimizer):
    """An optimizer whose update does as it is told."""

    lr = 0.1

    def __init__(self, update: Callable[..., Any], slots: Any = ("m",)) -> None:
        self.rule, self.names = update, slots

    def __repr__(self) -> str:
        return "Does()"

    def slots(self) -> Any:
        return self.names

    def update(self, params: Array, grads: Array, state: Any, lr: float, step: int) -> Any:
        return self.rule(params, grads, state)


def rebind(params: Array, grads: Array, state: Any) -> None:
    state["m"] = 0.9 * state["m"] + grads


def add(params: Array, grads: Array, state: Any) -> None:
    state["v"] = grads.copy()


def augment(params: Array, grads: Array, state: Any) -> None:
    state["m"] *= 0.9
    state["m"] += grads


def functional(params: Array, grads: Array, state: Any) -> Array:
    return params - grads


def in_place(params: Array, grads: Array, state: Any) -> Array:
    return np.subtract(params, grads, out=params)


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize(
    ("rule", "message"),
    [
        (
            rebind,
            "must change its state in place; it put another array into state['m'], which is lost after the step: ",
        ),
        (add, "put the new vector 'v' into its state, which is lost after the step: name it in slots()"),
        (functional, "must change params in place and return nothing; update returned an array of shape ("),
    ],
)
def test_an_optimizer_works_in_place(rule: Callable[..., Any], message: str, workers: int) -> None:
    with pytest.raises(ComponentError) as error:
        train(optimizer=Does(rule), workers=workers)
    assert str(error.value).startswith(f"the optimizer Does() {message}")


@pytest.mark.parametrize("rule", [augment, in_place])
def test_what_is_in_place_passes(rule: Callable[..., Any]) -> None:
    train(optimizer=Does(rule))


@pytest.mark.parametrize("slots", [("m", "m"), "m", ("m", 1), None])
def test_state_vectors_have_different_names(slots: Any) -> None:
    with pytest.raises(
        ComponentError,
        match=r"^the optimizer Does\(\) must name each of its state vectors exactly once",
    ):
        train(optimizer=Does(augment, slots))


@pytest.mark.parametrize("workers", [1, 2])
def test_parameters_that_were_put_in_the_place_of_others_are_refused(workers: int) -> None:
    model = network()
    (layer,) = model.layers
    assert isinstance(layer, Layer)
    layer.params["weight"] = np.ones((5, 6), np.float32)
    with (
        pytest.raises(ComponentError) as error,
        training_session(model.engine(), SAMPLES, Objective(CrossEntropy()), Adam(), 40, workers),
    ):
        pass
    assert str(error.value) == (
        "layer dense_1 = Dense(5): params['weight'] is not the trained array, but one that replaced it: change it in "
        "place, params['weight'][...] = new"
    )
    model = network()
    model.layers[0].params["weight"] += 1
    model.engine().parameters.require_in_place()


class Reparametrised(Layer):
    """Puts another array among its parameters while it works."""

    def build(self, in_shape: Shape, rng: np.random.Generator) -> Shape:
        self.params = {"scale": np.ones(in_shape)}
        return in_shape

    def forward(self, x: Array, ctx: Context) -> tuple[Array, Cache]:
        if ctx.training:
            self.params["scale"] = np.abs(self.params["scale"])
        return x * self.params["scale"], x

    def backward(self, dy: Array, x: Array, ctx: Context) -> tuple[Array, Grads]:
        return dy * self.params["scale"], {"scale": (dy * x).sum(axis=0)}


@pytest.mark.parametrize("workers", [1, 2])
def test_so_are_those_that_a_layer_replaces_itself(workers: int) -> None:
    with pytest.raises(ComponentError, match=r"layer reparametrised_1 = Reparametrised\(\): params\['scale'\] is not"):
        train(layers=[Reparametrised()], workers=workers)


class Coupled(BatchCoupledLayer):
    """A coupled layer whose partials are of the shapes that it is told."""

    def __init__(self, partial: Callable[[Array], Any], absorb: Callable[[Array], None] = lambda total: None) -> None:
        self.make, self.take = partial, absorb

    def __repr__(self) -> str:
        return "Coupled()"

    def partial(self, x: Array, ctx: Context) -> Any:
        return self.make(x)

    def absorb(self, total: Array) -> None:
        self.take(total)

    def forward(self, x: Array, ctx: Context) -> tuple[Array, Cache]:
        return x, None

    def backward_partial(self, dy: Array, cache: Cache, ctx: Context) -> Any:
        return self.make(dy)

    def backward(self, dy: Array, cache: Cache, ctx: Context) -> tuple[Array, Grads]:
        return dy, {}


class Zero(GradientMethod):
    """Finds a gradient of zeros, after one look at the loss."""

    def gradient(self, loss: Callable[[Array], float], params: Array, rng: np.random.Generator) -> Array:
        loss(params + 1)
        return np.zeros_like(params)


@pytest.mark.parametrize(("workers", "method"), [(1, None), (2, None), (1, Zero())])
@pytest.mark.parametrize(
    "partial", [lambda x: x.sum(axis=1), lambda x: np.zeros(1 if len(x) < 16 else 2), lambda x: None]
)
def test_partials_have_one_shape(partial: Callable[[Array], Any], workers: int, method: GradientMethod | None) -> None:
    with pytest.raises(ShapeError, match=r"^a partial must be an array of one shape for every tile") as error:
        train(layers=[Coupled(partial)], workers=workers, method=method)
    assert error.value.__notes__[0].startswith("in the forward pass of layer coupled_1 = Coupled()")


class Halved(Merge):
    """A merge that forgets one of its branches on the way back."""

    def __init__(self) -> None:
        self.branches = [[], []]

    def merge_shape(self, in_shapes: Sequence[Shape]) -> Shape:
        return in_shapes[0]

    def forward(self, xs: Sequence[Array], ctx: Context) -> tuple[Array, Cache]:
        return xs[0] + xs[1], None

    def backward(self, dy: Array, cache: Cache, ctx: Context) -> Sequence[Array]:
        return [dy]


def test_a_merge_gives_each_branch_its_gradient() -> None:
    with pytest.raises(ShapeError, match=r"^backward must return the gradient of each branch, of shapes \[\(16, 6\)"):
        train(layers=[Halved()])
