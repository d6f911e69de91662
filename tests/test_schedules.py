"""Schedules: PyTorch's values epoch by epoch, closed forms at the start, inside and at the end, and what is refused.

The first part is made from the examples that each class gives.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import Any, cast

import numpy as np
import pytest

from cnnkit import Sequential, Trainer
from cnnkit.components import Schedule, installed_catalog
from cnnkit.errors import ConfigError
from cnnkit.schedules import (
    SCHEDULES,
    Constant,
    Cosine,
    CosineRestarts,
    Cyclic,
    Exponential,
    MultiStep,
    OneCycle,
    Polynomial,
    Product,
    ReduceOnPlateau,
    Sequence,
    Step,
    Warmup,
)
from cnnkit.types import Example

EPOCHS = 200
TWINS = [(cls, example) for cls in SCHEDULES for example in cls.examples if example.twin is not None]
QUANTITIES = {"loss": False, "accuracy": True, "validation_loss": False}


def made(expression: str) -> Schedule:
    return cast(Schedule, installed_catalog().build("schedule", expression))


def course(seed: int) -> dict[str, list[float]]:
    """A history with long plateaus, and a few values that are no numbers."""
    rng = np.random.default_rng(seed)
    loss = np.minimum.accumulate(rng.exponential(size=EPOCHS)) + 0.3 * rng.random(EPOCHS)
    loss[rng.choice(np.arange(5, EPOCHS), 3)] = math.nan
    return {"loss": loss.tolist(), "accuracy": (2 - loss).tolist()}


@pytest.mark.parametrize(("cls", "example"), TWINS, ids=lambda one: getattr(one, "expression", ""))
def test_two_hundred_epochs_equal_those_of_pytorch(cls: type[Schedule], example: Example) -> None:
    torch = pytest.importorskip("torch", reason="torch==2.13.0 is not installed")
    optimizer = torch.optim.SGD([torch.zeros(1)], lr=1.0)
    names = {**vars(torch.optim.lr_scheduler), "optimizer": optimizer}
    chained = names["ChainedScheduler"]
    names["ChainedScheduler"] = lambda _, schedulers: chained(schedulers)  # it finds the optimizer by itself
    scheduler = eval(f"{cls.twin}(optimizer, {example.twin})", names)
    schedule, history = made(example.expression), course(7)
    schedule.begin(QUANTITIES)
    ours, theirs = [], []
    for epoch in range(EPOCHS):
        seen = {name: values[:epoch] for name, values in history.items()}
        ours.append(schedule.factor(float(epoch), EPOCHS) * schedule.feedback(seen))
        theirs.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        if isinstance(schedule, ReduceOnPlateau):
            scheduler.step(history[schedule.monitor][epoch])
        else:
            scheduler.step()
    assert isinstance(schedule, Constant) or len(set(ours)) > 1
    np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-12)


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("monitor", ["loss", "accuracy"])
def test_plateaus_are_those_of_pytorch(seed: int, monitor: str) -> None:
    torch = pytest.importorskip("torch", reason="torch==2.13.0 is not installed")
    rng, history = np.random.default_rng(seed), course(seed)
    mode = str(rng.choice(["rel", "abs"]))
    patience, cooldown, threshold = int(rng.integers(0, 6)), int(rng.integers(0, 6)), float(rng.choice([0, 1e-4, 0.1]))
    optimizer = torch.optim.SGD([torch.zeros(1)], lr=1.0)
    scheduler = torch.optim.lr_scheduler.ReduceLROnPlateau(
        optimizer,
        {"loss": "min", "accuracy": "max"}[monitor],
        0.8,
        patience,
        threshold,
        threshold_mode=mode,
        cooldown=cooldown,
        min_lr=0.05,
        eps=0,
    )
    schedule = ReduceOnPlateau(monitor, 0.8, patience, threshold, mode, cooldown, 0.05)
    schedule.begin(QUANTITIES)
    for epoch, value in enumerate(history[monitor], start=1):
        scheduler.step(value)
        seen = {name: values[:epoch] for name, values in history.items()}
        assert schedule.feedback(seen) == pytest.approx(optimizer.param_groups[0]["lr"], rel=1e-9)


@pytest.mark.parametrize("cls", SCHEDULES)
def test_each_says_all_of_itself(cls: type[Schedule]) -> None:
    assert cls.examples
    assert cls.twin
    assert any(example.twin is not None for example in cls.examples)


def test_what_composed_schedules_are_made_of_sees_the_history_of_its_own_time() -> None:
    plateau = ReduceOnPlateau("loss", 0.5, patience=0)
    flat = {"loss": [1.0] * 6}
    for whole, expected in (
        (plateau, 0.5**5),
        (Product(plateau, plateau), 0.5**10),
        (Warmup(plateau, 1.5), 0.5**3),
        (Sequence([Constant(), plateau], [4]), 0.5),
        (Sequence([plateau, Constant()], [4]), 1.0),
        (Sequence([plateau, Constant()], [7]), 0.5**5),
    ):
        whole.begin(QUANTITIES)
        assert whole.feedback(flat) == expected
        assert whole.feedback({}) == 1.0
        with pytest.raises(ConfigError, match="'loss' is not recorded in this training"):
            whole.begin({"lr": True})


def plateau_training(**options: Any) -> dict[str, list[float]]:
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(60, 4)), rng.integers(0, 2, 60)
    settings: dict[str, Any] = {"epochs": 8, "batch_size": 20, "progress": False, "workers": 1} | options
    model = Sequential(["Dense(2)"], (4,))
    return Trainer(optimizer="SGD(0.5)", **settings).fit(model, (x, y), validation=0.25).history


def test_a_training_slows_down_on_a_plateau() -> None:
    schedule = ReduceOnPlateau(gamma=0.5, patience=0, threshold=0.05)
    history = plateau_training(schedule=schedule)
    expected = [0.5 * schedule.feedback({"validation_loss": history["validation_loss"][:epoch]}) for epoch in range(8)]
    assert history["lr"] == expected
    assert len(set(expected)) > 2
    with pytest.raises(ConfigError, match="'validation_top' is not recorded in this training"):
        plateau_training(schedule='ReduceOnPlateau("validation_top")')


def test_restarts_and_cycles() -> None:
    schedule = CosineRestarts(2, growth=2)
    assert [schedule.factor(epoch, 20) for epoch in (0.0, 2.0, 6.0, 14.0)] == [1.0] * 4
    assert schedule.factor(4.0, 20) == pytest.approx(0.5)
    cycles = Cyclic(low=0.2, up=1.5, down=0.5, mode="triangular2")
    assert [cycles.factor(epoch, 9) for epoch in (0.0, 1.5, 1.75, 2.0)] == pytest.approx([0.2, 1.0, 0.6, 0.2])
    assert cycles.factor(3.5, 9) == pytest.approx(0.6)


def test_a_warm_up_stands_in_front_of_any_schedule() -> None:
    assert Warmup(Cosine(final=0.1), 2.0).factor(3.7, 10) == Cosine(warmup=2.0, final=0.1).factor(3.7, 10)
    assert Warmup(Cosine(final=0.1), 2.0).factor(1.3, 10) == Cosine(warmup=2.0, final=0.1).factor(1.3, 10)
    assert Warmup(Step(3, 0.5), 0.5, start=0.0).factor(0.25, 8) == 0.5
    assert [Warmup(Step(3, 0.5), 0.5).factor(epoch, 8) for epoch in (3.0, 3.5, 7.0)] == [1.0, 0.5, 0.25]


WRONG: list[tuple[Callable[[], object], str]] = [
    (lambda: CosineRestarts(0), "every must be a whole number, 1 or above, got 0"),
    (lambda: CosineRestarts(1, growth=0.5), "growth must be a whole number, 1 or above, got 0.5"),  # type: ignore[arg-type]  # wrong on purpose
    (lambda: Cyclic(low=1.0), "low must be a number with 0 <= low < 1, got 1.0"),
    (lambda: Cyclic(up=0), "up must be a number from 0.001 to 1e+06, got 0"),
    (lambda: Cyclic(down=1e7), "down must be a number from 0.001 to 1e+06, got 10000000.0"),
    (lambda: Cyclic(mode="up"), "mode must be one of 'triangular', 'triangular2', 'exp_range', got 'up'"),
    (lambda: Cyclic(gamma=1.1), "gamma must be a number from 0 to 1, got 1.1"),
    (lambda: Exponential(0), "gamma must be a number above 0, got 0"),
    (lambda: Exponential(1.5), "gamma must be a number from 0 to 1, got 1.5"),
    (lambda: MultiStep([]), "milestones must be a list of epochs, such as [80, 120], got []"),
    (lambda: MultiStep([3, 3]), "milestones must be epochs that grow, such as [80, 120], got [3, 3]"),
    (lambda: MultiStep(["3"]), "milestones[0] must be a number above 0, got '3'"),  # type: ignore[list-item]  # wrong on purpose
    (lambda: Polynomial(power=0), "power must be a number above 0, got 0"),
    (lambda: Polynomial(final=-1), "final must be a number, 0 or above, got -1"),
    (lambda: Product(), "Product needs schedules, such as Product(Cosine(), Step(30)), got none"),
    (lambda: Product("Cosine()"), "schedules[0] must be a schedule, such as Step(30), got 'Cosine()'"),  # type: ignore[arg-type]  # wrong on purpose
    (lambda: ReduceOnPlateau(3), 'monitor must be a quantity of the history, such as "validation_loss", got 3'),  # type: ignore[arg-type]  # wrong on purpose
    (lambda: ReduceOnPlateau(gamma=1.0), "gamma must be a number with 0 <= gamma < 1, got 1.0"),
    (lambda: ReduceOnPlateau(patience=-1), "patience must be a whole number, 0 or above, got -1"),
    (lambda: ReduceOnPlateau(threshold=-1), "threshold must be a number, 0 or above, got -1"),
    (lambda: ReduceOnPlateau(threshold_mode="x"), "threshold_mode must be one of 'rel', 'abs', got 'x'"),
    (lambda: ReduceOnPlateau(cooldown=0.5), "cooldown must be a whole number, 0 or above, got 0.5"),  # type: ignore[arg-type]  # wrong on purpose
    (lambda: ReduceOnPlateau(final=2), "final must be a number from 0 to 1, got 2"),
    (lambda: Sequence([], []), "schedules must be a list, such as [Constant(), Cosine()], got []"),
    (lambda: Sequence([Cosine()], [3]), "milestones must be one less than schedules, got 1 and 1: milestones=[3]"),
    (lambda: Warmup(3), "schedule must be a schedule, such as Step(30), got 3"),  # type: ignore[arg-type]  # wrong on purpose
    (lambda: Warmup(Cosine(), 0), "warmup must be a number above 0, got 0"),
    (lambda: Warmup(Cosine(), start=1.5), "start must be a number from 0 to 1, got 1.5"),
    (
        lambda: Warmup(Cosine(), 3).factor(0.0, 3),
        "Warmup(Cosine(), warmup=3) warms up for 3 epochs and needs more than that, this training has 3: shorten the "
        "warm-up or train longer",
    ),
    (
        lambda: Sequence([Constant(), Cosine()], [4]).factor(0.0, 4),
        "Sequence([Constant(), Cosine()], [4]) goes on after epoch 4, this training has 4: move its milestones or "
        "train longer",
    ),
    (
        lambda: Sequence([Constant(), Cosine(warmup=2)], [4]).factor(0.0, 6),
        "Cosine(warmup=2) warms up for 2 epochs and needs more than that, this training has 2: shorten the warm-up or "
        "train longer",
    ),
]


@pytest.mark.parametrize(("make", "message"), WRONG, ids=[message for _, message in WRONG])
def test_what_is_wrong_is_refused(make: Callable[[], object], message: str) -> None:
    with pytest.raises(ConfigError, match=f"^{re.escape(message)}$"):
        make()


def test_constant_is_one() -> None:
    assert {Constant().factor(epoch, 10) for epoch in (0.0, 3.7, 9.99)} == {1.0}


def test_cosine_falls_from_one_to_final() -> None:
    schedule = Cosine(final=0.1)
    assert schedule.factor(0.0, 10) == 1.0
    assert schedule.factor(5.0, 10) == pytest.approx(0.55)
    assert schedule.factor(10.0 - 1e-9, 10) == pytest.approx(0.1)
    assert Cosine().factor(2.5, 10) == pytest.approx((1 + 0.5**0.5) / 2)


def test_cosine_warms_up_in_a_straight_line_and_never_from_zero() -> None:
    schedule = Cosine(warmup=2.0)
    assert schedule.factor(0.0, 10) == pytest.approx(0.01)
    assert schedule.factor(1.0, 10) == pytest.approx(0.505)
    assert schedule.factor(2.0 - 1e-9, 10) == pytest.approx(1.0)
    assert schedule.factor(2.0, 10) == 1.0
    assert schedule.factor(6.0, 10) == pytest.approx(0.5)


def test_a_warm_up_may_be_shorter_than_an_epoch() -> None:
    assert Cosine(warmup=0.5).factor(0.25, 1) == pytest.approx(0.505)
    assert Cosine(warmup=0.5).factor(0.75, 1) == pytest.approx(0.5)


def test_step_falls_at_whole_multiples() -> None:
    schedule = Step(3, gamma=0.5)
    assert [schedule.factor(epoch, 9) for epoch in (0.0, 2.999, 3.0, 5.9, 6.0)] == [1.0, 1.0, 0.5, 0.5, 0.25]
    assert Step(2).factor(2.0, 4) == pytest.approx(0.1)


def test_a_warm_up_as_long_as_the_training_is_refused() -> None:
    with pytest.raises(ConfigError) as error:
        Cosine(warmup=3).factor(0.0, 3)
    assert str(error.value) == (
        "Cosine(warmup=3) warms up for 3 epochs and needs more than that, this training has 3: "
        "shorten the warm-up or train longer"
    )


def test_one_cycle_goes_up_to_one_and_down_to_almost_nothing() -> None:
    schedule = OneCycle(warmup=0.25, start=0.1, final=0.01)
    assert schedule.factor(0.0, 8) == pytest.approx(0.1)
    assert schedule.factor(1.0, 8) == pytest.approx(0.55)
    assert schedule.factor(2.0, 8) == pytest.approx(1.0)
    assert schedule.factor(5.0, 8) == pytest.approx(0.505)
    assert schedule.factor(8.0 - 1e-9, 8) == pytest.approx(0.01)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: OneCycle(warmup=1.0), "warmup must be a number with 0 <= warmup < 1, got 1.0"),
        (lambda: OneCycle(warmup=0.0), "warmup must be a number above 0, got 0.0"),
        (lambda: OneCycle(start=-1), "start must be a number, 0 or above, got -1"),
        (lambda: OneCycle(final=-1), "final must be a number, 0 or above, got -1"),
        (lambda: Cosine(warmup=-1), "warmup must be a number, 0 or above, got -1"),
        (lambda: Cosine(final=-0.1), "final must be a number, 0 or above, got -0.1"),
        (lambda: Step(0), "every must be a whole number, 1 or above, got 0"),
        (lambda: Step(1, gamma=0), "gamma must be a number above 0, got 0"),
    ],
)
def test_arguments_are_checked(make: Callable[[], Schedule], message: str) -> None:
    with pytest.raises(ConfigError, match=f"^{re.escape(message)}$"):
        make()


def test_one_cycle_by_default() -> None:
    schedule = OneCycle()
    assert schedule.factor(0.0, 10) == pytest.approx(0.04)
    assert schedule.factor(3.0, 10) == pytest.approx(1.0)
    assert schedule.factor(10.0 - 1e-9, 10) == pytest.approx(0.0001)
