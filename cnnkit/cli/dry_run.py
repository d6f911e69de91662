"""What `cnnkit train --dry-run` prints: the recipe, the network, the steps and the memory."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cnnkit.cli.output import answer_width, say, say_json, say_pairs, say_source, warn
from cnnkit.cli.summary import say_layers

if TYPE_CHECKING:
    from cnnkit.network import Footprint
    from cnnkit.registry import Registry
    from cnnkit.training.recipe import Recipe


def show_plan(recipe: Recipe, workers: int | None, data_dir: str | None, as_json: bool, store: Registry) -> None:
    """Print what would be trained, and warn of what a training would warn of.

    Raises what `Trainer.check` raises; ConfigError for the memory, and RegistryError if the model could not be
    registered, only after all is printed.
    """
    from cnnkit.training.assembly import data_for, model_for, trainer_for
    from cnnkit.training.toml import WIDTH
    from cnnkit.training.training_plan import plan_of

    data = data_for(recipe, data_dir)
    model = model_for(recipe, data)
    plan = plan_of(trainer_for(recipe, workers), model, data)
    for warning in plan.warnings:
        warn(warning)
    memory, available = plan.memory.footprint(), plan.memory.available
    if as_json:
        sizes = {**memory.parts, "total": memory.total, "available": available}
        say_json({"recipe": recipe.to_dict(), **plan.counts(), "memory": sizes, "largest_layer": memory.largest.name})
    else:
        say_source(recipe.to_toml(min(answer_width(), WIDTH)))
        say_layers(model)
        say()
        say_pairs({name.replace("_", " "): f"{count:,}" for name, count in plan.counts().items()})
        _show_memory(memory, available)
    plan.memory.require()
    store.check_save(recipe.model.name, model.parameters.vector.nbytes)


def _show_memory(memory: Footprint, available: int | None) -> None:
    from cnnkit.network.execution.available_memory import readable

    sizes = {**memory.parts, "in all": memory.total, "of that new": memory.added, "available": available}
    say("\nmemory:")
    say_pairs({f"  {name}": "unknown" if size is None else f"{readable(size):>12}" for name, size in sizes.items()})
    say_pairs({"  largest layer": memory.largest.name})
