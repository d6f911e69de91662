"""Each wrong argument of each component is refused with its name, what is allowed and what came, or holds good."""

from __future__ import annotations

from typing import Any

import pytest

from cnnkit.components import Component, Layer
from cnnkit.components.checks import one_of, whole
from cnnkit.components.value_description import shown
from cnnkit.errors import ConfigError
from cnnkit.types import Example
from tests.testing.wrong_arguments import VALUES, Silent, built_in, faults

EXAMPLE = Example("Any(3)", (4,))


@pytest.mark.parametrize("cls", built_in(), ids=lambda cls: f"{cls.kind}-{cls.__name__}")
def test_each_argument_of_each_component(cls: type[Component]) -> None:
    assert list(faults(cls)) == []


class Right(Layer):
    def __init__(self, size: int) -> None:
        self.size = whole("size", size)


class Crashes(Layer):
    def __init__(self, size: int) -> None:
        self.size = size + 1


class SaysNothing(Layer):
    def __init__(self, size: int) -> None:
        if not isinstance(size, int) or not 0 < size < 2**63:
            raise ConfigError("no")
        self.size = size


class SaysAll(Layer):
    def __init__(self, size: int) -> None:
        if not isinstance(size, int) or not 0 < size < 2**63:
            raise ConfigError(f"size must be a whole number, got {shown(size)} {[*range(200)]}")
        self.size = size


class SaysWhatIsNot(Layer):
    def __init__(self, size: int) -> None:
        if not isinstance(size, int) or not 0 < size < 2**63:
            raise ConfigError(f"size can be another one, {shown(size)} has no meaning")
        self.size = size


class Rounds(Layer):
    def __init__(self, size: float) -> None:
        self.size = int(size) if isinstance(size, float) and 0 < size < 2 else whole("size", size)


class TakesAll(Layer):
    def __init__(self, size: Any) -> None:
        self.size = size


def of(cls: type[Component]) -> str:
    return "\n".join(faults(cls, Example(f"{cls.__name__}(3)", (4,))))


def test_positive_controls() -> None:
    assert "Crashes, size is a word: TypeError: " in of(Crashes)
    said = of(SaysNothing)
    for fault in ("does not name the argument: no", "does not say what is allowed: no", "does not say what came: no"):
        assert f"SaysNothing, size is None: {fault}" in said
    assert "SaysAll, size is a word: a message of " in of(SaysAll)
    assert "SaysWhatIsNot, size is 1.5: does not say what is allowed: size can be" in of(SaysWhatIsNot)
    assert of(Rounds) == "Rounds, size is 1.5: accepted, and becomes 1"
    assert "TakesAll, size is nan: accepted, and then ExpressionError: nan cannot be written" in of(TakesAll)
    assert "TakesAll, size is a thing: accepted, and then ExpressionError: cannot read " in of(TakesAll)


def test_a_right_one_passes() -> None:
    assert of(Right) == ""


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("x" * 1000, "'" + "x" * 59 + "... (942 characters more)"),
        (10**400, "a whole number of 1,329 bits"),
        ([10**5000], "an object of the class list"),
        (Silent(), "an object of the class Silent"),
        ("a\nb", "'a\\nb'"),
        ((1, 2), "(1, 2)"),
    ],
)
def test_what_came_is_shown_whatever_it_is(value: Any, text: str) -> None:
    assert shown(value) == text


def test_a_word_that_is_none() -> None:
    with pytest.raises(ConfigError, match=r"^mode must be one of 'a', got array\(\["):
        one_of("mode", VALUES["an array"], ("a",))
