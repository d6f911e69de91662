"""Networks whose blocks put the outputs of several branches side by side."""

from __future__ import annotations

from typing import ClassVar

from cnnkit.architectures.blocks import DEEPEST, Part, classifier, response_normalised
from cnnkit.components import Architecture
from cnnkit.components.checks import positive, whole
from cnnkit.errors import ConfigError
from cnnkit.layers import (
    AvgPool2D,
    BatchNorm2D,
    Concat,
    Conv2D,
    Dropout,
    GlobalAvgPool2D,
    MaxPool2D,
    ReLU,
)
from cnnkit.types import Published


class SqueezeNet(Architecture):
    """Fire modules: few filters of 1x1, then 1x1 and 3x3 side by side; no dense layer.

    width: times the paper's filters; kernel, stride: of the first convolution. The defaults suit images of 28x28 to
    64x64; the paper's are SqueezeNet(1000, 1.0, 7, 2).
    Source: Iandola, Han, Moskewicz, Ashraf, Dally, Keutzer (2016), SqueezeNet: AlexNet-level accuracy with 50x fewer
    parameters and < 0.5 MB model size.
    """

    published: ClassVar[tuple[Published, ...]] = (
        Published("SqueezeNet(1000, 1.0, 7, 2)", (3, 224, 224), parameters=1_248_424, products=None),
    )

    def __init__(self, classes: int = 10, width: float = 0.5, kernel: int = 3, stride: int = 1) -> None:
        self.classes = whole("classes", classes)
        self.width = positive("width", width)
        self.kernel = whole("kernel", kernel)
        self.stride = whole("stride", stride)

    def layers(self) -> list[Part]:
        return [
            *(Conv2D(_filters(96, self.width), self.kernel, self.stride), ReLU(), MaxPool2D(3, 2, ceil_mode=True)),
            *(*self._fire(16, 64), *self._fire(16, 64), *self._fire(32, 128), MaxPool2D(3, 2, ceil_mode=True)),
            *(*self._fire(32, 128), *self._fire(48, 192), *self._fire(48, 192), *self._fire(64, 256)),
            *(MaxPool2D(3, 2, ceil_mode=True), *self._fire(64, 256)),
            *(Dropout(0.5), Conv2D(self.classes, 1), ReLU(), GlobalAvgPool2D()),
        ]

    def _fire(self, squeeze: int, expand: int) -> list[Part]:
        each = _filters(expand, self.width)
        return [
            *(Conv2D(_filters(squeeze, self.width), 1), ReLU()),
            *(Concat(Conv2D(each, 1), Conv2D(each, 3, padding=1)), ReLU()),
        ]


class GoogLeNet(Architecture):
    """Inception modules: convolutions of 1x1, 3x3 and 5x5 and a pooling side by side.

    width: times the paper's filters; stride: of the first convolution, 1 for images below 64x64. The paper's two other
    classifiers, of which it trains the sum, are left out.
    Source: Szegedy, Liu, Jia, Sermanet, Reed, Anguelov, Erhan, Vanhoucke, Rabinovich (2015), Going Deeper with
    Convolutions, table 1.
    """

    published: ClassVar[tuple[Published, ...]] = (
        Published("GoogLeNet(1000, 1.0, 2)", (3, 224, 224), parameters=6_800_000, products=1_500_000_000),
    )
    modules: ClassVar[tuple[tuple[int, ...], ...]] = (
        *((64, 96, 128, 16, 32, 32), (128, 128, 192, 32, 96, 64), ()),
        *((192, 96, 208, 16, 48, 64), (160, 112, 224, 24, 64, 64), (128, 128, 256, 24, 64, 64)),
        *((112, 144, 288, 32, 64, 64), (256, 160, 320, 32, 128, 128), ()),
        *((256, 160, 320, 32, 128, 128), (384, 192, 384, 48, 128, 128)),
    )
    """Filters of each module: 1x1, before 3x3, 3x3, before 5x5, 5x5, after the pooling. None: a pooling."""

    def __init__(self, classes: int = 10, width: float = 0.25, stride: int = 1) -> None:
        self.classes = whole("classes", classes)
        self.width = positive("width", width)
        self.stride = whole("stride", stride)

    def layers(self) -> list[Part]:
        first, second = _filters(64, self.width), _filters(192, self.width)
        parts: list[Part] = [
            *(Conv2D(first, 7, self.stride, padding=3), ReLU(), MaxPool2D(3, 2, ceil_mode=True), response_normalised()),
            *(Conv2D(first, 1), ReLU(), Conv2D(second, 3, padding=1), ReLU()),
            *(response_normalised(), MaxPool2D(3, 2, ceil_mode=True)),
        ]
        for filters in self.modules:
            parts.append(self._inception(filters) if filters else MaxPool2D(3, 2, ceil_mode=True))
        return [*parts, *classifier(self.classes, [Dropout(0.4)])]

    def _inception(self, filters: tuple[int, ...]) -> Part:
        one, before_three, three, before_five, five, pooled = (_filters(count, self.width) for count in filters)
        return Concat(
            [Conv2D(one, 1), ReLU()],
            [Conv2D(before_three, 1), ReLU(), Conv2D(three, 3, padding=1), ReLU()],
            [Conv2D(before_five, 1), ReLU(), Conv2D(five, 5, padding=2), ReLU()],
            [MaxPool2D(3, 1, 1), Conv2D(pooled, 1), ReLU()],
        )


class DenseNet(Architecture):
    """Every layer of a block sees the outputs of all layers before it, and adds a few channels to them.

    depth: 3 n + 4, of which n layers are in each of three blocks; growth: channels that each layer adds.
    Source: Huang, Liu, van der Maaten, Weinberger (2017), Densely Connected Convolutional Networks, section 3.
    """

    published: ClassVar[tuple[Published, ...]] = (
        Published("DenseNet(40, 12)", (3, 32, 32), parameters=1_000_000, products=None),
    )

    def __init__(self, depth: int = 22, growth: int = 12, classes: int = 10) -> None:
        self.depth = whole("depth", depth)
        self.growth = whole("growth", growth)
        self.classes = whole("classes", classes)
        if not 7 <= depth <= DEEPEST or depth % 3 != 1:
            raise ConfigError(f"depth must be 3 n + 4, from 7 to {DEEPEST:,}, such as 22 or 40, got {depth}")

    def layers(self) -> list[Part]:
        channels = 16
        parts: list[Part] = [Conv2D(channels, 3, padding=1, bias=False)]
        for block in range(3):
            if block:
                parts += [BatchNorm2D(), ReLU(), Conv2D(channels, 1, bias=False), AvgPool2D(2)]
            for _ in range((self.depth - 4) // 3):
                new: list[Part] = [BatchNorm2D(), ReLU(), Conv2D(self.growth, 3, padding=1, bias=False)]
                parts.append(Concat([], new))
                channels += self.growth
        return [*parts, BatchNorm2D(), ReLU(), *classifier(self.classes)]


def _filters(count: int, width: float) -> int:
    return max(1, round(count * width))
