"""Evaluation of a model on samples: loss, metrics, and results for each class or label, in one pass over them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from cnnkit.errors import CostError
from cnnkit.evaluation.class_evaluation import ClassEvaluation, ClassTally, ask, class_tally
from cnnkit.evaluation.label_evaluation import LabelEvaluation, label_tally
from cnnkit.losses.class_loss import ignored_by
from cnnkit.network import Network
from cnnkit.training.trainer import Trainer
from cnnkit.types import Array, Samples
from cnnkit.waiting_line import waiting


@dataclass(frozen=True)
class ModelEvaluation:
    """What samples have shown of a model."""

    metrics: dict[str, float]
    """The loss and the metrics by their names."""
    classes: ClassEvaluation | None = None
    labels: LabelEvaluation | None = None
    problem: str = ""
    """Why there are no results for each class, of a model that should have some."""


def evaluate_model(model: Network, samples: Samples, trainer: Trainer, labels: tuple[str, ...] = ()) -> ModelEvaluation:
    """Measure a model with the loss and the metrics of a trainer, and class by class or label by label.

    The network runs once, unless its loss takes something else than the classes are told from. labels: names for the
    classes of a model without its own. Raises what `Trainer.evaluate` and `class_tally` raise; results for each class
    that would take too much are left out.
    """
    tally, problem = None, ""
    try:
        tally = class_tally(model, samples, labels, ignored_by(trainer.loss)) or label_tally(model, samples, labels)
    except (CostError, MemoryError) as error:
        problem = _reason(error, model)
    if tally is None:
        return ModelEvaluation(trainer.evaluate(model, samples), problem=problem)
    note = tally.note

    def told(which: slice, outputs: Array) -> None:
        note(which, model.scores(np.ascontiguousarray(outputs)))

    once = model.gives_logits_to(trainer.loss)
    metrics = trainer.evaluate(model, samples, told if once else None)
    try:
        if not once:
            with waiting("predicting the classes"):
                ask(model, samples, note)
        if isinstance(tally, ClassTally):
            return ModelEvaluation(metrics, classes=tally.evaluation())
        return ModelEvaluation(metrics, labels=tally.evaluation())
    except (CostError, MemoryError) as error:
        return ModelEvaluation(metrics, problem=_reason(error, model))


def _reason(error: CostError | MemoryError, model: Network) -> str:
    """Why there are no results for each class."""
    return str(error) if isinstance(error, CostError) else f"not enough memory for {model.output_shape[0]:,} classes"
