"""The quantities of a history: what it has of each epoch, and which way each is better."""

from __future__ import annotations

from collections.abc import Mapping

from cnnkit.errors import ConfigError

VALIDATION = "validation_"
"""How the names of what is measured on the validation samples begin."""
MONITORED = 'a quantity of the history, such as "validation_loss"'
"""What a name of one must be."""
MEMORY = "memory[MiB]"
"""What a process has in memory after an epoch."""
HOW_TO_VALIDATE = "set data.validation in the recipe, such as 0.1, or in Python give Data(train, test, validation)"


def greater_is_better(quantity: str, quantities: Mapping[str, bool]) -> bool:
    """The direction of a quantity. Raises ConfigError, listing what a history will have, if it is not among it."""
    if quantity not in quantities:
        hint = (
            f"; a validation quantity needs validation samples: {HOW_TO_VALIDATE}"
            if quantity.startswith(VALIDATION)
            else ""
        )
        named = [name for name in quantities if "[" not in name]  # without the numbers of recorded arrays
        raise ConfigError(f"{quantity!r} is not recorded in this training, only {', '.join(named)} are{hint}")
    return quantities[quantity]
