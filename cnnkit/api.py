"""The functions that join the parts: train a recipe, load a model, export it.

Each imports what it needs when it is called, so that `import cnnkit` stays light.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cnnkit import caller_warnings
from cnnkit.components import Dataset, Initializer, Layer, Merge
from cnnkit.errors import CnnkitWarning
from cnnkit.network import Graph, Network
from cnnkit.training import Run
from cnnkit.types import Data, Inputs, Samples
from cnnkit.user_folders import expanded

if TYPE_CHECKING:
    from onnx import ModelProto

    from cnnkit.components import Runtime
    from cnnkit.onnx.precision.report import PrecisionReport
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
    start: Network | None = None,
    **overrides: Any,
) -> Run:
    """Train what a recipe describes: `train("digits", epochs=5)`; overrides are keys of its [train] table.

    recipe: a recipe, its name or the path of its file; or the path of your data, as `train("photos")`: a folder of
    images, a file of arrays, or a table; or a dataset, as `train('Table("boxes.csv", "kind")')`: for these a recipe is
    made up.

    The run has the trained `model`, its `history` and its `metrics` on the test samples; nothing is registered.
    progress: as of `Trainer`; checkpoints: as of `Trainer.fit`; start: a network to train on, such as an imported one,
    whose layers and weights take the place of the recipe's, and which stays as it is.
    Raises RecipeError, DataError, ConfigError, ShapeError or TrainingError.
    """
    from cnnkit.training.assembly import data_for, model_for, trainer_for
    from cnnkit.training.kernel_choice import products_of, with_kernels
    from cnnkit.training.recipe import Recipe
    from cnnkit.training.recipe_source import find_recipe
    from cnnkit.training.start import check_samples, recipe_from

    if not isinstance(recipe, Recipe):
        recipe = find_recipe(recipe, data_dir=data_dir)
    if overrides:
        recipe = recipe.override({f"train.{key}": value for key, value in overrides.items()})
    if start is not None:
        recipe = recipe_from(recipe, start)
    trainer = trainer_for(recipe, workers, progress)
    data = data_for(recipe, data_dir)
    resumes = checkpoints is not None and checkpoints.resume
    if start is not None:
        check_samples(start, data)
    model = model_for(recipe, data, has_weights=resumes or start is not None)
    if start is not None:
        model.load_state(start.state())
    if not resumes:
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
    batch: int | None = None,
    outputs: Sequence[str] | None = None,
    fold: bool = True,
    metadata: Mapping[str, str] | None = None,
    input_dtype: str | None = None,
    sample: Inputs | None = None,
) -> Path:
    """Write a model as an ONNX file with its preprocessing and labels inside; see `validate_onnx` for the proof.

    opset: 13 to 23; batch: how many samples the file takes at once, any number if None.
    outputs: some of "logits", "probabilities" and "label", in this order; all but the label if None.
    fold: batch normalisations go into the weights before them; False writes each layer by itself.
    input_dtype: "float32" for runtimes that do not accept uint8; the dtype of the model's dataset if None.
    sample: one input that the file brings along with the model's answers, for `cnnkit selftest`; a random one if None.
    Raises ConfigError for a form that the file cannot have, OnnxError for a layer that cannot be expressed.
    """
    from cnnkit.onnx.export import export_onnx

    return export_onnx(
        model,
        path,
        opset=opset,
        batch=batch,
        outputs=outputs,
        fold=fold,
        metadata=metadata,
        input_dtype=input_dtype,
        sample=sample,
    )


def import_onnx(path: str | Path, *, labels: Sequence[str] | None = None, output: str | None = None) -> Graph:
    """A network that gives the answers of an ONNX file of any program, ready to predict or to train on.

    Its layers have the file's weights. The proof is made before it is returned: on random inputs of several
    kinds both give the same answers, to 1e-4 of what the inputs change in them, the file in a process of its own with
    limits of time and memory.
    labels: names of the classes, those that the file's metadata hold if None; output: which of several outputs the
    network gives, or any value of the file by its name.
    Images that TensorFlow has as (N, H, W, C) are (N, C, H, W) for the network, and `origin["channels_last"]` of it is
    True. Warns with CnnkitWarning of that where all sizes are equal, so that no shape would tell.
    Raises OnnxError for a file that cannot be read, or that does what no layer does, with a list of all of it, or for
    fewer or more labels than classes; ConfigError for labels that are no list of different names; CheckError if the
    answers differ.
    """
    from cnnkit.onnx.importing.imported import import_file

    imported = import_file(path, labels=labels, output=output)
    if imported.layout and len({*imported.model.input_shape}) == 1:
        caller_warnings.warn(f"the network of {path} takes {imported.layout}", CnnkitWarning)
    return imported.model


def export_float16(
    model: Network,
    path: str | Path,
    data: Data,
    *,
    keep: Sequence[str] = (),
    opset: int = 17,
    batch: int | None = None,
    outputs: Sequence[str] | None = None,
    fold: bool = True,
    metadata: Mapping[str, str] | None = None,
    input_dtype: str | None = None,
) -> PrecisionReport:
    """Write a model as an ONNX file with its layers in float16, and report what that loses; half the size.

    The inputs and outputs are those of `export_onnx`; so are the options. data: what the model was trained on: training
    samples show how large values get, test samples are answered by both files. keep: names of layers that stay in
    float32, as normalisations do in any case.
    Raises OnnxError without ONNX Runtime and for numbers that float16 cannot hold, naming the layer; CheckError if an
    answer changes, ties aside, or an output by more than a hundredth. Nothing is written then.
    """
    from cnnkit.onnx.precision.export import float16_file

    options = {
        "opset": opset,
        "batch": batch,
        "outputs": outputs,
        "fold": fold,
        "metadata": metadata,
        "input_dtype": input_dtype,
    }
    return _written(float16_file, model, path, data, keep=keep, **options)


def export_int8(
    model: Network,
    path: str | Path,
    data: Data,
    *,
    keep: Sequence[str] = (),
    max_loss: float = 1.0,
    opset: int = 17,
    batch: int | None = None,
    outputs: Sequence[str] | None = None,
    fold: bool = True,
    metadata: Mapping[str, str] | None = None,
    input_dtype: str | None = None,
) -> PrecisionReport:
    """Write a model as an ONNX file with its layers in int8, and report what that loses; a quarter of the size.

    As `export_float16`; but the training samples give the ranges of the values, so that they should be of all kinds,
    and the file may lose points of a hundred: of accuracy, of labels F1, of values R2.
    Raises OnnxError without ONNX Runtime, CheckError if it loses more than `max_loss`. Nothing is written then.
    """
    from cnnkit.onnx.precision.export import int8_file

    options = {
        "opset": opset,
        "batch": batch,
        "outputs": outputs,
        "fold": fold,
        "metadata": metadata,
        "input_dtype": input_dtype,
    }
    return _written(int8_file, model, path, data, keep=keep, max_loss=max_loss, **options)


def _written(
    make: Callable[..., tuple[ModelProto, PrecisionReport]],
    model: Network,
    path: str | Path,
    data: Data,
    **options: Any,
) -> PrecisionReport:
    from cnnkit.errors import CheckError
    from cnnkit.onnx.export import check_onnx_target, write_onnx

    path = expanded(path)
    check_onnx_target(path)
    file, report = make(model, data, path, **options)
    if not report.ok:
        raise CheckError(f"{path} was not written: {report}")
    write_onnx(file.SerializeToString(deterministic=True), path)
    return report


def validate_onnx(
    path: str | Path,
    model: Network,
    x: Inputs | None = None,
    runtimes: Sequence[Runtime | str] | None = None,
    *,
    latency: bool = False,
) -> ValidationReport:
    """Compare an ONNX file with the model on other runtimes; `.ok` tells whether one of them agrees.

    x: inputs to compare on, random ones if None, taken block by block; runtimes: runtimes or their expressions, all
    installed ones if None or for "all", including those of plugins; latency: whether to measure how long a run takes.
    A runtime that disagrees with the others is itself at fault, and listed in `.faults()`.
    """
    from cnnkit.onnx.validate import validate_onnx

    return validate_onnx(path, model, x, runtimes, latency=latency)


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
    record: Record, model: Network, path: str | Path, x: Inputs | None = None, inputs: str = "random inputs"
) -> ValidationReport:
    """What `export_bundle` does, for a record and its model; the file is written only if the report's `.ok`.

    x: inputs to compare on, random ones if None; inputs: what they are, as text for the model card.
    """
    from cnnkit.onnx.executable_model import TrustedProgram
    from cnnkit.onnx.export import to_onnx
    from cnnkit.onnx.inputs import golden_sample
    from cnnkit.onnx.outputs import output_names
    from cnnkit.onnx.validate import validate_program
    from cnnkit.plotting.curves import curves_png
    from cnnkit.plotting.network_picture import network_png
    from cnnkit.registry import bundle
    from cnnkit.registry.model_card import write_card

    path = expanded(path)
    bundle.check_target(path)
    golden = golden_sample(model, x, inputs)
    with TrustedProgram(to_onnx(model, metadata=bundle.provenance(record), golden=golden)) as program:
        report = validate_program(program, path, model, x)
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
                results=(report.columns, *report.rows()),
                remarks=[*report.remarks(), *report.faults()],
                network=bundle.NETWORK if bundle.NETWORK in pictures else None,
                curves=bundle.CURVES if bundle.CURVES in pictures else None,
                outputs=output_names(model),
            )
            bundle.write_bundle(path, record, {bundle.ONNX_FILE: program.file, bundle.CARD: card.encode(), **pictures})
    return report
