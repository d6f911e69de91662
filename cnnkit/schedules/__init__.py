"""Schedules: what the learning rate is multiplied with during training; one family per file."""

from __future__ import annotations

from cnnkit.components.training_contracts import Schedule
from cnnkit.schedules.composed import Product, Sequence
from cnnkit.schedules.cosine_and_cyclic import Cosine, CosineRestarts, Cyclic, OneCycle
from cnnkit.schedules.decay import Constant, Exponential, MultiStep, Polynomial, Step
from cnnkit.schedules.plateau import ReduceOnPlateau
from cnnkit.schedules.warm_up import Warmup

__all__ = [
    "SCHEDULES",
    "Constant",
    "Cosine",
    "CosineRestarts",
    "Cyclic",
    "Exponential",
    "MultiStep",
    "OneCycle",
    "Polynomial",
    "Product",
    "ReduceOnPlateau",
    "Sequence",
    "Step",
    "Warmup",
]

SCHEDULES: tuple[type[Schedule], ...] = (
    Constant,
    Cosine,
    CosineRestarts,
    Cyclic,
    Exponential,
    MultiStep,
    OneCycle,
    Polynomial,
    Product,
    ReduceOnPlateau,
    Sequence,
    Step,
    Warmup,
)
