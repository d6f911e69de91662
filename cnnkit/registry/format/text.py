"""The text inside a version: strict JSON, in which NaN and infinities have a special form."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from cnnkit.errors import RegistryError

MAX_JSON_BYTES = 16 * 2**20
"""Most bytes of one JSON text, as docs/format.md says."""
MAX_DEPTH = 32
MAX_BITS = 1024
FLOAT = "$float"
"""The one key of an object that stands for a number which JSON cannot write."""
_SPECIAL = {"nan": math.nan, "inf": math.inf, "-inf": -math.inf}


def encode(value: Any, where: str) -> bytes:
    """Write a value of JSON's kinds; NumPy numbers become numbers, tuples become lists.

    Raises RegistryError naming the place of what JSON cannot hold.
    """
    text = json.dumps(_plain(value, where, 0), ensure_ascii=False, allow_nan=False, indent=1).encode()
    if len(text) > MAX_JSON_BYTES:
        raise RegistryError(f"{where} has {len(text):,} bytes as JSON; at most {MAX_JSON_BYTES:,} can be saved")
    return text


def decode(text: bytes) -> Any:
    """Read what `encode` wrote. Raises RegistryError for anything that it cannot have written."""
    if len(text) > MAX_JSON_BYTES:
        raise RegistryError(f"its JSON has {len(text):,} bytes; at most {MAX_JSON_BYTES:,} are read")
    try:
        value = json.loads(text.decode(), **_HOOKS)
    except (ValueError, RecursionError) as error:
        raise RegistryError(f"its JSON cannot be read: {error}") from None
    return _restored(value, 0)


def _plain(value: Any, where: str, depth: int) -> Any:
    if depth > MAX_DEPTH:
        raise RegistryError(f"{where} nests deeper than {MAX_DEPTH} levels")
    if isinstance(value, np.generic):
        value = value.item()
    match value:
        case int() if value.bit_length() > MAX_BITS:
            raise RegistryError(f"{where} must be a whole number of at most {MAX_BITS} bits")
        case None | bool() | int():
            return value
        case float():
            return value if math.isfinite(value) else {FLOAT: str(value)}
        case str():
            if not _is_unicode(value):
                raise RegistryError(f"{where} must be text that UTF-8 can hold, got {value!r}")
            return value
        case list() | tuple():
            return [_plain(item, f"{where}[{i}]", depth + 1) for i, item in enumerate(value)]
        case Mapping():
            for key in value:
                if not isinstance(key, str) or key == FLOAT or not _is_unicode(key):
                    raise RegistryError(f"the keys of {where} must be text other than {FLOAT!r}, got {key!r}")
            return {key: _plain(item, f"{where}.{key}", depth + 1) for key, item in value.items()}
    raise RegistryError(
        f"{where} must be None, a bool, a number, text, or a list or dict of them, "
        f"got {type(value).__name__}: {value!r}"
    )


def _restored(value: Any, depth: int) -> Any:
    if depth > MAX_DEPTH + 1:  # one more than written: a special number is an object there
        raise RegistryError(f"its JSON nests deeper than {MAX_DEPTH} levels")
    match value:
        case str():
            if not _is_unicode(value):
                raise RegistryError("its JSON has text that UTF-8 cannot hold")
        case list():
            return [_restored(item, depth + 1) for item in value]
        case dict() if FLOAT in value:
            number = value[FLOAT]
            if len(value) != 1 or not isinstance(number, str) or number not in _SPECIAL:
                raise RegistryError(f"its JSON has a number {value!r}; expected one of {', '.join(_SPECIAL)}")
            return _SPECIAL[number]
        case dict():
            return {_restored(key, depth): _restored(item, depth + 1) for key, item in value.items()}
    return value


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        raise ValueError("an object has the same key twice")
    return result


def _constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


def _float(digits: str) -> float:
    if math.isinf(number := float(digits)):
        raise ValueError(f"{digits[:40]} is more than a float holds")
    return number


def _int(digits: str) -> int:
    if (number := int(digits)).bit_length() > MAX_BITS:
        raise ValueError(f"a whole number has more than {MAX_BITS} bits")
    return number


_HOOKS: dict[str, Any] = {
    "object_pairs_hook": _object,
    "parse_constant": _constant,
    "parse_float": _float,
    "parse_int": _int,
}
