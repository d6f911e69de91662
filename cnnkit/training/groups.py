"""Groups of parameters: from patterns of names to what is frozen, moved at another rate, or decayed less."""

from __future__ import annotations

from collections.abc import Iterable
from fnmatch import fnmatchcase

from cnnkit.errors import ConfigError
from cnnkit.layers import WeightStandardization
from cnnkit.layers.reparametrised import DIRECTION, LENGTH, WEIGHT, is_reparametrised
from cnnkit.network import Constraint, Groups, Network, Node
from cnnkit.option_values import pattern_number
from cnnkit.training.constraints import max_norm, non_negative, unit_norm
from cnnkit.training_options import TrainingOptions

UNDECAYED = ("beta", "bias", "gamma")
"""Names of shifts and scales."""


def groups_of(model: Network, options: TrainingOptions) -> Groups:
    """The groups that the options name.

    A pattern that matches the name of a layer holds for all of its parameters, one such as "*.bias" for those alone. Of
    several that match, the last one holds; freezing holds over rates, and patterns over the switch of the decay.
    Penalties and constraints of a layer are for its weights: for biases, and for what scales channels, only by their
    own names. Norms of WeightNorm's weights are those that it trains.
    Raises ConfigError for a pattern that nothing has, for rules that would have no effect, for weights of the norm 1 of
    which a mean is taken, and if no parameter is left to train.
    """
    rates = _factors(model, "layer_rates", (pattern_number("layer_rates", one) for one in options.layer_rates or ()))
    rates |= _factors(model, "freeze", ((pattern, 0.0) for pattern in options.freeze or ()))
    if rates and all(rates.get((node.index, name)) == 0 for node, name in _parameters(model)):
        raise ConfigError("freeze: every layer with parameters is frozen, so there is nothing to train")
    decays = dict.fromkeys(_undecayed(model), 0.0) if options.decay == "weights" else {}
    decayed = (pattern_number("layer_decays", one) for one in options.layer_decays or ())
    decays |= _factors(model, "layer_decays", decayed)
    if decays and not getattr(options.optimizer, "weight_decay", 0):
        raise ConfigError(
            f"{'decay' if options.decay else 'layer_decays'} has no effect: {options.optimizer!r} has no weight decay; "
            "give it one, such as AdamW(weight_decay=0.01), or leave the option out"
        )
    penalties = _penalties(model, options)
    constraints = _constraints(model, options)
    frozen = {node.index for node in model.nodes for pattern in options.freeze or () if fnmatchcase(node.name, pattern)}
    return Groups(rates, decays, frozenset(frozen), penalties, constraints)


def _factors(model: Network, key: str, given: Iterable[tuple[str, float]]) -> dict[tuple[int, str], float]:
    factors: dict[tuple[int, str], float] = {}
    for pattern, factor in given:
        found = [
            (node.index, name)
            for node, name in _parameters(model)
            if fnmatchcase(node.name, pattern) or fnmatchcase(f"{node.name}.{name}", pattern)
        ]
        if not found and not any(fnmatchcase(node.name, pattern) for node in model.nodes):
            raise _unknown(model, key, pattern)
        factors |= dict.fromkeys(found, factor)
    return factors


def _of_weights(model: Network, key: str, given: Iterable[tuple[str, float]]) -> dict[tuple[int, str], float]:
    """Numbers by pattern, of which one of a layer's name is for its weights alone."""
    numbers: dict[tuple[int, str], float] = {}
    small = set(_undecayed(model))
    for pattern, number in given:
        found = [
            (node.index, _effective(node, key, name))
            for node, name in _parameters(model)
            if ("." in pattern and fnmatchcase(f"{node.name}.{name}", pattern))
            or (fnmatchcase(node.name, pattern) and (node.index, name) not in small)
        ]
        if not found:
            raise _unknown(model, key, pattern)
        numbers |= dict.fromkeys(found, number)
    return numbers


def _effective(node: Node, key: str, name: str) -> str:
    """The parameter by which a rule for this one changes the weights that a layer computes with.

    Of WeightNorm the norms of units are parameters of their own. Raises ConfigError where a rule has no effect.
    """
    layer = node.layer
    if not is_reparametrised(layer) or name not in (WEIGHT, DIRECTION, LENGTH):
        return name
    if isinstance(layer, WeightStandardization) or is_reparametrised(layer.layer):
        raise ConfigError(
            f"{key} has no effect on {node.name}: WeightStandardization gives the weights of each unit mean 0 and "
            f"variance 1, whatever {name} is; name other layers"
        )
    if name == LENGTH or key in ("max_norm", "unit_norm"):
        return LENGTH
    raise ConfigError(
        f"{key} does not reach the weights that {node.name} computes with: of {name} WeightNorm takes the direction "
        f"alone, and their norms from {LENGTH}; name '{node.name}.{LENGTH}' for these, or other layers"
    )


def _penalties(model: Network, options: TrainingOptions) -> dict[tuple[int, str], tuple[float, float]]:
    l1 = _of_weights(model, "l1", (pattern_number("l1", one) for one in options.l1 or ()))
    l2 = _of_weights(model, "l2", (pattern_number("l2", one) for one in options.l2 or ()))
    return {place: (l1.get(place, 0.0), l2.get(place, 0.0)) for place in l1 | l2}


def _constraints(model: Network, options: TrainingOptions) -> dict[tuple[int, str], list[Constraint]]:
    """What parameters are held to, in the order in which it is done."""
    if options.unit_norm and options.averages:
        raise ConfigError(
            "unit_norm and a mean of weights do not go together: the mean of several weights of the norm 1 has a "
            "smaller one; leave one of them out"
        )
    signs = _of_weights(model, "non_negative", ((one, 0.0) for one in options.non_negative or ()))
    units = _of_weights(model, "unit_norm", ((one, 1.0) for one in options.unit_norm or ()))
    limits = _of_weights(model, "max_norm", (pattern_number("max_norm", one) for one in options.max_norm or ()))
    found: dict[tuple[int, str], list[Constraint]] = {}
    for node, name in _parameters(model):
        place = node.index, name
        held: list[Constraint] = [non_negative] if place in signs else []
        held += [unit_norm(node.layer, name)] if place in units else []
        held += [max_norm(node.layer, name, limits[place])] if place in limits else []
        if held:
            found[place] = held
    return found


def _unknown(model: Network, key: str, pattern: str) -> ConfigError:
    names = ", ".join(dict.fromkeys(node.name for node, _ in _parameters(model)))
    return ConfigError(f"{key}: no layer is named {pattern!r}; those with parameters are {names:.500}")


def _parameters(model: Network) -> list[tuple[Node, str]]:
    return [(node, name) for node in model.nodes for name in node.layer.params]


def _undecayed(model: Network) -> list[tuple[int, str]]:
    """Biases, and the scales and shifts of normalisations: to shrink them does not make a network simpler."""
    return [
        (node.index, name) for node, name in _parameters(model) if name in UNDECAYED or node.layer.params[name].ndim < 2
    ]
