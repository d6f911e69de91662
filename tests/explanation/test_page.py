"""The page: complete, true, escaped, offline, and of a bounded size."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Sequence
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cnnkit.components import Layer
from cnnkit.errors import ConfigError, DataError, ShapeError
from cnnkit.explanation import Explanation, explain, page, write_page
from cnnkit.explanation.examples import conv_example
from cnnkit.explanation.layer_sections import channels_shown
from cnnkit.explanation.markup import number
from cnnkit.explanation.script import SCRIPT
from cnnkit.layers import ReLU
from cnnkit.losses import CrossEntropy
from cnnkit.network import Sequential
from cnnkit.types import Array, Cache, Context, Grads, LayerCost, Shape
from tests.explanation.networks import image, network

VOID = {"img", "meta"}
HOSTILE = "<script>alert(1)</script>\"'><img src=x onerror=alert(1)>\u202e\x00"


class Reader(HTMLParser):
    """What a browser makes of a page: elements with their attributes, and the text of each section."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.sections: dict[str, str] = {}
        self._section = ""
        self.feed(text)
        self.close()
        assert self.open == [], "elements are left open"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)
        if tag == "section":
            self._section = dict(attrs)["id"] or ""
            self.sections[self._section] = ""

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag
        if tag == "section":
            self._section = ""

    def handle_data(self, data: str) -> None:
        if self._section:
            self.sections[self._section] += data


def explained(model: Sequential | None = None, **options: Any) -> Explanation:
    model = model or network()
    return explain(model, image(model.input_shape), **options)


def read(explanation: Explanation) -> Reader:
    return Reader(page(explanation))


def test_every_node_has_its_section_in_order() -> None:
    explanation = explained()
    found = read(explanation)
    assert list(found.sections) == ["input", *(node.name for node in explanation.model.nodes), "outcome"]
    for one in explanation.trace.layers:
        text = found.sections[one.node.name]
        assert "Forward:" in text
        assert "Backward:" in text
        assert "gradient checkright: the largest relative error is" in text
        if isinstance(one.node.layer, Layer):
            assert repr(one.node.layer) in text
    links = {attributes.get("href") for tag, attributes in found.elements if tag == "a"}
    assert links == {f"#{node.name}" for node in explanation.model.nodes} | {"#outcome"}


def test_the_numbers_are_those_of_the_network() -> None:
    explanation = explained(target=2)
    found = read(explanation)
    conv: Any = explanation.trace.layers[3].node.layer
    one = explanation.trace.layers[3]
    example = conv_example(conv, one.inputs[0], one.output)
    text = found.sections[one.node.name]
    assert f"y[{example.channel}, {example.row}, {example.column}]" in text
    assert f"= {number(example.value)} (the layer itself gave {number(example.value)})" in text
    for value in example.patch[0].ravel():
        assert number(value, 3) in text
    residual = explanation.trace.layers[5]
    at = np.unravel_index(residual.output.argmax(), residual.output.shape)
    assert f"(shortcut) = {number(float(residual.output[at]))}" in found.sections["residual_1"]
    outcome = found.sections["outcome"]
    for probability in explanation.model.predict_proba(image()[None])[0]:
        assert f"{probability:.4f}" in outcome
    assert number(explanation.trace.loss) in outcome


def test_the_page_says_whose_label_it_is() -> None:
    assert "No true label was given: the loss takes <strong>" in page(explained())
    assert "The true label is <strong>c</strong>" in page(explained(network(labels="abcde"), target=2))


def test_pictures_have_words_and_are_inside() -> None:
    pictures = [attributes for tag, attributes in read(explained()).elements if tag == "img"]
    assert len(pictures) > 50
    assert all((one["src"] or "").startswith("data:image/png;base64,") for one in pictures)
    assert all(one["alt"] for one in pictures)


def outside(text: str) -> list[str]:
    """What a page could fetch, run or lead to outside of itself."""
    found = [tag for tag, _ in Reader(text).elements if tag in ("script", "link", "iframe", "object", "base", "form")]
    for tag, attributes in Reader(text).elements:
        for name, value in attributes.items():
            if name in ("src", "href", "srcset", "action", "data") and not re.match(r"data:image/png;|#", value or ""):
                found.append(f"{tag} {name}={value}")
            if name.startswith("on") or "url(" in (value or ""):
                found.append(f"{tag} {name}")
    return found + re.findall(r"(?i)(?:https?|file|ftp):[^\s\"<]*|@import|url\(", text)


def test_nothing_reaches_out() -> None:
    text = page(explained(network(labels=[HOSTILE, *"bcde"]), title=HOSTILE, source=HOSTILE))
    assert outside(text) == ["script"]
    assert outside(text.replace(f"<script>{SCRIPT}</script>", "")) == []
    policy = next(a["content"] for _, a in Reader(text).elements if a.get("http-equiv") == "Content-Security-Policy")
    digest = base64.b64encode(hashlib.sha256(SCRIPT.encode()).digest()).decode()
    rules = f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'sha256-{digest}'; "
    assert policy == rules + "base-uri 'none'; form-action 'none'"


def test_the_script_has_nothing_to_reach_out_with() -> None:
    for word in ("fetch", "XMLHttpRequest", "WebSocket", "import", "eval", "Function", "innerHTML", "src", "location"):
        assert word not in SCRIPT


def test_windows_are_told_to_the_script() -> None:
    told = {a["id"]: a.get("data-window") for tag, a in read(explained()).elements if tag == "section"}
    assert told["conv2d_1"] == "[[9, 9, 1, 1, 3], [7, 7, 1, 1, 3]]"
    assert told["max_pool2d_1"] == "[[5, 9, 2, 0, 2], [4, 7, 2, 0, 2]]"
    assert told["relu_1"] is None


def test_the_frame_of_a_dilated_window_has_its_reach() -> None:
    layers = ("Conv2D(2, 3, dilation=2)", "Flatten()", "Dense(3)")
    sections = [a for tag, a in read(explained(network(*layers))).elements if a.get("id") == "conv2d_1"]
    assert sections[0]["data-window"] == "[[5, 9, 1, 0, 5], [3, 7, 1, 0, 5]]"
    boxes = [a["style"] for _, a in read(explained(network(*layers))).elements if a.get("class") == "box"]
    sizes = {re.sub(r"left:.*?;top:.*?;", "", box or "") for box in boxes}
    assert f"width:{500 / 7:.3f}%;height:{500 / 9:.3f}%" in sizes


def test_a_moving_frame_says_what_stays() -> None:
    assert "the grids and sums stay those of the number in detail" in page(explained())


@pytest.mark.parametrize(
    "text",
    [
        "<script></script>",
        '<img src="http://a/b.png">',
        '<a href="//a"></a>',
        '<p onclick="x"></p>',
        "<p>file:///etc</p>",
    ],
)
def test_what_reaches_out_is_found(text: str) -> None:
    assert outside(text) != []


class Strange(ReLU):
    """</pre><script>alert("docstring")</script>

    Forward:   y = x < 0 & "x" > <b>bold</b>
    """

    def __init__(self, note: str = "") -> None:
        self.note = note


def test_texts_from_elsewhere_are_escaped() -> None:
    model = network(Strange(HOSTILE), "Flatten()", "Dense(5)", labels=[HOSTILE, "x" * 10_000, *"cde"])
    text = page(explained(model, target=0, title=HOSTILE, source=HOSTILE))
    found = Reader(text)
    assert [tag for tag, _ in found.elements].count("script") == 1  # the page's own
    assert not any("onerror" in attributes for _, attributes in found.elements)
    assert "\u202e" not in text
    assert "\x00" not in text
    assert "<script>alert(1)</script>\"'><img src=x onerror=alert(1)>\\u202e\\x00" in found.sections["outcome"]
    assert 'y = x < 0 & "x" > <b>bold</b>' in found.sections["strange_1"]
    assert "x" * 1000 not in text


class Plain(Layer):
    def forward(self, x: Array, ctx: Context) -> tuple[Array, Cache]:
        return x * self.params["factor"] * self.params["one"], x

    def build(self, in_shape: Any, rng: np.random.Generator) -> Any:
        self.params = {"factor": np.ones(in_shape[-1]), "one": np.array(2.0), "none": np.ones((0, 3))}
        return in_shape

    def backward(self, dy: Array, x: Cache, ctx: Context) -> tuple[Array, Grads]:
        factor, one = self.params["factor"], self.params["one"]
        of_factor = (dy * x * one).reshape(-1, x.shape[-1]).sum(axis=0)
        return dy * factor * one, {"factor": of_factor, "one": (dy * x * factor).sum(), "none": np.ones((0, 3))}


def test_a_layer_without_a_docstring_has_all_but_words() -> None:
    found = read(explained(network(Plain(), "Flatten()", "Dense(5)")))
    text = found.sections["plain_1"]
    assert "This layer comes from a plugin" in text
    assert "not known for this kind of layer" in text
    assert "factor 7" in text
    assert "gradient checkright" in text
    assert "One step of a network" not in text  # that is what its parent says


class Swish(Layer):
    """A rectifier without a kink.

    Forward:   y = x / (1 + exp(-x))
    """

    pointwise = True
    lesson = ("Numbers far below 0 become almost 0.", "It has no kink: <b>nothing</b> jumps.")

    def forward(self, x: Array, ctx: Context) -> tuple[Array, Cache]:
        y = x / (1 + np.exp(-x))
        return y, (x, y)

    def backward(self, dy: Array, cache: Cache, ctx: Context) -> tuple[Array, Grads]:
        x, y = cache
        gate = 1 / (1 + np.exp(-x))
        return dy * (y + gate * (1 - y)), {}

    def cost(self, in_shapes: Sequence[Shape], out_shape: Shape) -> LayerCost:
        return LayerCost.each(out_shape, 4, "an exponential, two additions and a division for each number")


def test_a_pointwise_layer_has_its_lesson_whoever_brings_it() -> None:
    explanation = explained(network("Flatten()", Swish(), "Dense(5)"))
    one, found = explanation.trace.layers[1], read(explanation).sections
    text = found["swish_1"]
    assert "Numbers far below 0 become almost 0. It has no kink: <b>nothing</b> jumps." in text
    assert "comes from a plugin" not in text
    assert "504: an exponential, two additions and a division for each number" in text
    x, y, dy, dx = one.inputs[0], one.output, one.gradient, one.input_gradients[0]
    assert dy is not None
    for name, place in (
        ("the smallest", x.argmin()),
        ("the nearest to 0", np.abs(x).argmin()),
        ("the largest", x.argmax()),
    ):
        told = "".join(number(float(values[place])) for values in (x, y, dy, dx))
        assert f"{name}[{place}]{told}" in text
    # The dense layer after it still knows of which pixels its inputs were made.
    assert re.search(r"x\[\d+\] \(channel \d, row \d, column \d\)", found["dense_1"])


def test_a_rectifier_says_how_many_numbers_it_changes() -> None:
    explanation = explained(network('Conv2D(2, 3, padding="same")', "ReLU()", "Flatten()", "Dense(5)"))
    one, text = explanation.trace.layers[1], read(explanation).sections["relu_1"]
    x, dy = one.inputs[0], one.gradient
    assert dy is not None
    assert f"Here {(x < 0).sum():,} of {x.size:,} numbers are changed." in text
    passed, stopped = ((x > 0) & (dy != 0)).sum(), ((x <= 0) & (dy != 0)).sum()
    assert f"Of {(dy != 0).sum():,} that are not 0, {passed:,} pass unchanged here, and {stopped:,} become 0." in text


def test_large_networks_stay_bounded() -> None:
    layers = ['Conv2D(64, 3, padding="same")', "ReLU()"] * 2
    model = network(*layers, "MaxPool2D(8)", "Flatten()", "Dense(1000)", input_shape=(3, 64, 64))
    text = page(explained(model))
    assert len(text) < 1_500_000
    assert "8 of 64 channels shown" in text
    assert "each pixel is the mean of 2 x 2 numbers" in text
    assert "12 of 1000 classes shown" in text
    many = network("Flatten()", *["ReLU()"] * 300, "Dense(5)")
    assert len(page(explained(many))) < 3_000_000


def test_networks_of_many_layers_show_fewer_channels() -> None:
    assert [channels_shown(layers) for layers in (1, 50, 100, 10_000)] == [8, 8, 4, 1]


def test_numbers_that_are_not_finite_are_shown_as_such() -> None:
    model = network()
    state = model.state()
    state["batch_norm2d_1.gamma"][:] = np.nan
    state["dense_1.bias"][:] = np.inf
    model.load_state(state)
    with pytest.raises(
        ConfigError, match=r"gives NaN for the image: its weights .* predicts nothing: give what is true"
    ):
        explained(model)
    explanation = explained(model, target=0)
    assert explanation.predicted is None
    found = read(explanation)
    assert "not finite" in found.sections["relu_1"]
    assert "not checked. There is nothing to compare" in found.sections["batch_norm2d_1"]
    text = page(explanation)
    assert "The network gives NaN for this image: its weights are not finite" in text
    assert "WRONG" not in text


def test_a_loss_beyond_all_probabilities_is_worked_out() -> None:
    model = network("Flatten()", "Dense(5)")
    state = model.state()
    state["dense_1.bias"][:] = (4000, 0, 0, 0, 0)
    model.load_state(state)
    explanation = explained(model, target=1)
    loss = number(explanation.trace.loss)
    found = read(explanation).sections["outcome"]
    assert f"log(sum of all exp(z)) - z of the target = {loss} (the loss itself gave {loss})" in found
    assert "inf" not in found.split("The loss:")[1]


def test_a_likely_target_has_its_logarithm() -> None:
    explanation = explained(target=2)
    loss = number(explanation.trace.loss)
    found = read(explanation).sections["outcome"]
    share = re.findall(r"-log\((.+?)\)", found)[-1]
    assert explanation.probabilities is not None
    assert float(share.replace("\N{MINUS SIGN}", "-")) == pytest.approx(float(explanation.probabilities[2]), rel=1e-4)
    assert f"= {loss} (the loss itself gave {loss})" in found


def test_values_instead_of_classes() -> None:
    model = network("Flatten()", "Dense(3)")
    found = read(explained(model, target=np.array([1.0, 2.0, 3.5]), loss="MSE()"))
    assert "3.5" in found.sections["outcome"]
    assert "MSE()" in found.sections["outcome"]


def test_vectors_are_inputs_too() -> None:
    model = network("Dense(4)", "ReLU()", "Dense(3)", "Softmax()", input_shape=(7,), preprocessing=None)
    found = read(explained(model))
    assert list(found.sections) == ["input", "dense_1", "relu_1", "dense_2", "softmax_1", "outcome"]
    assert "no gradient comes back through it" in found.sections["softmax_1"]


def test_a_page_appears_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    explanation = explained()
    file = tmp_path / "page.html"
    file.write_text("old")
    assert write_page(explanation, file) == file
    assert file.read_text("utf-8") == page(explanation)

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(DataError, match=r"cannot write .*page.html: No space left on device"):
        write_page(explanation, file)
    assert [path.name for path in tmp_path.iterdir()] == ["page.html"]
    with pytest.raises(DataError, match="expected the name of a file in a folder that exists"):
        write_page(explanation, tmp_path)


def test_what_cannot_be_explained() -> None:
    model = network()
    with pytest.raises(ShapeError, match="expected one image, got 2"):
        explain(model, np.zeros((2, 2, 9, 7)))
    with pytest.raises(ShapeError, match=r"expected inputs of shape \(N, 2, 9, 7\)"):
        explain(model, np.zeros((3, 3)))
    with pytest.raises(ConfigError, match="expected a class from 0 to 4, got 5"):
        explain(model, image(), target=5)


def test_a_loss_is_an_object_or_an_expression() -> None:
    smooth = explained(loss=CrossEntropy(label_smoothing=0.1), target=1)
    assert smooth.trace.loss == explained(loss="CrossEntropy(label_smoothing=0.1)", target=1).trace.loss
    assert smooth.trace.loss != explained(target=1).trace.loss


def test_the_mark_is_on_the_maximum_that_gets_the_gradient() -> None:
    model = Sequential(["MaxPool2D(2)", "Flatten()", "Dense(2)"], (1, 2, 2))
    text = page(explain(model, np.array([[[0, 1], [1, 0]]], np.float32), target=0))
    assert text.count('<td class="mark">') == 1
    assert '<tr><td>0</td><td>1</td></tr><tr><td class="mark">1</td><td>0</td></tr>' in text
    assert "to the number that was the largest, alone: of equal ones to the first, column by column." in text
