"""Configurations of which none does more than to answer the most frequent class always."""

from __future__ import annotations

import numpy as np

from cnnkit.class_indices import are_indices, indices_of
from cnnkit.comparison.comparison_plan import ComparisonPlan, Datasets
from cnnkit.comparison.result import Comparison


def about_constant_answer(comparison: Comparison, plan: ComparisonPlan, datasets: Datasets) -> str:
    """What to say where every run is right about as often as one answer for all samples, "" if one is not.

    That is the share of the most frequent class among the samples that rank: of those that are set aside to validate
    on, to a sample, that among the training samples, as they are chosen evenly over the classes.
    """
    done = [(row, run) for row in comparison.rows for run in row.done]
    if comparison.quantity != "accuracy" or not done:
        return ""
    for row, run in done:
        recipe = plan.configurations[row.position].recipe
        data = datasets.of(recipe)
        samples = data.test if comparison.ranked_on == "test" else data.validation or data.train
        y = indices_of(samples.y)
        if not are_indices(y) or y.ndim != 1 or not len(y):
            return ""
        is_set_aside = comparison.ranked_on == "validation" and not data.validation
        count = len(y) * (recipe.data.validation * recipe.data.fraction if is_set_aside else 1)
        shares = np.bincount(y) / len(y)
        share = float(shares.max())
        if abs(run.metrics["accuracy"] - share) > 1 / max(count, 1):
            return ""
    name = repr(data.labels[shares.argmax()]) if data.labels else f"{shares.argmax()}"
    return (
        f"all configurations are right about as often as the answer {name} for all samples, {share:.3f}: try "
        "--set train.class_weight=balanced or train.sampling=balanced if other classes are rare, or more epochs"
    )
