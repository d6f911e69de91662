"""Known networks: their layers, for any number of classes."""

from cnnkit.architectures.branching import DenseNet, GoogLeNet, SqueezeNet
from cnnkit.architectures.classic import VGG, AlexNet, LeNet5
from cnnkit.architectures.images import Autoencoder, UNet
from cnnkit.architectures.mobile import EfficientNetB0, MobileNetV2, MobileNetV3Small, ShuffleNetV2
from cnnkit.architectures.residual import ConvNeXt, ResNet, ResNet18, WideResNet
from cnnkit.components.contracts import Architecture

ARCHITECTURES: tuple[type[Architecture], ...] = (
    AlexNet,
    Autoencoder,
    ConvNeXt,
    DenseNet,
    EfficientNetB0,
    GoogLeNet,
    LeNet5,
    MobileNetV2,
    MobileNetV3Small,
    ResNet,
    ResNet18,
    ShuffleNetV2,
    SqueezeNet,
    UNet,
    VGG,
    WideResNet,
)

__all__ = ["ARCHITECTURES", *(one.__name__ for one in ARCHITECTURES)]
