"""The sections before the first layer and after the last: the image, and what the loss says."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from cnnkit.components.predicted_class import not_finite
from cnnkit.explanation import figures, pixels
from cnnkit.explanation.explanation import Explanation
from cnnkit.explanation.formulas import describe
from cnnkit.explanation.layer_sections import channels_shown
from cnnkit.explanation.markup import Html, joined, number, table, tag, text
from cnnkit.losses import CrossEntropy
from cnnkit.types import Array
from cnnkit.wording import percent, sizes

CLASSES = 12
"""Classes that are listed, the most probable first."""
HEADING = "The outcome: what the network says, and the loss"
SMALL = 1e-3
"""A loss below this leaves next to nothing to learn from the image."""


def file_picture(explanation: Explanation) -> Html | None:
    """The image as it is in its file, if it is from one."""
    if explanation.picture is None:
        return None
    alt = "the image in the file"
    return tag(
        "figure", figures.image_picture(explanation.picture, 0, 255, alt), tag("figcaption", alt), class_="map image"
    )


def input_picture(explanation: Explanation) -> Html:
    """The image as it came to the network."""
    image = explanation.image
    if image.ndim != 3 or image.shape[0] not in (1, 3):
        return figures.gallery(image.astype(np.float64), "the input", channels_shown(1))
    low, high = min(0.0, float(image.min())), float(image.max())
    alt = f"the image, {sizes(image.shape)}, values from {number(float(image.min()))} to {number(high)}"
    return tag("figure", figures.image_picture(image, low, high, alt), tag("figcaption", alt), class_="map image")


def pictures(explanation: Explanation) -> Html:
    """The image as it is in its file, if it is from one, beside what the network takes."""
    before = file_picture(explanation)
    return tag("div", before, input_picture(explanation), class_="maps") if before else input_picture(explanation)


def input_section(explanation: Explanation) -> Html:
    """From the values in the file to what the first layer sees."""
    preprocessing = explanation.model.preprocessing
    means, stds = (", ".join(f"{v:g}" for v in values) for values in (preprocessing.mean, preprocessing.std))
    formula = f"x = (value * {preprocessing.scale:.6g} - mean) / std      mean = {means}, std = {stds}"
    prepared, most = explanation.trace.prepared, channels_shown(len(explanation.trace.layers))
    return tag(
        "section",
        tag(
            "details",
            tag("summary", tag("h2", "0. The image, as the first layer sees it")),
            tag("p", "The values of the image are first converted to a common scale."),
            tag("pre", formula, class_="formula"),
            pictures(explanation),
            tag("p", "After that, in the colours of this page:"),
            figures.gallery(prepared, "the input after preprocessing", most),
        ),
        id="input",
    )


def outcome_section(explanation: Explanation) -> Html:
    """Probabilities as bars, or what is said of each pixel as pictures, and the loss."""
    parts: list[Any] = [tag("h2", HEADING)]
    if explanation.is_of_pixels:
        words = None if explanation.model.task.gives == "values" else tag("p", _reading(explanation))
        parts += [words, pixels.outcome(explanation, CLASSES)]
    elif explanation.model.task.gives == "values":
        parts.append(_values(explanation))
    else:
        parts += [tag("p", _reading(explanation)), _bars(explanation)]
    said = describe(type(explanation.loss))
    parts += [
        tag("h3", "The loss: ", tag("code", repr(explanation.loss))),
        tag("p", said.sentence) if said.sentence else None,
        tag("pre", said.formulas, class_="formula") if said.formulas else None,
        _loss(explanation),
    ]
    return tag("section", *parts, id="outcome")


def verdict(explanation: Explanation) -> Html:
    """What the network says, and what is true as far as that is known."""
    gives = explanation.model.task.gives
    loss = f"The loss is {number(explanation.trace.loss)}."
    hint = " It is so small that the gradients on this page are tiny." if explanation.trace.loss < SMALL else ""
    if gives == "values":
        return tag("p", *_truth(explanation), loss, hint, class_="verdict")
    if np.isnan(explanation.scores).any() or (
        gives == "classes" and explanation.predicted is None and not explanation.is_of_pixels
    ):
        said = Html(text(f"{not_finite('The network', 'this image')}. It predicts nothing. "))
    elif explanation.is_of_pixels:
        return tag("p", pixels.verdict(explanation), loss, hint, class_="verdict")
    elif gives == "labels":
        said = joined(["The network says ", *_named(explanation, explanation.labels), ". "])
    else:
        best, p = int(explanation.scores.argmax()), explanation.probabilities
        share = "" if p is None else f" with probability {percent(p[best])}"
        said = joined(["The network says ", tag("strong", explanation.label(best)), share, ". "])
    return tag("p", said, *_truth(explanation), loss, hint, class_="verdict")


def _named(explanation: Explanation, labels: list[int]) -> list[Any]:
    """The names of some labels, in a sentence."""
    if not labels:
        return [tag("strong", "none of the labels")]
    return [part for index in labels for part in (tag("strong", explanation.label(index)), ", ")][:-1]


def _truth(explanation: Explanation) -> list[Any]:
    target = explanation.target_class
    if target is not None:
        name = tag("strong", explanation.label(target))
        if explanation.target_known:
            return ["The true label is ", name, ". "]
        return ["No true label was given: the loss takes ", name, " for it. "]
    if not explanation.target_known:
        gives = explanation.model.task.gives
        return [f"No true {gives} were given: the loss takes the predicted ones for them. "]
    if explanation.model.task.gives == "labels":
        return ["True are ", *_named(explanation, np.flatnonzero(explanation.target[0] >= 0.5).tolist()), ". "]
    return []


def _reading(explanation: Explanation) -> str:
    """How scores become what the network says."""
    each = " This is so for each pixel." if explanation.is_of_pixels else ""
    if explanation.probabilities is None:
        return f"The network predicts the class with the highest score; its loss does not define probabilities.{each}"
    if explanation.model.task.gives == "labels":
        return f"The score z of each label becomes its probability independently: 1 / (1 + exp(-z)).{each}"
    return f"The scores z of the classes become probabilities: exp(z), divided by the sum over all classes.{each}"


def _bars(explanation: Explanation) -> Html:
    scores, probabilities = explanation.scores, explanation.probabilities
    shown = scores if probabilities is None else probabilities
    order = np.argsort(-shown, kind="stable")[:CLASSES].tolist()
    target = explanation.target_class
    if target is not None and target not in order:
        order = [*order[:-1], target]
    true = {target} if target is not None else set(np.flatnonzero(explanation.target[0] >= 0.5).tolist())
    rows = []
    for index in order:
        named = joined([explanation.label(index), tag("b", " (target)") if index in true else None])
        row: tuple[Any, ...] = named, number(float(scores[index]))
        if probabilities is not None:
            share = float(probabilities[index])
            width = 100 * share if math.isfinite(share) else 0.0
            bar = tag("span", class_="probability", style=f"width:{width:.2f}%")
            row = *row, f"{share:.4f}", tag("span", bar, class_="track")
        rows.append(row)
    more = len(scores) - len(order)
    kind = explanation.model.task.gives
    after = tag("p", f"{len(order)} of {len(scores)} {kind} shown", class_="remark") if more else None
    headings = ("label" if kind == "labels" else "class", "score z")
    if probabilities is None:
        return joined([table(headings, rows, "numbers"), after])
    return joined([table((*headings, "probability", ""), rows, "numbers bars"), after])


def _values(explanation: Explanation) -> Html:
    pairs = zip(explanation.scores[:CLASSES], explanation.target.ravel()[:CLASSES], strict=False)
    rows = [
        (f"y[{i}]", number(float(y)), number(float(t)), number(float(y) - float(t))) for i, (y, t) in enumerate(pairs)
    ]
    return table(("output", "value", "target", "difference"), rows, "numbers")


def _log_sum_exp(scores: Array) -> float:
    top = float(scores.max())
    with np.errstate(invalid="ignore"):
        return top + float(np.log(np.exp(scores - top).sum()))


def _loss(explanation: Explanation) -> Html:
    loss, target = explanation.loss, explanation.target_class
    if type(loss) is CrossEntropy and loss.label_smoothing == 0 and target is not None:
        scores = explanation.scores.astype(np.float64)
        value = _log_sum_exp(scores) - float(scores[target])  # a probability of 1e-2000 would be 0
        share = math.exp(-value) if value < 700 else 0.0
        what = f"-log({number(share, 6)})" if share else "log(sum of all exp(z)) - z of the target"
        words = f"For this image, minus the logarithm of the target's probability: {what} = "
        own = f" (the loss itself gave {number(explanation.trace.loss)})"
        return tag("p", words, tag("strong", number(abs(value))), tag("span", own, class_="remark"))
    return tag("p", "For this image: ", tag("strong", number(explanation.trace.loss)), ".")
