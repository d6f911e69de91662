"""Networks that are graphs, as people write them."""

from __future__ import annotations

from typing import Any


def resnet(blocks: int = 3, filters: int = 16, inputs: str = "input") -> dict[str, Any]:
    """ResNet for small images, with 6 * blocks + 2 layers; 20 of them for 3 blocks."""
    nodes: dict[str, Any] = {
        "stem": (f"Conv2D({filters}, 3, padding=1, bias=False)", inputs),
        "stem_norm": "BatchNorm2D()",
        "stem_relu": "ReLU()",
    }
    before = "stem_relu"
    for stage, width in enumerate((filters, 2 * filters, 4 * filters)):
        for block in range(blocks):
            name, stride = f"s{stage}b{block}", 2 if stage and not block else 1
            shortcut = before
            nodes |= {
                f"{name}_conv1": (f"Conv2D({width}, 3, stride={stride}, padding=1, bias=False)", before),
                f"{name}_norm1": "BatchNorm2D()",
                f"{name}_relu1": "ReLU()",
                f"{name}_conv2": f"Conv2D({width}, 3, padding=1, bias=False)",
                f"{name}_norm2": "BatchNorm2D()",
            }
            if stride > 1:
                nodes |= {
                    f"{name}_project": (f"Conv2D({width}, 1, stride={stride}, bias=False)", before),
                    f"{name}_project_norm": "BatchNorm2D()",
                }
                shortcut = f"{name}_project_norm"
            nodes |= {f"{name}_sum": ("Add()", [f"{name}_norm2", shortcut]), f"{name}_relu2": "ReLU()"}
            before = f"{name}_relu2"
    return nodes | {"pool": "AvgPool2D(7)", "flat": "Flatten()", "scores": "Dense(10)"}


def unet() -> dict[str, Any]:
    """Down, up again, and across on each level; 4 values for each pixel."""
    return {
        "down1": "Conv2D(6, 3, padding=1)",
        "down1_relu": "ReLU()",
        "pool1": "MaxPool2D(2)",
        "down2": "Conv2D(8, 3, padding=1)",
        "down2_norm": "BatchNorm2D()",
        "down2_relu": "ReLU()",
        "pool2": "MaxPool2D(2)",
        "bottom": "Conv2D(12, 3, padding=1)",
        "bottom_relu": "ReLU()",
        "up2": "Upsample2D(2)",
        "join2": ("Concat()", ["up2", "down2_relu"]),
        "decode2": "Conv2D(8, 3, padding=1)",
        "decode2_relu": "ReLU()",
        "up1": "Upsample2D(2)",
        "join1": ("Concat()", ["up1", "down1_relu"]),
        "decode1": "Conv2D(6, 3, padding=1)",
        "decode1_relu": "ReLU()",
        "scores": "Conv2D(4, 1)",
    }


def inception() -> dict[str, Any]:
    """One block of GoogLeNet behind a convolution."""
    return {
        "stem": "Conv2D(8, 5, stride=2, padding=2)",
        "x": "ReLU()",
        "one": ("Conv2D(4, 1)", "x"),
        "reduce3": ("Conv2D(4, 1)", "x"),
        "reduce3_relu": "ReLU()",
        "three": "Conv2D(6, 3, padding=1)",
        "reduce5": ("Conv2D(2, 1)", "x"),
        "reduce5_relu": "ReLU()",
        "five": "Conv2D(4, 5, padding=2)",
        "pool": ("MaxPool2D(3, 1, padding=1)", "x"),
        "pool_conv": "Conv2D(4, 1)",
        "joined": ("Concat()", ["one", "three", "five", "pool_conv"]),
        "joined_relu": "ReLU()",
        "mean": "AvgPool2D(14)",
        "flat": "Flatten()",
        "scores": "Dense(10)",
    }


def deep_unet(depth: int = 4, filters: int = 8) -> dict[str, Any]:
    """Down through `depth` levels and up again, across on each, with two convolutions on every level of each side."""
    nodes: dict[str, Any] = {}

    def convolutions(side: str, level: int) -> None:
        for turn in (1, 2):
            nodes[f"{side}{level}_conv{turn}"] = f"Conv2D({filters << level}, 3, padding=1)"
            nodes[f"{side}{level}_relu{turn}"] = "ReLU()"

    for level in range(depth):
        if level:
            nodes[f"pool{level}"] = "MaxPool2D(2)"
        convolutions("down", level)
    for level in reversed(range(depth - 1)):
        nodes[f"up{level}"] = "Upsample2D(2)"
        nodes[f"join{level}"] = ("Concat()", [f"down{level}_relu2", f"up{level}"])
        convolutions("up", level)
    return nodes | {"scores": "Conv2D(4, 1)"}


def densenet(convolutions: int = 8) -> dict[str, Any]:
    """Each convolution takes the outputs of all before it."""
    nodes: dict[str, Any] = {"conv0": "Conv2D(8, 3, padding=1)", "conv1": "Conv2D(4, 3, padding=1)"}
    for number in range(2, convolutions):
        nodes[f"join{number}"] = ("Concat()", [f"conv{before}" for before in range(number)])
        nodes[f"conv{number}"] = "Conv2D(4, 3, padding=1)"
    return nodes | {"flat": "Flatten()", "scores": "Dense(10)"}


def siamese() -> dict[str, Any]:
    """Two ways with the same weights, each of which sees the image differently, and a product of both."""
    from cnnkit.layers import Conv2D, Dense

    conv, dense = Conv2D(6, 3, padding=1), Dense(12)
    return {
        "left": (conv, "input"),
        "left_relu": "ReLU()",
        "right": (conv, "twice"),
        "twice": ("Add()", ["input", "input"]),
        "right_relu": ("ReLU()", "right"),
        "left_flat": ("Flatten()", "left_relu"),
        "right_flat": ("Flatten()", "right_relu"),
        "left_code": (dense, "left_flat"),
        "right_code": (dense, "right_flat"),
        "product": ("Multiply()", ["left_code", "right_code"]),
        "scores": "Dense(10)",
    }


def everything() -> dict[str, Any]:
    """Whatever can be shared stands in two places, and values are taken twice by one join."""
    from cnnkit.layers import BatchNorm2D, Conv2D, Dense, ReLU

    conv, norm, relu, dense = Conv2D(4, 3, padding=1), BatchNorm2D(), ReLU(), Dense(10)
    return {
        "small": ("AvgPool2D(4)", "input"),
        "stem": "Conv2D(4, 1)",
        "a": (conv, "stem"),
        "a_norm": (norm, "a"),
        "a_relu": (relu, "a_norm"),
        "b": (conv, "a_relu"),
        "b_other_norm": "BatchNorm2D()",
        "c": (conv, "b_other_norm"),
        "c_norm": (norm, "c"),
        "c_relu": (relu, "c_norm"),
        "sum": ("Add()", ["a_relu", "c_relu", "a_relu", "stem"]),
        "sum_relu": "ReLU()",
        "square": ("Multiply()", ["sum_relu", "sum_relu"]),
        "wide": ("Concat()", ["square", "stem", "square"]),
        "grouped": "Conv2D(6, 3, groups=2, padding=1)",
        "residual": "Residual(Conv2D(6, 3, padding=1), BatchNorm2D())",
        "flat": "Flatten()",
        "one": (dense, "flat"),
        "bent": ("ReLU()", "flat"),
        "two": (dense, "bent"),
        "scores": ("Add()", ["one", "two"]),
    }
