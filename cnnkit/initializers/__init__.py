"""What weights are before training, one family per file."""

from cnnkit.components import Initializer
from cnnkit.initializers.constant_and_identity import Constant, Identity, Zeros
from cnnkit.initializers.distributions import Normal, TruncatedNormal, Uniform
from cnnkit.initializers.orthogonal import Orthogonal
from cnnkit.initializers.variance_scaling import (
    GlorotNormal,
    GlorotUniform,
    HeNormal,
    HeUniform,
    LeCunNormal,
    LeCunUniform,
)

INITIALIZERS: tuple[type[Initializer], ...] = (
    Constant,
    GlorotNormal,
    GlorotUniform,
    HeNormal,
    HeUniform,
    Identity,
    LeCunNormal,
    LeCunUniform,
    Normal,
    Orthogonal,
    TruncatedNormal,
    Uniform,
    Zeros,
)
"""What the hook `cnnkit_initializers` returns."""

GLOROT_UNIFORM = GlorotUniform()
"""What weights of layers start as if nothing else is said."""
ONES = Constant(1)
"""What scales of channels start as if nothing else is said."""

__all__ = [
    "INITIALIZERS",
    "Constant",
    "GlorotNormal",
    "GlorotUniform",
    "HeNormal",
    "HeUniform",
    "Identity",
    "LeCunNormal",
    "LeCunUniform",
    "Normal",
    "Orthogonal",
    "TruncatedNormal",
    "Uniform",
    "Zeros",
]
