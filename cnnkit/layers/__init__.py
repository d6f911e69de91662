"""The layers that come with cnnkit, in their plain form: the mathematics that every faster kernel must equal."""

from cnnkit.components import Layer, Merge
from cnnkit.layers.activation import LeakyReLU, ReLU, Softmax
from cnnkit.layers.conv import Conv2D, DepthwiseConv2D, SeparableConv2D
from cnnkit.layers.conv_transpose import ConvTranspose2D
from cnnkit.layers.dense import Dense
from cnnkit.layers.dropout import Dropout
from cnnkit.layers.merge import Add, Concat, Multiply, Residual
from cnnkit.layers.norm import BatchNorm2D
from cnnkit.layers.pool import AvgPool2D, MaxPool2D
from cnnkit.layers.shape import Flatten
from cnnkit.layers.upsample import Upsample2D

LAYERS: tuple[type[Layer | Merge], ...] = (
    Add,
    AvgPool2D,
    BatchNorm2D,
    Concat,
    Conv2D,
    ConvTranspose2D,
    Dense,
    DepthwiseConv2D,
    Dropout,
    Flatten,
    LeakyReLU,
    MaxPool2D,
    Multiply,
    ReLU,
    Residual,
    SeparableConv2D,
    Softmax,
    Upsample2D,
)
"""What the hook `cnnkit_layers` returns."""

__all__ = [
    "LAYERS",
    "Add",
    "AvgPool2D",
    "BatchNorm2D",
    "Concat",
    "Conv2D",
    "ConvTranspose2D",
    "Dense",
    "DepthwiseConv2D",
    "Dropout",
    "Flatten",
    "LeakyReLU",
    "MaxPool2D",
    "Multiply",
    "ReLU",
    "Residual",
    "SeparableConv2D",
    "Softmax",
    "Upsample2D",
]
