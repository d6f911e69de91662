"""Trainings in TensorBoard: what a training measures, its weights and filters, its network and its recipe."""

from __future__ import annotations

import contextlib
import datetime
import io
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from cnnkit import Run, export_onnx
from cnnkit.plugin import Array, Callback, ConfigError, OnnxError, Shape, TrainingStep, hookimpl, true_or_false, whole

__all__ = ["TensorBoard", "filter_grid"]

MOST_FILTERS = 64
"""Filters of a layer that a picture shows."""


class TensorBoard(Callback):
    """Writes a training into a folder that TensorBoard reads: `tensorboard --logdir runs`.

    Each epoch: loss, metrics, learning rate and seconds, and from its last step, before the update, histograms of each
    parameter and its gradient. Every `images` epochs, from the first: the filters of the first convolution, from black,
    the smallest weight, to white. In the end: the network as a graph, if it can be exported to ONNX, the options of the
    training as hyperparameters with the test metrics, and the recipe as text.

    folder: below the folder that the training runs in; each training gets a folder of its own there, named by its date
    and time. histograms: whether they are written; images: so many epochs are between two pictures, 0 for none. A
    training that is resumed is written anew, from its first epoch, without the histograms and pictures of the epochs
    before. Raises ConfigError for another folder, or images below 0.
    """

    def __init__(self, folder: str = "runs", histograms: bool = True, images: int = 1) -> None:
        path = Path(folder) if isinstance(folder, str) and folder else None
        if path is None or path.is_absolute() or ".." in path.parts:  # a recipe may come from elsewhere
            raise ConfigError(
                "folder must be the name of a folder in the one that the training runs in, or below it, such as "
                f'"runs", got {folder!r:.200}'
            )
        self.folder = folder
        self.histograms = true_or_false("histograms", histograms)
        self.images = whole("images", images, 0)

    def start(self, quantities: Mapping[str, bool]) -> None:
        from tensorboardX import SummaryWriter

        name = datetime.datetime.now().strftime("%Y-%m-%d_%H-%M-%S.%f")
        self._writer: Any = SummaryWriter(str(Path(self.folder) / name))
        self._written = 0
        self._arrays: dict[str, Array] = {}
        self._picture: Array | None = None

    def quantities(self, parameters: Mapping[str, Shape]) -> Mapping[str, bool]:
        self._filters = next((name for name, shape in parameters.items() if len(shape) == 4), "")
        return {}

    def on_step(self, step: TrainingStep) -> None:
        if step.step != step.steps:
            return
        if self.histograms:
            self._arrays = {f"weights/{name}": array.copy() for name, array in step.weights.items()}
            self._arrays |= {f"gradients/{name}": array.copy() for name, array in step.gradients.items()}
        if self._filters and self.images and (step.epoch - 1) % self.images == 0:
            self._picture = filter_grid(step.weights[self._filters])

    def after_epoch(self, history: Mapping[str, list[float]]) -> str:
        epoch = len(next(iter(history.values())))
        for number in range(self._written, epoch):
            for name, values in history.items():
                self._writer.add_scalar(_tag(name), values[number], number + 1)
        self._written = epoch
        for name, array in self._arrays.items():
            self._writer.add_histogram(name, array, epoch)
        if self._picture is not None:
            self._writer.add_image(f"filters/{self._filters}", self._picture, epoch, dataformats="HW")
        self._arrays, self._picture = {}, None
        self._writer.flush()
        return ""

    def after_training(self, run: Run | None) -> None:
        if not hasattr(self, "_writer"):  # it failed before its start
            return
        if run is not None:
            self._recipe(run)
            self._graph(run)
        self._writer.close()

    def _recipe(self, run: Run) -> None:
        from tensorboardX.summary import hparams

        recipe = run.recipe or {}
        lines = [f"{table}.{key} = {value!r}" for table, keys in recipe.items() for key, value in dict(keys).items()]
        self._writer.add_text("recipe", "\n".join(f"    {line}" for line in lines))
        options = {
            name: value if isinstance(value, bool | int | float | str) else str(value)
            for name, value in recipe.get("train", {}).items()
        }
        metrics = {f"{name}/test": value for name, value in run.metrics.items()}
        for name, value in metrics.items():
            self._writer.add_scalar(name, value, self._written)
        for summary in hparams(options, metrics):
            self._writer.file_writer.add_summary(summary)

    def _graph(self, run: Run) -> None:
        with tempfile.TemporaryDirectory() as folder:
            try:
                path = export_onnx(run.model, Path(folder) / "model.onnx")
            except OnnxError:  # of a layer that only trains; the rest of the training is still worth a look
                return
            with contextlib.redirect_stdout(io.StringIO()):  # it prints each node
                self._writer.add_onnx_graph(str(path))


def filter_grid(weights: Array) -> Array:
    """A picture of filters beside each other, with a pixel between them: (F, C, kh, kw) -> (H, W) uint8.

    y = 255 * (w - min w) / (max w - min w), w the mean over the channels, of the first 64 filters; 0 between them.
    """
    filters = weights[:MOST_FILTERS].mean(axis=1, dtype=np.float64)  # (F, kh, kw)
    low, high = filters.min(), filters.max()
    grey = np.rint(255 * (filters - low) / ((high - low) or 1)).astype(np.uint8)
    columns = int(np.ceil(np.sqrt(len(grey))))
    rows = -(-len(grey) // columns)
    kh, kw = grey.shape[1:]
    picture = np.zeros((rows * (kh + 1) - 1, columns * (kw + 1) - 1), np.uint8)
    for at, one in enumerate(grey):
        row, column = divmod(at, columns)
        picture[row * (kh + 1) :, column * (kw + 1) :][:kh, :kw] = one
    return picture


def _tag(name: str) -> str:
    """Curves of training and validation samples become neighbours: loss/training, loss/validation."""
    if name in ("lr", "seconds") or "[" in name:
        return name
    quantity = name.removeprefix("validation_")
    return f"{quantity}/{'training' if quantity == name else 'validation'}"


@hookimpl
def cnnkit_callbacks() -> list[type[Callback]]:
    """The callback that writes for TensorBoard."""
    return [TensorBoard]
