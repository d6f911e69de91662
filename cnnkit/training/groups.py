"""Groups of parameters: from patterns of names to what is frozen, moved at another rate, or decayed less."""

from __future__ import annotations

from collections.abc import Iterable
from fnmatch import fnmatchcase

from cnnkit.errors import ConfigError
from cnnkit.network import Groups, Network, Node
from cnnkit.training_options import TrainingOptions, pattern_factor

UNDECAYED = ("beta", "bias", "gamma")
"""Names of shifts and scales."""


def groups_of(model: Network, options: TrainingOptions) -> Groups:
    """The groups that the options name.

    A pattern that matches the name of a layer holds for all of its parameters, one such as "*.bias" for those alone. Of
    several that match, the last one holds; freezing holds over rates, and patterns over the switch of the decay.
    Raises ConfigError for a pattern that nothing has, and if no parameter is left to train.
    """
    rates = _factors(model, "layer_rates", (pattern_factor("layer_rates", one) for one in options.layer_rates or ()))
    rates |= _factors(model, "freeze", ((pattern, 0.0) for pattern in options.freeze or ()))
    if rates and all(rates.get((node.index, name)) == 0 for node, name in _parameters(model)):
        raise ConfigError("freeze: every layer with parameters is frozen, so there is nothing to train")
    decays = dict.fromkeys(_undecayed(model), 0.0) if options.decay == "weights" else {}
    decayed = (pattern_factor("layer_decays", one) for one in options.layer_decays or ())
    decays |= _factors(model, "layer_decays", decayed)
    if decays and not getattr(options.optimizer, "weight_decay", 0):
        raise ConfigError(
            f"{'decay' if options.decay else 'layer_decays'} has no effect: {options.optimizer!r} has no weight decay; "
            "give it one, such as AdamW(weight_decay=0.01), or leave the option out"
        )
    frozen = {node.index for node in model.nodes for pattern in options.freeze or () if fnmatchcase(node.name, pattern)}
    return Groups(rates, decays, frozenset(frozen))


def _factors(model: Network, key: str, given: Iterable[tuple[str, float]]) -> dict[tuple[int, str], float]:
    factors: dict[tuple[int, str], float] = {}
    for pattern, factor in given:
        found = [
            (node.index, name)
            for node, name in _parameters(model)
            if fnmatchcase(node.name, pattern) or fnmatchcase(f"{node.name}.{name}", pattern)
        ]
        if not found and not any(fnmatchcase(node.name, pattern) for node in model.nodes):
            names = ", ".join(dict.fromkeys(node.name for node, _ in _parameters(model)))
            raise ConfigError(f"{key}: no layer is named {pattern!r}; those with parameters are {names:.500}")
        factors |= dict.fromkeys(found, factor)
    return factors


def _parameters(model: Network) -> list[tuple[Node, str]]:
    return [(node, name) for node in model.nodes for name in node.layer.params]


def _undecayed(model: Network) -> list[tuple[int, str]]:
    """Biases, and the scales and shifts of normalisations: to shrink them does not make a network simpler."""
    return [
        (node.index, name) for node, name in _parameters(model) if name in UNDECAYED or node.layer.params[name].ndim < 2
    ]
