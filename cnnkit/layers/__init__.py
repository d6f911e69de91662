"""The layers that come with cnnkit, in their plain form: the mathematics that every faster kernel must equal."""

from cnnkit.components import Layer, Merge
from cnnkit.layers.activation import LeakyReLU, ReLU, Softmax
from cnnkit.layers.adaptive_pool import AdaptiveAvgPool2D, AdaptiveMaxPool2D, GlobalAvgPool2D, GlobalMaxPool2D
from cnnkit.layers.conv import Conv2D, DepthwiseConv2D, SeparableConv2D
from cnnkit.layers.conv_transpose import ConvTranspose2D
from cnnkit.layers.dense import Dense
from cnnkit.layers.dropout import Dropout
from cnnkit.layers.merge import Add, Concat, Multiply, Residual
from cnnkit.layers.norm import BatchNorm2D
from cnnkit.layers.pad import Crop2D, Pad2D
from cnnkit.layers.pool import AvgPool2D, LPPool2D, MaxPool2D
from cnnkit.layers.shape import Flatten, Permute, Reshape, Slice
from cnnkit.layers.shuffle import ChannelShuffle, PixelShuffle, PixelUnshuffle
from cnnkit.layers.upsample import Upsample2D

LAYERS: tuple[type[Layer | Merge], ...] = (
    AdaptiveAvgPool2D,
    AdaptiveMaxPool2D,
    Add,
    AvgPool2D,
    BatchNorm2D,
    ChannelShuffle,
    Concat,
    Conv2D,
    ConvTranspose2D,
    Crop2D,
    Dense,
    DepthwiseConv2D,
    Dropout,
    Flatten,
    GlobalAvgPool2D,
    GlobalMaxPool2D,
    LPPool2D,
    LeakyReLU,
    MaxPool2D,
    Multiply,
    Pad2D,
    Permute,
    PixelShuffle,
    PixelUnshuffle,
    ReLU,
    Reshape,
    Residual,
    SeparableConv2D,
    Slice,
    Softmax,
    Upsample2D,
)
"""What the hook `cnnkit_layers` returns."""

__all__ = [
    "LAYERS",
    "AdaptiveAvgPool2D",
    "AdaptiveMaxPool2D",
    "Add",
    "AvgPool2D",
    "BatchNorm2D",
    "ChannelShuffle",
    "Concat",
    "Conv2D",
    "ConvTranspose2D",
    "Crop2D",
    "Dense",
    "DepthwiseConv2D",
    "Dropout",
    "Flatten",
    "GlobalAvgPool2D",
    "GlobalMaxPool2D",
    "LPPool2D",
    "LeakyReLU",
    "MaxPool2D",
    "Multiply",
    "Pad2D",
    "Permute",
    "PixelShuffle",
    "PixelUnshuffle",
    "ReLU",
    "Reshape",
    "Residual",
    "SeparableConv2D",
    "Slice",
    "Softmax",
    "Upsample2D",
]
