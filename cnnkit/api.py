"""The functions that join the parts: train a recipe, load a model, export it.

Each imports what it needs when it is called, so that `import cnnkit` stays light.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cnnkit.components import Dataset, Initializer, Layer, Merge
from cnnkit.network import Network
from cnnkit.training import Run
from cnnkit.types import Array, Data, Inputs, Samples
from cnnkit.user_folders import expanded

if TYPE_CHECKING:
    from cnnkit.onnx.report import ValidationReport
    from cnnkit.registry import Record, Registry, Version
    from cnnkit.training.checkpoint import Checkpoints
    from cnnkit.training.interruption import StopRequest
    from cnnkit.training.progress import Progress
    from cnnkit.training.recipe import Recipe


def load_dataset(expression: str | Dataset, data_dir: str | Path | None = None) -> Data:
    """The samples of a dataset, such as `load_dataset("MNIST()")`.

    data_dir: where its files are; CNNKIT_DATA_DIR, or a folder in the user's cache, if None.
    Raises DataError for files that are missing or damaged.
    """
    from cnnkit.data import load_dataset

    return load_dataset(expression, data_dir)


def load_recipe(source: str | Path, overrides: Mapping[str, Any] | Sequence[str] = ()) -> Recipe:
    """A recipe from a TOML file, or one that ships with cnnkit by its name.

    overrides: {"train.epochs": 3}, or ["train.epochs=3"].
    Raises RecipeError naming the file, the key, what was expected and what was found.
    """
    from cnnkit.training.recipe import load_recipe

    return load_recipe(source, overrides)


def train(
    recipe: Recipe | str | Path,
    *,
    data_dir: str | Path | None = None,
    workers: int | None = None,
    progress: Progress | bool | None = True,
    stop: StopRequest | None = None,
    checkpoints: Checkpoints | None = None,
    **overrides: Any,
) -> Run:
    """Train what a recipe describes: `train("digits", epochs=5)`; overrides are keys of its [train] table.

    recipe: a recipe, its name or the path of its file; or the path of your data, as `train("photos")`: a folder of
    images, a file of arrays, or a table; or a dataset, as `train('Table("boxes.csv", "kind")')`: for these a recipe is
    made up.

    The run has the trained `model`, its `history` and its `metrics` on the test samples; nothing is registered.
    progress: as of `Trainer`; checkpoints: as of `Trainer.fit`.
    Raises RecipeError, DataError, ConfigError, ShapeError or TrainingError.
    """
    from cnnkit.training.assembly import data_for, model_for, trainer_for
    from cnnkit.training.kernel_choice import products_of, with_kernels
    from cnnkit.training.recipe import Recipe
    from cnnkit.training.recipe_source import find_recipe

    if not isinstance(recipe, Recipe):
        recipe = find_recipe(recipe, data_dir=data_dir)
    if overrides:
        recipe = recipe.override({f"train.{key}": value for key, value in overrides.items()})
    trainer = trainer_for(recipe, workers, progress)
    data = data_for(recipe, data_dir)
    model = model_for(recipe, data)
    if checkpoints is None or not checkpoints.resume:
        recipe = with_kernels(recipe, products_of(model, len(data.train), recipe.train.epochs), trainer.warn)
        trainer.kernels = recipe.train.kernels or "numpy"
    if checkpoints and checkpoints.recipe is None:
        checkpoints.recipe = recipe.to_dict()
    return trainer.fit(model, data, stop=stop, checkpoints=checkpoints, recipe=recipe.to_dict())


def load_model(
    ref: str,
    registry: Registry | str | Path | None = None,
    *,
    components: Iterable[type[Layer | Merge | Initializer]] = (),
) -> Network:
    """A registered model by its reference: `name@3`, `name@latest` or `name@ALIAS`.

    components: classes of layers and initializers that no installed plugin provides, such as those of a notebook.
    Raises RegistryError if it does not exist or is damaged, and ComponentError, saying what to install, if a layer's
    plugin is missing.
    """
    from cnnkit.registry import Registry

    if not isinstance(registry, Registry):
        registry = Registry(registry)
    return registry.load(ref, components=tuple(components))


def evaluate(
    model: Network, samples: Samples, loss: Any = None, metrics: Sequence[Any] | None = None
) -> dict[str, float]:
    """As `Network.evaluate`."""
    from cnnkit.training import Trainer

    task = model.task
    if loss is None:
        softmax = task.gives == "classes" and model.has_probabilities
        sigmoid = task.gives == "labels" and task.from_logits
        loss = "CrossEntropy()" if softmax else "BinaryCrossEntropy()" if sigmoid else "MSE()"
    if metrics is None:
        metrics = ["Accuracy()"] if task.gives == "classes" else []
    return Trainer(loss=loss, metrics=metrics).evaluate(model, samples)


def save_model(model: Network, name: str, registry: Registry | str | Path | None, **record: Any) -> Version:
    """As `Network.save`."""
    from cnnkit.registry import Registry

    return (registry if isinstance(registry, Registry) else Registry(registry)).save(model, name, **record)


def export_onnx(
    model: Network,
    path: str | Path,
    *,
    opset: int = 17,
    metadata: Mapping[str, str] | None = None,
    input_dtype: str | None = None,
) -> Path:
    """Write a model as an ONNX file with its preprocessing and labels inside; see `validate_onnx` for the proof.

    input_dtype: "float32" for runtimes that do not accept uint8; the dtype of the model's dataset if None.
    Raises OnnxError for a layer that cannot be expressed.
    """
    from cnnkit.onnx.export import export_onnx

    return export_onnx(model, path, opset=opset, metadata=metadata, input_dtype=input_dtype)


def validate_onnx(
    path: str | Path, model: Network, x: Inputs | None = None, runtimes: Sequence[str] | None = None
) -> ValidationReport:
    """Compare an ONNX file with the model on other runtimes; `.ok` tells whether one of them agrees.

    x: inputs to compare on, random ones if None; runtimes: expressions, all installed ones if None, including those
    of plugins. A runtime that disagrees with the others is itself at fault, and listed in `.faults()`.
    """
    from cnnkit.onnx.validate import validate_onnx

    return validate_onnx(path, model, x, runtimes)


def export_bundle(ref: str, path: str | Path, registry: Registry | str | Path | None = None) -> Path:
    """Write a version as one zip file: its own file, its ONNX file and a model card; `Registry.add` imports it.

    Raises CheckError if the ONNX file does not give the model's answers on random inputs on any installed runtime,
    RegistryError if the version or the file cannot be used; nothing is written then.
    """
    from cnnkit.errors import CheckError
    from cnnkit.registry import Registry

    if not isinstance(registry, Registry):
        registry = Registry(registry)
    record = registry.read(ref)
    model, record = record.model(), dataclasses.replace(record, state={})  # the model has copies
    report = write_bundle(record, model, path)
    if not report.ok:
        raise CheckError(
            f"{path} was not written: the answers of its ONNX file would differ from those of "
            f"{record.version.ref}\n{report}"
        )
    return expanded(path)


def write_bundle(
    record: Record, model: Network, path: str | Path, x: Array | None = None, inputs: str = "random inputs"
) -> ValidationReport:
    """What `export_bundle` does, for a record and its model; the file is written only if the report's `.ok`.

    x: inputs to compare on, random ones if None; inputs: what they are, as text for the model card.
    """
    from cnnkit.onnx.export import to_onnx
    from cnnkit.onnx.outputs import output_names
    from cnnkit.onnx.report import COLUMNS
    from cnnkit.onnx.validate import validate_proto
    from cnnkit.plotting.curves import curves_png
    from cnnkit.plotting.network_picture import network_png
    from cnnkit.registry import bundle
    from cnnkit.registry.model_card import write_card

    path = expanded(path)
    bundle.check_target(path)
    proto = to_onnx(model, metadata=bundle.provenance(record))
    report = validate_proto(proto, path, model, x)
    if report.ok:
        drawn = {
            bundle.NETWORK: network_png(model, record.version.ref),
            bundle.CURVES: curves_png(record.manifest.history, record.version.ref),
        }
        pictures = {name: data for name, data in drawn.items() if data}
        card = write_card(
            record,
            model,
            inputs=inputs,
            results=(COLUMNS, *report.rows()),
            remarks=[*report.remarks(), *report.faults()],
            network=bundle.NETWORK if bundle.NETWORK in pictures else None,
            curves=bundle.CURVES if bundle.CURVES in pictures else None,
            outputs=output_names(model),
        )
        members = {bundle.ONNX_FILE: proto.SerializeToString(deterministic=True), bundle.CARD: card.encode()}
        del proto
        bundle.write_bundle(path, record, members | pictures)
    return report
