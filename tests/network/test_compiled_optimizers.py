"""Compiled updates against the optimizers that they equal bit for bit."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest

from cnnkit.components import Optimizer
from cnnkit.network import Sequential
from cnnkit.network.kernels.compiled import optimizer_kernels, product_kernels
from cnnkit.network.kernels.compiled.optimizer_kernels import CompiledUpdates
from cnnkit.optimizers import SGD, Adam, AdamW, RMSprop
from cnnkit.training import Trainer
from cnnkit.types import Array, Samples

pytest.importorskip("numba", reason="compiled kernels need the extra cnnkit[fast]")

OPTIMIZERS = (
    *Adam.examples,
    *AdamW.examples,
    *SGD.examples,
)


def optimizers() -> list[Optimizer]:
    known = {"Adam": Adam, "AdamW": AdamW, "SGD": SGD}
    return [eval(example.expression, known) for example in OPTIMIZERS] + [Adam(amsgrad=True, weight_decay=0.2)]


@pytest.mark.parametrize("optimizer", optimizers(), ids=repr)
@pytest.mark.usefixtures("compiled_kernels")
def test_an_update_equals_numpys_bit_for_bit(optimizer: Optimizer) -> None:
    """Also of numbers that are very large or small, and of those that are none."""
    rng = np.random.default_rng(0)
    count = optimizer_kernels.FEWEST + 3
    params = rng.standard_normal(count).astype(np.float32)
    own, expected = params.copy(), params.copy()
    own_state, state = ({name: np.zeros(count, np.float32) for name in optimizer.slots()} for _ in range(2))
    with np.errstate(all="ignore"):
        for step in range(1, 6):
            grads = (rng.standard_normal(count) * 10.0 ** rng.integers(-30, 25, count)).astype(np.float32)
            grads[rng.integers(0, count, 8)] = [0.0, -0.0, 1e-45, np.inf, -np.inf, np.nan, 3e38, -3e38]
            assert CompiledUpdates().update(optimizer, own, grads, own_state, 0.01 * step, step)
            optimizer.update(expected, grads.copy(), state, 0.01 * step, step)
            for found, right in ((own, expected), *((own_state[name], state[name]) for name in state)):
                np.testing.assert_array_equal(found, right)  # NaN where NaN is due
                numbers = ~np.isnan(right)
                assert (found[numbers].view(np.uint32) == right[numbers].view(np.uint32)).all()  # -0.0 is not 0.0


def test_what_has_no_loop_is_left_to_the_optimizer(monkeypatch: pytest.MonkeyPatch) -> None:
    class Own(Adam):
        """An optimizer of somebody else."""

    monkeypatch.setattr(optimizer_kernels, "FEWEST", 8)
    updates = CompiledUpdates()
    numbers, few = np.ones(8, np.float32), np.ones(7, np.float32)
    state = {"mean": np.zeros(8, np.float32), "square": np.zeros(8, np.float32)}
    assert not updates.update(RMSprop(), numbers, numbers, {}, 0.1, 1)
    assert not updates.update(Own(), numbers, numbers, state, 0.1, 1)
    assert not updates.update(Adam(), numbers.astype(np.float64), numbers, state, 0.1, 1)
    assert not updates.update(Adam(), np.ones((4, 4), np.float32)[:, :2], numbers, state, 0.1, 1)
    assert not updates.update(SGD(), few, few, {}, 0.1, 1)
    assert not updates.update(SGD(np.float64(0.1)), numbers, numbers, {}, 0.1, 1)  # NumPy computes in float64 then
    assert (numbers == 1).all()


@pytest.mark.usefixtures("compiled_kernels")
def test_a_training_with_compiled_kernels_uses_them(monkeypatch: pytest.MonkeyPatch) -> None:
    """Groups with weight decay of their own as well; without a layer that is compiled, nothing is rounded otherwise."""
    monkeypatch.setattr(product_kernels, "has_avx512", lambda: False)
    monkeypatch.setattr(optimizer_kernels, "FEWEST", 1)
    rng = np.random.default_rng(0)
    samples = Samples(rng.standard_normal((40, 6)).astype(np.float32), rng.integers(0, 3, 40))

    def trained(kernels: str) -> Array:
        model = Sequential(["Dense(5, bias=True)", "ReLU()", "Dense(3)"], (6,), seed=1)
        trainer = Trainer(
            optimizer="AdamW(0.01)",
            decay="weights",
            batch_size=8,
            epochs=2,
            workers=1,
            progress=False,
            kernels=kernels,  # type: ignore[arg-type]  # one of two words
        )
        trainer.fit(model, samples)
        return model.parameters.vector.copy()

    calls: list[bool] = []
    inside = CompiledUpdates.update

    def counted(
        self: CompiledUpdates,
        optimizer: Optimizer,
        params: Array,
        grads: Array,
        state: Mapping[str, Array],
        lr: float,
        step: int,
    ) -> bool:
        calls.append(inside(self, optimizer, params, grads, state, lr, step))
        return calls[-1]

    monkeypatch.setattr(CompiledUpdates, "update", counted)
    expected = trained("numpy")
    assert not calls
    assert (trained("compiled") == expected).all()
    assert calls
    assert all(calls)
