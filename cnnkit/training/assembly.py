"""From a recipe to the model and the trainer that it describes."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

from cnnkit import axes
from cnnkit.components import BatchCoupledLoss, Dataset, Layer, Loss, Merge, installed_catalog
from cnnkit.components.expressions import Call
from cnnkit.data import load_dataset
from cnnkit.errors import ConfigError
from cnnkit.network import Graph, Network, Sequential, available_memory
from cnnkit.network.execution.available_memory import readable
from cnnkit.network.graph.parameter_limit import LimitError
from cnnkit.training.progress import Progress
from cnnkit.training.recipe import Recipe
from cnnkit.training.start import refuse_start
from cnnkit.training.trainer import Trainer
from cnnkit.types import Data

VECTORS, BYTES = 3, 4
"""How many numbers a training has at least for each parameter, and what each takes in float32."""


def data_for(recipe: Recipe, data_dir: str | Path | None = None, dataset: str | Dataset | None = None) -> Data:
    """The samples that the recipe trains, validates and tests on.

    dataset: another than the recipe's, or the recipe's once it is built. Raises ExpressionError for a text that is
    no expression, also an empty one, and DataError for files that are not right.
    """
    section = recipe.data
    chosen = section.dataset if dataset is None else dataset
    return load_dataset(chosen, data_dir, section.validation, recipe.train.seed, fraction=section.fraction)


def model_for(
    recipe: Recipe,
    data: Data,
    layers: Sequence[Call] | None = None,
    loss: Loss | None = None,
    *,
    has_weights: bool = False,
) -> Network:
    """The recipe's network, with new parameters, for inputs like the data's.

    layers: the recipe's, as calls that say where each comes from; None to find them by their names. loss: the recipe's
    once it is built; by its name if None; has_weights: whether others take the place of the new parameters. Raises what
    `planned_model` and `check_cost` raise, before parameters are drawn, and ConfigError for a recipe that starts from
    weights, unless there are any.
    """
    if not has_weights:
        refuse_start(recipe)
    check_cost(planned_model(recipe, data, layers, loss), recipe, data)
    return _network(recipe, data, layers, loss)


def planned_model(
    recipe: Recipe, data: Data, layers: Sequence[Call] | None = None, loss: Loss | None = None
) -> Network:
    """The recipe's network without its weights: zeros, which take no memory; layers, loss: as of `model_for`.

    Raises ConfigError for more parameters than the memory can hold in a training.
    """
    axes.refuse_channels_last(data.input_shape)
    available = available_memory()
    limit = sys.maxsize if available is None else available // (VECTORS * BYTES)
    try:
        return _network(recipe, data, layers, loss, limit)
    except LimitError as error:
        raise ConfigError(
            f"{error}: each takes {VECTORS * BYTES} bytes in training, for itself, its gradient and the optimizer, and "
            f"only {readable(available or 0)} of memory is available; no batch size fits, use fewer units or filters"
        ) from None


def check_cost(model: Network, recipe: Recipe, data: Data) -> None:
    """Raise CostError for a network that makes too much of a sample, or takes too long to train as the recipe says."""
    count, train = len(data.train), recipe.train
    model.engine().check_training(count, min(train.batch_size, count), train.accumulate or 1)


def _network(
    recipe: Recipe, data: Data, layers: Sequence[Call] | None, loss: Loss | None, limit: int | None = None
) -> Network:
    options: dict[str, Any] = {
        "labels": () if _compares_samples(recipe.train.loss if loss is None else loss) else data.labels,
        "preprocessing": data.preprocessing,
        "input_dtype": "uint8" if data.train.x.dtype == "uint8" else "float32",
        "seed": recipe.train.seed,
        "limit": limit,
    }
    built = _built(recipe.model.expressions if layers is None else layers)
    if nodes := recipe.model.graph(built):
        return Graph(nodes, data.input_shape, **options)
    return Sequential(built, data.input_shape, **options)


def _compares_samples(loss: Loss | str | None) -> bool:
    """Whether a network trained with it gives embeddings, which have no value for each class."""
    return loss is not None and isinstance(installed_catalog().build("loss", loss), BatchCoupledLoss)


def _built(layers: Sequence[str | Call]) -> list[Layer | Merge]:
    return [cast(Layer | Merge, installed_catalog().build("layer", layer)) for layer in layers]


def trainer_for(
    recipe: Recipe,
    workers: int | None = None,
    progress: Progress | bool | None = None,
    components: Mapping[str, Any] | None = None,
) -> Trainer:
    """The recipe's trainer; workers and progress are the machine's and the user's business, not the recipe's.

    components: what expressions of its table [train] are built to, by their keys; by the catalog if None. A recipe that
    does not say which kernels has those of NumPy: `with_kernels` chooses for a training that begins.
    """
    options = dict(recipe.train) | {"kernels": recipe.train.kernels or "numpy"} | dict(components or {})
    return Trainer(**options, workers=workers, progress=progress)
