"""The training options: each is declared here once, with type, default, check and documentation.

Recipes, `Trainer`, checkpoints, registered models, the command line and the guide take them from here. The command line
reads this module to print its help, so that NumPy is loaded only when a value is checked.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from cnnkit import option_values as values
from cnnkit.arguments import Configured
from cnnkit.errors import ConfigError
from cnnkit.option_declaration import Option

if TYPE_CHECKING:
    from cnnkit.components import (
        Augmentation,
        Callback,
        GradientMethod,
        Loss,
        Metric,
        Mixing,
        Optimizer,
        Schedule,
    )

T = TypeVar("T")
Value = Option[T, T]
Part = Option[str | T, T]
"""A component, or its expression."""
Parts = Option[Sequence[str | T], list[T]]

TAKEN = ("loss", "lr", "seconds")
"""What a history has beside metrics."""
FIRST = ("optimizer", "loss", "schedule", "metrics", "augmentations")
"""What a recorded table begins with: the order is part of the bytes of files."""


def _part(kind: str, default: str | None, *, expected: str, about: str, required: bool = False) -> Option[Any, Any]:
    build = _built(kind)

    def built(_name: str, given: Any) -> Any:
        return None if given is None and default is None else build(given)

    return Option(default, built, about=about, expected=expected, kind=kind, required=required)


def _parts(kind: str, default: tuple[str, ...], *, expected: str, about: str) -> Option[Any, Any]:
    build = _built(kind)

    def built(name: str, given: Any) -> list[Any]:
        return [build(one) for one in values.listed(name, given)]

    return Option(default, built, about=about, expected=expected, kind=kind)


def _built(kind: str) -> Callable[[Any], Any]:
    def built(given: Any) -> Any:
        from cnnkit.components import installed_catalog

        return installed_catalog().build(kind, given)

    return built


def _metrics(name: str, given: Any) -> list[Metric]:
    """Raises ConfigError for a metric whose name no history can hold, or holds already."""
    build = _built("metric")
    metrics = [build(one) for one in values.listed(name, given)]
    keys = [_key(metric) for metric in metrics]
    if doubled := next((key for key in keys if keys.count(key) > 1), ""):
        raise ConfigError(f"two metrics are named {doubled!r}, and a history can hold only one of them")
    return metrics


def _key(metric: Metric) -> str:
    from cnnkit.components.error_naming import Naming
    from cnnkit.components.quantities import VALIDATION

    with Naming(metric):
        key = metric.key
    if not isinstance(key, str) or not key or key in TAKEN or key.startswith(VALIDATION):
        raise ConfigError(
            f"the metric {metric!r} is named {key!r}; expected a text other than {', '.join(TAKEN)}, which a history "
            "has anyway, and that does not begin with validation_: give it another key, or its class another name"
        )
    return key


@dataclass(kw_only=True, eq=False, repr=False)
class TrainingOptions(Configured):
    """How a training goes, as the table [train] of a recipe says it; values may be given as there, or as components.

    Raises ConfigError for values outside what is allowed.
    """

    optimizer: Part[Optimizer] = _part(
        "optimizer",
        "Adam(0.001)",
        expected='an optimizer, such as "Adam(0.001)"',
        about="Turns gradients into parameter updates.",
        required=True,
    )
    loss: Part[Loss] = _part(
        "loss",
        "CrossEntropy()",
        expected='a loss, such as "CrossEntropy()"',
        about="What the training minimizes.",
    )
    gradient: Option[str | GradientMethod | None, GradientMethod | None] = _part(
        "gradient method",
        None,
        expected='a gradient method, such as "FiniteDifference()"; default: backpropagation',
        about="Replaces backpropagation.",
    )
    schedule: Part[Schedule] = _part(
        "schedule",
        "Constant()",
        expected='a learning-rate schedule, such as "Cosine(warmup=1.0)"',
        about="How the learning rate changes over the epochs.",
    )
    metrics: Parts[Metric] = Option(
        ("Accuracy()",),
        _metrics,
        expected='a list of metrics, such as ["Accuracy()"]',
        about="What is measured in addition to the loss.",
        kind="metric",
    )
    callbacks: Parts[Callback] = _parts(
        "callback",
        (),
        expected='a list of callbacks, such as ["EarlyStopping(patience=3)"]',
        about="Called with the history after each epoch; may end the training.",
    )
    augmentations: Parts[Augmentation | Mixing] = _parts(
        "augmentation",
        (),
        expected='a list of augmentations, such as ["Shift(2)", "Flip()"]',
        about="Random changes of the training images.",
    )
    record: Option[Sequence[str], tuple[str, ...]] = Option(
        (),
        values.texts,
        expected='a list of arrays to keep from every epoch, such as ["conv2d_1.weight"]',
        about="Arrays whose numbers the history keeps from every epoch.",
    )
    epochs: Value[int] = Option(
        10, values.whole, expected="a whole number, 1 or above", about="Epochs to train.", required=True
    )
    batch_size: Value[int] = Option(
        64, values.whole, expected="a whole number of samples, 1 or above", about="Samples in a batch.", required=True
    )
    seed: Value[int] = Option(
        0,
        values.seed,
        expected="a whole number from 0 to 2^63 - 1",
        about="Seed of weights, sample order and augmentation.",
    )
    clip_norm: Value[float | None] = Option(
        None,
        values.positive_or_none,
        expected="the largest norm of all gradients together, a number above 0",
        about="The maximum Euclidean norm of the whole gradient (Pascanu et al. 2013).",
    )
    clip_value: Value[float | None] = Option(
        None,
        values.positive_or_none,
        expected="the largest number of a gradient, above 0",
        about="Each number of the gradient is cut off at this size.",
    )
    clip_layer_norm: Value[float | None] = Option(
        None,
        values.positive_or_none,
        expected="the largest norm of the gradient of a layer, a number above 0",
        about="The maximum Euclidean norm of the gradient of each layer, all of its parameters together.",
    )
    accumulate: Value[int | None] = Option(
        None,
        values.whole_or_none,
        expected="a whole number of batches, 1 or above",
        about="Batches of whose gradients the mean makes one update.",
    )
    rollback: Value[float | None] = Option(
        None,
        values.share_or_none,
        expected="the factor for the learning rate when a training that met NaN goes back, above 0 and below 1",
        about="When a value is not finite, the epoch restarts with the learning rate times this factor.",
    )
    average: Value[float | None] = Option(
        None,
        values.share_or_none,
        expected="the decay of the moving average of the weights, above 0 and below 1, such as 0.999",
        about="The training ends with the moving average of the weights, with this decay.",
    )
    average_epochs: Value[float | None] = Option(
        None,
        values.share_or_none,
        expected="the share of the training before it, above 0 and below 1, such as 0.75",
        about="The training ends with the mean of the weights at the end of each epoch after this share of them (SWA).",
    )
    keep: Value[Literal["last", "best"]] = Option(
        "last",
        values.kept_epoch,
        expected='"last" or "best": the epoch whose weights are kept',
        about='With "best", the training returns to the epoch with the best validation result at the end.',
    )
    class_weight: Option[Any, str | list[float] | dict[str, float] | None] = Option(
        None,
        values.class_weights,
        expected='"balanced", or the weights of the classes, 0 or above: a list, or by name as {cat = 2.0}',
        about='The weight of each class in the training loss; "balanced" makes all classes together weigh the same.',
    )
    sampling: Value[Literal["balanced"] | None] = Option(
        None,
        values.sampling,
        expected='"balanced"',
        about='With "balanced", each epoch draws all classes equally often, instead of each sample once.',
    )

    freeze: Option[str | Sequence[str] | None, tuple[str, ...] | None] = Option(
        None,
        values.patterns,
        expected='a list of the layers that stay as they are, such as ["conv*"]',
        about="Layers that are not trained, by patterns of their names; batch normalisation among them computes as in "
        "prediction.",
    )
    decay: Value[Literal["weights"] | None] = Option(
        None,
        values.decay,
        expected='"weights"',
        about='With "weights", biases and what scales or shifts after a normalisation are not decayed.',
    )
    layer_decays: Option[Mapping[str, float] | Sequence[str] | None, tuple[str, ...] | None] = Option(
        None,
        values.numbers_by_pattern,
        expected='a list of layers with factors of their weight decay, such as ["*.bias=0"]',
        about="Factors of the weight decay for layers, or parameters of them, by patterns of their names.",
    )
    layer_rates: Option[Mapping[str, float] | Sequence[str] | None, tuple[str, ...] | None] = Option(
        None,
        values.numbers_by_pattern,
        expected='a list of layers with factors of their learning rate, such as ["conv*=0.1"]',
        about="Factors of the learning rate for layers, or parameters of them, by patterns of their names.",
    )

    l1: Option[Mapping[str, float] | Sequence[str] | None, tuple[str, ...] | None] = Option(
        None,
        values.numbers_by_pattern,
        expected='a list of weights with factors of their absolute values, such as ["conv*=1e-5"]',
        about="Factors of the L1 penalty (the sum of absolute weights) added to the loss, by patterns of their names.",
    )
    l2: Option[Mapping[str, float] | Sequence[str] | None, tuple[str, ...] | None] = Option(
        None,
        values.numbers_by_pattern,
        expected='a list of weights with factors of their squares, such as ["*.weight=1e-4"]',
        about="Factors of the L2 penalty (the sum of squared weights) added to the loss, by patterns of their names.",
    )
    max_norm: Option[Mapping[str, float] | Sequence[str] | None, tuple[str, ...] | None] = Option(
        None,
        values.numbers_by_pattern,
        expected='a list of weights with the largest norm of those of a unit, such as ["dense*=3"]',
        about="The maximum Euclidean norm of the weights of each unit or filter, held after each update.",
    )
    unit_norm: Option[str | Sequence[str] | None, tuple[str, ...] | None] = Option(
        None,
        values.patterns,
        expected='a list of weights, such as ["dense_2"]',
        about="Weights of which those of each unit or filter have the Euclidean norm 1 after each update.",
    )
    non_negative: Option[str | Sequence[str] | None, tuple[str, ...] | None] = Option(
        None,
        values.patterns,
        expected='a list of weights, such as ["dense_2.weight"]',
        about="Weights of which those below 0 become 0 after each update.",
    )

    kernels: Value[Literal["numpy", "compiled"] | None] = Option(
        None,
        values.kernels,
        expected='"numpy" or "compiled"',
        about='Which kernels compute a training; "compiled" ones (the extra cnnkit[fast]) are faster and round '
        "otherwise, and are taken by default once they are there.",
    )

    @property
    def averages(self) -> bool:
        """Whether the training ends with a mean of weights."""
        return self.average is not None or self.average_epochs is not None

    @property
    def penalizes(self) -> bool:
        """Whether something is added to the loss for the size of weights."""
        return self.l1 is not None or self.l2 is not None

    @property
    def update_size(self) -> int:
        """The samples of an update: of one batch, or of several that are accumulated."""
        return self.batch_size * (self.accumulate or 1)

    def recipe(self) -> dict[str, Any]:
        """The table [train] of a recipe, as plain values: components as expressions, without options that are None."""
        names = sorted(OPTIONS, key=lambda name: (OPTIONS[name].default is None, [*FIRST, name].index(name)))
        values = {name: getattr(self, name) for name in names}
        if self.kernels == "numpy":  # what a recorded recipe means that does not say it
            del values["kernels"]
        return {name: _plain(value, bool(OPTIONS[name].kind)) for name, value in values.items() if value is not None}

    def __repr__(self) -> str:
        """With what differs from the defaults."""
        own, usual = self._values(), type(self)()._values()
        given = [f"{name}={value!r}" for name, value in own.items() if value != usual[name]]
        return f"{type(self).__name__}({', '.join(given)})"

    def _values(self) -> dict[str, Any]:
        declared = OPTIONS | Option.declared(type(self))
        return {name: _plain(getattr(self, name), bool(option.kind)) for name, option in declared.items()}

    def copied(self) -> TrainingOptions:
        """The options alone, of this moment; components are shared."""
        return TrainingOptions(**{name: getattr(self, name) for name in OPTIONS})


OPTIONS = Option.declared(TrainingOptions)
"""All training options by name, in the order of a recipe."""


def _plain(value: Any, is_component: bool) -> Any:
    if isinstance(value, list | tuple):
        return [_plain(one, is_component) for one in value]
    return repr(value) if is_component else value
