"""A plugin with one component of each kind that a recipe may name beside layers."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from cnnkit import Augmentation, hookimpl
from cnnkit.components import Callback, Dataset, Loss, Metric, Optimizer, Schedule
from cnnkit.losses import CrossEntropy
from cnnkit.types import Array, Cache, Data, Draws, Samples


class Stripes(Dataset):
    """Two classes, as stripes; of a folder, if there is one."""

    def __init__(self, samples: int = 64, folder: str = "") -> None:
        self.samples, self.folder = samples, folder

    def load(self, data_dir: Path) -> Data:
        y = np.arange(self.samples) % 2
        x = np.random.default_rng(3).integers(0, 4, (self.samples, 1, 4, 4)).astype(np.uint8)
        x[y == 0, :, ::2] += 4
        x[y == 1, :, :, ::2] += 4
        half = self.samples // 2
        return Data(Samples(x[:half], y[:half]), Samples(x[half:], y[half:]), labels=("across", "down"))

    def is_complete(self, data_dir: Path) -> bool | None:
        return Path(data_dir, self.folder).is_dir() if self.folder else None


class Halved(Loss):
    """Half the cross-entropy."""

    from_logits = True

    def forward(self, outputs: Array, targets: Array) -> tuple[Array, Cache]:
        losses, cache = CrossEntropy().forward(outputs, targets)
        return losses / 2, cache

    def backward(self, cache: Cache, weight: float) -> Array:
        return CrossEntropy().backward(cache, weight / 2)


class Signs(Optimizer):
    """Steps along the sign of the gradient."""

    def __init__(self, lr: float) -> None:
        self.lr = lr

    def update(self, params: Array, grads: Array, state: object, lr: float, step: int) -> None:
        params -= np.float32(lr) * np.sign(grads)


class Stairs(Schedule):
    """Half the rate after half the epochs."""

    def factor(self, epoch: float, epochs: float) -> float:
        return 1.0 if epoch < epochs / 2 else 0.5


class Wrong(Metric):
    """The share of wrong answers."""

    greater_is_better = False

    def sums(self, outputs: Array, targets: Array) -> Array:
        return np.array([(outputs.argmax(1) != targets).sum(), len(targets)], np.float64)

    def value(self, total: Array) -> float:
        return float(total[0] / total[1])


class Watch(Callback):
    """Looks on."""


class Mirror(Augmentation):
    """Left and right."""

    def apply(self, x: Array, draws: Draws) -> Array:
        return x[..., ::-1]


@hookimpl
def cnnkit_datasets() -> list[type[Dataset]]:
    return [Stripes]


@hookimpl
def cnnkit_losses() -> list[type[Loss]]:
    return [Halved]


@hookimpl
def cnnkit_optimizers() -> list[type[Optimizer]]:
    return [Signs]


@hookimpl
def cnnkit_schedules() -> list[type[Schedule]]:
    return [Stairs]


@hookimpl
def cnnkit_metrics() -> list[type[Metric]]:
    return [Wrong]


@hookimpl
def cnnkit_callbacks() -> list[type[Callback]]:
    return [Watch]


@hookimpl
def cnnkit_augmentations() -> list[type[Augmentation]]:
    return [Mirror]
