"""The model card: everything that is stored, and no way out of its code spans for the text of a file."""

from __future__ import annotations

import dataclasses
import math
import re
import runpy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.markdown import Markdown

from cnnkit import api
from cnnkit.network import Sequential
from cnnkit.onnx.outputs import output_names
from cnnkit.onnx.report import COLUMNS
from cnnkit.registry import Record, Registry, model_card
from cnnkit.registry.model_card import MAX_TEXT, code, table, write_card
from cnnkit.wording import thinned

HOSTILE = [
    "`",
    "``` ``",
    "a`b",
    "| x | y |",
    "\\",
    "x\\|`",
    "\\`",
    "\n# owned\n",
    "\r\n\r\n<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "[a](javascript:alert(1))",
    "![](http://evil.example/x.png)",
    "https://evil.example www.evil.example me@evil.example",
    "**bold** _it_ ~~no~~ &lt; $x$ :smile: @user #1",
    "\x1b]0;owned\x07\x1b[2J",
    "\u202egnp.exe\u2066",
    "\u2028# owned",
    "</td></tr></table>",
    "```\n# owned\n```",
    " ",
    "",
    "---",
    "x" * 10_000,
]


def written(record: Record, model: Sequential, text: str = "plain", curves: str | None = "curves.png") -> str:
    row = ("OnnxRuntime()", "64", "1.0e-07", "1.0e-07", "0", "3", "pass")
    return write_card(
        record,
        model,
        inputs=text,
        results=(COLUMNS, row),
        remarks=[text],
        network="network.png",
        curves=curves,
        outputs=output_names(model),
    )


def filled(registry: Registry, text: str) -> tuple[Record, Sequential]:
    """A record with a text in every place that a file fills freely."""
    model = Sequential(["Flatten()", "Dense(2)"], (1, 2, 2), labels=(text + "a", text + "b"))
    registry.save(
        model,
        "net",
        recipe={"a" + text: {"k" + text: text + "v"}},
        history={"loss" + text: [1.0, 0.5], "other": [1]},
        metrics={"m" + text: 0.5, "whole": 3, "none": math.nan},
        dataset={"name": text + "d", "digest": text + "e"},
    )
    record = registry.read("net")
    versions = record.manifest.versions | {"p" + text: "v" + text}
    return dataclasses.replace(record, manifest=dataclasses.replace(record.manifest, versions=versions)), model


def structure(text: str) -> list[tuple[str, str]]:
    """What Markdown sees, without the words: the tokens of blocks and, inside them, of lines."""
    found = []
    for token in Markdown(text).parsed:
        found.append((token.type, token.tag))
        found += [(child.type, str(child.attrs)) for child in token.children or () if child.type != "text"]
    return found


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_no_text_breaks_out(registry: Registry, text: str) -> None:
    plain = structure(written(*filled(registry, "plain"), text="plain z"))
    assert ("code_inline", "{}") in plain
    result = written(*filled(registry, text), text=text + "z")
    assert structure(result) == plain
    assert all(line.isprintable() for line in result.splitlines())


def test_a_card_without_spans_is_found_out(registry: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    """The control: with the texts as they are, nearly all of them change what Markdown sees."""
    monkeypatch.setattr(model_card, "code", lambda text: f"`{text}`")
    plain = structure(written(*filled(registry, "plain"), text="plain z"))
    out = [text for text in HOSTILE if structure(written(*filled(registry, text), text=text + "z")) != plain]
    assert len(out) >= 8


def test_what_is_stored_is_told(registry: Registry) -> None:
    model = Sequential(["Residual(Conv2D(1, 3, padding='same'), ReLU())", "Flatten()", "Dense(2)"], (1, 4, 4))
    registry.save(
        model,
        "net",
        recipe={"model": {"layers": ["Dense(2)"]}, "train": {"epochs": 2, "metrics": ["Accuracy()"]}},
        history={"loss": [2.0, 1.25]},
        metrics={"loss": 1.5},
        dataset={"name": "Digits()", "digest": "abc"},
    )
    record = registry.read("net")
    text = written(record, model)
    for line in (
        "# `net@1`",
        f"| created | `{record.manifest.created}` |",
        "| trained on | `Digits()` |",
        "| digest of the dataset | `abc` |",
        "| input | 1 x 4 x 4, float32 |",
        "| parameters | 44 |",
        '| `conv2d_1` | `Conv2D(1, 3, padding="same")` | 1 x 4 x 4 | 10 |',
        "| `residual_1` | `Residual` | 1 x 4 x 4 | 0 |",
        "| `dense_1` | `Dense(2)` | 2 | 34 |",
        "| `train.epochs` | `2` |",
        '| `train.metrics` | `["Accuracy()"]` |',
        "| `loss` | 1.5 |",
        "| 2 | 1.25 |",
        "| `OnnxRuntime()` | `64` | `1.0e-07` | `1.0e-07` | `0` | `3` | `pass` |",
        f"| `numpy` | `{np.__version__}` |",
    ):
        assert line in text.splitlines(), line
    assert "model.layers" not in text


def test_what_is_not_stored_is_not_told(registry: Registry, model: Sequential) -> None:
    registry.save(model, "net")
    text = written(registry.read("net"), model, curves=None)
    assert "| trained on | `unknown` |" in text
    for heading in ("## Recipe", "## Metrics", "## History", "curves", "labels", "digest of the dataset"):
        assert heading not in text


def test_a_long_history_is_thinned(registry: Registry, model: Sequential) -> None:
    registry.save(model, "net", history={"loss": list(range(1000)), "short": [1.0]})
    lines = written(registry.read("net"), model).splitlines()
    rows = [line for line in lines if re.fullmatch(r"\| \d+ \| `\d+` \| .*", line)]
    assert len(rows) == 20
    assert (rows[0], rows[-1]) == ("| 1 | `0` | 1 |", "| 1000 | `999` |  |")
    assert "20 of 1,000 epochs." in lines


def test_many_labels_and_rows_are_cut(registry: Registry) -> None:
    labels = [f"class {number}" for number in range(30)]
    model = Sequential(["Flatten()", "Dense(30)"], (1, 2, 2), labels=labels)
    registry.save(model, "net", recipe={"train": {f"k{number}": number for number in range(1000)}})
    text = written(registry.read("net"), model)
    assert "`class 19` and 10 more |" in text
    assert "class 20" not in text
    assert "| ... and 800 more |" in text


@pytest.mark.parametrize(("count", "expected"), [(0, []), (1, [0]), (4, [0, 1, 2, 3]), (10, [0, 3, 6, 9])])
def test_thinned(count: int, expected: list[int]) -> None:
    assert thinned(count, 4) == expected


def test_code() -> None:
    assert code("Conv2D(8, 3)") == "`Conv2D(8, 3)`"
    assert code("a`b|c\n\u202e\U000e0001") == "`a\\x60b\\x7cc\\x0a\\u202e\\U000e0001`"
    assert code("größe 数字") == "`größe 数字`"
    assert code("") == code("  ") == ""
    assert len(code("x" * 1000)) == MAX_TEXT + len("``")
    assert table(("a", "b"), [("1", "2")]) == "| a | b |\n| --- | --- |\n| 1 | 2 |"


def test_the_code_on_the_card_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("onnxruntime")
    monkeypatch.chdir(tmp_path)
    model = Sequential(["Flatten()", "Dense(3)"], (1, 2, 2), input_dtype="uint8")
    Registry().save(model, "net")
    record = Registry().read("net")
    api.export_onnx(model, "model.onnx")
    blocks = re.findall(r"^```python\n(.*?)^```$", written(record, model), re.MULTILINE | re.DOTALL)
    assert len(blocks) == 2
    (tmp_path / "card.py").write_text("".join(blocks))
    found: dict[str, Any] = runpy.run_path("card.py")
    assert found["model"].layers == model.layers
    np.testing.assert_allclose(found["logits"], model.logits(found["x"]), atol=1e-6)
