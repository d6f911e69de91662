"""The page: one self-contained file."""

from __future__ import annotations

import os
from pathlib import Path

from cnnkit.errors import DataError
from cnnkit.explanation.explanation import Explanation
from cnnkit.explanation.layer_sections import check_words, expression, layer_section, parameter_count
from cnnkit.explanation.markup import MAX_TEXT, Html, milliseconds, table, tag
from cnnkit.explanation.outcome import HEADING, input_section, outcome_section, pictures, verdict
from cnnkit.explanation.script import SCRIPT, allowed
from cnnkit.explanation.stylesheet import STYLE
from cnnkit.file_writing import write_whole
from cnnkit.user_folders import expanded
from cnnkit.wording import counted, shorten, sizes

POLICY = (
    f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src {allowed()}; base-uri 'none'; "
    "form-action 'none'"
)
"""The browser loads nothing and runs nothing but the page's own script, whatever a model's labels say."""

MAX_OPEN = 20
"""Layers of which the table is not folded: the headings of more fill a screen themselves."""


def page(explanation: Explanation, layer: str | None = None) -> str:
    """The page as HTML: of all layers, or of the one with this name in depth, with all of its maps.

    Raises ConfigError for a name that no layer has.
    """
    title = f"How {shorten(explanation.title, MAX_TEXT)} sees one image"
    if layer is None:
        parts = [
            _header(explanation, title, _overview(explanation)),
            input_section(explanation),
            *(layer_section(explanation, trace) for trace in explanation.trace.layers),
            outcome_section(explanation),
        ]
    else:
        title = f"{title}: {layer}"
        trace = explanation.layer(layer)
        parts = [_header(explanation, title), layer_section(explanation, trace, alone=True)]
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", http_equiv="Content-Security-Policy", content=Html(POLICY)),
        tag("meta", name_="viewport", content="width=device-width, initial-scale=1"),
        tag("title", title),
        tag("style", Html(STYLE)),
    )
    body = tag("body", tag("main", *parts), tag("script", Html(SCRIPT)))
    return f"<!DOCTYPE html>\n{tag('html', head, body, lang='en')}\n"


def write_page(explanation: Explanation, path: str | os.PathLike[str], *, layer: str | None = None) -> Path:
    """Write the page as one file, complete or not at all, and return its path; a file of that name is replaced.

    layer: the one that it is about, in depth; all if None. Raises ConfigError for a name that no layer has, and
    DataError if the file cannot be written.
    """
    path = expanded(path)
    write_whole(path, page(explanation, layer).encode(), DataError)
    return path


def _header(explanation: Explanation, title: str, overview: Html | None = None) -> Html:
    model, layers = explanation.model, explanation.trace.layers
    source = f"Image: {shorten(explanation.source, MAX_TEXT)}. " if explanation.source else ""
    size = f"{counted(len(layers), 'layer')}, {counted(model.parameter_count(), 'parameter')}."
    return tag(
        "header",
        tag("h1", title),
        tag(
            "div", pictures(explanation), tag("div", tag("p", f"{source}{size}"), verdict(explanation)), class_="first"
        ),
        _reading(explanation),
        overview,
    )


def _reading(explanation: Explanation) -> Html:
    """How to read the page."""
    return tag(
        "details",
        tag("summary", tag("h2", "How to read this page")),
        tag(
            "p",
            "A network is a chain of layers. Each takes numbers and gives numbers: an image-like stack of channels "
            "(channels x rows x columns), or a vector. This page follows one image through all of them, in order.",
        ),
        tag(
            "p",
            "In all pictures white is 0, ",
            tag("strong", "orange is above 0 and blue is below 0"),
            "; the pictures of one group share the scale under them, and each has its own range in its caption.",
        ),
        tag(
            "p",
            tag("strong", "Forward"),
            " pictures show what a layer gives. ",
            tag("strong", "Backward"),
            " pictures show the gradient: how much the loss (a number that is small when the network is right) "
            "would grow if this number grew a little. Orange: the loss would grow; blue: it would shrink; white: "
            "nothing would change. Training moves every weight against its gradient.",
        ),
        tag(
            "p",
            "In the formulas, x is what a layer takes and y what it gives; dx, dy and dweight are the gradients of "
            "the loss with respect to them; n counts images, and here there is one. Times are medians over a few "
            "runs of the plain layer, in prediction mode, on one core of this machine; the engine runs several "
            "layers and images together and is faster. The gradient check moves inputs and parameters a little, in "
            "float64, at the very values that this image gives, and compares how the outputs change with what the "
            f"backward pass says; a relative error up to {_threshold(explanation)} is right.",
        ),
    )


def _threshold(explanation: Explanation) -> str:
    found = [trace.check.threshold for trace in explanation.trace.layers if trace.check]
    return f"{found[0]:g}" if found else "1e-06"


def _overview(explanation: Explanation) -> Html:
    rows = []
    for trace in explanation.trace.layers:
        node, cost = trace.node, trace.node.cost
        rows.append(
            (
                tag("a", f"{node.index + 1}. {node.name}", href=f"#{node.name}"),
                tag("code", expression(trace)),
                sizes(node.out_shape),
                f"{parameter_count(trace):,}",
                f"{cost.operations:,}" if cost else "?",
                milliseconds(trace.forward_ms),
                milliseconds(trace.backward_ms),
                check_words(trace),
            )
        )
    headings = ("layer", "expression", "output", "parameters", "operations", "forward", "backward", "gradient check")
    last = tag("p", tag("a", HEADING, href="#outcome"))
    listed = tag("nav", table(headings, rows, "overview"), last, aria_label="layers")
    heading = tag("summary", tag("h2", "The way through the network"))
    return tag("details", heading, listed, open="" if len(rows) <= MAX_OPEN else None)
