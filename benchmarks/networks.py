"""The networks that are measured, as expressions of cnnkit's layers; the peers translate them node by node."""

from __future__ import annotations

import math
from dataclasses import dataclass

from cnnkit.architectures.images import UNet
from cnnkit.architectures.mobile import MobileNetV2
from cnnkit.components import Layer
from cnnkit.layers import ConvTranspose2D
from cnnkit.network import INPUT, Node, Sequential
from cnnkit.types import Array, Preprocessing, Shape

PREPROCESSING = Preprocessing(scale=1 / 255, mean=(0.1307,), std=(0.3081,))
"""MNIST's; random images get it too."""
CLASSES = 10
BATCH_NORM = "BatchNorm2D()"


@dataclass(frozen=True)
class Network:
    """Layers as expressions, and the shape of one input (C, H, W)."""

    layers: tuple[str, ...]
    input_shape: Shape
    target_shape: Shape = ()
    """Of the classes of one input: (H, W) where each of its pixels has one."""

    def build(self, seed: int = 0, *, dropout: bool = True) -> Sequential:
        """The network with fresh parameters for uint8 images; without dropout, every framework computes the same."""
        layers = [layer for layer in self.layers if dropout or not layer.startswith("Dropout(")]
        return Sequential(layers, self.input_shape, preprocessing=PREPROCESSING, input_dtype="uint8", seed=seed)


def _normalised(filters: int, norm: str = BATCH_NORM) -> tuple[str, ...]:
    return f"Conv2D({filters}, 3, padding=1, bias=False)", norm, "ReLU()"


def _block(norm: str, filters: int, stride: int = 1) -> tuple[str, ...]:
    body = (
        f"Conv2D({filters}, 3, stride={stride}, padding=1, bias=False), {norm}, ReLU(), "
        f"Conv2D({filters}, 3, padding=1, bias=False), {norm}"
    )
    shortcut = f", shortcut=[Conv2D({filters}, 1, stride={stride}, bias=False), {norm}]" if stride > 1 else ""
    return f"Residual({body}{shortcut})", "ReLU()"


def _resnet_20(norm: str = BATCH_NORM) -> Network:
    """He, Zhang, Ren, Sun (2016), section 4.2, n = 3; the two shortcuts that change the size are 1x1 convolutions."""
    return Network(
        (
            *_normalised(16, norm),
            *(_block(norm, 16) * 3),
            *(*_block(norm, 32, 2), *_block(norm, 32) * 2),
            *(*_block(norm, 64, 2), *_block(norm, 64) * 2),
            "AvgPool2D(8)",
            "Flatten()",
            "Dense(10)",
        ),
        (3, 32, 32),
    )


NETWORKS = {
    # The recipe of this name that ships with cnnkit.
    "mnist-compact": Network(
        (
            "Conv2D(8, 3)",
            "ReLU()",
            "MaxPool2D(2)",
            "Conv2D(16, 3)",
            "ReLU()",
            "MaxPool2D(3)",
            "Flatten()",
            "Dense(256)",
            "ReLU()",
            "Dropout(0.25)",
            "Dense(256)",
            "Dense(10)",
        ),
        (1, 28, 28),
    ),
    "mnist-12k": Network(
        ("Conv2D(8, 3)", "ReLU()", "MaxPool2D(2)", "Flatten()", "Dense(128)", "ReLU()", "Dense(10)"), (1, 28, 28)
    ),
    "c16pc16": Network(
        ("Conv2D(16, 3)", "ReLU()", "MaxPool2D(2)", "Conv2D(16, 3)", "ReLU()", "Flatten()", "Dense(10)"), (1, 28, 28)
    ),
    # Simonyan, Zisserman (2015), cut to 32x32 images, with the batch normalisation of Ioffe, Szegedy (2015).
    "vgg-bn": Network(
        (
            *(*_normalised(32), *_normalised(32), "MaxPool2D(2)"),
            *(*_normalised(64), *_normalised(64), "MaxPool2D(2)"),
            *(*_normalised(128), *_normalised(128), "MaxPool2D(2)"),
            "Flatten()",
            "Dense(10)",
        ),
        (3, 32, 32),
    ),
    "resnet-20": _resnet_20(),
    # With the normalisation of Wu, He (2018), for each image alone.
    "resnet-20-gn": _resnet_20("GroupNorm(8)"),
    # Half of the paper's filters.
    "mobilenetv2-small": Network(tuple(map(repr, MobileNetV2(CLASSES, width=0.5).layers())), (3, 32, 32)),
    # A class for each pixel.
    "unet": Network(tuple(map(repr, UNet(CLASSES).layers())), (1, 32, 32), target_shape=(32, 32)),
}


def training_flops(model: Sequential) -> int:
    """Floating-point operations to train on one image: 3 times those of the forward products.

    A convolution or dense layer multiplies and adds (2 operations) every weight once for each output position; its
    backward pass has two products of that size. Transposed ones have them for each input position. All other layers
    count as nothing.
    """
    return 3 * sum(2 * _positions(node) * _weights(node) for node in model.nodes)


def _positions(node: Node) -> int:
    return math.prod((node.in_shapes[0] if isinstance(node.layer, ConvTranspose2D) else node.out_shape)[1:])


def _weights(node: Node) -> int:
    return node.layer.params["weight"].size if isinstance(node.layer, Layer) and "weight" in node.layer.params else 0


def channels_last_weight(model: Sequential, node: Node) -> Array:
    """The weight of a convolution or dense layer as frameworks with (N, H, W, C) images have it.

    Convolution: (out, in, kh, kw) -> (kh, kw, in, out). Dense: (out, in) -> (in, out), with its inputs in the order
    of flattened (H, W, C) images where it follows a Flatten.
    """
    assert isinstance(node.layer, Layer)
    weight = node.layer.params["weight"]
    if weight.ndim == 4:
        return weight.transpose(2, 3, 1, 0)
    source = node.inputs[0]
    before = () if source == INPUT else model.nodes[source].in_shapes[0]
    if len(before) == 3:
        weight = weight.reshape(-1, *before).transpose(0, 2, 3, 1).reshape(len(weight), -1)
    return weight.T
