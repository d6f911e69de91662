"""PyTorch at its best on a CPU: data in memory, fused optimizer, in both memory formats, and compiled if asked."""

from __future__ import annotations

from typing import cast

import numpy as np
import torch
from torch import nn

from benchmarks.child_job import Job, load, prepared
from benchmarks.networks import PREPROCESSING
from benchmarks.peers.torch_network import chain
from benchmarks.turn_child import Turns
from cnnkit.components import Optimizer, Schedule, installed_catalog
from cnnkit.optimizers import SGD, Adam
from cnnkit.types import Array


class Training:
    """A job's training, step by step. Variants: "", "channels_last", "compiled"."""

    def __init__(self, job: Job) -> None:
        torch.set_num_threads(job.workers)
        torch.manual_seed(job.seed)
        self.job = job
        self.format = torch.channels_last if job.variant == "channels_last" else torch.contiguous_format
        samples = job.train()
        self.x, self.y = self._images(np.asarray(samples.x)), torch.from_numpy(samples.y)
        self.network = chain(job.model().layers).train()
        self.network.to(memory_format=self.format)
        self.run = torch.compile(self.network) if job.variant == "compiled" else self.network
        self.loss = nn.CrossEntropyLoss()
        catalog = installed_catalog()
        self.rate = cast(Optimizer, catalog.build("optimizer", job.optimizer)).lr
        self.schedule = cast(Schedule, catalog.build("schedule", job.schedule))
        self.optimizer = optimizer(job.optimizer, self.network)

    def step(self, positions: Array) -> torch.Tensor:
        """Train on the samples at these positions; the mean loss before the step."""
        index = torch.from_numpy(positions)
        x, y = self.x[index], self.y[index]
        if self.job.raw:
            x = converted(x)
        x = x.contiguous(memory_format=self.format)
        self.optimizer.zero_grad(set_to_none=True)
        loss = self.loss(self.run(x), y)
        loss.backward()
        self.optimizer.step()
        return loss.detach()

    def epoch(self, epoch: int) -> float:
        """Train one epoch; the mean loss."""
        total = torch.zeros(())
        batches = list(self.job.batches(epoch))
        for number, batch in enumerate(batches):
            factor = self.schedule.factor(epoch + number / len(batches), self.job.epochs)
            self.optimizer.param_groups[0]["lr"] = self.rate * factor
            total += self.step(batch) * len(batch)
        return float(total) / self.job.samples

    @torch.inference_mode()
    def accuracy(self, x: torch.Tensor, y: torch.Tensor) -> float:
        """The share of right predictions, on raw images."""
        self.network.eval()
        chunks = zip(x.split(1_000), y.split(1_000), strict=True)
        right = sum(int((self.network(converted(part)).argmax(1) == truth).sum()) for part, truth in chunks)
        self.network.train()
        return right / len(y)

    def _images(self, x: Array) -> torch.Tensor:
        images = torch.from_numpy(x if self.job.raw else prepared(x))
        return images.contiguous(memory_format=self.format)


def converted(x: torch.Tensor) -> torch.Tensor:
    """Raw images as the first layer sees them."""
    factor, offset = PREPROCESSING.affine(np.dtype(np.float32), x.ndim)
    return x.float().mul_(torch.from_numpy(factor)).add_(torch.from_numpy(offset))


def optimizer(expression: str, network: nn.Module) -> torch.optim.Optimizer:
    """PyTorch's optimizer for an expression of cnnkit's."""
    match installed_catalog().build("optimizer", expression):
        case Adam() as adam if type(adam) is Adam:
            betas = adam.beta1, adam.beta2
            return torch.optim.Adam(network.parameters(), adam.lr, betas, adam.epsilon, adam.weight_decay, fused=True)
        case SGD() as sgd:
            rule = {"momentum": sgd.momentum, "nesterov": sgd.nesterov, "weight_decay": sgd.weight_decay}
            return torch.optim.SGD(network.parameters(), sgd.lr, **rule, fused=True)
    raise TypeError(f"{expression} has no translation to PyTorch")


def main(job: Job, turns: Turns) -> None:
    """Train until there are no more turns."""
    turns.versions = {"torch": torch.__version__}
    training = Training(job)
    test = load(job.data, "test") if job.evaluate else None
    for epoch in turns:
        values = {"loss": training.epoch(epoch)}
        if test:
            values["validation_accuracy"] = training.accuracy(torch.from_numpy(test.x), torch.from_numpy(test.y))
        turns.done(**values)
