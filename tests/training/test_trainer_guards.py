"""What a training hands out and takes in: copies of histories, text of callbacks, keys of metrics, its own recipe."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest

from cnnkit.components import Callback, Metric, Optimizer, Schedule
from cnnkit.errors import ComponentError, ConfigError
from cnnkit.metrics import Accuracy
from cnnkit.network import Sequential
from cnnkit.optimizers import SGD
from cnnkit.training import Run, Trainer
from cnnkit.training.progress import Progress
from cnnkit.types import Array, Data, Samples

RNG = np.random.default_rng(0)


def some(count: int) -> Samples:
    return Samples(RNG.normal(size=(count, 3)).astype(np.float32), RNG.integers(0, 2, count))


DATA = Data(some(40), some(20), some(20))


def fit(**options: Any) -> Run:
    settings: dict[str, Any] = {"epochs": 3, "batch_size": 10, "workers": 1, "optimizer": "SGD(0.1)"}
    return Trainer(**settings | options).fit(Sequential(["Dense(2)"], (3,)), DATA)


class Does(Callback):
    """Does with the history as it is told."""

    def __init__(self, do: Callable[[Any], Any], at_the_start: Callable[[Any], Any] = len) -> None:
        self.do, self.at_the_start = do, at_the_start

    def __repr__(self) -> str:
        return "Does()"

    def start(self, quantities: Mapping[str, bool]) -> None:
        self.at_the_start(quantities)

    def after_epoch(self, history: Any) -> Any:
        return self.do(history)


def spoil(history: dict[str, list[float]]) -> str:
    history["loss"].append(3.0)
    history["accuracy"][0] = 2.0
    history["more"] = [1.0]
    return ""


def test_callbacks_get_copies_of_the_history() -> None:
    seen: list[dict[str, list[float]]] = []
    other = Does(lambda history: seen.append(history) or "")  # type: ignore[func-returns-value]  # append gives None
    spoiled, plain = fit(callbacks=[Does(spoil), other]), fit()
    for name in ("loss", "accuracy", "validation_loss"):
        assert spoiled.history[name] == plain.history[name] == seen[-1][name]
    assert "more" not in spoiled.history
    assert [len(one["loss"]) for one in seen] == [1, 2, 3]


def test_a_schedule_gets_an_empty_list_for_each_quantity_before_the_first_epoch() -> None:
    seen: list[dict[str, list[float]]] = []

    class Notes(Schedule):
        def factor(self, epoch: float, epochs: float) -> float:
            return 1.0

        def feedback(self, history: Mapping[str, list[float]]) -> float:
            seen.append({name: list(values) for name, values in history.items()})
            return 1.0

    run = fit(schedule=Notes())
    assert seen[0] == {name: [] for name in run.history}
    assert seen[1] == {name: values[:1] for name, values in run.history.items()}


def test_callbacks_get_copies_of_the_quantities() -> None:
    seen: list[Mapping[str, bool]] = []
    callbacks = [Does(lambda history: "", dict.clear), Does(lambda history: "", seen.append)]
    fit(callbacks=callbacks, keep="best")
    assert seen[0]["validation_loss"] is False


class Spoils(Progress):
    """Changes what it is shown."""

    def epoch_done(self, means: Mapping[str, float]) -> None:
        means.clear()  # type: ignore[attr-defined]  # a mapping may not be changed: wrong on purpose


def test_so_does_progress() -> None:
    assert fit(progress=Spoils()).history["loss"] == fit().history["loss"]


@pytest.mark.parametrize("given", [True, None, 1, ["enough"], b"enough"])
def test_a_callback_returns_text(given: Any) -> None:
    with pytest.raises(ComponentError) as error:
        fit(callbacks=[Does(lambda history: given)])
    assert str(error.value) == (
        "the callback Does() must return text from after_epoch, why the training should end, or an empty one to "
        f"continue; it returned {given!r}"
    )


def test_errors_of_a_callback_name_it() -> None:
    for callback in (Does(lambda history: history["nothing"]), Does(len, lambda quantities: quantities["nothing"])):
        with pytest.raises(KeyError) as error:
            fit(callbacks=[callback])
        assert error.value.__notes__ == ["in the callback Does()"]


def test_the_recipe_is_the_one_that_training_began_with() -> None:
    optimizer = SGD(0.1)

    def halve(history: Any) -> str:
        optimizer.lr *= 0.5
        return ""

    with pytest.warns(RuntimeWarning) as warned:
        run = fit(optimizer=optimizer, callbacks=[Does(halve)])
    assert run.recipe is not None
    assert run.recipe["train"]["optimizer"] == "SGD(lr=0.1)"
    assert run.history["lr"] == [0.1, 0.05, 0.025]
    assert [str(one.message) for one in warned] == [  # once
        "while it trained, a callback changed optimizer from SGD(lr=0.1) to SGD(lr=0.05); the recipe records what the "
        "training started with: to change the learning rate and have it recorded, use a schedule"
    ]


@pytest.mark.parametrize("rate", [-0.1, float("nan")])
def test_a_rate_that_a_callback_makes_of_it_is_checked_in_every_step(rate: float) -> None:
    optimizer = SGD(0.1)

    def spoil_rate(history: Any) -> str:
        optimizer.lr = rate
        return ""

    with pytest.raises(ComponentError, match=rf"0 or above; it is {rate}"):
        fit(optimizer=optimizer, callbacks=[Does(spoil_rate)])


class Called(Accuracy):
    """The accuracy by another name."""

    def __init__(self, name: Any) -> None:
        self.name = name

    @property
    def key(self) -> str:
        return self.name  # type: ignore[no-any-return]  # of any type, on purpose


@pytest.mark.parametrize("key", ["loss", "lr", "seconds", "validation_accuracy", "", None])
def test_a_metric_takes_no_name_that_a_history_has(key: Any) -> None:
    with pytest.raises(ConfigError) as error:
        Trainer(metrics=["Accuracy()", Called(key)])
    assert f" is named {key!r}; expected a text other than loss, lr, seconds, which a" in str(error.value)


def test_an_error_in_a_key_names_the_metric() -> None:
    class Nameless(Metric):
        @property
        def key(self) -> str:
            raise KeyError("name")

    with pytest.raises(KeyError) as error:
        Trainer(metrics=[Nameless()])
    assert error.value.__notes__ == ["in the metric Nameless()"]


class Rule(Optimizer):
    """Updates by a function."""

    def __init__(self, rule: Callable[..., None], slots: tuple[str, ...] = (), lr: float = 0.1) -> None:
        self.rule, self.names, self.lr = rule, slots, lr

    def __repr__(self) -> str:
        return "Rule()"

    def slots(self) -> tuple[str, ...]:
        return self.names

    def update(self, params: Array, grads: Array, state: Any, lr: float, step: int) -> None:
        self.rule(params, grads, state, lr, step)


def nowhere(params: Array, grads: Array, state: Any, lr: float, step: int) -> None:
    params = params - lr * grads


def nowhere_with_momentum(params: Array, grads: Array, state: Any, lr: float, step: int) -> None:
    state["m"] *= 0.9
    state["m"] += grads
    params = params - lr * state["m"]


ADVICE = (
    "although there was a gradient: change params in place, as params -= step does; params = params - step only gives "
    "the name to another array"
)
GATHERING = ", and a rule that gathers the gradients of several batches must move before the end"


@pytest.mark.filterwarnings("ignore:the loss has not changed")
@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize(
    ("rule", "slots", "epochs", "updates", "hint"),
    [
        (nowhere, (), 50, "12", ""),
        (nowhere, (), 1, "4", ""),
        (nowhere_with_momentum, ("m",), 1, "4", GATHERING),
        (nowhere_with_momentum, ("m",), 1000, "1,000", GATHERING),
    ],
)
def test_an_optimizer_that_moves_nothing_is_refused(
    rule: Any, slots: tuple[str, ...], epochs: int, updates: str, hint: str, workers: int
) -> None:
    with pytest.raises(ComponentError) as error:
        fit(optimizer=Rule(rule, slots), workers=workers, epochs=epochs)
    assert str(error.value) == f"the optimizer Rule() has changed no parameter in {updates} updates, {ADVICE}{hint}"


def every_thirtieth(params: Array, grads: Array, state: Any, lr: float, step: int) -> None:
    state["sum"] += grads
    if step % 30 == 0:
        params -= lr * state["sum"]
        state["sum"][...] = 0


@pytest.mark.parametrize("batch_size", [10, 3])  # 4 and 14 updates in an epoch
def test_one_that_gathers_more_batches_than_an_epoch_has_is_not(batch_size: int) -> None:
    run = fit(optimizer=Rule(every_thirtieth, ("sum",)), epochs=9, batch_size=batch_size)
    assert run.history["loss"][-1] < run.history["loss"][0]


def every_sixth(params: Array, grads: Array, state: Any, lr: float, step: int) -> None:
    state["sum"] += grads
    if step % 6 == 0:
        params -= lr * state["sum"]
        state["sum"][...] = 0


def not_at_first(params: Array, grads: Array, state: Any, lr: float, step: int) -> None:
    params -= lr * min(1.0, (step - 1) / 9) * grads


def plain(params: Array, grads: Array, state: Any, lr: float, step: int) -> None:
    params -= lr * grads


@pytest.mark.parametrize(
    "optimizer",
    [Rule(every_sixth, ("sum",)), Rule(not_at_first), Rule(plain, lr=1e-30), Rule(plain, lr=0.0)],
    ids=["gathers gradients", "begins with nothing", "a tiny rate", "no rate"],
)
def test_one_that_may_well_move_later_is_not(optimizer: Optimizer) -> None:
    assert len(fit(optimizer=optimizer, batch_size=20).history["loss"]) == 3


def test_a_network_that_has_nothing_to_learn_is_not_refused() -> None:
    Trainer(epochs=12, metrics=[], loss="MSE()").fit(
        Sequential(["Flatten()"], (1, 2, 2)), (np.zeros((4, 1, 2, 2), np.float32), np.zeros((4, 4)))
    )
    model = Sequential(["Dense(2)"], (3,))
    zeros = np.zeros((12, 3), np.float32), np.zeros((12, 2), np.float32)
    Trainer(epochs=12, batch_size=1, metrics=[], loss="MSE()", optimizer="SGD(0.1)").fit(model, zeros)
