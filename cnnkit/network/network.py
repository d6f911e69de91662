"""Network: nodes with their parameters, what the inputs look like, and the names of the classes."""

from __future__ import annotations

import copy
import functools
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from cnnkit import axes, caller_warnings
from cnnkit.arguments import Configured
from cnnkit.components import Layer, Loss, Merge, Metric
from cnnkit.components.checks import one_of, whole
from cnnkit.components.predicted_class import require_told, told_classes
from cnnkit.errors import ShapeError, UnitsWarning
from cnnkit.input_units import Range, Units, bounds, units_hint, units_of
from cnnkit.network.execution.available_memory import available_memory
from cnnkit.network.execution.engine import Engine
from cnnkit.network.execution.frozen_batch_norm import with_frozen
from cnnkit.network.execution.threads import available_cores
from cnnkit.network.graph.final_layers import end_for, has_probabilities, probabilities, with_logits
from cnnkit.network.graph.node import Node, owners
from cnnkit.network.graph.parameter_limit import Building, Limit, MemoryLimit
from cnnkit.network.graph.parameters import Parameters
from cnnkit.network.graph.summary import Summary
from cnnkit.network.graph.weight_transfer import WeightTransfer, take
from cnnkit.network.kernels.compiled.choice import predicts_compiled
from cnnkit.network.ownership import own, refuse_owned
from cnnkit.types import (
    FITTED,
    Array,
    Framing,
    Inputs,
    Preprocessing,
    Samples,
    Shape,
    Task,
    as_array,
    as_inputs,
    blocks,
    refuse_masked,
)
from cnnkit.wording import counted

if TYPE_CHECKING:
    from cnnkit.registry import Registry, Version

InputDtype = Literal["uint8", "float32"]
CLASSES = Task("classes", from_logits=True)
"""What a network is for until a training says otherwise."""


class Network(Configured):
    """Nodes that run in order; `Sequential` and `Graph` differ in how they build them.

    Inputs x of all methods are (N, *input_shape), uint8 or float, in the dataset's own units: the preprocessing is a
    part of the model.

    input_shape: (C, H, W) or (F,), without the batch axis; labels: names of the classes; input_dtype: what the dataset
    gives; input_range, framing, task: the lowest and the highest value of the training inputs, how images were brought
    to their size, and what the network predicts, all set by its training; seed: of the initial parameters; dtype:
    "float32", or "float64" for checking; limit: how many numbers parameters and buffers may have together, for layers
    that a file asks for; weights are zeros then, until the file's are loaded.
    Raises ShapeError or ConfigError, naming the layer, if the layers do not fit together, or ask for more weights than
    the memory can hold; and ShapeError for an input_shape that seems to be (H, W, C), unless a file has it.
    """

    layers: list[Layer | Merge]
    """As they were given; those in the branches of merges are inside of them."""

    def __init__(
        self,
        input_shape: Sequence[int],
        *,
        labels: Sequence[str] = (),
        preprocessing: Preprocessing | None = None,
        input_dtype: InputDtype = "float32",
        input_range: Range | None = None,
        framing: Framing = FITTED,
        task: Task = CLASSES,
        seed: int = 0,
        dtype: Literal["float32", "float64"] = "float32",
        limit: int | None = None,
    ) -> None:
        self.input_shape: Shape = _shape(input_shape)
        if limit is None:
            axes.refuse_channels_last(self.input_shape)
        self.labels = tuple(str(label) for label in labels)
        self._preprocessing = preprocessing or Preprocessing()
        if (values := len(self.preprocessing.mean)) not in (1, self.input_shape[0]):
            raise ShapeError(
                f"{self.preprocessing} is for {values} channels, but input_shape {self.input_shape} has "
                f"{self.input_shape[0]}: give one mean and std for all channels, or one for each"
            )
        self.input_dtype = one_of("input_dtype", input_dtype, ("uint8", "float32"))
        self.task = task
        self.seed = whole("seed", seed, at_least=0)
        self.dtype = one_of("dtype", dtype, ("float32", "float64"))
        self.input_range = input_range
        self.framing = framing
        refuse_owned(self.layers)
        self.nodes: list[Node] = self._flat(limit)
        self.output_shape: Shape = self.nodes[-1].out_shape
        self.parameters = Parameters(self.nodes, np.dtype(self.dtype))
        if self.labels and (self.output_shape[0] != len(self.labels) or len(self.output_shape) == 2):
            raise ShapeError(
                f"the network ends in {self.nodes[-1]} with outputs of shape {self.output_shape}, but there are "
                f"{len(self.labels)} classes: the last layer must give {len(self.labels)} values, "
                f"as Dense({len(self.labels)}) does, or for each pixel Conv2D({len(self.labels)}, 1)"
            )
        own(self, self.nodes)
        self._engines: dict[bool, tuple[Task, Engine]] = {}
        """Of the logits and of the outputs, each with the task that it is for."""
        self._warned_at: set[tuple[str, int]] = set()
        """Files and lines that were told of inputs in other units."""

    def _nodes(self, building: Building) -> list[Node]:
        """Build the layers and list their nodes."""
        raise NotImplementedError  # derived classes define it

    def _given(self) -> Any:
        """What makes the same network again, as the first argument of its class."""
        raise NotImplementedError  # derived classes define it

    def expressions(self) -> list[str]:
        """What it is made of, a line for each layer that was given."""
        raise NotImplementedError  # derived classes define it

    def _flat(self, limit: int | None) -> list[Node]:
        try:
            return self._nodes(MemoryLimit(available_memory) if limit is None else Limit(limit))
        except ShapeError as error:
            if len(self.input_shape) != 2 or limit is not None:
                raise
            height, width = self.input_shape
            raise ShapeError(
                f"{error}. If the inputs are grey images of {height} x {width} pixels, write "
                f"input_shape={(1, height, width)}, and give them as x[:, None]"
            ) from error

    @property
    def preprocessing(self) -> Preprocessing:
        """What turns raw values into what the first layer sees; the same for the model's whole life."""
        return self._preprocessing

    def again(self, **options: Any) -> Network:
        """A copy of the network; options: arguments to change, such as dtype="float64"."""
        given = copy.deepcopy(self._given())
        return _restored(type(self), given, self.input_shape, self._options() | options, dict(self._arrays()))

    def __reduce__(self) -> tuple[Any, ...]:
        """Copies, and the processes of joblib, rebuild the network: its parameters are views of one vector."""
        return _restored, (type(self), self._given(), self.input_shape, self._options(), self.state())

    def _options(self) -> dict[str, Any]:
        return {
            "labels": self.labels,
            "preprocessing": self.preprocessing,
            "input_dtype": self.input_dtype,
            "input_range": self.input_range,
            "framing": self.framing,
            "task": self.task,
            "seed": self.seed,
            "dtype": self.dtype,
        }

    def engine(self, *, logits: bool = False) -> Engine:
        """An engine over this network's parameters; `logits` leaves out what makes probabilities of the task's."""
        return self._engine_of(with_logits(self.nodes, self.task) if logits else self.nodes, ())

    def engine_for(self, loss: Loss, frozen: Collection[int] = (), *, compiled: bool = False) -> Engine:
        """An engine that gives what a loss takes; frozen: the nodes that are not trained; compiled: as of `Engine`."""
        return self._engine_of(with_logits(self.nodes, loss), frozen, compiled=compiled)

    def _engine_of(self, nodes: list[Node], frozen: Collection[int], **kernels: bool) -> Engine:
        return Engine(with_frozen(nodes, frozen), self.parameters, self.preprocessing, len(self.input_shape), **kernels)

    @property
    def has_probabilities(self) -> bool:
        """Whether it gives probabilities, of classes or labels; values are none, nor are the scores of some losses."""
        return has_probabilities(self.nodes, self.task)

    @property
    def gives(self) -> str:
        """What it predicts for a sample, as text: "10 classes"."""
        count, each = self.output_shape[0], " for each pixel" if len(self.output_shape) > 1 else ""
        match self.task.gives:
            case "classes":
                return f"{'' if self.has_probabilities else 'scores of '}{count} classes{each}"
            case "labels":
                return f"any of {count} labels{each}"
        return f"{counted(count, 'value')}{each}"

    def outputs(self, x: Inputs) -> Array:
        """What the last layer gives: (N, *output_shape)."""
        return self._run(x, logits=False)

    def logits(self, x: Inputs) -> Array:
        """What the last layer gives, or the values before it if it makes probabilities of them: (N, *output_shape).

        A Softmax does so, and a Sigmoid in a network that was trained to tell labels from logits.
        As all that is asked of inputs, with a `UnitsWarning` where they seem to be in other units than the training's.
        """
        return self._run(x, logits=True)

    def predict_proba(self, x: Inputs) -> Array:
        """Probabilities, (N, K) or (N, K, H, W): softmax(logits) of classes, sigmoid(logits) of labels.

        Raises ShapeError for a network that was trained to give something else.
        """
        if not self.has_probabilities:
            raise ShapeError(f"the network gives {self.gives}, and has no probabilities: use predict(x)")
        return self.scores(self.logits(x))

    def scores(self, logits: Array) -> Array:
        """What is predicted from: probabilities of what `logits` gives, or that itself where there are none."""
        return probabilities(logits, self.task) if self.has_probabilities else logits

    def gives_logits_to(self, loss: Loss) -> bool:
        """Whether that is what a loss takes."""
        return end_for(self.nodes, loss) is end_for(self.nodes, self.task)

    def predict(self, x: Inputs) -> Array:
        """What the network predicts for each sample, according to its task.

        The most probable class as its index, (N,) or for each pixel (N, H, W), int64; labels with a probability of 1/2
        or more, (N, K) or (N, K, H, W), bool; values, (N, *output_shape). `labels` has the names of classes and labels.
        Raises DataError, naming the first sample, where scores are NaN, which predict nothing.
        """
        match self.task.gives:
            case "classes":
                return told_classes(self.logits(x))
            case "labels":
                found = self.predict_proba(x)
                require_told(~np.isnan(found), "labels")
                return found >= 0.5
        return self.outputs(x)

    def evaluate(
        self, x: Inputs, y: Any, *, loss: str | Loss | None = None, metrics: Sequence[str | Metric] | None = None
    ) -> dict[str, float]:
        """Loss and metrics on samples, as a training measures them: `model.evaluate(x, y)["accuracy"]`.

        y: targets as `Trainer.fit` takes them, names as well; loss, metrics: of the training. Without, they are those
        of the task: CrossEntropy (of scores MSE) and Accuracy for classes, BinaryCrossEntropy for labels, or MSE.
        Raises ShapeError for inputs or targets that do not fit, TrainingError for those that are not finite.
        """
        from cnnkit.api import evaluate

        return evaluate(self, Samples(as_inputs(x), as_array(y, "the targets")), loss, metrics)

    def save(self, name: str, *, registry: Registry | str | Path | None = None, **record: Any) -> Version:
        """Register the model as the next version of `name`; `load_model` gives it back.

        record: what is kept beside it, best as `model.save("tiny", **run.record())`. Raises RegistryError.
        """
        from cnnkit.api import save_model

        return save_model(self, name, registry, **record)

    def check_cost(self, samples: int = 1) -> None:
        """Raise CostError, naming the layer, if predicting so many samples takes more memory or time than there is."""
        engine = self._engine(logits=False)
        engine.cost.threads(samples, engine.largest_prediction_tile, 1, kept=samples)

    def check_report(self, kept: int = 0) -> None:
        """Raise CostError for more classes than can be reported on one by one.

        kept: of how many samples the outputs are kept together, as for pictures; they may be too many, too.
        """
        cost = self._engine(logits=False).cost
        if kept:
            cost.check_kept(kept)
        cost.check_names(self.output_shape[0])

    def trace(self, x: Inputs) -> list[Array]:
        """The output of every node, in the order of `nodes`, for a few samples."""
        return self.engine().trace(np.asarray(self._taken(x)))

    def state(self) -> dict[str, Array]:
        """Copies of all parameters and buffers by name, such as `conv2d_1.weight`, in the order of the nodes."""
        return {name: array.copy() for name, array in self._arrays()}

    def load_state(self, state: Mapping[str, Array]) -> None:
        """Set all parameters and buffers.

        Raises ShapeError if a name is missing or unexpected, or has a different shape, and DataError for masked arrays.
        """
        arrays = dict(self._arrays())
        wrong = [f"{name} is missing" for name in arrays if name not in state]
        wrong += [f"{name} is not in this network" for name in state if name not in arrays]
        wrong += [
            f"{name} has shape {np.shape(state[name])}, expected {array.shape}"
            for name, array in arrays.items()
            if name in state and np.shape(state[name]) != array.shape
        ]
        for name in state:
            refuse_masked(state[name], name)
        if wrong:
            raise ShapeError("the state does not fit the network: " + "; ".join(wrong))
        for name, array in arrays.items():
            array[...] = state[name]

    def take_weights(self, state: Mapping[str, Array]) -> WeightTransfer:
        """Set the parameters and buffers that have the name and shape of one in the state, and say which those are.

        Raises ConfigError if there is none.
        """
        return take(dict(self._arrays()), state)

    def parameter_count(self) -> int:
        """How many numbers are trained."""
        return self.parameters.vector.size

    def summary(self) -> Summary:
        """A table of the layers with their output shapes and parameters, as text; a notebook shows it as a table."""
        return Summary(self.nodes, self.input_shape)

    def _repr_html_(self) -> str:
        return self.summary()._repr_html_()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._given()!r}, input_shape={self.input_shape})"

    def _run(self, x: Inputs, *, logits: bool) -> Array:
        taken = self._taken(x)
        return self._engine(logits=logits).predict(taken, available_cores() if len(taken) > 1 else 1)

    def _engine(self, *, logits: bool) -> Engine:
        logits = logits and end_for(self.nodes, self.task) is not None  # else they are the outputs
        made = self._engines.get(logits)
        if made is None or made[0] is not self.task:
            nodes = with_logits(self.nodes, self.task) if logits else self.nodes
            made = self.task, self._engine_of(nodes, (), predicts_compiled=self._predicts_compiled)
            self._engines[logits] = made
        return made[1]

    @functools.cached_property
    def _predicts_compiled(self) -> bool:
        """From its first prediction on, so that the same inputs get the same bits."""
        return predicts_compiled()

    def _arrays(self) -> list[tuple[str, Array]]:
        return [
            (f"{node.name}.{name}", array)
            for node in owners(self.nodes)
            for name, array in (*node.layer.params.items(), *node.layer.buffers.items())
        ]

    @property
    def units(self) -> Units | None:
        """What is known of the units of the training samples; None if their range is not."""
        if self.input_range is None:
            return None
        return units_of(self.input_range, self.input_shape, self.preprocessing.scale, self.input_dtype)

    def check_input(self, x: Any) -> Inputs:
        """The inputs as an array. Raises ShapeError for a wrong shape, and for values that are not numbers."""
        array = as_inputs(x)
        if array.dtype.kind not in "iuf":
            raise ShapeError(f"expected numbers, uint8 or float, got an array of {array.dtype}")
        if array.shape[1:] == self.input_shape and array.ndim == len(self.input_shape) + 1:
            return array
        way = axes.conversion(array.shape, self.input_shape)
        expected = ", ".join(map(str, ("N", *self.input_shape)))
        raise ShapeError(f"expected inputs of shape ({expected}), got {array.shape}{way and f': write {way}'}")

    def _taken(self, x: Any) -> Inputs:
        """The inputs as a checked array; warns if the units of its first block seem wrong."""
        array = self.check_input(x)
        if (units := self.units) is None or (first := next(blocks(array), None)) is None:
            return array
        if hint := units_hint(units, bounds(np.asarray(array[first])), array.dtype):
            self._warn_of_units(f"the inputs have {hint}")
        return array

    def _warn_of_units(self, text: str) -> None:
        """Warn each line that asks this network once: the text has values, by which Python would take all for new."""
        if (line := caller_warnings.line()) not in self._warned_at:
            caller_warnings.warn(text, UnitsWarning)
            self._warned_at.add(line)


def _restored(
    cls: Callable[..., Network], given: Any, input_shape: Shape, options: dict[str, Any], state: dict[str, Array]
) -> Network:
    model = cls(given, input_shape, **options, limit=sum(array.size for array in state.values()))
    model.load_state(state)
    return model


def _shape(shape: Sequence[int]) -> Shape:
    if not isinstance(shape, Sequence) or not shape:
        raise ShapeError(
            f"input_shape must be (channels, height, width), (channels, length) or (features,), got {shape!r}"
        )
    return tuple(whole("input_shape", n) for n in shape)
