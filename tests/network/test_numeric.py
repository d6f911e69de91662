"""Gradients without backpropagation: they are right, see the same batch each time, and compute nothing twice."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from cnnkit.augmentations import Shift
from cnnkit.components import Augmentation, GradientMethod, Layer
from cnnkit.errors import ShapeError
from cnnkit.layers import Conv2D, Dense, Flatten, MaxPool2D, ReLU
from cnnkit.losses import CrossEntropy
from cnnkit.metrics import Accuracy
from cnnkit.network import Augmented, Engine, Forecast, Objective, Sequential, Session, Sums
from cnnkit.network.execution.numeric import NumericSession
from cnnkit.optimizers import Adam
from cnnkit.types import Array, Cache, Context, Grads, Preprocessing, Samples

OBJECTIVE = Objective(CrossEntropy(), (Accuracy(),))
COUNT = 40
KEY = (7, 0, 3)

Loss = Callable[[Array], float]


class Differences(GradientMethod):
    """A central difference for each parameter, or a forward one."""

    def __init__(self, h: float = 1e-6, central: bool = True) -> None:
        self.h, self.central = h, central

    def gradient(self, loss: Loss, params: Array, rng: np.random.Generator) -> Array:
        back = self.h if self.central else 0.0
        moves = np.eye(len(params))
        values = [loss(params + self.h * move) - loss(params - back * move) for move in moves]
        return np.array(values) / (self.h + back)


class Asks(GradientMethod):
    """Hands the loss and the parameters to a function, and answers zeros."""

    def __init__(self, look: Callable[[Loss, Array], object]) -> None:
        self.look = look

    def gradient(self, loss: Loss, params: Array, rng: np.random.Generator) -> Array:
        self.look(loss, params.copy())
        return np.zeros(len(params))


def images(channels: int = 1, size: int = 8) -> Samples:
    """Like MNIST: uint8, most of them background."""
    rng = np.random.default_rng(1)
    x = rng.integers(0, 256, (COUNT, channels, size, size)) * (rng.uniform(size=(COUNT, channels, size, size)) < 0.4)
    return Samples(x.astype(np.uint8), rng.integers(0, 5, COUNT))


def network(layers: list[Layer | str], samples: Samples, dtype: str = "float64") -> Sequential:
    preprocessing = Preprocessing(1 / 255, (0.13,), (0.31,))
    shape = samples.x.shape[1:]
    return Sequential(layers, shape, preprocessing=preprocessing, input_dtype="uint8", seed=3, dtype=dtype)  # type: ignore[arg-type]  # options of any type


def plain(conv: Layer | None = None) -> list[Layer | str]:
    return [conv or Conv2D(3, 3, padding=1), ReLU(), MaxPool2D(2), Flatten(), Dense(5)]


BRANCHED: list[Layer | str] = [
    'Conv2D(3, 3, padding="same")',
    "BatchNorm2D()",
    'Residual(Conv2D(3, 3, padding="same"), BatchNorm2D(), ReLU())',
    "Concat([Conv2D(2, 1), ReLU()], [])",
    "MaxPool2D(2)",
    "Dropout(0.3)",
    "Flatten()",
    "Dense(5)",
    "Softmax()",
]


def numeric(model: Sequential, samples: Samples, method: GradientMethod) -> tuple[Sums, Array]:
    session = NumericSession(model.engine(logits=True), samples, OBJECTIVE, Adam(), COUNT, method)
    return session.step(np.arange(COUNT), KEY), session.gradient


def backpropagated(model: Sequential, samples: Samples) -> tuple[Sums, Array]:
    session = Session(model.engine(logits=True), samples, OBJECTIVE, Adam(), COUNT)
    return session.step(np.arange(COUNT), KEY), session.gradient


def error(model: Sequential, samples: Samples, method: GradientMethod) -> float:
    """The largest difference of the two gradients, relative to the largest number."""
    _, expected = backpropagated(model, samples)
    _, found = numeric(model, samples, method)
    return float(np.abs(found - expected).max() / np.abs(expected).max())


@pytest.fixture(params=[8, 64], ids=["five tiles", "one tile"])
def tiles(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setattr(Engine, "tile_for", lambda engine, batch_size: request.param)
    return int(request.param)


@pytest.mark.usefixtures("tiles")
@pytest.mark.parametrize(("layers", "channels"), [(plain(), 1), (BRANCHED, 2)], ids=["plain", "branched"])
def test_backpropagation_and_differences_agree(layers: list[Layer | str], channels: int) -> None:
    samples = images(channels)
    model = network(list(map(repr, layers)) if layers is not BRANCHED else layers, samples)
    assert error(model, samples, Differences()) < 1e-6


def test_the_error_of_the_forward_scheme_halves_with_h() -> None:
    samples = images()
    model = network(plain(), samples)
    errors = [error(model, samples, Differences(h, central=False)) for h in (4e-6, 2e-6, 1e-6)]
    assert errors[0] / errors[1] == pytest.approx(2, rel=0.05)
    assert errors[1] / errors[2] == pytest.approx(2, rel=0.05)
    assert errors[2] > 100 * error(model, samples, Differences(1e-6))


class WrongConv(Conv2D):
    """Forgets 0.05 % of one gradient."""

    def backward(self, dy: Array, patches: Cache, ctx: Context) -> tuple[Array, Grads]:
        dx, grads = super().backward(dy, patches, ctx)
        grads["weight"][0, 0, 0, 0] *= 0.9995
        return dx, grads


def test_positive_control_a_wrong_gradient_is_noticed() -> None:
    samples = images()
    assert error(network(plain(WrongConv(3, 3, padding=1)), samples), samples, Differences()) > 1e-6


@pytest.mark.usefixtures("tiles")
def test_sums_gradient_and_statistics_are_those_of_backpropagation_in_float32() -> None:
    samples = images(2)
    one, other = network(BRANCHED, samples, "float32"), network(BRANCHED, samples, "float32")
    sums, gradient = numeric(one, samples, Differences(1e-5))
    expected_sums, expected = backpropagated(other, samples)
    assert gradient.dtype == np.float32
    np.testing.assert_allclose(gradient, expected, rtol=1e-4, atol=1e-5 * np.abs(expected).max())
    assert sums.count == COUNT
    assert sums.loss == pytest.approx(expected_sums.loss)
    np.testing.assert_array_equal(sums.metrics[0], expected_sums.metrics[0])
    moved = {name: array for name, array in one.state().items() if "running" in name}
    assert len(moved) == 4
    for name, array in moved.items():
        np.testing.assert_allclose(array, other.state()[name], rtol=1e-5, atol=1e-6)
        assert not np.array_equal(array, network(BRANCHED, samples, "float32").state()[name])


@pytest.mark.usefixtures("tiles")
def test_an_evaluation_depends_on_its_parameters_alone() -> None:
    """Whatever was evaluated before, and from whatever layer on: as a whole evaluation with these parameters."""
    samples = images(2)
    model = network(BRANCHED, samples)
    start = model.parameters.vector.copy()

    def look(loss: Loss, params: Array) -> None:
        here = loss(params)
        for entry in model.parameters:
            moved = params.copy()
            moved[entry.start] += 0.01
            found[entry.start] = loss(moved)
            assert loss(moved) == found[entry.start]
        assert loss(params) == here

    found: dict[int, float] = {}
    numeric(model, samples, Asks(look))
    assert len(set(found.values())) > 6  # a bias before a batch normalisation changes nothing
    for at, value in found.items():
        model.parameters.vector[...] = start
        model.parameters.vector[at] += 0.01
        sums, _ = numeric(model, samples, Asks(lambda loss, params: None))
        assert sums.loss / COUNT == value


class Counts(Layer):
    """Passes its input on, and counts."""

    calls: list[int] = []  # noqa: RUF012 - shared with the copy of the network

    def forward(self, x: Array, ctx: Context) -> tuple[Array, Cache]:
        self.calls.append(len(x))
        return x, None


def test_what_comes_before_the_first_change_is_not_computed_again() -> None:
    samples = images()
    model = network(["Conv2D(2, 3)", Counts(), "Flatten()", "Dense(5)"], samples)
    weights = model.parameters.entries[2].start

    def look(loss: Loss, params: Array) -> None:
        Counts.calls.clear()
        for at, calls in ((weights, 0), (len(params) - 1, 0), (0, 2), (weights - 1, 4)):  # two tiles
            moved = params.copy()
            moved[at] += 1
            loss(moved)
            assert len(Counts.calls) == calls
        checked.append(True)

    checked: list[bool] = []
    numeric(model, samples, Asks(look))
    assert checked


@pytest.mark.parametrize("augmentation", [Shift(2)], ids=repr)
def test_augmented_samples(augmentation: Augmentation) -> None:
    plain_samples = images()
    samples = Augmented(plain_samples.x, plain_samples.y, [augmentation], 5)
    model = network(plain(), samples)
    assert error(model, samples, Differences()) < 1e-6
    assert numeric(model, samples, Differences())[0].loss != numeric(model, plain_samples, Differences())[0].loss


def test_random_numbers_are_those_of_the_step() -> None:
    class Random(GradientMethod):
        """Nothing but noise."""

        def gradient(self, loss: Loss, params: Array, rng: np.random.Generator) -> Array:
            return rng.normal(size=len(params))

    samples = images()
    session = NumericSession(network(plain(), samples).engine(), samples, OBJECTIVE, Adam(), COUNT, Random())

    def drawn(step: int) -> bytes:
        session.step(np.arange(COUNT), (0, 0, step))
        return session.gradient.tobytes()

    assert drawn(0) == drawn(0) != drawn(1)


@pytest.mark.parametrize(
    ("wrong", "given"),
    [(np.zeros(3), r"\(3,\) of float64"), (1.0, r"\(\) of float64"), (None, r"\(\) of object")],
    ids=["shape", "number", "nothing"],
)
def test_a_method_that_gives_something_else_is_told(wrong: object, given: str) -> None:
    class Wrong(GradientMethod):
        """Gives what it should not."""

        def gradient(self, loss: Loss, params: Array, rng: np.random.Generator) -> Array:
            return wrong  # type: ignore[return-value]  # wrong on purpose

    samples = images()
    with pytest.raises(
        ShapeError,
        match=rf"^Wrong\(\) must return a gradient of shape \(275,\), .*; it returned {given}$",
    ):
        numeric(network(plain(), samples), samples, Wrong())


def test_a_method_that_asks_for_something_else_is_told() -> None:
    samples = images()
    with pytest.raises(
        ShapeError, match=r"^the loss expects parameters of shape \(275,\), got \(274,\)\nin the gradient method"
    ):
        numeric(network(plain(), samples), samples, Asks(lambda loss, params: loss(params[1:])))


def test_a_method_that_lacks_its_gradient_is_named() -> None:
    class Empty(GradientMethod):
        """Nothing at all."""

    with pytest.raises(NotImplementedError, match="Empty has no gradient"):
        numeric(network(plain(), images()), images(), Empty())


def test_the_forecast_is_what_is_taken() -> None:
    samples = images(2, 32)
    model = network(["Conv2D(8, 3, padding=1)", "BatchNorm2D()", "ReLU()", *plain()], samples, "float32")
    engine = model.engine()
    footprint = Forecast(engine, samples, OBJECTIVE, Adam(), COUNT, 8, numeric=True).footprint()
    assert footprint.processes == 0

    def look(loss: Loss, params: Array) -> None:
        for at in (0, len(params) - 1):
            moved = params.copy()
            moved[at] += 1
            loss(moved)
            loss(moved)

    session = NumericSession(engine, samples, OBJECTIVE, Adam(), COUNT, Asks(look))
    for _ in range(3):
        session.step(np.arange(COUNT), KEY)
    taken = sum(place.memory.nbytes for place in session._places.values())
    assert taken > 2**20
    assert taken <= footprint.workspaces < 2 * taken
