"""Optimizers: how a step changes the parameters, in place; one family per file."""

from __future__ import annotations

from cnnkit.components.training_contracts import Optimizer
from cnnkit.optimizers.adagrad_rmsprop import Adadelta, Adagrad, RMSprop
from cnnkit.optimizers.adam import Adam, AdamW
from cnnkit.optimizers.adam_variants import Adamax, NAdam, RAdam
from cnnkit.optimizers.gradient_descent import SGD
from cnnkit.optimizers.lamb_lars import LAMB, LARS
from cnnkit.optimizers.lbfgs import LBFGS
from cnnkit.optimizers.lion import Lion
from cnnkit.optimizers.lookahead import Lookahead
from cnnkit.optimizers.muon import Muon

__all__ = [
    "LAMB",
    "LARS",
    "LBFGS",
    "OPTIMIZERS",
    "SGD",
    "Adadelta",
    "Adagrad",
    "Adam",
    "AdamW",
    "Adamax",
    "Lion",
    "Lookahead",
    "Muon",
    "NAdam",
    "RAdam",
    "RMSprop",
]

OPTIMIZERS: tuple[type[Optimizer], ...] = (
    Adadelta,
    Adagrad,
    Adam,
    AdamW,
    Adamax,
    LAMB,
    LARS,
    LBFGS,
    Lion,
    Lookahead,
    Muon,
    NAdam,
    RAdam,
    RMSprop,
    SGD,
)
