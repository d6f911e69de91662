"""Options: what may be given for an attribute, what is kept of it, and the line that documents it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Generic, TypeVar, cast, overload

Given = TypeVar("Given")
Kept = TypeVar("Kept")


class Option(Generic[Given, Kept]):
    """An option of a dataclass, declared as a field: `epochs: Option[int, int] = Option(10, check, about="...")`.

    As a descriptor it gives the arguments of the dataclass the type `Given`, and its attributes the type `Kept`; each
    value passes `check(name, value)`, which returns what is kept.
    default: what is given if nothing is; about: one sentence of documentation; expected: which values are right, as
    error messages say it; kind: of the component that an expression stands for, "" if it is none; required: whether a
    recipe must say it.
    Raises what `check` raises.
    """

    def __init__(
        self,
        default: Given,
        check: Callable[[str, Any], Kept],
        *,
        about: str,
        expected: str = "",
        kind: str = "",
        required: bool = False,
    ) -> None:
        self.default, self.check = default, check
        self.about, self.expected = about, expected
        self.kind, self.required = kind, required

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    @overload
    def __get__(self, instance: None, owner: type) -> Given: ...
    @overload
    def __get__(self, instance: object, owner: type) -> Kept: ...
    def __get__(self, instance: object | None, owner: type) -> Given | Kept:
        # A dataclass asks the class for the default.
        return self.default if instance is None else cast(Kept, instance.__dict__[self.name])

    def __set__(self, instance: object, value: Given) -> None:
        instance.__dict__[self.name] = self.check(self.name, value)

    # Static methods, not functions: whoever imports those would seem to keep attributes under computed names, and no
    # misspelt attribute of theirs would be found (`components.attributes`).

    @staticmethod
    def declared(cls: type) -> dict[str, Option[Any, Any]]:
        """The options that a class declares itself, by name, in order."""
        return {name: option for name, option in vars(cls).items() if isinstance(option, Option)}

    @staticmethod
    def documentation(cls: type) -> str:
        """A line for each option of a class and its bases: `name: about`."""
        found = [item for base in reversed(cls.__mro__) for item in Option.declared(base).items()]
        return "\n".join(f"    {name}: {option.about}" for name, option in found)
