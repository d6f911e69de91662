"""What `cnnkit export --fp16` and `--int8` do: a smaller file, and what it loses."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from cnnkit.cli.output import note, say, say_json, say_pairs, say_table
from cnnkit.cli.recorded_components import chosen_dataset, recorded_metrics
from cnnkit.errors import CheckError, ConfigError

if TYPE_CHECKING:
    from cnnkit.network import Network
    from cnnkit.onnx.precision.report import PrecisionReport
    from cnnkit.registry import Manifest
    from cnnkit.registry.trust import Trust
    from cnnkit.types import Data


def check_choice(fp16: bool, int8: bool, keep: list[str] | None, max_loss: float | None, validates: bool) -> None:
    """Raise ConfigError for options that say nothing together.

    validates: whether nothing was said of how to validate: less precision is always measured, by ONNX Runtime.
    """
    if fp16 and int8:
        raise ConfigError("--fp16 and --int8 give two different files: remove one of them")
    if keep and not (fp16 or int8):
        raise ConfigError("--keep names layers that stay in float32 in a file with --fp16 or --int8: add one of them")
    if max_loss is not None and not int8:
        raise ConfigError("--max-loss is how much a file with --int8 may lose: add that, or remove --max-loss")
    if (fp16 or int8) and not validates:
        raise ConfigError(
            "a file with --fp16 or --int8 is always measured, by ONNX Runtime: remove --runtime and --no-validate"
        )


def export_with_less_precision(
    model: Network,
    ref: str,
    manifest: Manifest,
    target: Path,
    *,
    int8: bool,
    keep: list[str],
    max_loss: float | None,
    dataset: str | None,
    data_dir: str | None,
    trust: Trust,
    as_json: bool,
    **options: Any,
) -> None:
    """Write the file if it loses no more than it may, and print the report. options: as of `to_onnx`.

    Raises CheckError if it loses more.
    """
    from cnnkit.onnx.export import write_onnx
    from cnnkit.onnx.precision.export import MAX_LOSS, float16_file, int8_file

    data = chosen_dataset(dataset, ref, manifest, data_dir, trust)
    ignored = _ignored(manifest, trust)
    if int8:
        most = MAX_LOSS if max_loss is None else max_loss
        file, report = int8_file(model, data, target, keep, most, ignored, **options)
    else:
        file, report = float16_file(model, data, target, keep, ignored, **options)
    if report.ok:
        write_onnx(file.SerializeToString(deterministic=True), target)
    if as_json:
        path = str(target) if report.ok else None
        say_json({"ref": ref, "path": path, "opset": options["opset"], "precision": report.to_dict()})
    else:
        _show(report, data)
    if not report.ok:
        raise CheckError(f"{target} was not written: {report.problem}")
    if not as_json:
        say_pairs({"exported": ref, "file": target, "precision": report.precision})


def _show(report: PrecisionReport, data: Data) -> None:
    note(f"measured on {report.samples:,} test samples of {data.name}, after {report.calibration:,} training samples")
    say_table(report.columns(), report.rows())
    say()
    say_table(report.layer_columns(), report.layer_rows())
    say()
    for remark in report.remarks():
        say(remark)


def _ignored(manifest: Manifest, trust: Trust) -> int | None:
    """The class that the accuracy did not count in the training."""
    from cnnkit.metrics import Accuracy

    metrics = recorded_metrics(manifest, trust) or []
    return next((metric.ignore_index for metric in metrics if isinstance(metric, Accuracy)), None)
