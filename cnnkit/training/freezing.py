"""Which layers a training freezes, or moves at another rate: from patterns of names to nodes."""

from __future__ import annotations

from fnmatch import fnmatchcase

from cnnkit.errors import ConfigError
from cnnkit.network import Network
from cnnkit.training_options import TrainingOptions, rate_factor


def factors_of(model: Network, options: TrainingOptions) -> dict[int, float]:
    """By the index of the node, what the learning rate of a layer is multiplied with; 0 for one that is frozen.

    Of several patterns that match, the last one holds, and freezing holds over rates. Raises ConfigError for a pattern
    that no layer has, and if no parameter is left to train.
    """
    factors: dict[int, float] = {}
    rated = map(rate_factor, options.layer_rates or ())
    for key, pattern, factor in (
        *(("layer_rates", *one) for one in rated),
        *(("freeze", pattern, 0.0) for pattern in options.freeze or ()),
    ):
        found = [node.index for node in model.nodes if fnmatchcase(node.name, pattern)]
        if not found:
            names = ", ".join(node.name for node in model.nodes if node.layer.params)
            raise ConfigError(f"{key}: no layer is named {pattern!r}; those with parameters are {names:.500}")
        factors |= dict.fromkeys(found, factor)
    if factors and all(factors.get(node.index) == 0 for node in model.nodes if node.layer.params):
        raise ConfigError("freeze: every layer with parameters is frozen, so there is nothing to train")
    return factors
