"""Convolutions and pooling in a row, then dense layers: the architectures of 1998 to 2014."""

from __future__ import annotations

from typing import ClassVar

from cnnkit.architectures.blocks import Part, flat_classifier, response_normalised, stages
from cnnkit.components import Architecture
from cnnkit.components.checks import positive, whole
from cnnkit.layers import AvgPool2D, Conv2D, Dense, Dropout, Flatten, MaxPool2D, ReLU, Tanh
from cnnkit.types import Published


class LeNet5(Architecture):
    """Two convolutions of 5x5 with pooling, and three dense layers, for digits of 28x28 pixels.

    padding: of the first convolution; 0 for images of 32x32. The paper's pooling has two parameters for each channel,
    its second convolution sees some of the channels only, and its end compares with drawn digits: here, as everywhere
    today, pooling has none, all channels are seen, and a dense layer is the end.
    Source: LeCun, Bottou, Bengio, Haffner (1998), Gradient-Based Learning Applied to Document Recognition.
    """

    published: ClassVar[tuple[Published, ...]] = (
        Published("LeNet5(padding=0)", (1, 32, 32), parameters=60_000, products=340_908),
    )

    def __init__(self, classes: int = 10, padding: int = 2) -> None:
        self.classes = whole("classes", classes)
        self.padding = whole("padding", padding, at_least=0)

    def layers(self) -> list[Part]:
        return [
            *(Conv2D(6, 5, padding=self.padding), Tanh(), AvgPool2D(2)),
            *(Conv2D(16, 5), Tanh(), AvgPool2D(2)),
            *(Flatten(), Dense(120), Tanh(), Dense(84), Tanh(), Dense(self.classes)),
        ]


class AlexNet(Architecture):
    """Five convolutions, the first and second with response normalisation, and three dense layers with dropout.

    width: times the paper's filters; hidden: units of the dense layers; kernel, stride: of the first convolution. The
    defaults suit images of 28x28 to 64x64; the paper's are AlexNet(1000, 1.0, 4096, 11, 4).
    Source: Krizhevsky, Sutskever, Hinton (2012), ImageNet Classification with Deep Convolutional Neural Networks.
    """

    published: ClassVar[tuple[Published, ...]] = (
        Published("AlexNet(1000, 1.0, 4096, 11, 4)", (3, 227, 227), parameters=60_000_000, products=None),
    )

    def __init__(
        self, classes: int = 10, width: float = 0.25, hidden: int = 256, kernel: int = 3, stride: int = 1
    ) -> None:
        self.classes = whole("classes", classes)
        self.width = positive("width", width)
        self.hidden = whole("hidden", hidden)
        self.kernel = whole("kernel", kernel)
        self.stride = whole("stride", stride)

    def layers(self) -> list[Part]:
        first, second, third, fourth, fifth = (max(2, 2 * round(self.width * n / 2)) for n in (96, 256, 384, 384, 256))
        return [
            *(Conv2D(first, self.kernel, self.stride), ReLU(), response_normalised(), MaxPool2D(3, 2)),
            *(Conv2D(second, 5, padding=2, groups=2), ReLU(), response_normalised(), MaxPool2D(3, 2)),
            *(Conv2D(third, 3, padding=1), ReLU()),
            *(Conv2D(fourth, 3, padding=1, groups=2), ReLU()),
            *(Conv2D(fifth, 3, padding=1, groups=2), ReLU(), MaxPool2D(3, 2)),
            *(Flatten(), Dropout(0.5), Dense(self.hidden), ReLU()),
            *(Dropout(0.5), Dense(self.hidden), ReLU(), Dense(self.classes)),
        ]


class VGG(Architecture):
    """Blocks of convolutions of 3x3, with a pooling after each, and three dense layers.

    blocks: how many convolutions each block has; width: filters of the first block, each block has twice those of the
    one before it, up to eight times the first's; hidden: units of the dense layers. The defaults suit images of 28x28
    to 64x64; the paper's D, VGG-16, is VGG(1000, (2, 2, 3, 3, 3), 64, 4096).
    Source: Simonyan, Zisserman (2015), Very Deep Convolutional Networks for Large-Scale Image Recognition.
    """

    published: ClassVar[tuple[Published, ...]] = (
        Published("VGG(1000, (2, 2, 3, 3, 3), 64, 4096)", (3, 224, 224), parameters=138_000_000, products=None),
    )

    def __init__(
        self, classes: int = 10, blocks: tuple[int, ...] = (2, 2, 2), width: int = 16, hidden: int = 128
    ) -> None:
        self.classes = whole("classes", classes)
        self.blocks = stages("blocks", blocks)
        self.width = whole("width", width)
        self.hidden = whole("hidden", hidden)

    def layers(self) -> list[Part]:
        parts: list[Part] = []
        for number, convolutions in enumerate(self.blocks):
            for _ in range(convolutions):
                parts += [Conv2D(self.width * min(8, 2**number), 3, padding=1), ReLU()]
            parts.append(MaxPool2D(2))
        return [*parts, *flat_classifier(self.classes, self.hidden, self.hidden)]
