"""Training a network of any recipe of a task with PyTorch: the same layers, initial weights, data and rates."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from cnnkit import layers
from cnnkit.network import INPUT, Network
from cnnkit.training.steps import factor_at
from cnnkit.training.trainer import Trainer
from cnnkit.types import Array, Data, Shape

AT_ONCE = 500
"""Samples that are predicted together."""


class Twin(nn.Module):
    """The same network, from the same weights; raises TypeError for a layer without a translation."""

    def __init__(self, model: Network) -> None:
        super().__init__()
        self.nodes = model.nodes
        self.of = nn.ModuleList(
            nn.Identity() if isinstance(node.layer, layers.Concat) else _module(node.layer, node.in_shapes[0])
            for node in model.nodes
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """The outputs, logits for a loss from logits."""
        values = {INPUT: x}
        for node, one in zip(self.nodes, self.of, strict=True):
            given = [values[at] for at in node.inputs]
            values[node.index] = torch.cat(given, 1) if isinstance(node.layer, layers.Concat) else one(given[0])
        return values[self.nodes[-1].index]


def outputs(trainer: Trainer, model: Network, data: Data, seed: int, threads: int) -> Array:
    """Train the twin of a network, and give its outputs for the test samples."""
    torch.set_num_threads(threads)
    torch.manual_seed(seed)
    net, epochs = Twin(model), trainer.epochs
    losses = {
        "CrossEntropy": functional.cross_entropy,
        "BinaryCrossEntropy": functional.binary_cross_entropy_with_logits,
        "MSE": functional.mse_loss,
    }
    loss_of: Any = losses[type(trainer.loss).__name__]
    x = torch.from_numpy(np.ascontiguousarray(data.train.x)) * np.float32(data.preprocessing.scale)
    y = torch.from_numpy(np.ascontiguousarray(data.train.y))
    adam = torch.optim.Adam(net.parameters(), trainer.optimizer.lr)
    steps = -(-len(x) // trainer.batch_size)
    for epoch in range(epochs):
        for step, batch in enumerate(torch.randperm(len(x)).split(trainer.batch_size)):
            rate = trainer.optimizer.lr * factor_at(trainer.schedule, epoch + step / steps, epochs)
            adam.param_groups[0]["lr"] = rate
            adam.zero_grad()
            loss_of(net(x[batch]), y[batch]).backward()
            adam.step()
    net.eval()
    test = torch.from_numpy(np.ascontiguousarray(data.test.x)) * np.float32(data.preprocessing.scale)
    with torch.no_grad():
        return np.concatenate([net(part).numpy() for part in test.split(AT_ONCE)])


def _module(layer: Any, shape: Shape) -> nn.Module:
    """One layer, for inputs of this shape; of stride, padding and kernel only those that the recipes use."""
    weight = layer.params.get("weight")
    match layer:
        case layers.Conv1D():
            made: Any = nn.Conv1d(shape[0], layer.filters, layer.kernel, layer.stride, layer.padding, bias=layer.bias)
        case layers.Conv2D():
            made = nn.Conv2d(shape[0], layer.filters, layer.kernel, layer.stride, layer.padding, bias=layer.bias)
        case layers.ConvTranspose2D():
            made = nn.ConvTranspose2d(
                shape[0], layer.filters, layer.kernel, layer.stride, layer.padding, layer.output_padding
            )
        case layers.Dense():
            made = nn.Linear(shape[0], layer.units)
        case layers.BatchNorm2D():
            return nn.BatchNorm2d(shape[0], layer.epsilon, layer.momentum)
        case layers.MaxPool1D():
            return nn.MaxPool1d(layer.size)
        case layers.MaxPool2D():
            return nn.MaxPool2d(layer.size)
        case layers.GlobalAvgPool1D():
            return nn.AdaptiveAvgPool1d(1)
        case layers.Upsample2D():
            return nn.Upsample(scale_factor=layer.size)
        case layers.Reshape():
            return nn.Unflatten(1, layer.shape)
        case layers.Flatten():
            return nn.Flatten()
        case layers.Dropout():
            return nn.Dropout(layer.rate)
        case layers.ReLU():
            return nn.ReLU()
        case layers.Sigmoid():
            return nn.Sigmoid()
        case _:
            raise TypeError(f"{layer!r} has no translation to PyTorch")
    with torch.no_grad():
        made.weight.copy_(torch.from_numpy(np.asarray(weight).reshape(made.weight.shape)))
        if "bias" in layer.params:
            made.bias.copy_(torch.from_numpy(layer.params["bias"]))
    return made
