"""Networks for telephones: depthwise convolutions between convolutions of 1x1."""

from __future__ import annotations

from typing import ClassVar

from cnnkit.architectures.blocks import Part, classifier, depthwise, normalised
from cnnkit.components import Architecture, Layer
from cnnkit.components.checks import is_number, positive, whole
from cnnkit.components.value_description import shown
from cnnkit.errors import ConfigError
from cnnkit.layers import (
    ChannelShuffle,
    Concat,
    Dense,
    Dropout,
    HardSwish,
    MaxPool2D,
    ReLU,
    ReLU6,
    Residual,
    SiLU,
    Slice,
    SqueezeExcite,
)
from cnnkit.types import Published


class MobileNetV2(Architecture):
    """Inverted residual blocks: more channels by 1x1, a depthwise convolution, fewer channels by 1x1.

    width: times the paper's filters; stride: of the first convolution, 1 for images below 64x64.
    Source: Sandler, Howard, Zhu, Zhmoginov, Chen (2018), MobileNetV2: Inverted Residuals and Linear Bottlenecks,
    table 2.
    """

    published: ClassVar[tuple[Published, ...]] = (
        Published("MobileNetV2(1000, stride=2)", (3, 224, 224), parameters=3_400_000, products=300_000_000),
    )
    stages: ClassVar[tuple[tuple[int, int, int, int], ...]] = (
        *((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2)),
        *((6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1)),
    )
    """Of each: times the channels inside of a block, filters, blocks, stride of the first."""

    def __init__(self, classes: int = 10, width: float = 1.0, stride: int = 1) -> None:
        self.classes = whole("classes", classes)
        self.width = positive("width", width)
        self.stride = whole("stride", stride)

    def layers(self) -> list[Part]:
        channels = of_eight(32 * self.width)
        parts = normalised(channels, 3, self.stride, activation=ReLU6)
        for expand, filters, blocks, stride in self.stages:
            for block in range(blocks):
                out = of_eight(filters * self.width)
                parts += inverted(channels, expand * channels, out, 3, 1 if block else stride, activation=ReLU6)
                channels = out
        last = of_eight(1280 * max(1.0, self.width))
        return [*parts, *normalised(last, 1, activation=ReLU6), *classifier(self.classes, [Dropout(0.2)])]


class MobileNetV3Small(Architecture):
    """Inverted residual blocks, some with squeeze and excitation, as a search for speed found them.

    width: times the paper's filters; stride: of the first convolution, 1 for images below 64x64.
    Source: Howard, Sandler, Chu, Chen, Chen, Tan, Wang, Zhu, Pang, Vasudevan, Le, Adam (2019), Searching for
    MobileNetV3, table 2.
    """

    published: ClassVar[tuple[Published, ...]] = (
        Published("MobileNetV3Small(1000, stride=2)", (3, 224, 224), parameters=2_500_000, products=56_000_000),
    )
    blocks: ClassVar[tuple[tuple[int, int, int, bool, type[Layer], int], ...]] = (
        *((3, 16, 16, True, ReLU, 2), (3, 72, 24, False, ReLU, 2), (3, 88, 24, False, ReLU, 1)),
        *((5, 96, 40, True, HardSwish, 2), (5, 240, 40, True, HardSwish, 1), (5, 240, 40, True, HardSwish, 1)),
        *((5, 120, 48, True, HardSwish, 1), (5, 144, 48, True, HardSwish, 1)),
        *((5, 288, 96, True, HardSwish, 2), (5, 576, 96, True, HardSwish, 1), (5, 576, 96, True, HardSwish, 1)),
    )
    """Of each: kernel, channels inside, filters, whether it squeezes, activation, stride."""

    def __init__(self, classes: int = 10, width: float = 1.0, stride: int = 1) -> None:
        self.classes = whole("classes", classes)
        self.width = positive("width", width)
        self.stride = whole("stride", stride)

    def layers(self) -> list[Part]:
        channels = of_eight(16 * self.width)
        parts = normalised(channels, 3, self.stride, activation=HardSwish)
        for kernel, inside, filters, squeezes, activation, stride in self.blocks:
            wide, out = of_eight(inside * self.width), of_eight(filters * self.width)
            squeeze: list[Part] = [SqueezeExcite(units=of_eight(wide / 4), gate="hard_sigmoid")] if squeezes else []
            parts += inverted(channels, wide, out, kernel, stride, squeeze, activation=activation)
            channels = out
        end = [Dense(of_eight(1024 * self.width)), HardSwish(), Dropout(0.2)]
        last = normalised(of_eight(576 * self.width), 1, activation=HardSwish)
        return [*parts, *last, *classifier(self.classes, end)]


class EfficientNetB0(Architecture):
    """Inverted residual blocks with squeeze and excitation, as a search for accuracy and cost found them.

    stride: of the first convolution, 1 for images below 64x64. What is squeezed is rectified, where the paper's program
    takes SiLU, and no block is dropped in training.
    Source: Tan, Le (2019), EfficientNet: Rethinking Model Scaling for Convolutional Neural Networks, table 1.
    """

    published: ClassVar[tuple[Published, ...]] = (
        Published("EfficientNetB0(1000, stride=2)", (3, 224, 224), parameters=5_300_000, products=390_000_000),
    )
    stages: ClassVar[tuple[tuple[int, int, int, int, int], ...]] = (
        *((1, 3, 16, 1, 1), (6, 3, 24, 2, 2), (6, 5, 40, 2, 2), (6, 3, 80, 3, 2)),
        *((6, 5, 112, 3, 1), (6, 5, 192, 4, 2), (6, 3, 320, 1, 1)),
    )
    """Of each: times the channels inside of a block, kernel, filters, blocks, stride of the first."""

    def __init__(self, classes: int = 10, stride: int = 1) -> None:
        self.classes = whole("classes", classes)
        self.stride = whole("stride", stride)

    def layers(self) -> list[Part]:
        channels = 32
        parts = normalised(channels, 3, self.stride, activation=SiLU)
        for expand, kernel, filters, blocks, stride in self.stages:
            for block in range(blocks):
                squeeze: list[Part] = [SqueezeExcite(units=max(1, channels // 4))]
                step = 1 if block else stride
                parts += inverted(channels, expand * channels, filters, kernel, step, squeeze, activation=SiLU)
                channels = filters
        return [*parts, *normalised(1280, 1, activation=SiLU), *classifier(self.classes, [Dropout(0.2)])]


class ShuffleNetV2(Architecture):
    """Half of the channels pass a block by, the other half goes through a depthwise convolution; then all are shuffled.

    width: 0.5, 1.0, 1.5 or 2.0, as the paper has it; stride: of the first convolution, 1 for images below 64x64.
    Source: Ma, Zhang, Zheng, Sun (2018), ShuffleNet V2: Practical Guidelines for Efficient CNN Architecture Design,
    table 5.
    """

    published: ClassVar[tuple[Published, ...]] = (
        Published("ShuffleNetV2(1000, 0.5, 2)", (3, 224, 224), parameters=1_400_000, products=41_000_000),
        Published("ShuffleNetV2(1000, 1.0, 2)", (3, 224, 224), parameters=2_300_000, products=146_000_000),
    )
    widths: ClassVar[dict[float, tuple[int, int, int, int]]] = {
        0.5: (48, 96, 192, 1024),
        1.0: (116, 232, 464, 1024),
        1.5: (176, 352, 704, 1024),
        2.0: (244, 488, 976, 2048),
    }
    """Filters of the three stages and of the last convolution."""

    def __init__(self, classes: int = 10, width: float = 0.5, stride: int = 1) -> None:
        self.classes = whole("classes", classes)
        self.width = width
        if not is_number(width) or width not in self.widths:
            raise ConfigError(f"width must be one of {', '.join(map(str, self.widths))}, got {shown(width)}")
        self.stride = whole("stride", stride)

    def layers(self) -> list[Part]:
        *stages, last = self.widths[self.width]
        parts = [*normalised(24, 3, self.stride), MaxPool2D(3, 2, 1)]
        for filters, blocks in zip(stages, (4, 8, 4), strict=True):
            half = filters // 2
            parts += [Concat([*depthwise(3, 2, activation=None), *normalised(half, 1)], self._branch(half, 2))]
            parts.append(ChannelShuffle(2))
            for _ in range(blocks - 1):
                parts += [Concat(Slice(0, half), [Slice(half), *self._branch(half, 1)]), ChannelShuffle(2)]
        return [*parts, *normalised(last, 1), *classifier(self.classes)]

    def _branch(self, filters: int, stride: int) -> list[Part]:
        return [*normalised(filters, 1), *depthwise(3, stride, activation=None), *normalised(filters, 1)]


def inverted(
    channels: int,
    inside: int,
    filters: int,
    kernel: int,
    stride: int,
    squeeze: list[Part] | None = None,
    *,
    activation: type[Layer],
) -> list[Part]:
    """An inverted residual block; without a shortcut where the shape changes.

    channels: of its input; inside: between its convolutions of 1x1, the first of which is left out where it would keep
    their number; squeeze: after the depthwise convolution.
    """
    wider = normalised(inside, 1, activation=activation) if inside != channels else []
    middle = depthwise(kernel, stride, activation=activation)
    body = [*wider, *middle, *(squeeze or []), *normalised(filters, 1, activation=None)]
    return [Residual(*body)] if stride == 1 and channels == filters else body


def of_eight(count: float) -> int:
    """The nearest multiple of 8, but not less than nine tenths of the number.

    Source: Sandler et al. (2018), the reference implementation of MobileNetV2.
    """
    nearest = max(8, int(count + 4) // 8 * 8)
    return nearest + 8 if nearest < 0.9 * count else nearest
