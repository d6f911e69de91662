"""Pictures of networks: what stands in the boxes, texts that stay texts, equal bytes, and what is too large."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from cnnkit.errors import PlotError
from cnnkit.layers import Conv2D, ReLU
from cnnkit.network import Graph, Network, Sequential
from cnnkit.plotting.boxes import JOINS, MOST_LETTERS, NEITHER, TRAINS, Row, boxes_of, chains_of
from cnnkit.plotting.network_picture import MOST_LAYERS, draw_network, looks, network_png, write_network
from tests.network.networks import deep_unet, densenet, inception, resnet, siamese

pytest.importorskip("matplotlib")
ROOT = Path(__file__).parents[2]


def _rows(model: Network) -> list[Row]:
    return [row for box in boxes_of(model.nodes, model.input_shape)[0] for row in box.rows]


def _names(model: Network) -> list[list[str]]:
    return [[node.name for node in chain] for chain in chains_of(model.nodes)]


def test_layers_that_only_follow_each_other_share_a_box() -> None:
    assert _names(Graph(inception(), (1, 28, 28))) == [
        ["stem", "x"],
        ["one"],
        ["reduce3", "reduce3_relu", "three"],
        ["reduce5", "reduce5_relu", "five"],
        ["pool", "pool_conv"],
        ["joined", "joined_relu", "mean", "flat", "scores"],
    ]


def test_a_long_chain_begins_a_box_with_each_matrix_of_weights() -> None:
    layers = ["Conv2D(2, 3)", "ReLU()", "Conv2D(2, 3)", "BatchNorm2D()", "ReLU()", "Flatten()", "Dense(2)"]
    assert list(map(len, _names(Sequential(layers, (1, 8, 8))))) == [2, 4, 1]
    assert list(map(len, _names(Sequential(layers[:2] + layers[-2:], (1, 8, 8))))) == [4]
    assert list(map(len, _names(Sequential(["ReLU()"] * 30, (4,))))) == [12, 12, 6]


def test_a_row_has_name_layer_parameters_and_a_new_shape() -> None:
    model = Sequential(["Residual(Conv2D(1, 3, padding=1), ReLU())", "Flatten()", "Dense(2)"], (1, 4, 4))
    assert _rows(model) == [
        Row("input", "", "→ 1 x 4 x 4", "", NEITHER),
        Row("conv2d_1", "Conv2D(1, 3, padding=1)", "→ 1 x 4 x 4", "10 parameters", TRAINS),
        Row("relu_1", "ReLU()", "", "", NEITHER),
        Row("residual_1", "Residual", "→ 1 x 4 x 4", "", JOINS),
        Row("flatten_1", "Flatten()", "→ 16", "", NEITHER),
        Row("dense_1", "Dense(2)", "→ 2", "34 parameters", TRAINS),
    ]


def test_shared_parameters_are_counted_once_and_an_input_that_is_taken_twice_is_told() -> None:
    rows = {row.name: row for row in _rows(Graph(siamese(), (1, 8, 8)))}
    assert (rows["left"].parameters, rows["right"].parameters) == ("60 parameters", "those of left")
    assert rows["twice"].layer == "Add(), takes input 2 times"


@pytest.mark.parametrize("nodes", [resnet, inception, siamese, deep_unet, densenet])
def test_all_text_stands_in_its_box(nodes: Any) -> None:
    figure: Any = draw_network(Graph(nodes(), (1, 28, 28) if nodes in (resnet, inception) else (1, 8, 8)), "net@1")
    figure.canvas.draw()
    frames = [patch.get_window_extent() for patch in figure.axes[0].patches if patch.get_zorder() == 5]
    texts = [text for text in figure.axes[0].texts if text.get_zorder() == 6][:-3]  # without the legend
    extents = [text.get_window_extent() for text in texts]
    for text, extent in zip(texts, extents, strict=True):
        assert any(
            frame.x0 < extent.x0 and extent.x1 < frame.x1 and frame.y0 - 1 < extent.y0 and extent.y1 < frame.y1 + 1
            for frame in frames
        ), text
    for place, one in enumerate(extents):
        assert (
            sum(one.x0 < two.x1 and two.x0 < one.x1 and one.y0 + 4 < two.y1 and two.y0 + 4 < one.y1 for two in extents)
            == 1
        ), texts[place]
    assert all(text.get_fontsize() >= 11 for text in texts)


def test_title_layers_and_parameters_stand_above(tmp_path: Path) -> None:
    text = write_network(Sequential(["Dense(10)"], (64,)), "net@1", tmp_path / "net.svg").read_text()
    for words in (
        ">net@1<",
        ">1 layer, 650 parameters<",
        ">dense_1<",
        ">Dense(10)<",
        ">→ 10<",
        ">joins several inputs<",
    ):
        assert words in text


class Odd(ReLU):
    """A layer whose expression is any text."""

    text = ""

    def __repr__(self) -> str:
        return self.text


HOSTILE = [
    "</text></svg><script>alert(1)</script>",
    '" onload="alert(1)',
    "<a xlink:href='http://evil.example'>",
    "--><script>alert(1)</script><!--",
    "]]><script>",
    "&lt;script&gt; &amp; &#60;",
    "$\\frac{$",
    "\x1b]0;owned\x07",
    "\u202egnp.exe\u2066",
    "a\nb\rc\td\x00",
    "\ud800",
]


def _elements(file: Path) -> list[tuple[str, tuple[str, ...]]]:
    return [(one.tag, tuple(sorted(one.attrib))) for one in ElementTree.parse(file).iter()]


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_no_text_breaks_out(tmp_path: Path, text: str) -> None:
    layer = Odd()
    model = Sequential([layer], (4,))
    layer.text = "plain"
    plain = _elements(write_network(model, "plain", tmp_path / "plain.svg"))
    layer.text = text
    file = write_network(model, text, tmp_path / "net.svg")
    assert [tag for tag, _ in _elements(file)] == [tag for tag, _ in plain]
    assert {names for _, names in _elements(file)} == {names for _, names in plain}
    shown = [one.text for one in ElementTree.parse(file).iter() if one.tag.endswith("text")]
    assert all(words and words.isprintable() for words in shown)
    if text.isprintable() and "$" not in text:
        assert shown.count(text) == 2
    for suffix in (".png", ".pdf"):
        write_network(model, text, tmp_path / f"net{suffix}")


def test_a_text_that_breaks_out_would_be_found(tmp_path: Path) -> None:
    """The control: the same text, not escaped."""
    file = write_network(Sequential(["ReLU()"], (4,)), "plain", tmp_path / "net.svg")
    before = _elements(file)
    file.write_text(file.read_text().replace(">plain<", "><script>alert(1)</script><"))
    assert _elements(file) != before


def test_a_long_expression_is_cut() -> None:
    layer = Odd()
    model = Sequential([layer], (4,))
    layer.text = "x" * 10_000
    (box,) = boxes_of(model.nodes, model.input_shape)[0][1:]
    assert len(box.rows[0].layer) == MOST_LETTERS
    assert box.size[0] < 600


@pytest.mark.parametrize("suffix", [".png", ".svg", ".pdf"])
def test_equal_networks_have_equal_bytes(tmp_path: Path, suffix: str) -> None:
    files = [write_network(Graph(densenet(), (1, 8, 8)), "net@1", tmp_path / f"{n}{suffix}") for n in "ab"]
    assert files[0].read_bytes() == files[1].read_bytes()


def test_other_processes_write_the_same_bytes(tmp_path: Path) -> None:
    code = (
        "from cnnkit.network import Graph; from cnnkit.plotting.network_picture import write_network; "
        "from tests.network.networks import densenet; write_network(Graph(densenet(), (1, 8, 8)), 'net@1', {!r})"
    )
    here = write_network(Graph(densenet(), (1, 8, 8)), "net@1", tmp_path / "here.svg").read_bytes()
    for seed in ("1", "2"):
        environment = os.environ | {"PYTHONHASHSEED": seed}
        command = [sys.executable, "-c", code.format(str(tmp_path / "there.svg"))]
        subprocess.run(command, cwd=ROOT, env=environment, check=True, timeout=120)
        assert (tmp_path / "there.svg").read_bytes() == here


def _branches(count: int) -> Sequential:
    branches = ", ".join(["[Conv2D(1, 1)]"] * count)
    return Sequential([f"Concat({branches})", "Flatten()", "Dense(2)"], (1, 2, 2))


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (
            lambda: Sequential(["ReLU()"] * 4000, (4,)),
            "the network has 4,000 layers, and a picture can show up to 600:",
        ),
        (lambda: Graph(densenet(100), (1, 2, 2)), "the network has too many connections for a picture:"),
        (lambda: _branches(300), r"a picture of the network would be \d+ x \d+ inches, too large to look at:"),
    ],
)
def test_what_is_too_large_is_refused_in_one_line(tmp_path: Path, model: Any, message: str) -> None:
    network = model()
    with pytest.raises(PlotError, match=message + ".* read its summary instead$") as refused:
        write_network(network, "net", tmp_path / "net.svg")
    assert "\n" not in str(refused.value)
    assert not list(tmp_path.iterdir())
    assert network_png(network, "net") is None


def test_as_many_layers_as_are_allowed_are_drawn(tmp_path: Path) -> None:
    model = Sequential(["ReLU()"] * MOST_LAYERS, (4,))
    assert len(re.findall(r">relu_\d+<", write_network(model, "net", tmp_path / "net.svg").read_text())) == MOST_LAYERS


def test_without_matplotlib_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(PlotError, match=r'pip install "cnnkit\[plots\]"'):
        write_network(Sequential(["Dense(10)"], (64,)), "net@1", tmp_path / "net.svg")


def test_lines_beside_each_other_look_different() -> None:
    from cnnkit.plotting.graph_layout import Line

    lines = [Line(n, (), (), span) for n, span in enumerate([(0, 4), (1, 3), (2, 3), (3, 6), (4, 6), (6, 8)])]
    assert looks(lines) == [0, 1, 0, 1, 0, 0]


def test_drawing_changes_nothing_of_the_model() -> None:
    model = Sequential([Conv2D(2, 3), "Flatten()", "Dense(2)"], (1, 4, 4))
    before = model.state()
    draw_network(model, "net")
    assert all((before[name] == array).all() for name, array in model.state().items())
