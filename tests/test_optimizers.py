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
from cnnkit.optimizers import LAMB, LARS, LBFGS, OPTIMIZERS, SGD, Adam, AdamW, Lion, Lookahead, Muon, RMSprop
from cnnkit.types import Array, Example

SIZE, STEPS = 40, 200
PARAMETERS: list[tuple[slice, tuple[int, ...]]] = [(slice(0, 30), (6, 5)), (slice(30, 40), (10,))]
"""A matrix and a vector, for optimizers that look at whole parameters."""
EXAMPLES = [(cls, example) for cls in OPTIMIZERS for example in cls.examples]
CASES = [example.expression for _, example in EXAMPLES]


def made(expression: str) -> Optimizer:
    return cast(Optimizer, installed_catalog().build("optimizer", expression))


def gradient(params: Array, noise: Array) -> Array:
    """Of a bowl with curvatures from 0.1 to 10, and noise on it."""
    return np.asarray(np.geomspace(0.1, 10, len(params)).astype(params.dtype) * params + noise)


def random_problem(dtype: Any = np.float32, *, noisy: bool = True) -> tuple[Array, Array]:
    rng = np.random.default_rng(0)
    start = rng.standard_normal(SIZE).astype(dtype)
    return start, noisy * rng.standard_normal((STEPS, SIZE)).astype(dtype)


def is_noisy(optimizer: Optimizer) -> bool:
    """Noise tells lies about the curvature of the network."""
    return optimizer.scope != "network"


def rate(lr: float, step: int) -> float:
    """A rate that changes, as a schedule would make it."""
    return lr * (1 - step / (2 * STEPS))


def pieces(optimizer: Optimizer, parts: int) -> list[tuple[slice, tuple[int, ...]]]:
    """What is given to the optimizer together: slices, whole parameters or all."""
    if optimizer.scope == "parameters":
        return PARAMETERS
    if optimizer.scope == "network":
        return [(slice(0, SIZE), (SIZE,))]
    bounds = np.linspace(0, SIZE, parts + 1).astype(int)
    return [(slice(start, stop), (stop - start,)) for start, stop in itertools.pairwise(bounds)]


def trajectory(optimizer: Optimizer, dtype: Any = np.float32, parts: int = 1) -> Array:
    """The parameters after each step; each step is done on `parts` slices of the vectors."""
    params, noise = random_problem(dtype, noisy=is_noisy(optimizer))
    state = {name: np.zeros_like(params) for name in optimizer.slots()}
    path = []
    for step in range(1, STEPS + 1):
        grads = gradient(params, noise[step - 1])
        for part, shape in pieces(optimizer, parts):
            slots = {name: vector[part].reshape(shape) for name, vector in state.items()}
            own = params[part].reshape(shape), grads[part].reshape(shape)
            optimizer.update(*own, slots, rate(optimizer.lr, step), step)
        path.append(params.copy())
    assert params.dtype == dtype
    return np.array(path)


def by_hand(optimizer: Optimizer, rule: Callable[[int, Array, Array, float], Array]) -> Iterator[Array]:
    """The parameters after each step by a rule for whole parameters: (number of the parameter, p, g, rate) -> p."""
    theta, noise = random_problem(np.float64)
    for step in range(1, STEPS + 1):
        g = gradient(theta, noise[step - 1])
        for number, (part, _) in enumerate(PARAMETERS):
            theta[part] = rule(number, theta[part], g[part], rate(optimizer.lr, step))
        yield theta.copy()


def lion(optimizer: Lion) -> Iterator[Array]:
    """Algorithm 2 of Chen et al. (2023), as it stands there."""
    momenta = [0.0, 0.0]

    def rule(number: int, theta: Array, g: Array, lr: float) -> Array:
        m: Any = momenta[number]
        c = optimizer.beta1 * m + (1 - optimizer.beta1) * g
        momenta[number] = optimizer.beta2 * m + (1 - optimizer.beta2) * g
        return np.asarray(theta - lr * (np.sign(c) + optimizer.weight_decay * theta))

    return by_hand(optimizer, rule)


def lamb(optimizer: LAMB) -> Iterator[Array]:
    """Algorithm 2 of You et al. (2020), with the corrections of the bias and phi(z) = z."""
    moments: list[list[Any]] = [[0.0, 0.0, 0], [0.0, 0.0, 0]]
    beta1, beta2 = optimizer.beta1, optimizer.beta2

    def rule(number: int, x: Array, g: Array, lr: float) -> Array:
        m, v, t = moments[number]
        m, v, t = beta1 * m + (1 - beta1) * g, beta2 * v + (1 - beta2) * g**2, t + 1
        moments[number] = [m, v, t]
        r = m / (1 - beta1**t) / (np.sqrt(v / (1 - beta2**t)) + optimizer.epsilon)
        u = r + optimizer.weight_decay * x
        return np.asarray(x - lr * np.linalg.norm(x) / np.linalg.norm(u) * u)

    return by_hand(optimizer, rule)


def lars(optimizer: LARS) -> Iterator[Array]:
    """Algorithm 1 of You, Gitman, Ginsburg (2017), with an epsilon."""
    velocities = [0.0, 0.0]

    def rule(number: int, w: Array, g: Array, lr: float) -> Array:
        length, decay = np.linalg.norm(w), optimizer.weight_decay
        local = optimizer.trust_coefficient * length / (np.linalg.norm(g) + decay * length + optimizer.epsilon)
        v: Any = optimizer.momentum * velocities[number] + lr * local * (g + decay * w)
        velocities[number] = v
        return np.asarray(w - v)

    return by_hand(optimizer, rule)


def lookahead(optimizer: Lookahead) -> Iterator[Array]:
    """Algorithm 1 of Zhang et al. (2019) around an optimizer that is proved by itself."""
    inner = optimizer.optimizer
    fast, noise = random_problem(np.float64)
    phi = fast.copy()
    state = {name: np.zeros_like(fast) for name in inner.slots()}
    for step in range(1, STEPS + 1):
        grads = gradient(fast, noise[step - 1])
        for part, shape in pieces(inner, 1):
            slots = {name: vector[part].reshape(shape) for name, vector in state.items()}
            inner.update(fast[part].reshape(shape), grads[part].reshape(shape), slots, rate(inner.lr, step), step)
        if step % optimizer.k == 0:
            phi = phi + optimizer.alpha * (fast - phi)
            fast = phi.copy()
        yield fast.copy()


PAPERS: dict[type[Optimizer], Callable[[Any], Iterator[Array]]] = {
    LAMB: lamb,
    LARS: lars,
    Lion: lion,
    Lookahead: lookahead,
}
"""Plain loops for those that PyTorch does not have."""


def of_pytorch(cls: type[Optimizer], optimizer: Optimizer, arguments: str, dtype: Any) -> Iterator[Array]:
    """Muon takes matrices alone: its vectors are moved by AdamW, and what is rounded to bfloat16 is left as it is."""
    torch = pytest.importorskip("torch", reason="torch==2.13.0 is not installed")
    start, noise = random_problem(dtype, noisy=is_noisy(optimizer))
    shapes = PARAMETERS if isinstance(optimizer, Muon) else [(slice(0, SIZE), (SIZE,))]
    tensors = [torch.tensor(start[part].reshape(shape), requires_grad=True) for part, shape in shapes]
    rules = [eval(f"{cls.twin}([params], {arguments})", {"torch": torch, "params": tensors[0]})]
    if isinstance(optimizer, Muon):
        rules.append(torch.optim.AdamW(tensors[1:], betas=(0.9, 0.95), weight_decay=optimizer.weight_decay))

    def joined() -> Array:
        return np.concatenate([one.detach().numpy().ravel() for one in tensors])

    def closure() -> Any:
        slope = gradient(joined(), noise[step - 1])
        for tensor, (part, shape) in zip(tensors, shapes, strict=True):
            tensor.grad = torch.tensor(slope[part].reshape(shape))
        return torch.zeros(())

    for step in range(1, STEPS + 1):
        closure()
        for rule in rules:
            rule.param_groups[0]["lr"] = rate(optimizer.lr, step)
            rule.step(closure if cls is LBFGS else None)
        yield joined()


@pytest.mark.parametrize(("cls", "example"), EXAMPLES, ids=CASES)
def test_two_hundred_steps_equal_those_of_pytorch_or_of_the_paper(
    cls: type[Optimizer], example: Example, monkeypatch: pytest.MonkeyPatch
) -> None:
    optimizer = made(example.expression)
    if cls is Muon:
        torch = pytest.importorskip("torch", reason="torch==2.13.0 is not installed")
        monkeypatch.setattr(torch.Tensor, "bfloat16", lambda tensor: tensor.clone())
    if cls.twin:
        assert example.twin is not None, f"{example.expression} has no arguments for {cls.twin}"
        precisions = [(np.float64, 1e-9), (np.float32, 1e-5)]
        for dtype, tolerance in precisions[:1] if cls is LBFGS else precisions:  # curvatures magnify what is rounded
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
    assert cls is Lookahead or repr(cls()) == f"{cls.__name__}()"


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
    for step in range(1, 60):
        optimizer.update(params, slopes.copy(), state, 1e-9, step)
    assert (state["square"] < state["mean"] ** 2).any()
    assert np.isfinite(params).all()


def test_nesterov_adam_is_itself_after_many_steps() -> None:
    """The product of its momenta is worked out from few of them, however late it is."""
    optimizer = cast(Any, made("NAdam(beta1=0.9)"))
    whole = float(np.prod(optimizer._momenta(np.arange(1, 601, dtype=np.float64))))
    assert optimizer._product(600) == pytest.approx(whole, abs=1e-17)
    assert 0 < optimizer._product(10**12) < 1e-17
    assert cast(Any, made("NAdam(beta1=0.0)"))._product(5) == 0


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: SGD(0.0), "lr must be a number above 0, got 0.0"),
        (lambda: SGD(momentum=1.0), "momentum must be a number with 0 <= momentum < 1, got 1.0"),
        (lambda: SGD(weight_decay=-1), "weight_decay must be a number, 0 or above, got -1"),
        (lambda: SGD(momentum=0.9, nesterov=cast(Any, 1)), "nesterov must be True or False, got 1"),
        (lambda: SGD(nesterov=True), "with nesterov=True momentum must be above 0, got 0.0; try momentum=0.9"),
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
    **dict.fromkeys(("lr", "trust_coefficient"), (0, -1.0, "fast", float("nan"), float("inf"), True, None)),
    **dict.fromkeys(("beta1", "beta2", "rho", "momentum"), (-0.1, 1.0, "much", None)),
    "epsilon": (0.0, -1.0, None),
    **dict.fromkeys(("weight_decay", "lr_decay", "initial_accumulator_value", "momentum_decay"), (-1, "0.1", None)),
    **dict.fromkeys(("tolerance_grad", "tolerance_change"), (-1, "0.1", None)),
    **dict.fromkeys(("history_size", "ns_steps", "k"), (0, 1.5, "5", None)),
    "ns_coefficients": ((1.0, 2.0), 3.0, None),
    "adjust_lr_fn": ("adam", None),
    "alpha": (-0.1, 0.0, 1.1, "much", None),
    **dict.fromkeys(("nesterov", "amsgrad", "centered", "decoupled_weight_decay"), (1, "yes", None)),
}
"""What no optimizer takes, by the name of the argument."""


@pytest.mark.parametrize("cls", OPTIMIZERS)
def test_each_wrong_argument_is_named(cls: type[Optimizer]) -> None:
    names = cls.__init__.__code__.co_varnames[1 : cls.__init__.__code__.co_argcount]
    given = {"optimizer": SGD()} if cls is Lookahead else {}
    assert names
    for name in set(names) - given.keys():
        for value in WRONG[name]:
            if (cls, name, value) == (RMSprop, "alpha", 0.0):  # of which it takes no mean
                continue
            with pytest.raises(ConfigError, match=f"^{name} must be .*got {re.escape(repr(value))}$"):
                cls(**given | {name: value})


def test_the_expression_is_kept() -> None:
    assert repr(AdamW(0.01, weight_decay=0.1)) == "AdamW(lr=0.01, weight_decay=0.1)"


def test_lookahead_is_around_one_optimizer() -> None:
    for given in ("SGD(0.1)", Lookahead(SGD()), None):
        with pytest.raises(ConfigError, match="Lookahead expects an optimizer without slow weights, such as SGD"):
            Lookahead(cast(Any, given))
    assert Lookahead(LAMB()).scope == "parameters"
    assert Lookahead(AdamW(0.5)).lr == 0.5
    assert repr(Lookahead(AdamW(weight_decay=0.5)).decayed(0.5)) == "Lookahead(AdamW(weight_decay=0.25))"
    assert repr(made("Lookahead(SGD(0.1), k=3)")) == "Lookahead(SGD(lr=0.1), k=3)"


def test_muon_makes_moves_orthogonal() -> None:
    """Of kernels as of matrices, tall as wide: all singular values are near 1."""
    for shape in ((8, 3, 3, 3), (40, 10), (10, 40)):
        optimizer = made('Muon(1.0, momentum=0.0, weight_decay=0.0, adjust_lr_fn="original")')
        params = np.zeros(shape)
        state = {name: np.zeros(shape) for name in optimizer.slots()}
        optimizer.update(params, np.random.default_rng(0).normal(size=shape), state, 1.0, 1)
        matrix = params.reshape(shape[0], -1)
        values = np.linalg.svd(matrix, compute_uv=False) / max(1, matrix.shape[0] / matrix.shape[1]) ** 0.5
        assert 0.6 < values.min() <= values.max() < 1.25


def test_quasi_newton_steps_reach_the_bottom_of_a_bowl_soon() -> None:
    params, _ = random_problem(np.float64)
    optimizer = made("LBFGS(1.0)")
    state = {name: np.zeros_like(params) for name in optimizer.slots()}
    for step in range(1, 60):
        optimizer.update(params, gradient(params, np.zeros(SIZE)), state, 1.0, step)
    assert np.abs(params).max() < 1e-3
    with pytest.raises(ConfigError, match="history_size must be a number with 1 <= history_size < 1000, got 1000"):
        LBFGS(history_size=1000)
