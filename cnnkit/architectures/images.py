"""Networks whose output is an image again."""

from __future__ import annotations

from typing import ClassVar

from cnnkit.architectures.blocks import Part, normalised
from cnnkit.components import Architecture
from cnnkit.components.checks import whole
from cnnkit.components.value_description import shown
from cnnkit.errors import ConfigError
from cnnkit.layers import Concat, Conv2D, ConvTranspose2D, Dense, Flatten, MaxPool2D, ReLU, Reshape
from cnnkit.types import Published

DEEPEST = 12
"""How often images can be halved: then they have 4,096 pixels on a side."""


class UNet(Architecture):
    """Down to small images with many channels and up again, with a shortcut at each size: an answer for each pixel.

    channels: of the output; width: filters of the largest images, each size below has twice those; depth: how often
    images are halved, so that their sides must be multiples of 2^depth. Convolutions keep the size, where the paper's
    lose the border, and are normalised, which the paper did not know. The paper's are UNet(2, 64, 4).
    Source: Ronneberger, Fischer, Brox (2015), U-Net: Convolutional Networks for Biomedical Image Segmentation.
    """

    published: ClassVar[tuple[Published, ...]] = (
        Published("UNet(2, 64, 4)", (1, 512, 512), parameters=None, products=None),
    )

    def __init__(self, channels: int = 1, width: int = 16, depth: int = 2) -> None:
        self.channels = whole("channels", channels)
        self.width = whole("width", width)
        self.depth = whole("depth", depth)
        if depth > DEEPEST:
            raise ConfigError(f"depth must be a whole number from 1 to {DEEPEST}, got {shown(depth)}")

    def layers(self) -> list[Part]:
        return [*self._level(self.width, self.depth), Conv2D(self.channels, 1)]

    def _level(self, width: int, depth: int) -> list[Part]:
        if not depth:
            return self._twice(width)
        below = [MaxPool2D(2), *self._level(2 * width, depth - 1), ConvTranspose2D(width, 2, 2)]
        return [*self._twice(width), Concat([], below), *self._twice(width)]

    def _twice(self, width: int) -> list[Part]:
        return [*normalised(width, 3), *normalised(width, 3)]


class Autoencoder(Architecture):
    """An image through a code of few numbers, and back: what it cannot rebuild, the code does not hold.

    code: numbers; channels, size: of the image, of which the size must be a multiple of 4; width: filters of the first
    convolution.
    Source: Hinton, Salakhutdinov (2006), Reducing the Dimensionality of Data with Neural Networks.
    """

    def __init__(self, code: int = 16, channels: int = 1, size: int = 28, width: int = 16) -> None:
        self.code = whole("code", code)
        self.channels = whole("channels", channels)
        self.size = whole("size", size)
        self.width = whole("width", width)
        if size % 4:
            raise ConfigError(f"size must be a multiple of 4, got {size}")

    def layers(self) -> list[Part]:
        small = 2 * self.width, self.size // 4, self.size // 4
        return [
            *(Conv2D(self.width, 3, 2, padding=1), ReLU(), Conv2D(2 * self.width, 3, 2, padding=1), ReLU()),
            *(Flatten(), Dense(self.code), Dense(small[0] * small[1] * small[2]), ReLU(), Reshape(small)),
            *(ConvTranspose2D(self.width, 4, 2, 1), ReLU(), ConvTranspose2D(self.channels, 4, 2, 1)),
        ]
