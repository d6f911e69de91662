"""What each kind of component must do; a plugin author implements one of these classes and names it in one hook.

The methods that raise NotImplementedError are what an author must write; the error names the class that lacks one.
"""

from __future__ import annotations

import functools
import importlib.metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from cnnkit.arguments import Configured, signature
from cnnkit.components.declared import Declared, Exemplified
from cnnkit.components.expressions import format_call
from cnnkit.errors import ComponentError, OnnxError
from cnnkit.types import Array, Cache, Context, Data, Draws, Gives, Grads, OnnxGraph, Published, Shape, Task
from cnnkit.wording import shorten

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence


def are_indices_for(targets: Array, output_shape: Shape) -> bool:
    """Whether targets can be class indices for outputs (K,) or (K, H, W): integers (N,) or, of pixels, (N, H, W)."""
    return targets.dtype.kind in "iu" and targets.shape[1:] == output_shape[1:]


class Component(Exemplified, Configured):
    """Something found by name whose `repr` is the expression that recreates it.

    `__init__` takes configuration only (literals, or other components) and keeps each argument in an attribute of
    the same name.
    """

    kind: ClassVar[str] = ""
    argument_kinds: ClassVar[Mapping[str, str]] = {}
    """Of the arguments that are components of another kind than this, by name, the kind."""
    expected_failures: ClassVar[Mapping[str, str]] = {}
    """The checks of `cnnkit.testing` that it fails on purpose, by their names, each with the reason."""

    def __init__(self) -> None:
        """A component without configuration needs no `__init__` of its own."""

    def __repr__(self) -> str:
        args: list[Any] = []
        kwargs: dict[str, Any] = {}
        for parameter in signature(type(self)).parameters.values():
            value = self._kept(parameter.name)
            if parameter.kind is parameter.VAR_KEYWORD:
                raise ComponentError(
                    f"{type(self).__name__}.__init__ takes **{parameter.name}, which an expression cannot reproduce; "
                    "name its arguments"
                )
            if parameter.kind is parameter.VAR_POSITIONAL:
                args.extend(value)
            elif parameter.default is parameter.empty and parameter.kind is not parameter.KEYWORD_ONLY:
                args.append(value)
            elif value != parameter.default or type(value) is not type(parameter.default):
                kwargs[parameter.name] = value
        return format_call(type(self).__name__, tuple(args), kwargs)

    def _kept(self, name: str) -> Any:
        try:
            return getattr(self, name)
        except AttributeError:
            raise ComponentError(
                f"{type(self).__name__}.__init__ takes {name!r} but keeps no attribute of that name; "
                f"write self.{name} = {name}, so that models with this component can be saved"
            ) from None

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and repr(other) == repr(self)

    def __hash__(self) -> int:
        return hash(repr(self))


class Layer(Declared, Component):
    """One step of a network: forward, backward, and how it is written in ONNX.

    Arrays are logically (N, C, H, W), (N, C, L) or (N, F) with any strides. Nothing about a call is kept on `self`:
    several workers run the same layer at once, each on its own tile of the batch.
    """

    kind = "layer"

    def build(self, in_shape: Shape, rng: np.random.Generator) -> Shape:
        """Create `self.params` and `self.buffers` for inputs of this shape and return the output's shape.

        Shapes have no batch axis. A layer that keeps the shape and has no parameters inherits this.
        """
        return in_shape

    def forward(self, x: Array, ctx: Context) -> tuple[Array, Cache]:
        """The output for a tile, and whatever `backward` will need."""
        raise NotImplementedError(f"{type(self).__name__} has no forward")

    def backward(self, dy: Array, cache: Cache, ctx: Context) -> tuple[Array, Grads]:
        """The gradient of the input, and of each parameter summed over the tile.

        It follows a forward pass in training, or in prediction when a network is explained.
        """
        raise NotImplementedError(f"{type(self).__name__} has no backward")

    def by_unit(self, weight: Array) -> tuple[Array, tuple[int, ...]]:
        """A view of weights of two axes or more, and those of its axes along which the weights of one unit run.

        A unit is what gives an output, such as a filter: here one for each index of the first axis.
        """
        return weight, tuple(range(1, weight.ndim))

    def lower(self, graph: OnnxGraph, x: str) -> str:
        """Write the prediction form of this layer into the graph and return the name of its output."""
        raise OnnxError(f"{self!r} cannot be exported: {type(self).__name__} has no lower(graph, x) method")


class BatchCoupledLayer(Layer):
    """A layer whose training output depends on the whole batch, such as batch normalisation.

    Each tile contributes a partial; the engine joins the partials of all tiles and hands the total to every tile, so
    that the statistics are those of the whole batch however it is cut. Partials of the backward pass are added in tile
    order, and so are those of the forward pass unless the layer joins them otherwise. After a forward pass in
    prediction, where no sample depends on the others, `backward` is given a total of zeros.
    """

    def partial(self, x: Array, ctx: Context) -> Array:
        """This tile's contribution to the forward total, float64, of one shape for every tile.

        Called in training only, before `forward`.
        """
        raise NotImplementedError(f"{type(self).__name__} has no partial")

    def join(self, partials: Sequence[Array]) -> Array:
        """The forward total of these partials, which are in tile order; float64, and of one partial that itself."""
        return functools.reduce(np.add, partials)

    def absorb(self, total: Array) -> None:
        """Update `self.buffers` from the forward total; called once in a training step."""

    def backward_partial(self, dy: Array, cache: Cache, ctx: Context) -> Array:
        """This tile's contribution to the backward total, float64; called before `backward`."""
        raise NotImplementedError(f"{type(self).__name__} has no backward_partial")


class Merge(Declared, Component):
    """Several values become one: a sum, a concatenation, a residual connection.

    `branches` lists the layers that make the values of one, branch by branch; an empty branch passes its input on. A
    merge without branches joins the outputs of other nodes, which a graph names.
    """

    kind = "layer"
    branches: Sequence[Sequence[Layer | Merge]] = ()

    def merge_shape(self, in_shapes: Sequence[Shape]) -> Shape:
        """The output's shape for the branches' output shapes, without the batch axis."""
        raise NotImplementedError(f"{type(self).__name__} has no merge_shape")

    def forward(self, xs: Sequence[Array], ctx: Context) -> tuple[Array, Cache]:
        """The output for the branches' outputs, and whatever `backward` will need."""
        raise NotImplementedError(f"{type(self).__name__} has no forward")

    def backward(self, dy: Array, cache: Cache, ctx: Context) -> Sequence[Array]:
        """The gradient of each branch's output."""
        raise NotImplementedError(f"{type(self).__name__} has no backward")

    def lower(self, graph: OnnxGraph, xs: Sequence[str]) -> str:
        """Write the merge into the graph and return the name of its output."""
        raise OnnxError(f"{self!r} cannot be exported: {type(self).__name__} has no lower(graph, xs) method")


class Loss(Component):
    """What training minimizes: one number for each sample, averaged over the batch."""

    kind = "loss"
    gives: ClassVar[Gives | None] = None
    """What a network trained with it says of a sample; None for "classes" if it is from logits or trained towards class
    indices, else "values"."""
    from_logits: ClassVar[bool] = False
    """Whether a softmax of `outputs`, of labels a sigmoid, gives probabilities; a final Softmax is then skipped."""

    def task(self, targets: Array, output_shape: Shape) -> Task:
        """What a network with outputs of this shape is for that was trained towards these targets.

        What the loss `gives` decides; of a loss that does not say, class indices mean classes.
        """
        otherwise: Gives = "classes" if self.from_logits or are_indices_for(targets, output_shape) else "values"
        return Task(self.gives or otherwise, self.from_logits)

    def forward(self, outputs: Array, targets: Array) -> tuple[Array, Cache]:
        """The loss of each sample, (N,), and whatever `backward` will need.

        outputs: (N, K), (N, K, L) or (N, K, H, W); targets: class indices, (N,), (N, L) or (N, H, W), or values of the
        outputs' shape.
        Raises ShapeError if they do not fit.
        """
        raise NotImplementedError(f"{type(self).__name__} has no forward")

    def backward(self, cache: Cache, weight: float) -> Array:
        """The gradient of `weight * sum(losses)` with respect to the outputs, of their shape."""
        raise NotImplementedError(f"{type(self).__name__} has no backward")


class BatchCoupledLoss(Loss):
    """A loss that compares the samples of a batch with each other, such as a contrastive one.

    Each tile is given the outputs and targets of the whole batch, and answers for its own samples, so that nothing
    depends on how the batch is cut. What a tile found of its samples, and others need for their gradients, goes through
    `shared`. An evaluation has no batches: it compares within groups of about 256 samples.
    """

    pairs: ClassVar[int] = 1
    """How many numbers all tiles together hold for each pair of samples of a batch; a training that does not fit into
    memory is refused by it."""

    def forward(self, outputs: Array, targets: Array, own: slice = slice(None)) -> tuple[Array, Cache]:
        """The loss of each sample in `own`, and whatever `backward` will need.

        outputs, targets: of the whole batch, as for any loss; own: the samples of this tile, all by default.
        """
        raise NotImplementedError(f"{type(self).__name__} has no forward")

    def shared(self, cache: Cache) -> Array:
        """What other tiles need of the samples in `own`, a row for each, (n, R)."""
        raise NotImplementedError(f"{type(self).__name__} has no shared")

    def backward(self, cache: Cache, weight: float, everyones: Array | None = None) -> Array:
        """The gradient of `weight * sum(losses)`, those of the whole batch, with respect to the outputs of `own`.

        everyones: the rows of all samples, (B, R) float64; None where `own` is all of them.
        """
        raise NotImplementedError(f"{type(self).__name__} has no backward")


class Metric(Component):
    """A number that measures predictions, computed from sums, so that it does not depend on the tiles."""

    kind = "metric"
    greater_is_better: ClassVar[bool] = True
    of_probabilities: bool = False
    """Whether `sums` is given probabilities: where the loss takes logits, their softmax, or of labels their sigmoid."""

    @property
    def key(self) -> str:
        """Its name in a history: the class name in lower case, such as "accuracy"; not "loss", "lr" or "seconds"."""
        return type(self).__name__.lower()

    def sums(self, outputs: Array, targets: Array) -> Array:
        """What this tile adds, float64, of one shape for every tile.

        outputs: (N, F) or (N, K, H, W), what the loss takes: logits for a loss from logits, unless the metric is of
        probabilities; targets as for a loss.
        """
        raise NotImplementedError(f"{type(self).__name__} has no sums")

    def join(self, parts: Sequence[Array]) -> Array:
        """The sums of several tiles together, which are in tile order; of one, these themselves."""
        return functools.reduce(np.add, parts)

    def value(self, total: Array) -> float:
        """The metric for the sum over all tiles, one number."""
        raise NotImplementedError(f"{type(self).__name__} has no value")


class CollectingMetric(Metric):
    """A metric that needs all predictions at once, such as one of their ranks: it collects rows in place of sums.

    It is measured where all predictions are of one model, on validation and test samples, and not while the weights
    change from step to step. Its rows stay in memory until all tiles are through.
    """

    def sums(self, outputs: Array, targets: Array) -> Array:
        """The rows of this tile, (rows, R), in the order of its samples; R is the same for every tile.

        outputs, targets: as of any metric. Rows keep their dtype.
        """
        raise NotImplementedError(f"{type(self).__name__} has no sums")

    def join(self, parts: Sequence[Array]) -> Array:
        """All rows, in tile order."""
        return np.concatenate(parts)

    def value(self, total: Array) -> float:
        """The metric of all rows, one number."""
        raise NotImplementedError(f"{type(self).__name__} has no value")


class Dataset(Component):
    """Samples to train and test on."""

    kind = "dataset"

    def load(self, data_dir: Path) -> Data:
        """Read the samples, from below `data_dir` where they are files, fetching them there if that is possible.

        Raises DataError for files that are missing or damaged, naming file and offset.
        """
        raise NotImplementedError(f"{type(self).__name__} has no load")

    def is_complete(self, data_dir: Path) -> bool | None:
        """Whether `load` would find all of its files, and so fetch nothing; None if only `load` can tell."""
        return None


class Augmentation(Component):
    """A random change of training images that preserves what they show."""

    kind = "augmentation"

    def apply(self, x: Array, draws: Draws) -> Array:
        """The changed images, of the same shape.

        x: (N, C, H, W) float32 in C order, in the dataset's own units, may be overwritten; draws: a row of random
        numbers for each image, the same whatever tile it is in. Raises ConfigError for images that it cannot take.
        """
        raise NotImplementedError(f"{type(self).__name__} has no apply")


class Mixing(Component):
    """An augmentation that makes each training sample from two, such as mixup."""

    kind = "augmentation"

    def mix(self, x: Array, y: Array, other_x: Array, other_y: Array, draws: Draws) -> tuple[Array, Array]:
        """The mixed images and targets.

        x, other_x: (N, C, H, W) float32 in C order, after the augmentations before this one, may be overwritten;
        y, other_y: (N, K) shares of the classes, or values to regress; draws: as for `Augmentation.apply`.
        """
        raise NotImplementedError(f"{type(self).__name__} has no mix")


class Runtime(Component):
    """Something that executes an ONNX file."""

    kind = "runtime"
    requires: ClassVar[str] = ""
    """The distribution to install for this runtime, "" if it comes with cnnkit."""

    def run(self, model: bytes, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """All outputs of the model, by name. Raises OnnxError if the runtime cannot execute it."""
        raise NotImplementedError(f"{type(self).__name__} has no run")

    def prepare(self, model: bytes) -> Callable[[Mapping[str, Array]], dict[str, Array]]:
        """What gives the outputs for inputs as `run` does, again and again; what is read of the model is read once.

        It may keep a process or memory for as long as it is referred to. Without it, every call is a `run`.
        Raises OnnxError if the runtime cannot execute the model; so may each call.
        """
        return functools.partial(self.run, model)

    def prepare_file(self, path: Path) -> Callable[[Mapping[str, Array]], dict[str, Array]]:
        """As `prepare`, of a model in a file, which stays there for as long as it is used.

        A runtime that reads files by itself does without the bytes, as many as the model has weights.
        """
        return self.prepare(path.read_bytes())

    def refusal(self, error: Exception) -> OnnxError:
        """What to raise where the runtime cannot execute the model: an OnnxError of one line, made from its own."""
        told = " ".join(f"{type(error).__name__}: {error}".removesuffix(": ").split())
        return OnnxError(f"{self!r} cannot execute the model: {shorten(told, 400)}")

    def version(self) -> str:
        """Of what executes the model, such as "1.20.1"; "" if it is not known. Raises OnnxError if it is not there.

        Unless a runtime says it, that of the distribution which it requires.
        """
        try:
            return importlib.metadata.version(self.requires) if self.requires else ""
        except importlib.metadata.PackageNotFoundError:
            return ""


class Architecture(Component):
    """A known network as a component: its arguments are what its paper varies."""

    kind = "architecture"
    published: ClassVar[Sequence[Published]] = ()
    """What its paper says of some configurations."""

    def layers(self) -> list[Layer | Merge]:
        """New layers, in their order."""
        raise NotImplementedError(f"{type(self).__name__} has no layers")
