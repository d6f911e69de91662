"""Random configurations of a component, made from its own examples: what they say of arguments, inputs and targets."""

from __future__ import annotations

import inspect
import math
import typing
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from cnnkit.arguments import signature
from cnnkit.components import Component, installed_catalog
from cnnkit.components.expressions import Call, parse
from cnnkit.errors import CheckError, ConfigError, ShapeError
from cnnkit.types import Example, Shape

MOST_DRAWS = 60
"""How often a configuration is drawn again, on average, before the examples are found too poor."""
MOST_NUMBERS = 400
"""Of one input, so that all checks are fast, and finite differences exact."""
KEPT, RECOMBINED = 0.5, 0.75
"""An argument keeps its example's value with the first probability, and else, up to the second, has another one's."""

Rng = np.random.Generator


@dataclass(frozen=True)
class Configuration:
    """A component that was drawn, with an input that it takes."""

    component: Component
    in_shape: Shape
    example: Example
    """The one whose input and targets it has, of another size."""
    arguments: dict[str, Any]
    """By name, as they were drawn; those of `*args` as a tuple."""

    def __str__(self) -> str:
        where = f" on {self.in_shape}" if self.in_shape else ""
        return f"{self.component!r}{where}{f', targets are {self.example.targets}' if self.example.targets else ''}"


@dataclass(frozen=True)
class Drawn:
    """The configurations that were accepted."""

    found: tuple[Configuration, ...]
    refused: int
    """How many others said ConfigError or ShapeError."""


def example_configurations(cls: type[Component], examples: Sequence[Example]) -> tuple[Configuration, ...]:
    """The examples as they are."""
    record = _Record(cls, examples)
    return tuple(Configuration(record.make(given), one.in_shape, one, given) for one, given in record.examples)


def random_configurations(
    cls: type[Component],
    examples: Sequence[Example],
    count: int,
    accepts: Callable[[Any, Configuration], object],
    seed: int = 0,
) -> Drawn:
    """Configurations that differ, in expression or input, the same for each seed.

    An argument has the value of one of the examples, or one near it; an input the sizes of one, or some near them.
    What raises ConfigError or ShapeError, when it is made or in `accepts(component, configuration)`, is drawn again.
    Raises CheckError if too few are accepted, and whatever else a component raises.
    """
    rng, record = np.random.default_rng(seed), _Record(cls, examples)
    found: dict[tuple[str, Shape, str], Configuration] = {}
    refused = 0
    for _ in range(MOST_DRAWS * count):
        if len(found) == count:
            break
        example, arguments = record.draw(rng)
        in_shape = _near_shape(rng, example.in_shape)
        try:
            component = record.make(arguments)
            one = Configuration(component, in_shape, example, arguments)
            key = (repr(component), in_shape, example.targets)
            if key not in found:
                accepts(component, one)
                found[key] = one
        except (ConfigError, ShapeError):
            refused += 1
        except Exception as error:
            error.add_note(f"in the random configuration {cls.__name__} with {arguments} on {in_shape}")
            raise
    # A component with few arguments may have no more configurations than this.
    if len(found) < count and (refused > len(found) or not found):
        raise CheckError(
            f"{cls.__name__}: of {MOST_DRAWS * count:,} random configurations {len(found)} were accepted and differ, "
            f"expected {count}: give it examples whose arguments and inputs fit together in more ways"
        )
    return Drawn(tuple(found.values()), refused)


class _Record:
    """What the examples of a class say of its arguments."""

    def __init__(self, cls: type[Component], examples: Sequence[Example]) -> None:
        if not examples:
            raise CheckError(f"{cls.__name__} has no examples, of which random configurations could be made")
        self._cls, self._parameters = cls, signature(cls).parameters
        self.examples = [(one, self._named(parse(one.expression))) for one in examples]
        self._seen = {name: self._values(name) for name in self._parameters}
        self._hints = _hints(cls)
        self._takes_pairs = {name for name, hint in self._hints.items() if _is_pair(hint)}

    def draw(self, rng: Rng) -> tuple[Example, dict[str, Any]]:
        """One of the examples, and arguments near its own."""
        example, own = self.examples[rng.integers(len(self.examples))]
        return example, self.vary(rng, own)

    def vary(self, rng: Rng, own: dict[str, Any]) -> dict[str, Any]:
        """Some of the arguments with other values."""
        return {name: self._another(rng, name, own) for name in self._parameters}

    def make(self, arguments: dict[str, Any]) -> Component:
        """The component with these arguments, each given by name where that is possible."""
        args: list[Any] = []
        kwargs: dict[str, Any] = {}
        for name, parameter in self._parameters.items():
            value = made(self._kind(name), arguments[name])
            if parameter.kind is parameter.VAR_POSITIONAL:
                args += value
            elif parameter.kind is parameter.POSITIONAL_OR_KEYWORD and self._has_rest:
                args.append(value)
            else:
                kwargs[name] = value
        return self._cls(*args, **kwargs)

    def _kind(self, name: str) -> str:
        """Of the components that an argument may be, or have."""
        return self._cls.argument_kinds.get(name, self._cls.kind)

    @property
    def _has_rest(self) -> bool:
        return any(one.kind is one.VAR_POSITIONAL for one in self._parameters.values())

    def _named(self, call: Call) -> dict[str, Any]:
        bound = inspect.Signature(list(self._parameters.values())).bind(*call.args, **call.kwargs)
        bound.apply_defaults()
        return dict(bound.arguments)

    def _values(self, name: str) -> list[Any]:
        """All different ones of the examples, and the default."""
        values = [arguments[name] for _, arguments in self.examples]
        default = self._parameters[name].default
        values += [] if default is inspect.Parameter.empty else [default]
        return list({repr(value): value for value in values}.values())

    def _another(self, rng: Rng, name: str, own: dict[str, Any]) -> Any:
        choice = rng.random()
        if choice < KEPT:
            return own[name]
        seen = self._seen[name]
        value = seen[rng.integers(len(seen))]
        if self._hints.get(name) is float and isinstance(value, int) and not isinstance(value, bool):
            value = float(value)
        return value if choice < RECOMBINED else self._near(rng, value, self._kind(name), name in self._takes_pairs)

    def _near(self, rng: Rng, value: Any, kind: str, as_pair: bool = False) -> Any:
        """Another value of the same type, in the neighbourhood; where pairs are taken, a number may become one."""
        match value:
            case bool():
                return bool(rng.integers(2))
            case int() if as_pair and rng.random() < 0.5:
                return self._near(rng, value, kind), self._near(rng, value, kind)
            case int():
                return value + int(rng.integers(-2, 4))
            case float():
                return float(f"{value * rng.uniform(0.5, 1.5):.4g}")
            case tuple() | list() if len(value) > 2 and all(isinstance(one, float) for one in value):
                return value  # coefficients, which fit together
            case tuple():
                return tuple(self._near(rng, one, kind) for one in value)
            case list():
                return [self._near(rng, one, kind) for one in value]
            case Call():
                return self._near_call(rng, value, kind)
        return value

    def _near_call(self, rng: Rng, call: Call, kind: str) -> Call:
        """A component among the arguments, with others of its own; one of several components stays as it is."""
        cls = installed_catalog().find(kind, call.name)
        examples: tuple[Example, ...] = getattr(cls, "examples", ())
        if not examples:
            return call
        record = _Record(cls, examples)
        return call if record._has_rest else Call(call.name, (), record.vary(rng, record._named(call)))


def made(kind: str, value: Any) -> Any:
    """An argument with the components in it made."""
    match value:
        case Call():
            return installed_catalog().build(kind, value)
        case list():
            return [made(kind, one) for one in value]
        case tuple():
            return tuple(made(kind, one) for one in value)
        case dict():
            return {key: made(kind, one) for key, one in value.items()}
    return value


def _near_shape(rng: Rng, shape: Shape) -> Shape:
    """Sizes near these, some of them kept, and some multiplied, as channels in groups are."""
    while True:
        sizes = []
        for size in shape:
            choice = rng.random()
            if choice < 0.4:
                sizes.append(size)
            elif choice < 0.6:
                sizes.append(size * int(rng.integers(1, 4)))
            else:
                sizes.append(max(1, size + int(rng.integers(-2, 5))))
        if math.prod(sizes) <= max(MOST_NUMBERS, math.prod(shape)):
            return tuple(sizes)


def _hints(cls: type[Component]) -> dict[str, Any]:
    return typing.get_type_hints(cls.__init__)


def _is_pair(hint: Any) -> bool:
    """Whether it is a number, or a pair of them."""
    options = typing.get_args(hint)
    return int in options and any(typing.get_origin(one) is tuple for one in options)
