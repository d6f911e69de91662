"""Short codes of networks: `c16pc8` is a convolution with 16 filters, a pooling, and a convolution with 8 filters.

code = one or more of:
    c<filters>  a 3x3 convolution with so many filters, and a ReLU
    p           a 2x2 max pooling
Behind them, every network has a dense layer with one output for each class; `layers_of` leaves it to its caller, who
knows the classes.
"""

from __future__ import annotations

import re

from cnnkit.errors import ConfigError

MAX_LENGTH = 200
_PART = re.compile(r"p|c(?P<filters>[1-9][0-9]{0,5})(?![0-9])", re.ASCII)


def layers_of(code: str) -> list[str]:
    """The layers that a code means, as expressions. Raises ConfigError with the position of a mistake."""
    if len(code) > MAX_LENGTH:
        raise ConfigError(f"a code may have at most {MAX_LENGTH} characters, this one has {len(code):,}")
    layers: list[str] = []
    at = 0
    while at < len(code) or not layers:
        match = _PART.match(code, at)
        if not match:
            raise ConfigError(f"cannot read the code {code!r} at position {at + 1}: expected {_expected(code[at:])}")
        layers += [f"Conv2D({match['filters']}, 3)", "ReLU()"] if match["filters"] else ["MaxPool2D(2)"]
        at = match.end()
    return layers


def _expected(rest: str) -> str:
    """What should stand at the beginning of this, and what does."""
    found = repr(rest[:8]) if rest else "nothing"
    if rest.startswith("c"):
        return f"c with the number of its filters, 1 to 999,999, such as c16, found {found}"
    return f"c16 for a convolution or p for a pooling, found {found}"
