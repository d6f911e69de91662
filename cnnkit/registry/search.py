"""Conditions on versions, such as `accuracy>0.98 and dataset=mnist`.

A condition is a field, an operator and a value; `and` joins several. A value with spaces may stand in quotes.

Fields: name, version, created, dataset, seed, epochs, parameters, a metric by its name, tag.KEY, and a key of the
recipe, such as train.optimizer. A dataset is also met by its name in lower case without the parentheses.
Operators: = != < <= > >=, and ~ for "contains" in upper or lower case. Numbers are compared as numbers, everything else
as text, also times: created>=2026-03. A missing field matches only `!=`.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from cnnkit.errors import ConfigError
from cnnkit.registry.records import Entry
from cnnkit.registry.references import choices

FIXED = ("name", "version", "created", "dataset", "seed", "epochs", "parameters")
TAG = "tag."
OPERATORS: dict[str, Callable[[Any, Any], bool]] = {
    "=": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
    "~": lambda found, wanted: str(wanted).lower() in str(found).lower(),
}
_CONDITION = re.compile(
    r"""\s*(?P<field>[A-Za-z_][\w.-]*)\s*(?P<operator>!=|<=|>=|=|<|>|~)\s*(?P<value>"[^"]*"|'[^']*'|[^=].*?)"""
    r"""(?:\s+and\s+(?=\S)|\s*\Z)""",
    re.DOTALL,
)


@dataclass(frozen=True)
class Condition:
    """One condition that a version must meet."""

    field: str
    operator: str
    value: str

    def holds(self, entry: Entry) -> bool:
        """Whether a version meets it. Raises ConfigError if its value is a number and the condition's is none."""
        found = field_of(entry, self.field)
        if found is None:
            return self.operator == "!="
        if self.field == "dataset" and self.operator in ("=", "!="):
            return (self.value in (found, _short(str(found)))) == (self.operator == "=")
        if isinstance(found, int | float) and not isinstance(found, bool) and self.operator != "~":
            return OPERATORS[self.operator](found, self._number())
        return OPERATORS[self.operator](_text(found), self.value)

    def _number(self) -> float:
        try:
            return int(self.value) if self.value.lstrip("+-").isdecimal() else float(self.value)
        except ValueError:
            raise ConfigError(
                f"the field {self.field} is a number: expected one after {self.operator}, got {self.value!r}"
            ) from None


def parse(where: str) -> list[Condition]:
    """The conditions in a text; none if it is blank. Raises ConfigError, showing the part that cannot be read."""
    conditions, start = [], 0
    while where[start:].strip():
        match = _CONDITION.match(where, start)
        if not match:
            raise ConfigError(
                f"cannot read the condition {where[start:].strip()!r}: expected a field, one of the operators "
                f"{' '.join(OPERATORS)} and a value, such as accuracy>0.98; 'and' joins several"
            )
        value = match["value"]
        conditions.append(Condition(match["field"], match["operator"], value[1:-1] if value[0] in "\"'" else value))
        start = match.end()
    return conditions


def select(entries: list[Entry], conditions: Iterable[Condition]) -> list[Entry]:
    """The versions that meet all conditions. Raises ConfigError for a field that none of them has."""
    conditions, fields = list(conditions), _fields(entries)
    for condition in conditions:
        if entries and not condition.field.startswith(TAG) and condition.field not in fields:
            raise ConfigError(f"no version has the field {condition.field!r}: {choices(condition.field, fields, '')}")
    return [entry for entry in entries if all(condition.holds(entry) for condition in conditions)]


def field_of(entry: Entry, field: str) -> object:
    """What a version has in a field; None if it has no such thing."""
    if field == "name":
        return entry.version.name
    if field == "version":
        return entry.version.number
    if field.startswith(TAG):
        return entry.tags.get(field.removeprefix(TAG))
    if entry.facts is None:
        return None
    if field in FIXED:
        return getattr(entry.facts, field)
    section, dot, key = field.partition(".")
    return entry.facts.recipe.get(section, {}).get(key) if dot else entry.facts.metrics.get(field)


def _fields(entries: Iterable[Entry]) -> set[str]:
    """All fields that some version has."""
    found = {*FIXED}
    for entry in entries:
        if entry.facts:
            found.update(entry.facts.metrics)
            found.update(f"{section}.{key}" for section, keys in entry.facts.recipe.items() for key in keys)
    return found


def _short(dataset: str) -> str:
    """`mnist` for `cnnkit:MNIST()`."""
    return dataset.partition("(")[0].rpartition(":")[2].lower()


def _text(value: object) -> str:
    match value:
        case bool():
            return str(value).lower()
        case list():
            return ", ".join(map(_text, value))
    return str(value)
