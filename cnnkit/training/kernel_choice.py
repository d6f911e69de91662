"""Which kernels a training uses: those of NumPy, or compiled ones, which round otherwise.

A training whose recipe does not say it takes compiled ones if their machine code is on disk. Where it is not, it begins
at once with NumPy's, to its end, and a process in the background compiles for the next one.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Literal

from cnnkit.components.declared import layer_cost
from cnnkit.network.execution.plan import plan
from cnnkit.network.kernels import COMPILED
from cnnkit.network.kernels.compiled import machine_code
from cnnkit.network.kernels.compiled.choice import by_environment, require

if TYPE_CHECKING:
    from cnnkit.network import Network
    from cnnkit.training.recipe import Recipe

Kernels = Literal["numpy", "compiled"]
WORTH = 5e9
"""Multiplications by compiled kernels in a training, below which loading machine code takes longer than it saves."""


def chosen(kernels: Kernels | None, products: float, warn: Callable[[str], None]) -> Kernels:
    """Those of a training that begins now.

    kernels: what its options say; products: as of `products_of`; warn: is told what does not
    work. Raises ConfigError for compiled ones that there cannot be, and for another word in CNNKIT_KERNELS.
    """
    wanted = kernels or by_environment()
    if wanted == "compiled":
        require()
        return "compiled"
    return "compiled" if wanted == "auto" and products >= WORTH and are_there(warn) else "numpy"


def products_of(model: Network, samples: int, epochs: int) -> float:
    """The multiplications of all forward passes of a training that compiled kernels would make."""
    steps = plan(model.nodes, compiled=True).steps
    taken = [step.node for step in steps if isinstance(step.run, COMPILED)]
    costs = [layer_cost(node.layer, node.in_shapes, node.out_shape) for node in taken]
    return float(sum(cost.products for cost in costs if cost)) * samples * epochs


def with_kernels(recipe: Recipe, products: float, warn: Callable[[str], None]) -> Recipe:
    """The recipe of a training that begins now: it says so if that uses compiled kernels; the rest as of `chosen`."""
    found = chosen(recipe.train.kernels, products, warn)
    return recipe if recipe.train.kernels or found == "numpy" else recipe.override({"train.kernels": found})


def are_there(warn: Callable[[str], None]) -> bool:
    """Whether compiled kernels are loaded; begins to compile them if they are not there."""
    if machine_code.unavailable():
        return False
    if not machine_code.is_ready():
        if machine_code.is_being_made():
            return False
        if reason := machine_code.failure():
            warn(f"compiled kernels are not used, they cannot be made: {reason}; try again: cnnkit doctor --compile")
        else:
            machine_code.make_in_background()
        return False
    try:
        machine_code.functions()
    except machine_code.MachineCodeError as error:
        warn(f"compiled kernels are not used, they cannot be loaded: {error}")
        return False
    return True
