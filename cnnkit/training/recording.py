"""Recording arrays through the epochs of a training, number by number in its history."""

from __future__ import annotations

from collections.abc import Sequence

from cnnkit.errors import ConfigError
from cnnkit.network import Sequential

MOST = 20_000
"""Numbers of an epoch; each becomes a text of some 20 bytes in the model's file."""


class Recorder:
    """The numbers of some of a model's arrays, as quantities of the history: `conv2d_1.weight[0]`, row by row.

    arrays: their names, as in `model.state()`. Raises ConfigError for a name that is none of them, and for more than
    20,000 numbers in all.
    """

    def __init__(self, model: Sequential, arrays: Sequence[str]) -> None:
        self._model, self._arrays = model, arrays
        sizes = {name: array.size for name, array in model.state().items()} if arrays else {}
        if unknown := [name for name in arrays if name not in sizes]:
            raise ConfigError(f"record: expected names among {', '.join(sizes)}; got {', '.join(map(repr, unknown))}")
        if (numbers := sum(sizes[name] for name in arrays)) > MOST:
            raise ConfigError(
                f"record: expected arrays of at most {MOST:,} numbers in all, {', '.join(arrays)} have {numbers:,}: "
                "record smaller ones, such as the kernels of the first layer"
            )

    def values(self) -> dict[str, float]:
        """The numbers as they are now."""
        if not self._arrays:
            return {}
        state = self._model.state()
        return {
            f"{name}[{index}]": value
            for name in self._arrays
            for index, value in enumerate(state[name].ravel().tolist())
        }
