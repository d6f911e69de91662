"""A cnnkit network as a PyTorch module that starts from the same parameters."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from cnnkit.components import Layer, Merge
from cnnkit.layers import (
    AvgPool2D,
    BatchNorm2D,
    Concat,
    Conv2D,
    ConvTranspose2D,
    Dense,
    Dropout,
    Flatten,
    GlobalAvgPool2D,
    GroupNorm,
    MaxPool2D,
    ReLU,
    ReLU6,
    Residual,
)
from cnnkit.types import Array


class Sum(nn.Module):
    """A residual connection."""

    def __init__(self, body: nn.Module, shortcut: nn.Module) -> None:
        super().__init__()
        self.body = body
        self.shortcut = shortcut

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """body(x) + shortcut(x)."""
        return self.body(x) + self.shortcut(x)


class Beside(nn.Module):
    """Branches whose outputs stand beside each other, along the channels."""

    def __init__(self, *branches: nn.Module) -> None:
        super().__init__()
        self.branches = nn.ModuleList(branches)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """All branches of x."""
        return torch.cat([branch(x) for branch in self.branches], 1)


def chain(layers: Sequence[Layer | Merge]) -> nn.Sequential:
    """The layers one after another; an empty list passes its input on."""
    return nn.Sequential(*map(_module, layers))


def _module(layer: Layer | Merge) -> nn.Module:
    match layer:
        case Residual():
            body, shortcut = layer.branches
            return Sum(chain(body), chain(shortcut))
        case Concat():
            return Beside(*map(chain, layer.branches))
        case Conv2D():
            filters, channels = layer.params["weight"].shape[:2]
            options = {"bias": layer.bias, "groups": layer.groups, **_window(layer)}
            return _filled(nn.Conv2d(channels * layer.groups, filters, **options), layer.params)
        case ConvTranspose2D():
            channels, filters = layer.params["weight"].shape[:2]
            return _filled(nn.ConvTranspose2d(channels, filters, bias=layer.bias, **_window(layer)), layer.params)
        case Dense():
            units, features = layer.params["weight"].shape
            return _filled(nn.Linear(features, units, bias=layer.bias), layer.params)
        case BatchNorm2D():
            norm = nn.BatchNorm2d(len(layer.params["gamma"]), eps=layer.epsilon, momentum=layer.momentum)
            return _filled(norm, {"weight": layer.params["gamma"], "bias": layer.params["beta"]})
        case GroupNorm():
            gamma, beta = layer.params["gamma"], layer.params["beta"]
            return _filled(nn.GroupNorm(layer.groups, len(gamma), layer.epsilon), {"weight": gamma, "bias": beta})
        case MaxPool2D():
            return nn.MaxPool2d(**_window(layer))
        case AvgPool2D():
            return nn.AvgPool2d(**_window(layer))
        case GlobalAvgPool2D():
            return nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
        case ReLU():
            return nn.ReLU(inplace=True)
        case ReLU6():
            return nn.ReLU6(inplace=True)
        case Dropout():
            return nn.Dropout(layer.rate)
        case Flatten():
            return nn.Flatten()
    raise TypeError(f"{layer!r} has no translation to PyTorch")


def _window(layer: Conv2D | ConvTranspose2D | MaxPool2D | AvgPool2D) -> dict[str, Any]:
    onnx = layer.window.onnx
    (top, left), after = onnx["pads"][:2], onnx["pads"][2:]
    if [top, left] != after:
        raise TypeError(f"{layer!r} pads its two ends differently, which PyTorch's layer cannot")
    return {"kernel_size": tuple(onnx["kernel_shape"]), "stride": tuple(onnx["strides"]), "padding": (top, left)}


def _filled(module: nn.Module, params: dict[str, Array]) -> nn.Module:
    with torch.no_grad():
        for name, value in params.items():
            module.get_parameter(name).copy_(torch.from_numpy(value))
    return module
