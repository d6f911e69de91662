"""What a validation found: one result for each runtime, as text, as table rows and as JSON."""

from __future__ import annotations

import math
import os
from dataclasses import asdict, dataclass, replace
from html import escape
from pathlib import Path
from typing import Any

from cnnkit.notebook_html import html_table
from cnnkit.onnx.expected_answers import MARGIN, MOST_ROUNDING
from cnnkit.onnx.reproducer import Reproducer
from cnnkit.user_folders import expanded
from cnnkit.wording import counted


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
class Latency:
    """Median seconds of a run, the file being read already; through pipes where a runtime is a process of its own."""

    one: float
    """Of one sample."""
    batch: float
    """Of several."""
    samples: int
    """How many those are."""


@dataclass(frozen=True)
class RuntimeResult:
    """How the outputs of one runtime compare with the model's, in the terms of `validate_onnx`."""

    runtime: str
    samples: int
    ok: bool
    version: str = ""
    """Of what executed the file; "" if it is not known."""
    answered: bool = True
    """False if it cannot run the file; `error` says why."""
    max_absolute: float = math.nan
    max_relative: float = math.nan
    """NaN where no numbers were compared, as of a file that gives nothing but labels."""
    budget: float = math.nan
    """The largest difference as a share of what is allowed there: up to 1, rounding explains it."""
    worst_sample: int | None = None
    """The sample that has it."""
    flips: tuple[int, ...] = ()
    """Samples that get another label."""
    latency: Latency | None = None
    """None if it was not measured."""
    divergence: Divergence | None = None
    reproducer: Reproducer | None = None
    """The diverging layer alone; None if there is none, or if the runtime cannot run it alone."""
    error: str = ""
    """Why the runtime could not execute the file, or not show its layers; differences are NaN in the first case."""

    @property
    def verdict(self) -> str:
        """ "pass", "FAIL", or "cannot" of a runtime that has no answer."""
        return "pass" if self.ok else "FAIL" if self.answered else "cannot"

    @property
    def name(self) -> str:
        """The runtime and its version."""
        return f"{self.runtime} {self.version}".rstrip()

    def row(self) -> tuple[str, ...]:
        """The cells under `COLUMNS`."""
        numbers: tuple[str, ...] = ("-",) * 5
        if self.worst_sample is not None:
            errors = _short(self.max_absolute), _short(self.max_relative), _percent(self.budget)
            numbers = (*errors, str(len(self.flips)), str(self.worst_sample))
        return (self.runtime, self.version or "-", *numbers, self.verdict)

    def latencies(self) -> tuple[str, ...]:
        """The cells under `LATENCIES`."""
        if self.latency is None:
            return ("-",) * len(LATENCIES)
        return tuple(f"{1000 * seconds:.3g}" for seconds in (self.latency.one, self.latency.batch))

    def remarks(self) -> list[str]:
        """What a table cannot hold: the flipped samples, the first diverging layer, the error."""
        shown = ", ".join(map(str, self.flips[:10])) + (", ..." if len(self.flips) > 10 else "")
        remarks = [f"label flips at samples {shown}"] if self.flips else []
        remarks += [str(self.divergence)] if self.divergence else []
        remarks += [str(self.reproducer)] if self.reproducer else []
        if not (self.ok or self.error or self.divergence):
            remarks.append("no layer differs by more than is allowed for it, so errors add up on the way")
        return [f"{self.runtime}: {remark}" for remark in remarks] + ([self.error] if self.error else [])


COLUMNS = ("runtime", "version", "absolute", "relative", "budget", "flips", "worst", "verdict")
LATENCIES = ("one (ms)", "batch (ms)")
"""Columns before the last one, where latencies were measured."""
NUMBERS = (*COLUMNS[2:-1], *LATENCIES)
LEAST = ("worst", "absolute", "batch (ms)", "one (ms)")
"""Columns that a narrow place does without, the least important one first."""


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
    """What is wrong with the file, or its model, whatever the runtimes say; some of them do not mind."""
    exported: bool = True
    """Whether the file holds what exporting the model gives, and metadata that do not contradict it."""
    precision: str = "float32"
    """The least precise numbers in the file: "float32", "float16" or "int8"."""

    @property
    def ok(self) -> bool:
        """Whether the file is right: as many runtimes give the model's answers as give others, or more."""
        agree = sum(result.ok for result in self.results)
        return not self.problem and agree > 0 and 2 * agree >= sum(result.answered for result in self.results)

    def contradicted(self, problem: str) -> ValidationReport:
        """The report on a file whose metadata contradict the model; itself for one without such a problem."""
        if not problem:
            return self
        return replace(self, exported=False, problem="; ".join(filter(None, [self.problem, problem])))

    def decisive(self) -> tuple[RuntimeResult, ...]:
        """The results that the verdict rests on: of the runtimes that agree if it is a pass, else of all."""
        return tuple(result for result in self.results if result.ok) if self.ok else self.results

    def faults(self) -> list[str]:
        """Which runtimes are wrong about a file that is right; a sentence for each.

        None of a file in float16: some runtimes compute that in float32, and those that do not are no worse.
        """
        if not self.ok or self.precision == "float16":
            return []
        names = [result.name for result in self.decisive()]
        others = f"{' and '.join(names)} {'give' if len(names) > 1 else 'gives'} the model's answers"
        return [
            f"{result.name} gives other answers. The runtime is at fault, since {others}: do not run the file on "
            "this version of it"
            for result in self.results
            if result.answered and not result.ok
        ]

    def write_reproducers(self, folder: str | os.PathLike[str]) -> list[Path]:
        """Write, for each runtime that gives other answers, the layer where they begin; see `Reproducer.write`."""
        paths = []
        for result in self.results:
            if result.reproducer is not None:
                runtime = "-".join([result.runtime.partition("(")[0], *filter(None, [result.version])])
                paths.append(result.reproducer.write(expanded(folder), f"{runtime}-{result.reproducer.value}"))
        return paths

    @property
    def columns(self) -> tuple[str, ...]:
        """The headings of the table."""
        return (*COLUMNS[:-1], *LATENCIES, COLUMNS[-1]) if self._is_timed else COLUMNS

    def rows(self) -> list[tuple[str, ...]]:
        """One row of text cells for each runtime, under `columns`."""
        if not self._is_timed:
            return [result.row() for result in self.results]
        return [(*result.row()[:-1], *result.latencies(), result.verdict) for result in self.results]

    @property
    def _is_timed(self) -> bool:
        return any(result.latency for result in self.results)

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
        largest = max([self.rounding, *(result.max_relative for result in self.results if result.ok)], key=_order)
        if self.results and not math.isfinite(self.rounding):
            remarks.append(
                "some answers of the model itself are not finite in float32, so no runtime can agree with them"
            )
        elif self.results and largest > self.tolerance:
            most = min(MARGIN * self.rounding, MOST_ROUNDING)
            remarks.append(
                f"the network is ill-conditioned: its own answers in float32 are up to {self.rounding:.1e} off from "
                f"those in float64, so runtimes may be up to {most:.1e} off"
            )
        return remarks + list(self.left_out)

    def to_dict(self) -> dict[str, Any]:
        """The report as JSON values; a difference that is not a finite number is None."""
        return {
            "path": str(self.path),
            "ok": self.ok,
            "exported": self.exported,
            "precision": self.precision,
            "tolerance": self.tolerance,
            "rounding": _finite(self.rounding),
            "problem": self.problem,
            "results": [_as_json(result) for result in self.results],
            "faults": self.faults(),
            "left_out": list(self.left_out),
        }

    def __repr__(self) -> str:
        """The verdict in a line; `str` has the whole report."""
        each = "".join(f", {result.name} {result.verdict}" for result in self.results)
        return f"<ValidationReport: {self._verdict()}{each}>"

    def _repr_html_(self) -> str:
        """The whole report, for notebooks."""
        remarks = "".join(f"<p>{escape(remark)}</p>" for remark in (*self.remarks(), *self.faults()))
        return html_table(self.columns, self.rows(), self._verdict(), left=1) + remarks

    def _verdict(self) -> str:
        verdict = "passed" if self.ok else "FAILED"
        on = f" on {counted(self.results[0].samples, 'sample')}" if self.results else ""
        return f"{self.path} {verdict} (tolerance {self.tolerance:g}){on}"

    def __str__(self) -> str:
        table = [self.columns, *self.rows()] if self.results else []
        widths = [max(map(len, column)) for column in zip(*table, strict=True)]
        lines = ["  ".join(map(str.ljust, row, widths)).rstrip() for row in table]
        return "\n".join([self._verdict(), *lines, *self.remarks(), *self.faults()])


def _as_json(result: RuntimeResult) -> dict[str, Any]:
    values = asdict(replace(result, reproducer=None))
    for one in (values, values["divergence"] or {}):
        one.update({key: _finite(value) for key, value in one.items()})
    alone = result.reproducer
    shown = alone and {"where": alone.where, "value": alone.value, "sample": alone.sample, "shows": alone.shows}
    return values | {"verdict": result.verdict, "reproducer": shown}


def _order(difference: float) -> float:
    """To find the largest: what was not compared is less than all else."""
    return -1.0 if math.isnan(difference) else difference


def _short(difference: float) -> str:
    return "-" if math.isnan(difference) else f"{difference:.1e}"


def _percent(share: float) -> str:
    """Of the error budget, short: a share far beyond it as a multiple."""
    return f"{share:.0%}" if share < 10 else f"{share:.0e}x"


def _finite(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value
