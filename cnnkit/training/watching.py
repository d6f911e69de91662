"""What callbacks see of the steps of a training, and what they add to its history."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from numbers import Real
from typing import Any

from cnnkit.components import Callback
from cnnkit.components.error_naming import Naming
from cnnkit.errors import ComponentError, ConfigError
from cnnkit.network import Network, Session, Sums
from cnnkit.training.history_recording import MAX_RECORDED
from cnnkit.types import Array, TrainingStep


def added_to(quantities: Mapping[str, bool], added: Mapping[str, bool], epochs: int) -> Mapping[str, bool]:
    """What callbacks add. Raises ConfigError for what the history has anyway, and for more numbers than it can keep."""
    if (numbers := len(added) * epochs) > MAX_RECORDED:
        raise ConfigError(
            f"callbacks may add {MAX_RECORDED:,} numbers to the history in all, {len(added):,} in each of {epochs:,} "
            f"epochs are {numbers:,}: train for fewer epochs, or without these callbacks"
        )
    if doubled := sorted(quantities.keys() & added.keys()):
        raise ConfigError(f"a callback adds {doubled[0]!r} to the history, which has it anyway: give it another name")
    return added


class Watchers:
    """The callbacks of one training, towards its steps and its history.

    Raises ConfigError for a quantity that two of them add.
    """

    def __init__(self, callbacks: Sequence[Callback], model: Network) -> None:
        self._parameters = model.parameters
        self._names = [f"{model.nodes[entry.node].name}.{entry.name}" for entry in model.parameters]
        self._watching = [one for one in callbacks if type(one).on_step is not Callback.on_step]
        self._added: list[tuple[Callback, Mapping[str, bool]]] = []
        self.quantities: dict[str, bool] = {}
        """What they add to the history."""
        shapes = {name: entry.shape for name, entry in zip(self._names, model.parameters, strict=True)}
        for callback in callbacks:
            with Naming(callback):
                added = dict(callback.quantities(dict(shapes)))
            if doubled := sorted(self.quantities.keys() & added.keys()):
                raise ConfigError(f"{callback!r} adds {doubled[0]!r} to the history, and so does another callback")
            self.quantities |= added
            self._added.append((callback, added))

    def step(self, session: Session, sums: Sums, norm: float, lr: float, at: tuple[int, int, int]) -> None:
        """Show them a step, before its update; at: epoch, step of it, both from 1, and steps in it."""
        if not self._watching:
            return
        weights, gradients = self._views(self._parameters.vector), self._views(session.gradient)
        epoch, number, steps = at
        step = TrainingStep(epoch, number, steps, lr, sums.loss / sums.count, norm, sums.count, weights, gradients)
        for callback in self._watching:
            with Naming(callback):
                callback.on_step(step)

    def values(self) -> dict[str, float]:
        """What they have measured in an epoch. Raises ComponentError unless it is a number for each quantity."""
        found: dict[str, float] = {}
        for callback, added in self._added:
            with Naming(callback):
                given: Any = callback.measured()
            if (
                not isinstance(given, Mapping)
                or given.keys() != added.keys()
                or not all(isinstance(value, Real) for value in given.values())
            ):
                raise ComponentError(
                    f"the callback {callback!r} must return a number for each of its quantities, "
                    f"{', '.join(added) or 'of which it names none'}, from measured; it returned {given!r:.200}"
                )
            found |= {name: float(given[name]) for name in added}
        return found

    def _views(self, vector: Array) -> dict[str, Array]:
        views = {}
        for name, entry in zip(self._names, self._parameters, strict=True):
            views[name] = self._parameters.view(vector, entry)
            views[name].flags.writeable = False
        return views
