"""Residual networks: each block adds to its input what its convolutions find."""

from __future__ import annotations

from typing import ClassVar

from cnnkit.architectures.blocks import DEEPEST, Part, classifier, normalised, stages
from cnnkit.components import Architecture
from cnnkit.components.checks import whole
from cnnkit.components.value_description import shown
from cnnkit.errors import ConfigError
from cnnkit.layers import (
    GELU,
    BatchNorm2D,
    Conv2D,
    DepthwiseConv2D,
    Dropout,
    LayerNorm,
    MaxPool2D,
    ReLU,
    Residual,
)
from cnnkit.types import Published


class ResNet(Architecture):
    """Three stages of residual blocks of two convolutions of 3x3, for small images.

    depth: 6 n + 2, of which n blocks are in each stage; width: filters of the first stage, which the others double.
    Where a stage begins, a convolution of 1x1 with stride 2 fits the shortcut (the paper's option B).
    Source: He, Zhang, Ren, Sun (2016), Deep Residual Learning for Image Recognition, section 4.2.
    """

    published: ClassVar[tuple[Published, ...]] = (
        Published("ResNet(20)", (3, 32, 32), parameters=270_000, products=41_000_000),
        Published("ResNet(32)", (3, 32, 32), parameters=460_000, products=None),
        Published("ResNet(56)", (3, 32, 32), parameters=850_000, products=None),
    )

    def __init__(self, depth: int, classes: int = 10, width: int = 16) -> None:
        self.depth = whole("depth", depth)
        self.classes = whole("classes", classes)
        self.width = whole("width", width)
        if not 8 <= depth <= DEEPEST or depth % 6 != 2:
            raise ConfigError(f"depth must be 6 n + 2, from 8 to {DEEPEST:,}, such as 20, 32 or 56, got {depth}")

    def layers(self) -> list[Part]:
        parts = normalised(self.width, 3)
        for stage in range(3):
            for block in range((self.depth - 2) // 6):
                parts += basic_block(self.width * 2**stage, stride=2 if stage and not block else 1)
        return [*parts, *classifier(self.classes)]


class ResNet18(Architecture):
    """Four stages of two residual blocks each, for large images.

    stride: of the first convolution, 7x7; 1 for images below 64x64.
    Source: He, Zhang, Ren, Sun (2016), Deep Residual Learning for Image Recognition, table 1.
    """

    published: ClassVar[tuple[Published, ...]] = (
        Published("ResNet18(1000)", (3, 224, 224), parameters=None, products=1_800_000_000),
    )

    def __init__(self, classes: int = 10, stride: int = 2) -> None:
        self.classes = whole("classes", classes)
        self.stride = whole("stride", stride)

    def layers(self) -> list[Part]:
        parts = [*normalised(64, 7, self.stride), MaxPool2D(3, 2, 1)]
        for stage in range(4):
            for block in range(2):
                parts += basic_block(64 * 2**stage, stride=2 if stage and not block else 1)
        return [*parts, *classifier(self.classes)]


class WideResNet(Architecture):
    """Few residual blocks with many filters; normalisation and activation come before each convolution.

    depth: 6 n + 4, of which n blocks are in each of three stages; widen: times the filters of `ResNet`; rate: of the
    dropout between the convolutions of a block.
    Source: Zagoruyko, Komodakis (2016), Wide Residual Networks.
    """

    published: ClassVar[tuple[Published, ...]] = (
        Published("WideResNet(16, 4)", (3, 32, 32), parameters=2_800_000, products=None),
        Published("WideResNet(28, 10)", (3, 32, 32), parameters=36_500_000, products=5_200_000_000),
    )

    def __init__(self, depth: int = 16, widen: int = 2, classes: int = 10, rate: float = 0.0) -> None:
        self.depth = whole("depth", depth)
        self.widen = whole("widen", widen)
        self.classes = whole("classes", classes)
        self.rate = Dropout(rate).rate
        if not 10 <= depth <= DEEPEST or depth % 6 != 4:
            raise ConfigError(f"depth must be 6 n + 4, from 10 to {DEEPEST:,}, such as 16, 22 or 28, got {depth}")

    def layers(self) -> list[Part]:
        parts: list[Part] = [Conv2D(16, 3, padding=1, bias=False)]
        for stage in range(3):
            filters, stride = 16 * self.widen * 2**stage, 2 if stage else 1
            # Where the shape changes, block and shortcut share the normalised input.
            parts += [BatchNorm2D(), ReLU()]
            shortcut = Conv2D(filters, 1, stride, bias=False)
            parts.append(Residual(*self._convolutions(filters, stride), shortcut=shortcut))
            for _ in range((self.depth - 4) // 6 - 1):
                parts.append(Residual(BatchNorm2D(), ReLU(), *self._convolutions(filters, 1)))
        return [*parts, BatchNorm2D(), ReLU(), *classifier(self.classes)]

    def _convolutions(self, filters: int, stride: int) -> list[Part]:
        first = Conv2D(filters, 3, stride, padding=1, bias=False)
        dropout = [Dropout(self.rate)] if self.rate else []
        return [first, BatchNorm2D(), ReLU(), *dropout, Conv2D(filters, 3, padding=1, bias=False)]


class ConvNeXt(Architecture):
    """Residual blocks of a depthwise convolution of 7x7, layer normalisation, and two convolutions of 1x1.

    depths, widths: blocks and filters of each stage; patch: pixels of a side that the first convolution takes together.
    The defaults suit images of 28x28 to 64x64; the paper's T is ConvNeXt(1000, (3, 3, 9, 3), (96, 192, 384, 768), 4).
    The factors that the paper learns for what each block adds are left out.
    Source: Liu, Mao, Wu, Feichtenhofer, Darrell, Xie (2022), A ConvNet for the 2020s.
    """

    published: ClassVar[tuple[Published, ...]] = (
        Published(
            "ConvNeXt(1000, (3, 3, 9, 3), (96, 192, 384, 768), 4)",
            (3, 224, 224),
            parameters=29_000_000,
            products=4_500_000_000,
        ),
    )

    def __init__(
        self,
        classes: int = 10,
        depths: tuple[int, ...] = (2, 2, 2),
        widths: tuple[int, ...] = (32, 64, 128),
        patch: int = 2,
    ) -> None:
        self.classes = whole("classes", classes)
        self.depths = stages("depths", depths)
        self.widths = widths
        self.patch = whole("patch", patch)
        if not isinstance(widths, tuple) or len(widths) != len(depths):
            raise ConfigError(f"widths must be a tuple with a number for each stage of depths, got {shown(widths)}")
        for width in widths:
            whole("widths", width)

    def layers(self) -> list[Part]:
        parts: list[Part] = [Conv2D(self.widths[0], self.patch, self.patch), LayerNorm("channels", epsilon=1e-6)]
        for stage, (depth, width) in enumerate(zip(self.depths, self.widths, strict=True)):
            if stage:
                parts += [LayerNorm("channels", epsilon=1e-6), Conv2D(width, 2, 2)]
            for _ in range(depth):
                parts.append(
                    Residual(
                        DepthwiseConv2D(7, padding=3),
                        LayerNorm("channels", epsilon=1e-6),
                        Conv2D(4 * width, 1),
                        GELU(),
                        Conv2D(width, 1),
                    )
                )
        return [*parts, *classifier(self.classes, [LayerNorm(epsilon=1e-6)])]


def basic_block(filters: int, stride: int) -> list[Part]:
    """Two convolutions of 3x3 beside a shortcut, and a rectifier on their sum."""
    body = [*normalised(filters, 3, stride), *normalised(filters, 3, activation=None)]
    shortcut = normalised(filters, 1, stride, activation=None) if stride > 1 else None
    return [Residual(*body, shortcut=shortcut), ReLU()]
