"""The layers that come with cnnkit, in their plain form: the mathematics that every faster kernel must equal."""

from cnnkit.components import Layer, Merge
from cnnkit.layers.conv import Conv2D
from cnnkit.layers.dense import Dense
from cnnkit.layers.dropout import AlphaDropout, Dropout, DropPath, SpatialDropout2D
from cnnkit.layers.gating import GLU
from cnnkit.layers.hard_activations import Clip, HardSigmoid, HardSwish, HardTanh, ReLU6
from cnnkit.layers.merge import Add, Concat, Multiply, Residual
from cnnkit.layers.noise import GaussianNoise
from cnnkit.layers.norm import BatchNorm2D
from cnnkit.layers.pool import AvgPool2D, MaxPool2D
from cnnkit.layers.rectifiers import CELU, ELU, SELU, LeakyReLU, PReLU, ReLU
from cnnkit.layers.shape import Flatten
from cnnkit.layers.smooth_activations import GELU, Mish, Sigmoid, SiLU, Softplus, Softsign, Tanh
from cnnkit.layers.softmax import LogSoftmax, Softmax
from cnnkit.layers.upsample import Upsample2D

LAYERS: tuple[type[Layer | Merge], ...] = (
    Add,
    AlphaDropout,
    AvgPool2D,
    BatchNorm2D,
    CELU,
    Clip,
    Concat,
    Conv2D,
    Dense,
    Dropout,
    DropPath,
    ELU,
    Flatten,
    GaussianNoise,
    GELU,
    GLU,
    HardSigmoid,
    HardSwish,
    HardTanh,
    LeakyReLU,
    LogSoftmax,
    MaxPool2D,
    Mish,
    Multiply,
    PReLU,
    ReLU,
    ReLU6,
    Residual,
    SELU,
    Sigmoid,
    SiLU,
    Softmax,
    Softplus,
    Softsign,
    SpatialDropout2D,
    Tanh,
    Upsample2D,
)
"""What the hook `cnnkit_layers` returns."""

__all__ = [
    "CELU",
    "ELU",
    "GELU",
    "GLU",
    "LAYERS",
    "SELU",
    "Add",
    "AlphaDropout",
    "AvgPool2D",
    "BatchNorm2D",
    "Clip",
    "Concat",
    "Conv2D",
    "Dense",
    "DropPath",
    "Dropout",
    "Flatten",
    "GaussianNoise",
    "HardSigmoid",
    "HardSwish",
    "HardTanh",
    "LeakyReLU",
    "LogSoftmax",
    "MaxPool2D",
    "Mish",
    "Multiply",
    "PReLU",
    "ReLU",
    "ReLU6",
    "Residual",
    "SiLU",
    "Sigmoid",
    "Softmax",
    "Softplus",
    "Softsign",
    "SpatialDropout2D",
    "Tanh",
    "Upsample2D",
]
