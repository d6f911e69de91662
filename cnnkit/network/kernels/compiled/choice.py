"""What the environment says of compiled kernels, and having them ready."""

from __future__ import annotations

import os

from cnnkit.errors import ConfigError
from cnnkit.network.kernels.compiled import machine_code
from cnnkit.waiting_line import waiting

VARIABLE = "CNNKIT_KERNELS"
CHOICES = "auto", "numpy", "compiled"


def by_environment() -> str:
    """One of `CHOICES`. Raises ConfigError for another word."""
    given = os.environ.get(VARIABLE) or "auto"
    if given not in CHOICES:
        raise ConfigError(f"{VARIABLE} is {given!r:.80}; expected one of {', '.join(CHOICES)}")
    return given


def require() -> None:
    """Have the compiled kernels ready, compiling them now if need be. Raises ConfigError, saying why they are not."""
    try:
        if not machine_code.is_ready():
            with waiting("compiling the kernels"):
                machine_code.make()
        machine_code.functions()
    except machine_code.MachineCodeError as error:
        raise ConfigError(f"there are no compiled kernels: {error}") from error


def predicts_compiled() -> bool:
    """Whether predictions use them: only where the environment says so, for a prediction records nothing."""
    if by_environment() != "compiled":
        return False
    require()
    return True
