"""What a validation found: one result for each runtime, as text, as table rows and as JSON."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Divergence:
    """The first place where a runtime's values leave the model's."""

    where: str
    """The layer with its expression, the preprocessing, or an output."""
    relative: float
    """max|a - b| / max|b| of its values, for the sample that was followed."""
    sample: int

    def __str__(self) -> str:
        return f"{self.where} is the first to differ, by {self.relative:.1e} relative (sample {self.sample})"


@dataclass(frozen=True)
class RuntimeResult:
    """How the outputs of one runtime compare with the model's, in the terms of `validate_onnx`."""

    runtime: str
    samples: int
    ok: bool
    max_absolute: float = math.nan
    max_relative: float = math.nan
    worst_sample: int | None = None
    """The sample with the largest relative difference."""
    flips: tuple[int, ...] = ()
    """Samples that get another label."""
    divergence: Divergence | None = None
    error: str = ""
    """Why the runtime could not execute the file, or not show its layers; differences are NaN in the first case."""

    def row(self) -> tuple[str, ...]:
        """The cells under `COLUMNS`."""
        verdict = "pass" if self.ok else "FAIL"
        numbers = (f"{self.max_absolute:.1e}", f"{self.max_relative:.1e}", str(len(self.flips)), str(self.worst_sample))
        cells = ("-",) * len(numbers) if self.worst_sample is None else numbers
        return (self.runtime, str(self.samples), *cells, verdict)

    def remarks(self) -> list[str]:
        """What a table cannot hold: the flipped samples, the first diverging layer, the error."""
        shown = ", ".join(map(str, self.flips[:10])) + (", ..." if len(self.flips) > 10 else "")
        remarks = [f"label flips at samples {shown}"] if self.flips else []
        remarks += [str(self.divergence)] if self.divergence else []
        return [f"{self.runtime}: {remark}" for remark in remarks] + ([self.error] if self.error else [])


COLUMNS = ("runtime", "samples", "absolute", "relative", "label flips", "worst sample", "verdict")


@dataclass(frozen=True)
class ValidationReport:
    """The verdict of `validate_onnx` over all runtimes."""

    path: Path
    tolerance: float
    """Largest relative difference that passes."""
    results: tuple[RuntimeResult, ...]
    not_installed: tuple[str, ...] = ()
    """Runtimes that come with cnnkit and were left out because their package is missing."""

    @property
    def ok(self) -> bool:
        """Whether every runtime passed."""
        return all(result.ok for result in self.results)

    def rows(self) -> list[tuple[str, ...]]:
        """One row of text cells for each runtime, under `COLUMNS`."""
        return [result.row() for result in self.results]

    def remarks(self) -> list[str]:
        """What the table cannot hold, one line each."""
        left_out = [f'{name} was left out: pip install "cnnkit[runtimes]"' for name in self.not_installed]
        return [remark for result in self.results for remark in result.remarks()] + left_out

    def to_dict(self) -> dict[str, Any]:
        """The report as JSON values; a difference that is not a finite number is None."""
        results = [asdict(result) for result in self.results]
        for result in results:
            for values in (result, result["divergence"] or {}):
                values.update({k: None for k, v in values.items() if isinstance(v, float) and not math.isfinite(v)})
        return {
            "path": str(self.path),
            "ok": self.ok,
            "tolerance": self.tolerance,
            "results": results,
            "not_installed": list(self.not_installed),
        }

    def __str__(self) -> str:
        table = [COLUMNS, *self.rows()]
        widths = [max(map(len, column)) for column in zip(*table, strict=True)]
        lines = ["  ".join(map(str.ljust, row, widths)).rstrip() for row in table]
        verdict = "passed" if self.ok else "FAILED"
        return "\n".join([f"{self.path} {verdict} (tolerance {self.tolerance:g})", *lines, *self.remarks()])
