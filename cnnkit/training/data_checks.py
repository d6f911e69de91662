"""What can be known of samples before the first step: whether a model can be trained and measured on them.

One pass in blocks over the inputs of each part, and one over its targets. Every message names the part, and the sample
by its position in it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from numbers import Real
from typing import Any, NamedTuple

import numpy as np

from cnnkit import axes
from cnnkit.class_indices import check_labels, first_outside, indices_of, listed
from cnnkit.components import BatchCoupledLoss, Loss
from cnnkit.components.checks import MAX_FLOAT32, are_shares
from cnnkit.data.split import split_validation
from cnnkit.data.targets import as_targets
from cnnkit.errors import ConfigError, ShapeError, TrainingError
from cnnkit.input_units import Range, bounds, in_other_units, units_hint, units_of
from cnnkit.losses import LOSSES, BinaryCrossEntropy
from cnnkit.losses.class_loss import ignored_by
from cnnkit.network import Network
from cnnkit.types import Array, Data, Inputs, Samples, as_array, as_inputs, blocks
from cnnkit.wording import counted

NAMES = TRAIN, VALIDATION, TEST = "training", "validation", "test"


class Validated(NamedTuple):
    """Samples to train on, and others to validate on; targets may be names."""

    train: Samples
    validation: Samples


Given = Data | Samples | Validated | tuple[Inputs, Any]
"""What can be trained on: a dataset, or inputs with their targets."""


class Parts(NamedTuple):
    """The samples of a training, their targets as class indices or values, and the names of the classes."""

    train: Samples
    validation: Samples | None
    test: Samples | None
    labels: tuple[str, ...]


class Checked(NamedTuple):
    """The samples of a training after their values were checked."""

    train: Samples
    validation: Samples | None
    test: Samples | None
    labels: tuple[str, ...]
    input_range: Range
    """Of the training samples."""
    warnings: tuple[str, ...]
    """What the user should know, and may have meant."""


def check_data(model: Network, loss: Loss, data: Given) -> Checked:
    """The parts of the data, if the model can be trained and measured on them with this loss.

    Raises what `parts_of` and `check_values` raise.
    """
    parts = parts_of(data, model, loss)
    named = {name: part for name, part in zip(NAMES, parts[:3], strict=True) if part}
    ranges = {name: check_values(model, loss, part, name) for name, part in named.items()}
    known = data.warnings if isinstance(data, Data) else ()
    warnings = (*known, *_about_units(model, named, ranges), *_about_classes(model, loss, named, parts.labels))
    return Checked(*parts, ranges[TRAIN], warnings)


def parts_of(data: Given, model: Network, loss: Loss) -> Parts:
    """The parts of a dataset, or of samples alone; shapes are checked, values are not.

    Raises ConfigError for anything else, ShapeError for inputs that the model does not take and classes that it does
    not have or has in another order, DataError for targets that can mean nothing, or two things.
    """
    match data:
        case Data():
            given: tuple[Any, ...] = data.train, data.validation, data.test
        case Samples():
            given = data, None, None
        case Validated():
            given = data.train, data.validation, None
        case (x, y):
            given = (as_inputs(x), y), None, None
        case _:
            raise ConfigError(
                "expected a dataset, or a pair of arrays (inputs, targets), as in trainer.fit(model, (x, y)); got "
                f"{type(data).__name__}"
            )
    known = data.labels if isinstance(data, Data) else ()
    check_labels(model.labels, known)
    labels = model.labels or known
    parts: list[Samples | None] = []
    for name, part in zip(NAMES, given, strict=True):
        samples, labels = (None, labels) if part is None else _samples(model, loss, part, labels, name)
        parts.append(samples)
    train, validation, test = parts
    if not train:
        raise ShapeError("expected at least one sample to train on, got none")
    outputs = model.output_shape
    fit = len(labels) == outputs[0] and len(outputs) != 2
    return Parts(train, validation, test, labels if fit else model.labels)


def with_validation(data: Given, validation: float | tuple[Inputs, Any] | Samples | None, seed: int) -> Given:
    """The data with samples to validate on: a share of those to train on, or others.

    Raises ConfigError for a share of data that have samples to validate on, and for what is neither a share, above 0
    and below 1, nor a pair.
    """
    if validation is None:
        return data
    train = data.train if isinstance(data, Data | Validated) else _paired(data)
    if isinstance(validation, Samples | tuple):
        held_out = _paired(validation)
    elif isinstance(validation, bool) or not isinstance(validation, Real) or not 0 < validation < 1:
        raise ConfigError(
            "validation must be a share above 0 and below 1, such as 0.1, or a pair (inputs, targets), "
            f"got {validation!r:.80}"
        )
    else:
        if isinstance(data, Data | Validated) and data.validation is not None:
            raise ConfigError(f"the data have their own validation samples: expected no share, got {validation!r}")
        codes = np.unique(train.y, return_inverse=True)[1] if train.y.dtype.kind in "OU" else train.y
        rest, chosen = split_validation(Samples(np.arange(len(train)), codes), validation, seed)
        train, held_out = train.take(np.asarray(rest.x)), train.take(np.asarray(chosen.x))
    if isinstance(data, Data):
        return replace(data, train=train, validation=held_out)
    return Validated(train, held_out)


def _paired(given: Any) -> Samples:
    """Raises ConfigError for anything but samples, or inputs with their targets."""
    match given:
        case Samples():
            return given
        case (x, y):
            return Samples(as_inputs(x), as_array(y, "the targets"))
    raise ConfigError(f"expected a pair of arrays (inputs, targets), got {type(given).__name__}")


def samples_of(model: Network, loss: Loss, samples: Samples) -> Samples:
    """Test samples, as `parts_of` gives them."""
    return _samples(model, loss, samples, model.labels, TEST)[0]


def check_values(model: Network, loss: Loss, samples: Samples, name: str) -> Range:
    """The range of the inputs, if all values of a part, which has samples, can be computed with.

    Raises TrainingError for inputs and targets that are not finite, ShapeError for targets that the network and its
    loss do not take.
    """
    _check_targets(model, loss, samples.y, name)
    return checked_range(samples, name)


def _about_units(model: Network, parts: dict[str, Samples], ranges: dict[str, Range]) -> Iterator[str]:
    scale, shape, trained, dtype = model.preprocessing.scale, model.input_shape, ranges[TRAIN], parts[TRAIN].x.dtype
    if hint := units_hint(model.units, trained, dtype):
        yield f"the training samples have {hint}"
    elif scale != 1 and in_other_units(units_of((0, 1 / scale), shape, scale, model.input_dtype), trained, dtype):
        yield (
            f"the training samples have values from {trained[0]:g} to {trained[1]:g}, and the model's preprocessing is "
            f"for values from 0 to {1 / scale:g}: give them in these units, or build the model with other preprocessing"
        )
    known = units_of(trained, shape, scale, dtype)
    for name in (VALIDATION, TEST):
        if name in parts and (hint := units_hint(known, ranges[name], parts[name].x.dtype)):
            yield f"the {name} samples have {hint}"


def _about_classes(model: Network, loss: Loss, parts: dict[str, Samples], labels: tuple[str, ...]) -> Iterator[str]:
    """Classes that are asked for and cannot be learned."""
    classes = model.output_shape[0]
    fitting = {name: part.y for name, part in parts.items() if _are_classes(model, loss, part.y)}
    seen = {name: _seen(y, classes, ignored_by(loss)) for name, y in fitting.items()}
    for name in (VALIDATION, TEST):
        if TRAIN in seen and name in seen:
            unknown = np.flatnonzero(seen[name] & ~seen[TRAIN]).tolist()
            names = [labels[one] if one < len(labels) else str(one) for one in unknown]
            if names:
                yield (
                    f"the {name} samples have classes that no training sample has, so they cannot be learned: "
                    f"{listed(names)}"
                )


def _are_classes(model: Network, loss: Loss, y: Array) -> bool:
    """Whether the targets are classes of which each has an output; those of a coupled loss say who is alike."""
    if isinstance(loss, BatchCoupledLoss):
        return False
    return loss.gives != "labels" and y.dtype.kind in "iu" and y.shape[1:] == model.output_shape[1:]


def _takes_classes(loss: Loss) -> bool:
    """Whether it is one of cnnkit's own that takes class indices, or shares of the classes."""
    return isinstance(loss, LOSSES) and loss.gives == "classes"


def _seen(y: Array, classes: int, ignored: int | None) -> Array:
    """Which of the classes are among the targets; counted, since sorting the pixels of all masks would take long."""
    seen = np.zeros(classes, np.bool_)
    for block in blocks(y):
        part = y[block] if ignored is None else y[block][y[block] != ignored]
        seen |= np.bincount(part.ravel().astype(np.intp, copy=False), minlength=classes) > 0
    return seen


def _samples(
    model: Network, loss: Loss, part: Any, known: tuple[str, ...], name: str
) -> tuple[Samples, tuple[str, ...]]:
    x, given = (part.x, part.y) if isinstance(part, Samples) else part
    _check_inputs(model, x)
    outputs = model.output_shape
    y, labels = as_targets(given, known, outputs, f"the {name} targets", gives_labels=loss.gives == "labels")
    if _takes_classes(loss) and y.shape[1:] == outputs:
        y = indices_of(y)
    if labels != known and outputs != (len(labels),):
        raise ShapeError(
            f"the {name} targets name {len(labels)} classes ({listed(labels)}), and the network has outputs of shape "
            f"{model.output_shape}: the last layer must give one value for each, as Dense({len(labels)}) does"
        )
    return part if isinstance(part, Samples) and y is part.y else Samples(x, y), labels


def _check_inputs(model: Network, x: Any) -> None:
    given = tuple(x.shape)
    if given[1:] != model.input_shape:
        if way := axes.conversion(given, model.input_shape):
            advice = f"write {way}"
        elif axes.seems_channels_last(given[1:]):
            advice = axes.about_channels_last(given[1:])
        elif len(given) == 3 and len(model.input_shape) == 3:
            advice = f"write x[:, None] if these are grey images, and build the model for {(1, *given[1:])}"
        else:
            advice = "build the model with the data's input_shape"
        raise ShapeError(f"the model takes inputs of shape {model.input_shape}, the data has {given[1:]}: {advice}")
    model.check_input(x[:1])


def _check_targets(model: Network, loss: Loss, y: Array, name: str) -> None:
    if y.dtype.kind == "f":
        for block in blocks(y):
            _check_finite(y[block], block.start, f"the target of the {name} sample")
    outputs = model.output_shape
    if isinstance(loss, BatchCoupledLoss):
        return  # what it takes, only it knows
    if _are_classes(model, loss, y):
        ignored = ignored_by(loss)
        _check_classes(y if ignored is None else np.where(y == ignored, 0, y), outputs[0], name)
    elif y.shape[1:] == outputs:
        _check_shares(loss, y, name)
    elif isinstance(loss, LOSSES):  # what another one takes, only it knows
        is_whole = y.dtype.kind == "f" and y.size == len(y) * math.prod(outputs[1:]) and bool((y == np.floor(y)).all())
        flat = "ravel()" if len(outputs) == 1 else f"reshape{(-1, *outputs[1:])}"
        if loss.gives == "labels":
            expected, advice = "zeros and ones of shape", "for class indices, use the loss CrossEntropy(); "
        else:
            expected = f"class indices, integers of shape {(len(y), *outputs[1:])}, or values of shape"
            advice = f"for class indices, write y.astype(int).{flat}; " if is_whole else ""
        raise ShapeError(
            f"the {name} targets must be {expected} {(len(y), *outputs)}, one for each output; got {y.dtype} of shape "
            f"{y.shape}: {advice}for values to regress, end the network in one output for each, and use the loss "
            "MSE() and metrics=[]"
        )


def _check_classes(y: Array, classes: int, name: str) -> None:
    if not (place := first_outside(y, classes)):
        return
    first, *pixel = place
    advice = (
        'for values to regress, write y.astype("float32"); for classes, give the last layer one output for each'
        if classes == 1
        else "give the last layer one output for each class, or correct the targets"
    )
    raise ShapeError(
        f"the network has {counted(classes, 'output')}, so class indices must be "
        f"{'0' if classes == 1 else f'0 to {classes - 1}'}; the target of the {name} sample {first} is "
        f"{y[first, *pixel]}{f' at pixel {tuple(pixel)}' if pixel else ''}: {advice}"
    )


def _check_shares(loss: Loss, y: Array, name: str) -> None:
    """Shares of classes add up to 1, labels are 0 to 1; values may be anything."""
    for block in blocks(y):
        values = y[block]
        if _takes_classes(loss):
            right = are_shares(values)
            expected = "class indices, or for each sample shares of the classes that add up to 1"
        elif isinstance(loss, BinaryCrossEntropy):
            right, expected = np.asarray((values >= 0) & (values <= 1)), "0 to 1, one for each label"
        else:
            return
        wrong = np.flatnonzero(~right.reshape(len(values), -1).all(axis=1))
        if wrong.size:
            raise ShapeError(
                f"the targets must be {expected}; that of the {name} sample {block.start + wrong[0]} is "
                f"{values[wrong[0]]}: for values to regress, use the loss MSE()"
            )


def checked_range(samples: Samples, name: str) -> Range:
    """The range of the inputs; NaN and infinities show in it, so that a look at each value is seldom needed."""
    found = []
    for block in blocks(samples.x):
        x = np.asarray(samples.x[block])
        found.append(bounds(x))
        if not max(map(abs, found[-1])) <= MAX_FLOAT32:
            _check_finite(x, block.start, f"the input of the {name} sample")
    lows, highs = zip(*found, strict=True)
    return min(lows), max(highs)


def _check_finite(values: Array, first: int, what: str) -> None:
    """first: the position of the first row."""
    finite = np.abs(values) <= MAX_FLOAT32  # which NaN is not
    if not finite.all():
        row = int(np.argmin(finite.reshape(len(values), -1).all(axis=1)))
        raise TrainingError(
            f"{what} {first + row} is not finite; expected numbers other than NaN and infinities, which float32 can "
            "hold: fix or remove the sample"
        )
