"""What happens to a gradient before the optimizer has it: clipping of three kinds, and accumulation over batches."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from cnnkit import Run, Sequential, Trainer
from cnnkit.components import Layer
from cnnkit.errors import ConfigError, TrainingError
from cnnkit.network import Session
from cnnkit.training.checkpoint import Checkpoints
from cnnkit.training.range_test import range_test
from cnnkit.training.steps import accumulated, clipped, updates
from cnnkit.training.training_plan import plan_of
from cnnkit.types import Array, Cache, Context, Data, Grads, Samples
from tests.training.test_checkpoint import InMemory, StopsAfter

RNG = np.random.default_rng(0)
X = RNG.standard_normal((250, 1, 6, 6), np.float32)
Y = RNG.integers(0, 3, 250)
LAYERS = ["Conv2D(4, 3, padding=1)", "ReLU()", "Conv2D(2, 3)", "Flatten()", "Dense(3)"]
COUPLED = ["Conv2D(4, 3, padding=1)", "BatchNorm2D()", "ReLU()", "Dropout(0.2)", "Flatten()", "Dense(3)"]


def fit(layers: list[str] = LAYERS, **options: Any) -> Run:
    given: dict[str, Any] = {"epochs": 2, "batch_size": 50, "workers": 1, "progress": False} | options
    return Trainer(**given).fit(Sequential(layers, (1, 6, 6)), (X, Y))


def same(one: dict[str, Array], other: dict[str, Array]) -> bool:
    return all(array.tobytes() == other[name].tobytes() for name, array in one.items())


def gradients(session: Session) -> list[Array]:
    """Of each layer with parameters, those of its parameters."""
    parameters = session.engine.parameters
    nodes = dict.fromkeys(entry.node for entry in parameters)
    return [session.gradient[slice(parameters.of_node(n)[0].start, parameters.of_node(n)[-1].stop)] for n in nodes]


@pytest.mark.parametrize(
    ("options", "theirs"),
    [
        ({"clip_value": 0.01}, "clip_grad_value_(everything, 0.01)"),
        ({"clip_value": 1e300}, "clip_grad_value_(everything, 1e9)"),
        ({"clip_norm": 0.05}, "clip_grad_norm_(everything, 0.05)"),
        ({"clip_layer_norm": 0.05}, "[clip_grad_norm_([one], 0.05) for one in everything]"),
        ({"clip_layer_norm": 1e9}, "[clip_grad_norm_([one], 1e9) for one in everything]"),
    ],
)
def test_gradients_are_clipped_as_in_pytorch(options: dict[str, Any], theirs: str) -> None:
    torch = pytest.importorskip("torch", reason="torch==2.13.0 is not installed")
    trainer = Trainer(batch_size=50, workers=1, progress=False, **options)
    with trainer.session(Sequential(LAYERS, (1, 6, 6)), Samples(X, Y)) as session:
        session.step(np.arange(50), (0, 0, 0))
        everything = []
        for gradient in gradients(session):
            everything.append(torch.zeros(len(gradient), requires_grad=True))
            everything[-1].grad = torch.tensor(gradient.copy())
        eval(theirs, vars(torch.nn.utils), {"everything": everything})
        before = session.norm()
        scale, norm = clipped(session, before, trainer)
        for ours, expected in zip(gradients(session), everything, strict=True):
            np.testing.assert_allclose(ours * scale, expected.grad.numpy(), rtol=1e-5, atol=1e-9)
        assert norm == pytest.approx(scale * np.linalg.norm(session.gradient), rel=1e-5)
        assert (norm < 0.9 * before) == ("1e9" not in theirs)


def test_what_is_accumulated_is_the_gradient_of_all_samples_together() -> None:
    trainer = Trainer(batch_size=50, workers=1, progress=False)
    batches = [np.arange(0, 50), np.arange(50, 90), np.arange(90, 100)]
    with trainer.session(Sequential(LAYERS, (1, 6, 6)), Samples(X, Y)) as session:
        sums, norm = accumulated(session, batches, (0, 0, 0))
        ours = session.gradient.copy()
    whole = Trainer(batch_size=100, workers=1, progress=False)
    with whole.session(Sequential(LAYERS, (1, 6, 6)), Samples(X, Y)) as session:
        expected = session.step(np.arange(100), (0, 0, 0))
        np.testing.assert_allclose(ours, session.gradient, rtol=1e-4, atol=1e-7)
        assert norm == pytest.approx(session.norm(), rel=1e-5)
    assert sums.count == expected.count
    assert sums.loss == pytest.approx(expected.loss)


def test_an_accumulated_training_is_that_of_the_larger_batch() -> None:
    several, one = fit(accumulate=2, optimizer="SGD(0.1)"), fit(batch_size=100, optimizer="SGD(0.1)")
    np.testing.assert_allclose(several.history["loss"], one.history["loss"], rtol=1e-5)
    for name, array in one.model.state().items():
        np.testing.assert_allclose(several.model.state()[name], array, rtol=1e-4, atol=1e-5)
    sizes = [[len(batch) for batch in step] for step in updates(Trainer(batch_size=50, accumulate=2), 0, Y)]
    assert sizes == [[50, 50], [50, 50], [50]]


CASES: list[dict[str, Any]] = [
    {"accumulate": 3},
    {"accumulate": 2, "clip_value": 0.01},
    {"clip_layer_norm": 0.1, "optimizer": "SGD(0.1, momentum=0.9, weight_decay=0.1)", "decay": "weights"},
]


@pytest.mark.parametrize("options", CASES, ids=str)
def test_the_number_of_workers_changes_nothing(options: dict[str, Any]) -> None:
    states = [fit(COUPLED, batch_size=100, workers=workers, **options).model.state() for workers in (1, 2, 3)]
    assert same(states[0], states[1])
    assert same(states[0], states[2])
    plain = {"optimizer": options.get("optimizer", "Adam(0.001)")}
    assert not same(states[0], fit(COUPLED, batch_size=100, **plain).model.state())


@pytest.mark.parametrize("options", CASES, ids=str)
def test_a_resumed_training_has_the_same_bits(options: dict[str, Any]) -> None:
    settings: dict[str, Any] = {"epochs": 2, "batch_size": 50, "workers": 1, **options}
    whole = fit(COUPLED, **options).model.state()
    store, progress = InMemory(), StopsAfter(3)
    model = Sequential(COUPLED, (1, 6, 6))
    stopped = Trainer(**settings, progress=progress).fit(
        model, (X, Y), stop=progress.request, checkpoints=Checkpoints(store)
    )
    assert stopped.reason == "stopped by the user"
    model = Sequential(COUPLED, (1, 6, 6))
    Trainer(**settings, progress=False).fit(model, (X, Y), checkpoints=Checkpoints(store, resume=True))
    assert same(whole, model.state())


def test_one_limit_is_enough() -> None:
    with pytest.raises(ConfigError) as caught:
        fit(clip_norm=1.0, clip_value=0.1)
    assert str(caught.value) == (
        "expected one limit of the gradient at most, got clip_norm and clip_value: leave one of them"
    )


class Cubed(Layer):
    """x^3 forward, and the identity backward."""

    def forward(self, x: Array, ctx: Context) -> tuple[Array, Cache]:
        return x**3, None

    def backward(self, dy: Array, cache: Cache, ctx: Context) -> tuple[Array, Grads]:
        return dy, {}


def test_a_batch_that_is_not_finite_is_named_among_those_of_its_step() -> None:
    x = X.copy()
    x[7] = 1e30
    trainer = Trainer(epochs=1, batch_size=50, accumulate=5, workers=1, progress=False)
    with pytest.raises(TrainingError, match=r"(?s)epoch 1, step 1: .*for the training sample 7\."):
        trainer.fit(Sequential([Cubed(), "Flatten()", "Dense(3)"], (1, 6, 6)), (x, Y))


def test_plans_and_trials_count_updates() -> None:
    data = Data(Samples(X, Y), Samples(X[:10], Y[:10]))
    trainer = Trainer(batch_size=50, accumulate=2, workers=1, progress=False)
    found = range_test(trainer, Sequential(LAYERS, (1, 6, 6)), data, steps=12)
    one = range_test(Trainer(batch_size=100, workers=1, progress=False), Sequential(LAYERS, (1, 6, 6)), data, steps=12)
    np.testing.assert_allclose(found.losses, one.losses, rtol=1e-4)
    assert plan_of(trainer, Sequential(LAYERS, (1, 6, 6)), data).steps_in_an_epoch == 3
