"""The outcome of a network that says something of each pixel: pictures beside what is true, and pixels counted."""

from __future__ import annotations

import numpy as np

from cnnkit.components.predicted_class import predicted_classes
from cnnkit.explanation import figures
from cnnkit.explanation.explanation import Explanation
from cnnkit.explanation.markup import Html, joined, table, tag
from cnnkit.types import Array


def said(explanation: Explanation) -> Array:
    """(F, H, W) booleans: which class or label each pixel is given."""
    if explanation.model.task.gives == "classes":
        return _each(predicted_classes(explanation.scores[None])[0], len(explanation.scores))
    found = explanation.scores if explanation.probabilities is None else explanation.probabilities
    return np.asarray(found >= 0.5)


def true(explanation: Explanation) -> Array:
    """(F, H, W): what is true of each pixel, or what the loss takes for it; of classes 1 for one and 0 for the rest."""
    target: Array = explanation.target[0]
    return target if target.ndim == 3 else _each(target, len(explanation.scores)).astype(np.float64)


def counts(explanation: Explanation, what: Array, most: int) -> str:
    """The classes or labels of so many pixels, the most frequent first; what: (F, H, W) booleans."""
    found = what.sum(axis=(1, 2))
    order = [int(index) for index in np.argsort(-found, kind="stable") if found[index]]
    named = [f"{explanation.label(index)} ({found[index]:,})" for index in order[:most]]
    return ", ".join(named + ["..."] * (len(order) > most)) or "none"


def verdict(explanation: Explanation) -> str:
    """For how many pixels the network is right."""
    if not explanation.target_known:
        return f"No true {explanation.model.task.gives} were given: the loss takes the predicted ones for them. "
    there = true(explanation) >= 0.5
    right = said(explanation) == there
    if explanation.model.task.gives == "classes":
        right, what = right.all(axis=0), "pixels"
        if explanation.target.ndim == 3:
            right = right[there.any(axis=0)]  # those that the loss ignores have no class
    else:
        what = "labels of pixels"
    if not right.size:
        return "The loss ignores all pixels. "
    return f"The network is right for {right.sum():,} of {right.size:,} {what}, {100 * right.mean():.1f} %. "


def outcome(explanation: Explanation, most: int) -> Html:
    """What the network gives and what is true, a picture for each of `most` outputs."""
    gives = explanation.model.task.gives
    given = explanation.scores if explanation.probabilities is None else explanation.probabilities
    name = "values" if gives == "values" else "scores" if explanation.probabilities is None else "probabilities"
    part = {"classes": "class", "labels": "label"}.get(gives, "output")
    names = [explanation.label(index) for index in range(len(given))] if explanation.model.labels else []
    groups = {f"The {name}": given, "The target": true(explanation), "The difference": given - true(explanation)}
    parts = [
        piece
        for heading, array in groups.items()
        for piece in (tag("h3", heading), figures.gallery(array, heading, most, part=part, names=names))
    ]
    return joined([*parts, None if gives == "values" else _table(explanation, most)])


def _table(explanation: Explanation, most: int) -> Html:
    found, wanted = said(explanation), true(explanation) >= 0.5
    rows = [
        (explanation.label(index), *(f"{array[index].sum():,}" for array in (found, wanted, found & wanted)))
        for index in range(min(most, len(found)))
    ]
    what = "label" if explanation.model.task.gives == "labels" else "class"
    return table((what, "pixels in the prediction", "in the target", "in both"), rows, "numbers")


def _each(classes: Array, count: int) -> Array:
    """(H, W) class indices as (count, H, W) booleans."""
    return np.asarray(np.arange(count)[:, None, None] == classes)
