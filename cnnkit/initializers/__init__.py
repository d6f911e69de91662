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
"""The default initializer of weights."""
ONES = Constant(1)
"""The default initializer of the scales of channels."""

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
