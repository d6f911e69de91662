"""The layers that come with cnnkit, in their plain form: the mathematics that every faster kernel must equal."""

from cnnkit.components import Layer, Merge
from cnnkit.layers.adaptive_pool import AdaptiveAvgPool2D, AdaptiveMaxPool2D, GlobalAvgPool2D, GlobalMaxPool2D
from cnnkit.layers.affine import Rescale, ScaleShift
from cnnkit.layers.attention import SelfAttention2D, SqueezeExcite
from cnnkit.layers.batch_norm import BatchNorm1D, BatchNorm2D
from cnnkit.layers.conv import Conv2D, DepthwiseConv2D, SeparableConv2D
from cnnkit.layers.conv_transpose import ConvTranspose2D
from cnnkit.layers.coordinates import AddCoordinates
from cnnkit.layers.dense import Dense
from cnnkit.layers.dropout import AlphaDropout, Dropout, DropPath, SpatialDropout2D
from cnnkit.layers.gating import GLU
from cnnkit.layers.group_norm import GroupNorm, InstanceNorm1D, InstanceNorm2D
from cnnkit.layers.hard_activations import Clip, HardSigmoid, HardSwish, HardTanh, ReLU6
from cnnkit.layers.joins import Add, Average, Maximum, Multiply, Subtract
from cnnkit.layers.layer_norm import LayerNorm, RMSNorm
from cnnkit.layers.local_response_norm import LocalResponseNorm
from cnnkit.layers.merge import Concat, Residual
from cnnkit.layers.noise import GaussianNoise
from cnnkit.layers.pad import Crop2D, Pad2D
from cnnkit.layers.pool import AvgPool2D, LPPool2D, MaxPool2D
from cnnkit.layers.rectifiers import CELU, ELU, SELU, LeakyReLU, PReLU, ReLU
from cnnkit.layers.reparametrised import WeightNorm, WeightStandardization
from cnnkit.layers.shape import Flatten, Permute, Reshape, Slice
from cnnkit.layers.shuffle import ChannelShuffle, PixelShuffle, PixelUnshuffle
from cnnkit.layers.signals import AvgPool1D, Conv1D, GlobalAvgPool1D, GlobalMaxPool1D, MaxPool1D
from cnnkit.layers.smooth_activations import GELU, Mish, Sigmoid, SiLU, Softplus, Softsign, Tanh
from cnnkit.layers.softmax import LogSoftmax, Softmax
from cnnkit.layers.upsample import Upsample2D

LAYERS: tuple[type[Layer | Merge], ...] = (
    AdaptiveAvgPool2D,
    AdaptiveMaxPool2D,
    Add,
    AddCoordinates,
    AlphaDropout,
    Average,
    AvgPool1D,
    AvgPool2D,
    BatchNorm1D,
    BatchNorm2D,
    CELU,
    ChannelShuffle,
    Clip,
    Concat,
    Conv1D,
    Conv2D,
    ConvTranspose2D,
    Crop2D,
    Dense,
    DepthwiseConv2D,
    Dropout,
    DropPath,
    ELU,
    Flatten,
    GaussianNoise,
    GELU,
    GlobalAvgPool1D,
    GlobalAvgPool2D,
    GlobalMaxPool1D,
    GlobalMaxPool2D,
    GLU,
    GroupNorm,
    HardSigmoid,
    HardSwish,
    HardTanh,
    InstanceNorm1D,
    InstanceNorm2D,
    LayerNorm,
    LeakyReLU,
    LocalResponseNorm,
    LogSoftmax,
    LPPool2D,
    Maximum,
    MaxPool1D,
    MaxPool2D,
    Mish,
    Multiply,
    Pad2D,
    Permute,
    PixelShuffle,
    PixelUnshuffle,
    PReLU,
    ReLU,
    ReLU6,
    Rescale,
    Reshape,
    Residual,
    RMSNorm,
    ScaleShift,
    SelfAttention2D,
    SELU,
    SeparableConv2D,
    Sigmoid,
    SiLU,
    Slice,
    Softmax,
    Softplus,
    Softsign,
    SpatialDropout2D,
    SqueezeExcite,
    Subtract,
    Tanh,
    Upsample2D,
    WeightNorm,
    WeightStandardization,
)
"""What the hook `cnnkit_layers` returns."""

__all__ = [
    "CELU",
    "ELU",
    "GELU",
    "GLU",
    "LAYERS",
    "SELU",
    "AdaptiveAvgPool2D",
    "AdaptiveMaxPool2D",
    "Add",
    "AddCoordinates",
    "AlphaDropout",
    "Average",
    "AvgPool1D",
    "AvgPool2D",
    "BatchNorm1D",
    "BatchNorm2D",
    "ChannelShuffle",
    "Clip",
    "Concat",
    "Conv1D",
    "Conv2D",
    "ConvTranspose2D",
    "Crop2D",
    "Dense",
    "DepthwiseConv2D",
    "DropPath",
    "Dropout",
    "Flatten",
    "GaussianNoise",
    "GlobalAvgPool1D",
    "GlobalAvgPool2D",
    "GlobalMaxPool1D",
    "GlobalMaxPool2D",
    "GroupNorm",
    "HardSigmoid",
    "HardSwish",
    "HardTanh",
    "InstanceNorm1D",
    "InstanceNorm2D",
    "LPPool2D",
    "LayerNorm",
    "LeakyReLU",
    "LocalResponseNorm",
    "LogSoftmax",
    "MaxPool1D",
    "MaxPool2D",
    "Maximum",
    "Mish",
    "Multiply",
    "PReLU",
    "Pad2D",
    "Permute",
    "PixelShuffle",
    "PixelUnshuffle",
    "RMSNorm",
    "ReLU",
    "ReLU6",
    "Rescale",
    "Reshape",
    "Residual",
    "ScaleShift",
    "SelfAttention2D",
    "SeparableConv2D",
    "SiLU",
    "Sigmoid",
    "Slice",
    "Softmax",
    "Softplus",
    "Softsign",
    "SpatialDropout2D",
    "SqueezeExcite",
    "Subtract",
    "Tanh",
    "Upsample2D",
    "WeightNorm",
    "WeightStandardization",
]
