"""Search spaces: what may be chosen, and where in a recipe it goes."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cnnkit.plugin import ConfigError

FORM = "{ low = 1e-4, high = 0.1, log = true }, { low = 8, high = 64, step = 8 } or { choices = [32, 64] }"
PLACE = re.compile(r"\{(\w+)\}")


@dataclass(frozen=True)
class Space:
    """What a search may choose.

    search: by name, the range or the choices of a value; a name with a dot is a key of the recipe, such as
    "train.batch_size", and "train.lr" the learning rate of its optimizer. recipe: keys of the recipe with values that
    name others in braces, such as {"train.optimizer": "SGD({rate}, momentum={momentum})"}.
    Raises ConfigError for a range that is none, a name that goes nowhere, and a place without a name.
    """

    search: Mapping[str, Mapping[str, Any]]
    recipe: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.search:
            raise ConfigError(f"a search space needs at least one name in [search], with {FORM}")
        for name, given in self.search.items():
            _check(name, given)
        used = set(PLACE.findall(repr(self.recipe)))
        if lost := sorted(name for name in self.search if "." not in name and name not in used):
            raise ConfigError(
                f"the search space has {lost[0]!r}, which goes nowhere: write {{{lost[0]}}} in a value of [recipe], or "
                'name a key of the recipe, such as "train.batch_size"'
            )
        if unknown := sorted(used - set(self.search)):
            raise ConfigError(f"[recipe] names {{{unknown[0]}}}, and [search] has {', '.join(self.search)}")

    def draw(self, trial: Any) -> dict[str, Any]:
        """What Optuna's trial chooses, as overrides of a recipe."""
        values = {name: _drawn(trial, name, given) for name, given in self.search.items()}
        direct = {name: value for name, value in values.items() if "." in name}
        return direct | {key: _filled(value, values) for key, value in self.recipe.items()}


def read_space(path: str | Path) -> Space:
    """The search space in a TOML file, with the tables [search] and [recipe].

    Raises ConfigError for a file that cannot be read, and what `Space` raises.
    """
    try:
        tables = tomllib.loads(Path(path).read_text("utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigError(f"the search space {path} cannot be read: {error}") from None
    wrong = sorted(set(tables) - {"search", "recipe"}) + [k for k, v in tables.items() if not isinstance(v, dict)]
    if wrong:
        raise ConfigError(f"the search space {path} has {wrong[0]!r}; expected the tables [search] and [recipe]")
    return Space(tables.get("search", {}), tables.get("recipe", {}))


def _check(name: str, given: Any) -> None:
    keys = set(given) if isinstance(given, Mapping) else set()
    choices = given.get("choices") if keys == {"choices"} else None
    if isinstance(choices, list) and choices:
        return
    if {"low", "high"} <= keys <= {"low", "high", "step", "log"}:
        numbers = [given[key] for key in sorted(keys - {"log"})]
        if (
            all(isinstance(one, int | float) and not isinstance(one, bool) for one in numbers)
            and given["low"] <= given["high"]
            and given.get("step", 1) > 0
            and isinstance(given.get("log", False), bool)
            and not (given.get("log") and ("step" in keys or given["low"] <= 0))
        ):
            return
    raise ConfigError(
        f"[search] has {name} = {given!r:.200}; expected {FORM}: low up to high, a step above 0, and log only without "
        "a step and from above 0"
    )


def _drawn(trial: Any, name: str, given: Mapping[str, Any]) -> Any:
    if "choices" in given:
        # Optuna keeps choices that are text or numbers; layers are lists.
        at = trial.suggest_categorical(name, [repr(choice) for choice in given["choices"]])
        return next(choice for choice in given["choices"] if repr(choice) == at)
    options = {key: given[key] for key in ("step", "log") if key in given}
    if all(isinstance(given[key], int) for key in {"low", "high", "step"} & set(given)):
        return trial.suggest_int(name, given["low"], given["high"], **options)
    return trial.suggest_float(name, given["low"], given["high"], **options)


def _filled(value: Any, values: Mapping[str, Any]) -> Any:
    """The value with what stands in braces replaced; one that is a place alone becomes the value as it is."""
    if isinstance(value, list):
        return [_filled(one, values) for one in value]
    if not isinstance(value, str):
        return value
    if whole := PLACE.fullmatch(value):
        return values[whole[1]]
    return PLACE.sub(lambda found: str(values[found[1]]), value)
