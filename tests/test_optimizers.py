"""Optimizers: whole trajectories equal PyTorch's, slices equal the whole, and arguments are checked."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable
from typing import Any, cast

import numpy as np
import pytest

from cnnkit.components import Optimizer
from cnnkit.errors import ConfigError
from cnnkit.optimizers import OPTIMIZERS, SGD, Adam, AdamW
from cnnkit.types import Array

SIZE, STEPS = 40, 100
CASES = [
    SGD(0.05),
    SGD(0.05, weight_decay=0.01),
    SGD(0.02, momentum=0.9),
    SGD(0.02, momentum=0.9, weight_decay=0.01),
    SGD(0.02, momentum=0.9, nesterov=True),
    SGD(0.02, momentum=0.9, nesterov=True, weight_decay=0.01),
    Adam(0.01),
    Adam(0.01, beta1=0.8, beta2=0.99, epsilon=1e-3),
    Adam(0.01, beta1=0.0),
    Adam(0.01, weight_decay=0.1),
    AdamW(0.01),
    AdamW(0.01, weight_decay=0.3),
]


def gradient(params: Array, noise: Array) -> Array:
    """Of a bowl with curvatures from 0.1 to 10, and noise on it."""
    curvature = np.geomspace(0.1, 10, len(params)).astype(np.float32)
    return (curvature * params + noise).astype(np.float32)


def random_problem() -> tuple[Array, Array]:
    rng = np.random.default_rng(0)
    return rng.standard_normal(SIZE).astype(np.float32), rng.standard_normal((STEPS, SIZE)).astype(np.float32)


def rate(optimizer: Optimizer, step: int) -> float:
    """A rate that changes, as a schedule would make it."""
    return optimizer.lr * (1 - step / (2 * STEPS))


def trajectory(optimizer: Optimizer, parts: int = 1) -> Array:
    """The parameters after each step; each step is done on `parts` slices of the vectors."""
    params, noise = random_problem()
    state = {name: np.zeros_like(params) for name in optimizer.slots()}
    bounds = np.linspace(0, SIZE, parts + 1).astype(int)
    path = []
    for step in range(1, STEPS + 1):
        grads = gradient(params, noise[step - 1])
        for start, stop in itertools.pairwise(bounds):
            part = slice(start, stop)
            slots = {name: vector[part] for name, vector in state.items()}
            optimizer.update(params[part], grads[part], slots, rate(optimizer, step), step)
        path.append(params.copy())
    assert params.dtype == np.float32
    return np.array(path)


def torch_optimizer(torch: Any, ours: Optimizer, params: Any) -> Any:
    match ours:
        case SGD():
            return torch.optim.SGD(
                [params], ours.lr, momentum=ours.momentum, nesterov=ours.nesterov, weight_decay=ours.weight_decay
            )
        case Adam():
            make = torch.optim.AdamW if isinstance(ours, AdamW) else torch.optim.Adam
            betas = (ours.beta1, ours.beta2)
            return make([params], ours.lr, betas=betas, eps=ours.epsilon, weight_decay=ours.weight_decay)
    raise NotImplementedError(repr(ours))


@pytest.mark.parametrize("optimizer", CASES, ids=repr)
def test_a_hundred_steps_equal_pytorch(optimizer: Optimizer) -> None:
    torch = pytest.importorskip("torch", reason="torch==2.13.0 is not installed")
    start, noise = random_problem()
    params = torch.tensor(start, requires_grad=True)
    theirs = torch_optimizer(torch, optimizer, params)
    path = []
    for step in range(1, STEPS + 1):
        params.grad = torch.tensor(gradient(params.detach().numpy(), noise[step - 1]))
        theirs.param_groups[0]["lr"] = rate(optimizer, step)
        theirs.step()
        path.append(params.detach().numpy().copy())
    ours = trajectory(optimizer)
    assert np.abs(ours[-1] - ours[0]).max() > 0.1
    np.testing.assert_allclose(ours, np.array(path), rtol=0, atol=1e-5)


@pytest.mark.parametrize("optimizer", CASES, ids=repr)
def test_updating_slices_equals_updating_the_whole(optimizer: Optimizer) -> None:
    np.testing.assert_array_equal(trajectory(optimizer, parts=7), trajectory(optimizer))


@pytest.mark.parametrize("optimizer", CASES, ids=repr)
def test_float64_is_kept(optimizer: Optimizer) -> None:
    params, grads = np.ones(3), np.full(3, 0.5)
    state = {name: np.zeros(3) for name in optimizer.slots()}
    optimizer.update(params, grads, state, 0.1, 1)
    single = np.ones(3, np.float32)
    slots = {name: np.zeros(3, np.float32) for name in optimizer.slots()}
    optimizer.update(single, np.full(3, 0.5, np.float32), slots, 0.1, 1)
    np.testing.assert_allclose(single, params, rtol=1e-6)
    assert params.dtype == np.float64


def test_the_first_steps_by_hand() -> None:
    def moved(optimizer: Optimizer, *gradients: float) -> float:
        params = np.zeros(1)
        state = {name: np.zeros(1) for name in optimizer.slots()}
        for step, g in enumerate(gradients, start=1):
            optimizer.update(params, np.array([g]), state, 0.1, step)
        return float(params[0])

    assert moved(SGD(), 2.0) == pytest.approx(-0.2)
    assert moved(SGD(momentum=0.5), 2.0, 2.0) == pytest.approx(-0.2 - 0.1 * (0.5 * 2 + 2))
    assert moved(SGD(momentum=0.5, nesterov=True), 2.0) == pytest.approx(-0.1 * (2 + 0.5 * 2))
    assert moved(Adam(), 2.0) == pytest.approx(-0.1, abs=1e-8)  # the first step of Adam has the length lr
    assert moved(AdamW(), 0.001) == pytest.approx(-0.1, abs=1e-5)


def test_slots_are_only_what_is_needed() -> None:
    assert SGD().slots() == ()
    assert SGD(momentum=0.9).slots() == ("velocity",)
    assert Adam().slots() == AdamW().slots() == ("mean", "square")


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: SGD(0.0), "lr must be a number above 0, got 0.0"),
        (lambda: SGD(momentum=1.0), "momentum must be a number with 0 <= momentum < 1, got 1.0"),
        (lambda: SGD(weight_decay=-1), "weight_decay must be a number, 0 or above, got -1"),
        (lambda: SGD(momentum=0.9, nesterov=cast(Any, 1)), "nesterov must be True or False, got 1"),
        (lambda: SGD(nesterov=True), "nesterov=True needs momentum above 0, got momentum=0.0; try momentum=0.9"),
        (lambda: Adam(cast(Any, "fast")), "lr must be a number above 0, got 'fast'"),
        (lambda: Adam(beta1=1.0), "beta1 must be a number with 0 <= beta1 < 1, got 1.0"),
        (lambda: AdamW(beta2=-0.1), "beta2 must be a number with 0 <= beta2 < 1, got -0.1"),
        (lambda: Adam(epsilon=0.0), "epsilon must be a number above 0, got 0.0"),
    ],
)
def test_arguments_are_checked(make: Callable[[], Optimizer], message: str) -> None:
    with pytest.raises(ConfigError, match=f"^{re.escape(message)}$"):
        make()


def test_the_expression_is_kept() -> None:
    assert [repr(make()) for make in OPTIMIZERS] == ["SGD()", "Adam()", "AdamW()"]
    assert repr(AdamW(0.01, weight_decay=0.1)) == "AdamW(lr=0.01, weight_decay=0.1)"
