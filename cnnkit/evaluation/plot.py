"""Pictures of registered models: what each kind shows, and what it needs."""

from __future__ import annotations

import contextlib
import math
from collections import ChainMap
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, cast, overload

import numpy as np

from cnnkit.components import Layer
from cnnkit.errors import CnnkitError, CostError, PlotError
from cnnkit.evaluation.pixel_answers import mask_labels
from cnnkit.evaluation.plot_on_request import ON_REQUEST, cost
from cnnkit.evaluation.plot_subject import Subject
from cnnkit.network import INPUT, Network, Node
from cnnkit.training.run import Run
from cnnkit.types import Array, Data, Shape
from cnnkit.user_folders import expanded
from cnnkit.wording import did_you_mean, percent

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from cnnkit.registry import Record, Registry, Version

    Shown = str | Version | Run | Network

MAX_LABEL = 20
"""Letters of a label beside a picture."""
COMPARE = "compare"
"""The one kind that shows several models."""


@overload
def plot(
    shown: Shown | Sequence[Shown],
    kind: str,
    path: None = None,
    *,
    registry: Registry | str | Path | None = None,
    data: Data | str | None = None,
    layer: str | None = None,
    sample: int = 0,
) -> Figure: ...
@overload
def plot(
    shown: Shown | Sequence[Shown],
    kind: str,
    path: str | Path,
    *,
    registry: Registry | str | Path | None = None,
    data: Data | str | None = None,
    layer: str | None = None,
    sample: int = 0,
) -> Path: ...
def plot(
    shown: Shown | Sequence[Shown],
    kind: str,
    path: str | Path | None = None,
    *,
    registry: Registry | str | Path | None = None,
    data: Data | str | None = None,
    layer: str | None = None,
    sample: int = 0,
) -> Path | Figure:
    """A picture of a model: `plot(run, "curves")` is a figure; `plot("digits@1", "curves", "curves.svg")` a file.

    shown: a reference, a version, a run or a model, or several for "compare"; kind: one of ALL_KINDS, or "compare";
    path: of a PNG, SVG or PDF file; without, the matplotlib figure is given back, which a notebook shows. data: the
    dataset whose test samples are shown, or its expression; layer: for "filters" and "feature-maps", such as
    "conv2d_1", else the first convolution, and for "maximisation", else the last; sample: the test sample of
    "feature-maps", from 0.
    Raises PlotError if the kind does not apply to the model, and for a file that cannot be written.
    """
    from cnnkit.data import load_dataset
    from cnnkit.plotting.saving import check_target, save
    from cnnkit.registry import Registry, Version

    found: list[Record | Run | Network] = []

    def load() -> Data:
        if data is None:
            raise PlotError(f'{kind} shows test samples: give the dataset, such as data="{_trained_on(found[0])}"')
        return data if isinstance(data, Data) else load_dataset(data)

    store = registry if isinstance(registry, Registry) else Registry(registry)
    if path is not None:
        path = expanded(path)
        check_target(path)
    for one in [shown] if isinstance(shown, str | Version | Run | Network) else shown:
        if isinstance(one, str | Version):
            found.append(store.read(one if isinstance(one, str) else one.ref))
        elif isinstance(one, Run | Network):
            found.append(one)
        else:
            raise PlotError(f"expected references, versions, runs or models, got {one!r:.80}")
    subjects = [Subject(one, load, layer, sample) for one in found]
    for number, subject in enumerate(subjects, start=1):
        if len(subjects) > 1 and "@" not in subject.name:
            subject.name = f"{subject.file} {number}"
    _check_used(kind, subjects[0])
    figure = draw(kind, subjects)
    return figure if path is None else save(figure, path)


def draw(kind: str, subjects: Sequence[Subject]) -> Figure:
    """The picture of one model, or of several for "compare". Raises PlotError if the kind does not fit."""
    if kind == COMPARE:
        return _compare(subjects)
    if kind not in ALL_KINDS:
        kinds = (*ALL_KINDS, COMPARE)
        hint = did_you_mean(str(kind), kinds, 1)
        raise PlotError(f"expected a kind of picture, {', '.join(kinds)}, got {kind!r}{hint and f'; {hint}'}")
    if len(subjects) != 1:
        raise PlotError(f"{kind} shows one model, got {len(subjects)}: several models can be shown with {COMPARE}")
    return ALL_KINDS[kind](subjects[0])


def write(
    subjects: Sequence[Subject], kind: str | None, path: Path, tell: Callable[[str], None] = lambda _: None
) -> tuple[dict[str, Path], dict[str, str]]:
    """Write one kind of picture, or all that fit if None; returns their files by kind, and why others are skipped.

    path: a file for one picture if it ends in .png, .svg or .pdf; else a folder, which is made, for files such as
    digits-1-curves.png. tell: is given what will be computed, if that takes long, once it is known that it can be.
    Raises PlotError if nothing can be drawn, or what is asked for cannot.
    """
    from cnnkit.plotting.saving import save

    one = kind or (COMPARE if len(subjects) > 1 else None)
    if one:
        _check_used(one, subjects[0])
    with _writing(path):
        is_file = _is_file(path, one)
    if one in ON_REQUEST and len(subjects) == 1:
        tell(f"{one}: {cost(one, subjects[0])}")
    figures, left_out = _drawn(subjects, one)
    if not is_file:
        with _writing(path):
            path.mkdir(exist_ok=True)
    return {name: save(figure, path if is_file else path / _file(subjects, name)) for name, figure in figures}, left_out


@contextlib.contextmanager
def _writing(path: Path) -> Iterator[None]:
    """Turns what a file system says, such as that a name is too long, into PlotError."""
    try:
        yield
    except OSError as problem:
        raise PlotError(f"cannot write {path}: {problem.strerror or problem}") from problem


def _is_file(path: Path, one: str | None) -> bool:
    """Whether the path is that of one picture, else it is a folder. Raises PlotError if it can be neither."""
    from cnnkit.plotting.saving import UNDATED, check_target

    is_file = path.suffix.lower() in UNDATED and not path.is_dir()
    if is_file and not one:
        raise PlotError(f"{path} is one file, and there are several pictures: choose one with --kind, or give a folder")
    if is_file:
        check_target(path)
    elif not path.is_dir() and (path.suffix or path.exists() or not path.absolute().parent.is_dir()):
        raise PlotError(
            f"cannot write {path}: expected a file that ends in {', '.join(UNDATED)}, or a folder in one that exists"
        )
    return is_file


def _check_used(kind: str, subject: Subject) -> None:
    """Raise PlotError if a layer or sample was chosen, and this kind does not show one."""
    if kind not in (*ALL_KINDS, COMPARE):
        return  # `draw` says so
    if subject.layer is not None and kind not in ("filters", "feature-maps", "maximisation"):
        raise PlotError(f"{kind} shows no layer: remove {subject.layer!r}, or choose filters or feature-maps")
    if subject.sample and kind != "feature-maps":
        raise PlotError(f"{kind} shows no single sample: remove {subject.sample}, or choose feature-maps")


def _drawn(subjects: Sequence[Subject], kind: str | None) -> tuple[list[tuple[str, Figure]], dict[str, str]]:
    if kind:
        return [(kind, draw(kind, subjects))], {}
    figures, left_out = [], {}
    refused: CostError | None = None
    for name in KINDS:
        try:
            figures.append((name, draw(name, subjects)))
        except CnnkitError as error:
            left_out[name] = str(error)
            refused = refused or (error if isinstance(error, CostError) else None)
        except MemoryError:
            left_out[name] = "the memory is too small for it"
    if refused and not figures:
        raise refused
    if not figures:
        reasons = "; ".join(dict.fromkeys(left_out.values()))
        raise PlotError(f"no picture of {subjects[0].name} can be drawn: {reasons}")
    return figures, left_out


def _file(subjects: Sequence[Subject], kind: str) -> str:
    return f"{kind}.png" if kind == COMPARE else f"{subjects[0].file}-{kind}.png"


def _curves(subject: Subject) -> Figure:
    from cnnkit.plotting.curves import draw_curves

    return draw_curves(subject.history, f"{subject.name}: training", subject.kept_epoch)


def _filters(subject: Subject) -> Figure:
    from cnnkit.plotting.filters import draw_filter_history, draw_filters

    node = subject.node(_has_kernels, "kernels (out, in, kh, kw)")
    weight = cast(Layer, node.layer).params["weight"]
    title = f"{subject.name}: filters of {_described(node)}"
    history = subject.history
    one_channel = weight.shape[1] == 1  # a row of epochs has no place for the kernels of several
    recorded = _recorded(history, f"{node.name}.weight", weight.shape) if one_channel else None
    if recorded is not None:
        return draw_filter_history(recorded, f"{title}, through {len(recorded)} epochs{_kept(recorded, weight)}")
    return draw_filters(weight, title, rgb=node.inputs == (INPUT,))


def _recorded(history: Mapping[str, Sequence[float]], name: str, shape: Shape) -> Array | None:
    """What a training has recorded of an array, (epochs, *shape); None if it has not."""
    numbers = [history.get(f"{name}[{index}]", ()) for index in range(math.prod(shape))]
    lengths = {len(values) for values in numbers}
    if len(lengths) != 1 or lengths == {0}:  # a file may hold anything
        return None
    return np.array(numbers, np.float64).T.reshape(-1, *shape)


def _kept(recorded: Array, weight: Array) -> str:
    """The epoch whose weights the model has, where that is not the last one."""
    same = np.flatnonzero((recorded.astype(weight.dtype) == weight).all(axis=(1, 2, 3, 4)))
    return f", epoch {same[-1] + 1} kept" if len(same) and same[-1] + 1 < len(recorded) else ""


def _feature_maps(subject: Subject) -> Figure:
    from cnnkit.plotting.feature_maps import draw_feature_maps

    node = subject.node(_has_maps(subject), "outputs of shape (channels, h, w)")
    samples, at = subject.samples, subject.sample
    if not 0 <= at < len(samples):
        raise PlotError(f"there is no test sample {at}: the dataset has {len(samples):,}, from 0 to {len(samples) - 1}")
    maps = subject.model.trace(samples.x[at : at + 1])[node.index][0]
    title = f"{subject.name}: outputs of {_described(node)}"
    return draw_feature_maps(samples.x[at], maps, title, f"test sample {at}\n{_told(subject, at)}")


def _predictions(subject: Subject) -> Figure:
    """Of each task in its own form: classes or labels of samples, classes of pixels, images, values."""
    from cnnkit.plotting import pixel_predictions, predictions, value_predictions

    model, of_pixels = subject.model, len(subject.model.output_shape) == 3
    if len(model.output_shape) == 2:
        raise PlotError(f"{subject.name} gives {model.gives}: there is no picture of what is said of each step")
    if model.task.gives == "classes" and not of_pixels:
        probabilities, samples = subject.probabilities, subject.samples
        return predictions.draw_predictions(samples.x, samples.y, probabilities, model.labels, subject.name)
    if not of_pixels:
        samples, outputs = subject.samples, subject.outputs(subject.samples)
        if model.task.gives == "labels":
            return predictions.draw_labels(samples.x, samples.y, outputs, model.labels, subject.name)
        return value_predictions.draw_values(samples.y, outputs, model.labels, subject.name)
    samples = subject.samples.take(slice(pixel_predictions.shown_columns(model.input_shape)))
    outputs = subject.outputs(samples)
    if model.task.gives == "values":
        return pixel_predictions.draw_image_outputs(samples.x, samples.y, outputs, subject.name)
    if model.task.gives == "labels":
        targets, said = (pixel_predictions.as_segments(one) for one in (samples.y, outputs))
    else:
        targets, said = samples.y, outputs.argmax(axis=1)
    return pixel_predictions.draw_segments(samples.x, targets, said, mask_labels(model), subject.name)


def _misclassified(subject: Subject) -> Figure:
    from cnnkit.plotting.predictions import draw_misclassified

    probabilities = subject.probabilities
    return draw_misclassified(subject.samples.x, subject.samples.y, probabilities, subject.model.labels, subject.name)


def _confusion(subject: Subject) -> Figure:
    from cnnkit.evaluation.confusion import confusion_matrix
    from cnnkit.plotting.confusion import check_classes, draw_confusion

    check_classes(subject.model.output_shape[0])
    probabilities = subject.probabilities
    matrix = confusion_matrix(subject.samples.y, probabilities.argmax(axis=1), probabilities.shape[1])
    return draw_confusion(matrix, subject.model.labels, subject.name)


def _calibration(subject: Subject) -> Figure:
    from cnnkit.evaluation.calibration import calibration
    from cnnkit.plotting.calibration import draw_calibration

    return draw_calibration(calibration(subject.probabilities, subject.samples.y), subject.name)


def _compare(subjects: Sequence[Subject]) -> Figure:
    from cnnkit.plotting.comparison import Entry, draw_comparison

    return draw_comparison([Entry(one.name, one.history, one.metrics, one.model.parameter_count()) for one in subjects])


KINDS: dict[str, Callable[[Subject], Figure]] = {
    "curves": _curves,
    "filters": _filters,
    "feature-maps": _feature_maps,
    "predictions": _predictions,
    "misclassified": _misclassified,
    "confusion": _confusion,
    "calibration": _calibration,
}
"""The kinds of pictures of one model that are drawn where none is chosen."""
ALL_KINDS: Mapping[str, Callable[[Subject], Figure]] = ChainMap(ON_REQUEST, KINDS)


def _has_kernels(node: Node) -> bool:
    return getattr(node.layer.params.get("weight"), "ndim", 0) == 4


def _has_maps(subject: Subject) -> Callable[[Node], bool]:
    """Whether a node's outputs are maps; without a choice, convolutions go first if there are any."""
    convolutions = subject.layer is None and any(map(_has_kernels, subject.model.nodes))
    return lambda node: len(node.out_shape) == 3 and (_has_kernels(node) or not convolutions)


def _described(node: Node) -> str:
    """The name of a node with its expression; that of a merge would repeat whole branches."""
    return node.name if node.layer.branches else f"{node.name} = {node.layer!r}"


def _told(subject: Subject, at: int) -> str:
    """What the model says about a sample, and what it is."""
    model = subject.model
    if not np.issubdtype(subject.samples.y.dtype, np.integer) or len(model.output_shape) != 1:
        return ""
    if model.task.gives != "classes" or not model.has_probabilities:
        return ""
    probabilities = subject.model.predict_proba(subject.samples.x[at : at + 1])[0]
    predicted, target, labels = int(probabilities.argmax()), int(subject.samples.y[at]), subject.model.labels
    true, said = (_class_name(i, labels) for i in (target, predicted))
    if not np.isfinite(probabilities).all():
        return f"true {true}\nthe model gives NaN"
    return f"true {true}\npredicted {said} ({percent(probabilities[predicted])})"


def _class_name(index: int, labels: Sequence[str]) -> str:
    """A label that fits beside a picture, with its index in front where it is cut, as others may begin alike."""
    label = labels[index] if index < len(labels) else str(index)
    return label if len(label) <= MAX_LABEL else f"{index} {label}"[: MAX_LABEL - 1] + "…"


def _trained_on(shown: Record | Run | Network) -> str:
    dataset = (
        None if isinstance(shown, Network) else shown.dataset if isinstance(shown, Run) else shown.manifest.dataset
    )
    return (dataset or {"name": "Arrays('data.npz')"})["name"]
