"""What a history has: loss, metrics, and arrays that are recorded through the epochs, number by number."""

from __future__ import annotations

from collections.abc import Sequence

from cnnkit.components import CollectingMetric, Metric
from cnnkit.errors import ConfigError
from cnnkit.network import Network

MAX_RECORDED = 500_000
"""Numbers of a training; each becomes a text of some 20 bytes in a model's file, whose texts may have 16 MiB."""


PENALTY = "penalty"
"""What is added to the loss for the size of weights, which `loss` is without."""


def quantities_of(
    metrics: Sequence[Metric], recorder: Recorder, *, validated: bool, penalized: bool
) -> dict[str, bool]:
    """The names in the history of a training, and whether greater is better; some metrics are for validation alone.

    Raises ConfigError for a metric that has the name of the penalty.
    """
    all_of_them = {"loss": False} | {metric.key: metric.greater_is_better for metric in metrics}
    collected = {metric.key for metric in metrics if isinstance(metric, CollectingMetric)}
    quantities = {name: greater for name, greater in all_of_them.items() if name not in collected}
    if validated:
        quantities |= {f"validation_{name}": greater for name, greater in all_of_them.items()}
    if penalized and PENALTY in all_of_them:
        raise ConfigError(f"a metric is named {PENALTY!r}, as what l1 and l2 add to the history: give it another key")
    quantities |= {PENALTY: False} if penalized else {}
    return quantities | {"lr": True, "seconds": False} | dict.fromkeys(recorder.values(), False)


class Recorder:
    """The numbers of some of a model's arrays, as quantities of the history: `conv2d_1.weight[0]`, row by row.

    arrays: their names, as in `model.state()`. Raises ConfigError for a name that is none of them, or stands there
    twice, and for more than 500,000 numbers in all epochs together.
    """

    def __init__(self, model: Network, arrays: Sequence[str], epochs: int) -> None:
        self._model, self._arrays = model, arrays
        sizes = {name: array.size for name, array in model.state().items()} if arrays else {}
        if unknown := [name for name in arrays if name not in sizes]:
            raise ConfigError(f"record: expected names among {', '.join(sizes)}; got {', '.join(map(repr, unknown))}")
        if len(set(arrays)) < len(arrays):
            raise ConfigError(f"record: expected each name once, got {', '.join(arrays)}")
        if (numbers := sum(sizes[name] for name in arrays) * epochs) > MAX_RECORDED:
            raise ConfigError(
                f"record: expected at most {MAX_RECORDED:,} numbers in all, {', '.join(arrays)} have {numbers:,} in "
                f"{epochs:,} epochs: record smaller arrays, such as the kernels of the first layer"
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
