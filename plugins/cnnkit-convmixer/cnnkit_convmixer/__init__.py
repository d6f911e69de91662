"""ConvMixer for cnnkit: patches of an image that are mixed by convolutions alone."""

from __future__ import annotations

from typing import ClassVar

from cnnkit.layers import GELU, BatchNorm2D, Conv2D, Dense, DepthwiseConv2D, GlobalAvgPool2D, Residual
from cnnkit.plugin import Architecture, ConfigError, Layer, Merge, Published, hookimpl, whole

__all__ = ["ConvMixer"]


class ConvMixer(Architecture):
    """Patches as one convolution makes them, then blocks that mix along the image, and the channels of each place.

    classes: scores at the end; width: channels; depth: blocks; patch: pixels of a side that the first convolution takes
    together; kernel: of the depthwise convolutions, odd. The defaults suit images of 28x28 to 64x64; the paper's
    largest, ConvMixer-1536/20, is ConvMixer(1000, 1536, 20, 7, 9).
    Raises ConfigError for numbers below 1, and an even kernel.
    Source: Trockman, Kolter (2022), Patches Are All You Need?
    """

    published: ClassVar[tuple[Published, ...]] = (
        Published("ConvMixer(1000, 1536, 20, 7, 9)", (3, 224, 224), parameters=51_600_000, products=None),
        Published("ConvMixer(1000, 768, 32, 7, 7)", (3, 224, 224), parameters=21_100_000, products=None),
    )

    def __init__(self, classes: int = 10, width: int = 64, depth: int = 4, patch: int = 2, kernel: int = 5) -> None:
        self.classes = whole("classes", classes)
        self.width = whole("width", width)
        self.depth = whole("depth", depth)
        self.patch = whole("patch", patch)
        self.kernel = whole("kernel", kernel)
        if kernel % 2 == 0:
            raise ConfigError(f"kernel must be odd, so that a block keeps the size of the image, got {kernel}")

    def layers(self) -> list[Layer | Merge]:
        parts: list[Layer | Merge] = [Conv2D(self.width, self.patch, self.patch), GELU(), BatchNorm2D()]
        for _ in range(self.depth):
            mixed = [DepthwiseConv2D(self.kernel, padding=self.kernel // 2), GELU(), BatchNorm2D()]
            parts += [Residual(*mixed), Conv2D(self.width, 1), GELU(), BatchNorm2D()]
        return [*parts, GlobalAvgPool2D(), Dense(self.classes)]


@hookimpl
def cnnkit_architectures() -> list[type[Architecture]]:
    """ConvMixer."""
    return [ConvMixer]
