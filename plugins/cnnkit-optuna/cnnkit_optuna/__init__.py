"""Hyperparameters of recipes found by Optuna: `python -m cnnkit_optuna digits space.toml --trials 20`."""

from __future__ import annotations

from cnnkit.plugin import Callback, hookimpl
from cnnkit_optuna.pruning import OptunaPruning
from cnnkit_optuna.search import Found, search
from cnnkit_optuna.space import Space, read_space

__all__ = ["Found", "OptunaPruning", "Space", "read_space", "search"]


@hookimpl
def cnnkit_callbacks() -> list[type[Callback]]:
    """The callback that ends trials that are worse than others."""
    return [OptunaPruning]
