"""One input of a model, from a file or from the test samples of a dataset."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from cnnkit.cli.options import Inverting
from cnnkit.cli.output import warn
from cnnkit.cli.recorded_components import chosen_dataset, recorded_framing, recorded_level

if TYPE_CHECKING:
    from cnnkit.network import Network
    from cnnkit.registry import Record
    from cnnkit.registry.trust import Trust
    from cnnkit.types import Array, Samples


def from_file(
    file: Path, record: Record, model: Network, invert: Inverting, fit: bool, trust: Trust
) -> tuple[Array, str, Array | None]:
    """The image, where it is from and what was done to it, and what it is in the file."""
    from cnnkit.errors import DataError
    from cnnkit.evaluation.file_inputs import Reading, read_file

    level = None if file.suffix.lower() == ".npy" else recorded_level(model, record.manifest, trust)
    if fit and not model.framing.content:
        model.framing = recorded_framing(record.manifest, trust) or model.framing
    inputs = read_file(file, model, Reading(invert.choice, fit, level), keep_picture=True)
    x = inputs.x
    for hint in inputs.hints if inputs.is_image else ():  # the network says so itself of an array
        warn(f"{file} {hint}")
    if len(x) != 1:
        raise DataError(f"{file}: expected one image, it has {len(x)}: save the one to explain as a separate file")
    done = [word for word, is_so in (("inverted", inputs.inverted), ("fitted", fit)) if is_so]
    return x, f"{file} ({', '.join(done)})" if done else str(file), inputs.picture


def from_dataset(
    number: int, dataset: str | None, record: Record, model: Network, data_dir: str | None, trust: Trust
) -> tuple[Array, Any, str]:
    """The test sample with this number, its target, and where it is from."""
    from cnnkit.class_indices import check_labels, indices_of
    from cnnkit.errors import ConfigError, ShapeError

    data = chosen_dataset(dataset, record.version.ref, record.manifest, data_dir, trust)
    samples: Samples = data.test
    if not 0 <= number < len(samples):
        raise ConfigError(f"{data.name} has test samples 0 to {len(samples) - 1}, got --sample {number}")
    check_labels(model.labels, data.labels, record.version.ref)
    targets = indices_of(samples.y) if model.task.gives == "classes" else samples.y
    x, y = samples.x[number], targets[number]
    if x.shape != model.input_shape:
        raise ShapeError(
            f"{record.version.name} takes inputs of shape {model.input_shape}, the dataset has {x.shape}: choose a "
            "matching dataset with --dataset"
        )
    return x, int(y) if targets.ndim == 1 else y, f"test sample {number} of {data.name}"
