"""Optimizers: whole trajectories equal PyTorch's or the paper's, slices equal the whole, and arguments are checked.

Most of it is made from the examples that each class gives.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterator
from typing import Any, cast

import numpy as np
import pytest

from cnnkit.components import Optimizer, installed_catalog
from cnnkit.errors import ConfigError
from cnnkit.optimizers import OPTIMIZERS, SGD, Adam, AdamW, Lion
from cnnkit.types import Array, Example

SIZE, STEPS = 40, 200
EXAMPLES = [(cls, example) for cls in OPTIMIZERS for example in cls.examples]
CASES = [example.expression for _, example in EXAMPLES]


def made(expression: str) -> Optimizer:
    return cast(Optimizer, installed_catalog().build("optimizer", expression))


def gradient(params: Array, noise: Array) -> Array:
    """Of a bowl with curvatures from 0.1 to 10, and noise on it."""
    return np.asarray(np.geomspace(0.1, 10, len(params)).astype(params.dtype) * params + noise)


def random_problem(dtype: Any = np.float32) -> tuple[Array, Array]:
    rng = np.random.default_rng(0)
    return rng.standard_normal(SIZE).astype(dtype), rng.standard_normal((STEPS, SIZE)).astype(dtype)


def rate(lr: float, step: int) -> float:
    """A rate that changes, as a schedule would make it."""
    return lr * (1 - step / (2 * STEPS))


def trajectory(optimizer: Optimizer, dtype: Any = np.float32, parts: int = 1) -> Array:
    """The parameters after each step; each step is done on `parts` slices of the vectors."""
    params, noise = random_problem(dtype)
    state = {name: np.zeros_like(params) for name in optimizer.slots()}
    bounds = np.linspace(0, SIZE, parts + 1).astype(int)
    path = []
    for step in range(1, STEPS + 1):
        grads = gradient(params, noise[step - 1])
        for start, stop in itertools.pairwise(bounds):
            part = slice(start, stop)
            slots = {name: vector[part] for name, vector in state.items()}
            optimizer.update(params[part], grads[part], slots, rate(optimizer.lr, step), step)
        path.append(params.copy())
    assert params.dtype == dtype
    return np.array(path)


def lion(optimizer: Lion) -> Iterator[Array]:
    """Algorithm 2 of Chen et al. (2023), as it stands there."""
    theta, noise = random_problem(np.float64)
    m = np.zeros_like(theta)
    for step in range(1, STEPS + 1):
        g = gradient(theta, noise[step - 1])
        c = optimizer.beta1 * m + (1 - optimizer.beta1) * g
        theta = theta - rate(optimizer.lr, step) * (np.sign(c) + optimizer.weight_decay * theta)
        m = optimizer.beta2 * m + (1 - optimizer.beta2) * g
        yield theta


PAPERS: dict[type[Optimizer], Callable[[Any], Iterator[Array]]] = {Lion: lion}
"""Plain loops for those that PyTorch does not have."""


def of_pytorch(cls: type[Optimizer], optimizer: Optimizer, arguments: str, dtype: Any) -> Iterator[Array]:
    torch = pytest.importorskip("torch", reason="torch==2.13.0 is not installed")
    start, noise = random_problem(dtype)
    params = torch.tensor(start, requires_grad=True)
    theirs = eval(f"{cls.twin}([params], {arguments})", {"torch": torch, "params": params})
    for step in range(1, STEPS + 1):
        params.grad = torch.tensor(gradient(params.detach().numpy(), noise[step - 1]))
        theirs.param_groups[0]["lr"] = rate(optimizer.lr, step)
        theirs.step()
        yield params.detach().numpy().copy()


@pytest.mark.parametrize(("cls", "example"), EXAMPLES, ids=CASES)
def test_two_hundred_steps_equal_those_of_pytorch_or_of_the_paper(cls: type[Optimizer], example: Example) -> None:
    optimizer = made(example.expression)
    if cls.twin:
        assert example.twin is not None, f"{example.expression} has no arguments for {cls.twin}"
        for dtype, tolerance in ((np.float64, 1e-9), (np.float32, 1e-5)):
            theirs = np.array(list(of_pytorch(cls, optimizer, example.twin, dtype)))
            ours = trajectory(optimizer, dtype)
            assert np.abs(ours[-1] - ours[0]).max() > 0.1
            assert np.abs(ours - theirs).max() <= tolerance * np.abs(theirs).max(), dtype
        return
    theirs = np.array(list(PAPERS[cls](optimizer)))
    ours = trajectory(optimizer, np.float64)
    assert np.abs(ours[-1] - ours[0]).max() > 0.1
    np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-9)


@pytest.mark.parametrize("expression", CASES)
def test_updating_slices_equals_updating_the_whole(expression: str) -> None:
    np.testing.assert_array_equal(trajectory(made(expression), parts=7), trajectory(made(expression)))


@pytest.mark.parametrize("cls", OPTIMIZERS)
def test_each_says_all_of_itself(cls: type[Optimizer]) -> None:
    assert len(cls.examples) >= 2
    assert cls.twin or cls in PAPERS
    assert "Source: " in (cls.__doc__ or "")
    assert repr(cls()) == f"{cls.__name__}()"


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
    assert moved(Lion(), 0.001) == pytest.approx(-0.1)


def test_slots_are_only_what_is_needed() -> None:
    found = {expression: made(expression).slots() for expression in ("SGD()", "SGD(momentum=0.9)", "Adam()", "Lion()")}
    assert list(found.values()) == [(), ("velocity",), ("mean", "square"), ("mean",)]
    assert made("Adam(amsgrad=True)").slots() == ("mean", "square", "largest")
    assert made("RMSprop()").slots() == ("square",)
    assert made("RMSprop(momentum=0.9, centered=True)").slots() == ("square", "mean", "velocity")


def test_a_centered_root_is_a_number_where_rounding_makes_the_variance_negative() -> None:
    optimizer = made("RMSprop(centered=True, alpha=0.5)")
    params = np.zeros(1000, np.float32)
    state = {name: np.zeros(1000, np.float32) for name in optimizer.slots()}
    slopes = np.random.default_rng(0).normal(size=1000).astype(np.float32)
    for step in range(1, 100):
        optimizer.update(params, slopes.copy(), state, 1e-9, step)
    assert (state["square"] < state["mean"] ** 2).any()
    assert np.isfinite(params).all()


def test_nesterov_adam_is_itself_after_many_steps() -> None:
    """The product of its momenta is worked out from few of them, however late it is."""
    optimizer = cast(Any, made("NAdam(beta1=0.9)"))
    whole = float(np.prod(optimizer._momenta(np.arange(1, 601, dtype=np.float64))))
    assert optimizer._product(600) == pytest.approx(whole, abs=1e-17)
    assert 0 < optimizer._product(10**12) < 1e-17
    assert made("NAdam(beta1=0.0)")._product(5) == 0  # type: ignore[attr-defined]


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
        (lambda: Adam(amsgrad=cast(Any, 0)), "amsgrad must be True or False, got 0"),
    ],
)
def test_arguments_are_checked(make: Callable[[], Optimizer], message: str) -> None:
    with pytest.raises(ConfigError, match=f"^{re.escape(message)}$"):
        make()


WRONG: dict[str, tuple[Any, ...]] = {
    "lr": (0, -1.0, "fast", float("nan"), float("inf"), True, None),
    **dict.fromkeys(("beta1", "beta2", "rho", "alpha", "momentum"), (-0.1, 1.0, "much", None)),
    "epsilon": (0.0, -1.0, None),
    **dict.fromkeys(("weight_decay", "lr_decay", "initial_accumulator_value", "momentum_decay"), (-1, "0.1", None)),
    **dict.fromkeys(("nesterov", "amsgrad", "centered", "decoupled_weight_decay"), (1, "yes", None)),
}
"""What no optimizer takes, by the name of the argument."""


@pytest.mark.parametrize("cls", OPTIMIZERS)
def test_each_wrong_argument_is_named(cls: type[Optimizer]) -> None:
    names = cls.__init__.__code__.co_varnames[1 : cls.__init__.__code__.co_argcount]
    assert names
    for name in names:
        for value in WRONG[name]:
            with pytest.raises(ConfigError, match=f"^{name} must be .*got {re.escape(repr(value))}$"):
                cls(**{name: value})


def test_the_expression_is_kept() -> None:
    assert repr(AdamW(0.01, weight_decay=0.1)) == "AdamW(lr=0.01, weight_decay=0.1)"
