"""Whether an optimizer moves the parameters at all: one that writes `params = params - step` does not."""

from __future__ import annotations

import hashlib

import numpy as np

from cnnkit.errors import ComponentError
from cnnkit.network import Session
from cnnkit.wording import counted

ENOUGH, ENOUGH_GATHERED = 10, 1000
"""Updates after which something must have moved; the second where the state remembers something: such a rule may
gather the gradients of many batches before it moves."""


class Movement:
    """Compares the parameters at the end of an epoch with those at the beginning, until they have moved."""

    def __init__(self, session: Session) -> None:
        self._optimizer, self._state = session.optimizer, session.state
        self._parameters = session.engine.parameters
        self._start = self._digest()
        self._moved = False
        self._updates, self._longest = 0, 0.0

    def step(self, length: float) -> None:
        """Note an update; length: the Euclidean norm of the step that plain gradient descent would take."""
        self._updates += 1
        self._longest = max(self._longest, length)

    def check(self, *, at_the_end: bool) -> None:
        """Look at the end of an epoch; at_the_end: of a whole training, so that few updates are enough, too.

        Raises ComponentError if nothing has moved, although plain gradient descent would have changed some number: a
        step that changes none, with |step_i| <= epsilon * |p_i| for all i, is not longer than epsilon * |p|.
        """
        if self._moved or not (at_the_end or self._updates >= ENOUGH):
            return
        vector = self._parameters.vector
        self._moved = self._digest() != self._start
        if self._moved or self._longest <= np.finfo(vector.dtype).eps * np.linalg.norm(vector.astype(np.float64)):
            return
        gathers = any(gathered.any() for gathered in self._state.values())
        if gathers and not at_the_end and self._updates < ENOUGH_GATHERED:
            return
        hint = ", and a rule that gathers the gradients of several batches must move before the end" if gathers else ""
        raise ComponentError(
            f"the optimizer {self._optimizer!r} has changed no parameter in "
            f"{counted(self._updates, 'update')}, although there was a gradient: change params in place, as "
            f"params -= step does; params = params - step only gives the name to another array{hint}"
        )

    def _digest(self) -> bytes:
        """Takes no memory, as a copy of the parameters would."""
        return hashlib.blake2b(self._parameters.vector.data).digest()
