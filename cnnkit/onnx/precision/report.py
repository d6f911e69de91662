"""What a file with less precision loses, as text, as table rows and as JSON."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

from cnnkit.notebook_html import html_table
from cnnkit.wording import counted, first_of

MOST_LAYERS = 5
"""Layers that a table shows."""
MOST_NAMES = 10


@dataclass(frozen=True)
class PrecisionReport:
    """How a file in float16 or int8 compares with the one in float32 that it was made of, both run by ONNX Runtime."""

    path: Path
    precision: str
    """"float16" or "int8"."""
    samples: int
    """Test samples that were compared."""
    calibration: int
    """Training samples that gave the ranges of values."""
    score: str
    """What was measured: "accuracy" of classes, "f1" of labels, "r2" of values."""
    before: float
    after: float
    flips: int
    """Answers that are different ones; in float16 ties do not count."""
    answers: int
    """How many there are: classes of samples or pixels, or labels; 0 of values."""
    largest: float
    """Largest difference of an output, relative to s as of `validate_onnx`."""
    original_bytes: int
    bytes: int
    layers: dict[str, float]
    """For each layer that rounds, the worst first: how far the outputs move if only this layer has less precision, that
    is, if only its weights and what it reads are rounded; sqrt(mean (a - b)^2 / mean b^2)."""
    in_float32: tuple[str, ...]
    """The layers that stay in float32."""
    problem: str = ""
    """Why the file should not be used; "" if it may."""

    @property
    def ok(self) -> bool:
        """Whether the file loses no more than it may."""
        return not self.problem

    @property
    def loss(self) -> float:
        """Points of a hundred that the score falls by; negative where it rises."""
        return 100 * (self.before - self.after)

    def columns(self) -> tuple[str, ...]:
        """The headings of `rows`."""
        return "", "float32", self.precision, "change"

    def rows(self) -> list[tuple[str, ...]]:
        """Score and size, before and after."""
        ratio = f"{self.bytes / self.original_bytes:.1%}"
        return [
            (self.score, f"{self.before:.4f}", f"{self.after:.4f}", f"{round(-self.loss, 2) + 0.0:+.2f} points"),
            ("bytes", f"{self.original_bytes:,}", f"{self.bytes:,}", ratio),
        ]

    def layer_rows(self) -> list[tuple[str, str]]:
        """The layers that lose most, each with the error that it makes alone."""
        return [(name, f"{error:.2%}") for name, error in list(self.layers.items())[:MOST_LAYERS]]

    def layer_columns(self) -> tuple[str, str]:
        """The headings of `layer_rows`."""
        return f"only this layer in {self.precision}", "error of the outputs"

    def remarks(self) -> list[str]:
        """What the tables cannot hold, one line each."""
        remarks = []
        if self.answers:
            ties = ", ties aside" if self.precision == "float16" else ""
            remarks.append(f"{self.flips:,} of {counted(self.answers, 'answer')} are different ones{ties}")
        if self.precision == "float16":
            remarks.append("measured with each value rounded to float16, and sums inside of a layer in float32")
        if self.in_float32:
            remarks.append(f"in float32: {first_of(self.in_float32, MOST_NAMES)}")
        return remarks

    def to_dict(self) -> dict[str, Any]:
        """The report as JSON values."""
        return {
            "path": str(self.path),
            "ok": self.ok,
            "precision": self.precision,
            "samples": self.samples,
            "calibration": self.calibration,
            "score": self.score,
            "before": self.before,
            "after": self.after,
            "loss": self.loss,
            "flips": self.flips,
            "answers": self.answers,
            "largest": self.largest,
            "original_bytes": self.original_bytes,
            "bytes": self.bytes,
            "layers": self.layers,
            "in_float32": list(self.in_float32),
            "problem": self.problem,
        }

    def __repr__(self) -> str:
        """The verdict in a line; `str` has the whole report."""
        return f"<PrecisionReport: {self._verdict()}>"

    def _repr_html_(self) -> str:
        """The whole report, for notebooks."""
        remarks = "".join(f"<p>{escape(remark)}</p>" for remark in self.remarks())
        tables = html_table(self.columns(), self.rows(), self._verdict(), left=1)
        return tables + html_table(self.layer_columns(), self.layer_rows(), "", left=1) + remarks

    def _verdict(self) -> str:
        return self.problem or f"{self.path} in {self.precision} loses no more than it may"

    def __str__(self) -> str:
        lines = [self._verdict()]
        for table in ([self.columns(), *self.rows()], [self.layer_columns(), *self.layer_rows()]):
            widths = [max(map(len, column)) for column in zip(*table, strict=True)]
            lines += ["  ".join(map(str.ljust, row, widths)).rstrip() for row in table]
        return "\n".join([*lines, *self.remarks()])
