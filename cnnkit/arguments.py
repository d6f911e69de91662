"""Arguments that a class does not take: which one was meant, wherever an object is made."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Self

from cnnkit.errors import ConfigError
from cnnkit.wording import did_you_mean

LEARNING_RATE = 'the learning rate is an argument of the optimizer, as in optimizer="Adam(0.01)"'
ELSEWHERE = {
    ("Trainer", "lr"): LEARNING_RATE,
    ("Trainer", "learning_rate"): LEARNING_RATE,
    ("", "activation"): "an activation is a layer of its own: put one such as ReLU() after it",
    ("", "learning_rate"): "did you mean lr?",
    ("", "in_channels"): "inputs are known from the layer before: remove it",
    ("", "in_features"): "inputs are known from the layer before: remove it",
    ("", "out_channels"): "did you mean filters?",
    ("", "decay"): "did you mean weight_decay?",
    ("", "wd"): "did you mean weight_decay?",
}
"""What other libraries call arguments, by class, "" for any, and name."""


class Configured:
    """What is made from arguments, of which those that are missing or not taken are told in the words of its class."""

    def __new__(cls, *args: Any, **kwargs: Any) -> Self:
        """Raise ConfigError for arguments that `__init__` does not take, and for those that it needs."""
        refuse_unfitting(cls, args, kwargs)
        return super().__new__(cls)

    def __reduce__(self) -> tuple[Any, ...]:
        """Copies are made without arguments."""
        return _blank, (type(self),), self.__getstate__()


def _blank(cls: type) -> Any:
    return object.__new__(cls)


def signature(cls: type) -> inspect.Signature:
    """What an object is configured with: the arguments of its class's `__init__`."""
    return _without_self(cls.__init__)  # type: ignore[misc]  # that of a derived class may differ: it is what is asked


@functools.lru_cache(maxsize=1024)
def _without_self(method: Callable[..., None]) -> inspect.Signature:
    parameters = list(inspect.signature(method).parameters.values())
    return inspect.Signature(parameters[1:])


def shown(cls: type) -> str:
    """How an object is made, such as "Dense(units, bias=True)"."""
    accepted = signature(cls)
    plain = [parameter.replace(annotation=parameter.empty) for parameter in accepted.parameters.values()]
    return f"{cls.__name__}{accepted.replace(parameters=plain)}"


def refuse_unfitting(cls: type, args: Sequence[Any], kwargs: Mapping[str, Any]) -> None:
    """Raise ConfigError for arguments from which a class makes no object, saying what it takes."""
    refuse_unknown(cls, kwargs)
    try:
        signature(cls).bind(*args, **kwargs)
    except TypeError as error:
        raise ConfigError(f"{cls.__name__}: {error}; expected {shown(cls)}") from None


def refuse_unknown(cls: type, given: Iterable[str]) -> None:
    """Raise ConfigError for the first name that is no argument of a class, saying which one was probably meant."""
    parameters = signature(cls).parameters.values()
    if any(one.kind is one.VAR_KEYWORD for one in parameters):
        return
    known = [one.name for one in parameters if one.kind in (one.POSITIONAL_OR_KEYWORD, one.KEYWORD_ONLY)]
    for name in given:
        if name not in known:
            raise ConfigError(f"{cls.__name__} has no argument {name}{_meant(cls, name, known)}")


def _meant(cls: type, name: str, known: list[str]) -> str:
    elsewhere = ELSEWHERE.get((cls.__name__, name)) or ELSEWHERE.get(("", name), "")
    if elsewhere.startswith("did you mean ") and elsewhere[13:-1] not in known:
        elsewhere = ""
    hint = elsewhere or did_you_mean(name, known, 1)
    return f": {hint}" if hint else f": it takes {', '.join(known) or 'none'}"
