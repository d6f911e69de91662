"""The model card: what a version says about itself, as Markdown for people.

The text of a version may come from anybody. All of it stands in code spans, where Markdown gives nothing a meaning, and
what could end a span, a table cell or a line is written as an escape.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from cnnkit.network import Network
from cnnkit.registry.manifest_rows import recipe_rows, shown
from cnnkit.wording import shorten, sizes, thinned

if TYPE_CHECKING:
    from cnnkit.registry.records import Record

MAX_TEXT = 300
"""Characters of one text."""
MAX_LABELS = 20
MAX_EPOCHS = 20
MAX_QUANTITIES = 10
MAX_ROWS = 200
"""Rows of a table; a network may have thousands of layers."""


def write_card(
    record: Record,
    model: Network,
    *,
    inputs: str,
    results: Sequence[Sequence[str]],
    remarks: Sequence[str],
    network: str | None,
    curves: str | None,
    outputs: Sequence[str],
) -> str:
    """The card of a version.

    model: that of the record; inputs: what its ONNX file was compared on, as text; results: the validation's headings
    and rows; remarks: what they cannot hold; network, curves: the names of the pictures' files, None without one;
    outputs: names of what the ONNX file gives.
    """
    parts = [
        f"# {code(record.version.ref)}",
        *_about(record, model),
        "## Layers",
        *([f"![The layers and what each takes]({network})"] if network else []),
        _layers(model),
        *_recipe(record),
        *_metrics(record),
        *_history(record, curves),
        "## Validation of the ONNX file",
        f"Every runtime gives the model's answers, compared on {code(inputs)}.",
        table(results[0], [list(map(code, row)) for row in results[1:]]),
        *map(code, remarks),
        "## Versions",
        table(("distribution", "version"), [(code(name), code(v)) for name, v in record.manifest.versions.items()]),
        "## How to load it",
        _loading(record, model, outputs),
    ]
    return "\n\n".join(parts) + "\n"


def code(text: str) -> str:
    """A code span that shows a text, whatever it is, also inside a table; "" for no text."""
    short = shorten(text, MAX_TEXT)
    plain = "".join(c if c.isprintable() and c not in "`|" else _escaped(c) for c in short)
    return f"`{plain}`" if plain.strip(" ") else ""


def table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table; the cells are Markdown."""
    lines = [list(headings), ["---"] * len(headings), *rows]
    cut = [f"| ... and {len(lines) - MAX_ROWS - 2:,} more |"] if len(lines) > MAX_ROWS + 2 else []
    return "\n".join([f"| {' | '.join(line)} |" for line in lines[: MAX_ROWS + 2]] + cut)


def _escaped(character: str) -> str:
    number = ord(character)
    return f"\\x{number:02x}" if number < 256 else f"\\u{number:04x}" if number < 65536 else f"\\U{number:08x}"


def _about(record: Record, model: Network) -> Iterator[str]:
    version, manifest = record.version, record.manifest
    dataset = manifest.dataset or {"name": "unknown", "digest": ""}
    more = f" and {len(manifest.labels) - MAX_LABELS:,} more" if len(manifest.labels) > MAX_LABELS else ""
    pairs = {
        "model": code(version.name),
        "reference": code(version.ref),
        "digest (sha256)": code(version.digest),
        "created": code(manifest.created),
        "trained on": code(dataset["name"]),
        "digest of the dataset": code(dataset["digest"]),
        "input": f"{sizes(manifest.input_shape)}, {manifest.input_dtype}",
        "preprocessing": code(str(manifest.preprocessing)),
        "gives": model.gives,
        "labels": ", ".join(filter(None, map(code, manifest.labels[:MAX_LABELS]))) + more,
        "parameters": f"{model.parameter_count():,}",
        "seed": code(str(manifest.seed)),
    }
    yield table(("about", ""), [(name, value) for name, value in pairs.items() if value])


def _layers(model: Network) -> str:
    rows = []
    for node in model.nodes:
        count = sum(array.size for array in node.layer.params.values())
        rows.append((code(node.name), code(node.layer.brief), sizes(node.out_shape), f"{count:,}"))
    return table(("name", "layer", "output", "parameters"), rows)


def _recipe(record: Record) -> Iterator[str]:
    if rows := recipe_rows(record.manifest):
        yield "## Recipe"
        yield table(("key", "value"), [(code(key), code(shown(value))) for key, value in rows.items()])


def _metrics(record: Record) -> Iterator[str]:
    if metrics := record.manifest.metrics:
        yield "## Metrics on the test samples"
        yield table(("metric", "value"), [(code(name), _number(value)) for name, value in metrics.items()])


def _history(record: Record, curves: str | None) -> Iterator[str]:
    history = dict(list(record.manifest.history.items())[:MAX_QUANTITIES])
    count = max(map(len, history.values()), default=0)
    if not count:
        return
    yield "## History"
    if curves:
        yield f"![Loss and metrics by epoch]({curves})"
    rows = [
        [str(epoch + 1), *(_number(values[epoch]) if epoch < len(values) else "" for values in history.values())]
        for epoch in thinned(count, MAX_EPOCHS)
    ]
    yield table(("epoch", *map(code, history)), rows)
    if len(rows) < count:
        yield f"{len(rows)} of {count:,} epochs."


def _loading(record: Record, model: Network, outputs: Sequence[str]) -> str:
    """Code to copy; nothing of it is free text of the version."""
    name, shape = record.version.name, ", ".join(map(str, (1, *model.input_shape)))
    return f"""\
With cnnkit, after `cnnkit models import` of this bundle:

```python
from cnnkit import load_model

model = load_model("{name}@latest")
```

With ONNX Runtime, from `model.onnx`; x is in the dataset's own units, as the preprocessing is inside:

```python
import numpy as np
import onnxruntime

session = onnxruntime.InferenceSession("model.onnx", providers=["CPUExecutionProvider"])
x = np.zeros(({shape}), np.{model.input_dtype})
{", ".join(outputs)}{"," if len(outputs) == 1 else ""} = session.run({json.dumps(outputs)}, {{"input": x}})
```"""


def _number(value: Any) -> str:
    return f"{value:.6g}" if isinstance(value, float) else code(str(value))
