"""The conformance suite for callbacks: everything that training assumes about one."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping
from typing import cast

import numpy as np

from cnnkit.components import Callback, Component, installed_catalog
from cnnkit.errors import CheckError, CnnkitError
from cnnkit.network import Sequential
from cnnkit.testing.comparing import Suite, check_expression, equal, named, run_all, same_bits
from cnnkit.testing.state import changes, global_generators, reached, snapshot
from cnnkit.training import Run
from cnnkit.types import Array, Shape, TrainingStep

QUANTITIES: Mapping[str, bool] = {
    "loss": False,
    "accuracy": True,
    "validation_loss": False,
    "validation_accuracy": True,
    "lr": True,
    "seconds": False,
}
"""What a history has with validation, and whether greater is better of it."""
EPOCHS = 12
STEPS = 3

History = dict[str, list[float]]


def check_callback(callback: Callback | str, quantities: Mapping[str, bool] = QUANTITIES) -> None:
    """Check that a callback keeps its contract; `CHECKS` lists what that is.

    callback: a component or its expression; quantities: what the history has, and whether greater is better of it; with
    those that the callback looks at.
    Raises CheckError that names the check and says what was expected and what was received; ExpressionError,
    ComponentError or ConfigError for an expression that does not describe a callback.
    """
    run_all([suite(cast("Callback", installed_catalog().build("callback", callback)), quantities)])


def suite(callback: Callback, quantities: Mapping[str, bool] = QUANTITIES) -> Suite:
    """All of its checks."""
    return Suite(named(callback), callback, CHECKS, (callback, quantities))


def histories(quantities: Mapping[str, bool]) -> list[History]:
    """Of a training that gets better and better, of one that gets worse, and of one that goes up and down."""
    better = np.linspace(0.9, 0.1, EPOCHS)
    found = []
    for course in (better, better[::-1], 0.5 + 0.3 * np.sin(np.arange(EPOCHS))):
        made = {name: (1 - course if greater else course).tolist() for name, greater in quantities.items()}
        found.append(made | {name: [0.01] * EPOCHS for name in ("lr",) if name in quantities})
    return found


def begin(callback: Callback, quantities: Mapping[str, bool]) -> dict[str, bool]:
    """Start it as a training does, which asks for its quantities first; what it was given, for a look afterwards."""
    added = callback.quantities(_shapes())
    given = {**quantities, **added}
    callback.start(given)
    return given


def epochs(callback: Callback, history: History) -> Iterator[History]:
    """The history after each epoch, with what it has measured in its steps."""
    measured: History = {}
    for epoch in range(1, EPOCHS + 1):
        for number in range(1, STEPS + 1):
            callback.on_step(_step(epoch, number))
        for name, value in callback.measured().items():
            measured.setdefault(name, []).append(value)
        yield {name: values[:epoch] for name, values in (history | measured).items()}


def verdicts(callback: Callback, history: History, quantities: Mapping[str, bool]) -> list[object]:
    """What it returns after each epoch of a training."""
    begin(callback, quantities)
    return [callback.after_epoch(seen) for seen in epochs(callback, history)]


def check_verdicts(callback: Callback, quantities: Mapping[str, bool]) -> None:
    """After each epoch, the first one too, it returns text: why the training should end, or ""."""
    for history in histories(quantities):
        for epoch, verdict in enumerate(verdicts(callback, history, quantities), start=1):
            if not isinstance(verdict, str):
                raise CheckError(
                    'after_epoch must return why the training should end, as text, or "" to continue; after epoch '
                    f"{epoch} it returned {verdict!r}"
                )


def check_history_unchanged(callback: Callback, quantities: Mapping[str, bool]) -> None:
    """The history and the quantities are left as they are: the registry stores them."""
    for history in histories(quantities):
        given = begin(callback, quantities)
        equal("quantities after start", given, {**quantities, **callback.quantities(_shapes())})
        for seen in epochs(callback, history):
            kept = copy.deepcopy(seen)
            callback.after_epoch(seen)
            for name in {**kept, **seen}:
                if seen.get(name) != kept.get(name):
                    raise CheckError(
                        f"after_epoch changed history[{name!r}], which the registry stores: work on a copy, such as "
                        f"list(history[{name!r}])"
                    )


def check_fresh_start(callback: Callback, quantities: Mapping[str, bool]) -> None:
    """`start` forgets earlier trainings: the same history gives the same verdicts, also when a training is resumed."""
    for history in histories(quantities):
        first = verdicts(callback, history, quantities)
        for other in histories(quantities):
            verdicts(callback, other, quantities)
        again = verdicts(callback, history, quantities)
        for epoch, (expected, given) in enumerate(zip(first, again, strict=True), start=1):
            equal(
                f"the verdict after epoch {epoch} of the same training, started again; reset the state in start",
                given,
                expected,
            )


def check_nothing_else_changed(callback: Callback, quantities: Mapping[str, bool]) -> None:
    """Components of the training, and its own configuration, stay as they are: the recipe that is stored says them."""
    text, generators = repr(callback), global_generators()
    others = {
        path: other
        for path, other in reached(callback, (Component, Sequential)).items()
        if not isinstance(other, Callback)
    }
    before = {path: snapshot(other, path) for path, other in others.items()}
    for history in histories(quantities):
        verdicts(callback, history, quantities)
    for path, other in others.items():
        if changed := changes(before[path], snapshot(other, path)):
            raise CheckError(
                f"a call changed {', '.join(changed)}, so the recorded recipe is not the one used in training; only "
                "read the history, and change the learning rate with a Schedule"
            )
    equal("repr after a training", repr(callback), text)
    if global_generators() != generators:
        raise CheckError("global random numbers were drawn, from random or np.random: every result must be repeatable")


def check_steps(callback: Callback, quantities: Mapping[str, bool]) -> None:
    """It measures a number for each quantity that it adds, in each epoch, and changes nothing of a step."""
    added = dict(callback.quantities(_shapes()))
    if not all(isinstance(name, str) and isinstance(greater, bool) for name, greater in added.items()):
        raise CheckError(f"quantities must give names, and whether greater is better of each, got {added!r}")
    if taken := [name for name in added if name in quantities]:
        raise CheckError(f"quantities adds {taken[0]!r}, which the history has anyway: give it another name")
    callback.start({**quantities, **added})
    for epoch in range(1, 3):
        for number in range(1, STEPS + 1):
            step = _step(epoch, number)
            kept = copy.deepcopy(step)
            callback.on_step(step)
            for name in ("weights", "gradients"):
                for key, array in getattr(step, name).items():
                    same_bits(
                        f"{name}[{key!r}] after on_step, which must only read it", array, getattr(kept, name)[key]
                    )
        found = dict(callback.measured())
        if found.keys() != added.keys() or not all(isinstance(value, int | float) for value in found.values()):
            raise CheckError(
                f"measured must give a number for each of {', '.join(added) or 'no quantities'}, got {found!r}"
            )


def _step(epoch: int, number: int) -> TrainingStep:
    seed = epoch * STEPS + number
    return TrainingStep(epoch, number, STEPS, 0.1, 1 / seed, 1.0, 32, _arrays(seed), _arrays(-seed))


def _shapes() -> dict[str, Shape]:
    return {name: array.shape for name, array in _arrays(0).items()}


def _arrays(seed: int) -> dict[str, Array]:
    rng = np.random.default_rng(abs(seed))
    arrays = {"dense_1.weight": rng.normal(size=(3, 4)), "dense_1.bias": rng.normal(size=4)}
    for array in arrays.values():
        array.flags.writeable = False
    return arrays


def check_after_training(callback: Callback, quantities: Mapping[str, bool]) -> None:
    """It takes the run of a training, and None for one that failed, and changes nothing of the run."""
    model = Sequential(["Dense(2)"], (3,))
    for history in histories(quantities):
        run = Run(model, history, {"loss": 0.5}, "all epochs done", recipe={"train": {"epochs": EPOCHS}}, kept_epoch=12)
        kept, state = copy.deepcopy((run.history, run.metrics, run.recipe, run.settings)), model.state()
        verdicts(callback, history, quantities)
        callback.after_training(run)
        equal("the run after after_training", (run.history, run.metrics, run.recipe, run.settings), kept)
        for name, array in model.state().items():
            same_bits(f"{name} of the trained model after after_training", array, state[name])
        begin(callback, quantities)
        callback.after_training(None)


def check_missing_quantities(callback: Callback, quantities: Mapping[str, bool]) -> None:
    """`start` reports what the history will lack, before the first epoch."""
    fewer = {name: quantities[name] for name in quantities if name in ("loss", "lr", "seconds")}
    try:
        begin(callback, fewer)
    except CnnkitError:
        return
    for seen in epochs(callback, histories(fewer)[0]):
        try:
            callback.after_epoch(seen)
        except Exception as error:
            raise CheckError(
                f"with a history of {', '.join(fewer)} alone, after_epoch raises {type(error).__name__}: {error}; "
                "raise ConfigError in start if something is missing among the quantities"
            ) from error


def check_repr(callback: Callback, quantities: Mapping[str, bool]) -> None:
    """`repr` is the expression that recreates the callback."""
    again = check_expression("callback", callback)
    if again is not None:
        for history in histories(quantities):
            made = verdicts(cast("Callback", again), history, quantities)
            equal("verdicts of what repr makes", made, verdicts(callback, history, quantities))


CHECKS: Mapping[str, Callable[[Callback, Mapping[str, bool]], None]] = {
    "steps": check_steps,
    "verdicts": check_verdicts,
    "history unchanged": check_history_unchanged,
    "fresh start": check_fresh_start,
    "nothing else changed": check_nothing_else_changed,
    "after training": check_after_training,
    "missing quantities": check_missing_quantities,
    "repr": check_repr,
}
"""By name, in the order in which they run."""
