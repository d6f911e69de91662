"""What a validation found: one result for each runtime, as text, as table rows and as JSON."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from html import escape
from pathlib import Path
from typing import Any

from cnnkit.notebook_html import html_table
from cnnkit.onnx.expected_answers import MARGIN, MOST_ROUNDING


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
    """The sample that is furthest beyond what is allowed, or nearest to it."""
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


@dataclass(frozen=True, repr=False)
class ValidationReport:
    """The verdict of `validate_onnx` over all runtimes."""

    path: Path
    tolerance: float
    """Largest relative difference that passes for a network that is well-conditioned."""
    results: tuple[RuntimeResult, ...]
    left_out: tuple[str, ...] = ()
    """Which runtimes did not take part, and why: a sentence for each."""
    rounding: float = 0.0
    """Largest relative difference between the model's own answers in float32 and in float64."""
    problem: str = ""
    """What is wrong with the file whatever the runtimes say; some of them do not mind."""
    exported: bool = True
    """Whether the file holds what exporting the model gives, its metadata left aside."""
    precision: str = "float32"
    """The least precise numbers in the file: "float32", "float16" or "int8"."""

    @property
    def ok(self) -> bool:
        """Whether the file is right: as many runtimes give the model's answers as do not, or more."""
        agree = sum(result.ok for result in self.results)
        return not self.problem and agree > 0 and 2 * agree >= len(self.results)

    def decisive(self) -> tuple[RuntimeResult, ...]:
        """The results that the verdict rests on: of the runtimes that agree if it is a pass, else of all."""
        return tuple(result for result in self.results if result.ok) if self.ok else self.results

    def faults(self) -> list[str]:
        """Which runtimes are wrong about a file that is right; a sentence for each."""
        if not self.ok:
            return []
        names = [result.runtime for result in self.decisive()]
        others = f"{' and '.join(names)} {'give' if len(names) > 1 else 'gives'} the model's answers"
        wrong = [result for result in self.results if not result.ok]
        return [
            f"{result.runtime} {'cannot run the file' if result.worst_sample is None else 'gives other answers'}. The "
            f"runtime is at fault, since {others}: do not run the file on this version of it"
            for result in wrong
        ]

    def rows(self) -> list[tuple[str, ...]]:
        """One row of text cells for each runtime, under `COLUMNS`."""
        return [result.row() for result in self.results]

    def remarks(self) -> list[str]:
        """What the table cannot hold, one line each."""
        remarks = [self.problem] if self.problem else []
        if self.precision == "float16":
            remarks.append(f"the file is in float16, so {self.tolerance:g} is allowed")
        if self.precision == "int8":
            remarks.append(
                f"the file is in int8, and cannot give the model's answers to {self.tolerance:g}: export it again for "
                "a report of the accuracy that it loses"
            )
        remarks += [remark for result in self.results for remark in result.remarks()]
        largest = max([self.rounding, *(result.max_relative for result in self.results if result.ok)])
        if not math.isfinite(self.rounding):
            remarks.append(
                "some answers of the model itself are not finite in float32, so no runtime can agree with them"
            )
        elif largest > self.tolerance:
            most = min(MARGIN * self.rounding, MOST_ROUNDING)
            remarks.append(
                f"the network is ill-conditioned: its own answers in float32 are up to {self.rounding:.1e} off from "
                f"those in float64, so runtimes may be up to {most:.1e} off"
            )
        return remarks + list(self.left_out)

    def to_dict(self) -> dict[str, Any]:
        """The report as JSON values; a difference that is not a finite number is None."""
        results = [asdict(result) for result in self.results]
        for result in results:
            for values in (result, result["divergence"] or {}):
                values.update({key: _finite(value) for key, value in values.items()})
        return {
            "path": str(self.path),
            "ok": self.ok,
            "exported": self.exported,
            "precision": self.precision,
            "tolerance": self.tolerance,
            "rounding": _finite(self.rounding),
            "problem": self.problem,
            "results": results,
            "faults": self.faults(),
            "left_out": list(self.left_out),
        }

    def __repr__(self) -> str:
        """The verdict in a line; `str` has the whole report."""
        each = "".join(f", {result.runtime} {'pass' if result.ok else 'FAIL'}" for result in self.results)
        return f"<ValidationReport: {self._verdict()}{each}>"

    def _repr_html_(self) -> str:
        """The whole report, for notebooks."""
        remarks = "".join(f"<p>{escape(remark)}</p>" for remark in (*self.remarks(), *self.faults()))
        return html_table(COLUMNS, self.rows(), self._verdict(), left=1) + remarks

    def _verdict(self) -> str:
        return f"{self.path} {'passed' if self.ok else 'FAILED'} (tolerance {self.tolerance:g})"

    def __str__(self) -> str:
        table = [COLUMNS, *self.rows()]
        widths = [max(map(len, column)) for column in zip(*table, strict=True)]
        lines = ["  ".join(map(str.ljust, row, widths)).rstrip() for row in table]
        return "\n".join([self._verdict(), *lines, *self.remarks(), *self.faults()])


def _finite(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value
