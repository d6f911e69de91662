"""The plain types that pass between the parts: arrays, shapes, data, and the context that a layer gets."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, get_args, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from cnnkit.errors import ConfigError, DataError

Array = NDArray[Any]
"""A NumPy array of any dtype and shape."""
Shape = tuple[int, ...]
"""The lengths of an array's axes, mostly without the batch axis."""
Cache = Any
"""What a layer's forward keeps for its backward; nobody else looks into it."""
Grads = dict[str, Array]
"""Gradients by the name of their parameter."""


class Context(Protocol):
    """What a layer can get from the engine during one call on one tile."""

    @property
    def training(self) -> bool:
        """True in training, False in prediction."""

    @property
    def rng(self) -> np.random.Generator:
        """Random numbers of this call alone, the same for any number of workers."""

    @property
    def total(self) -> Array:
        """Batch-coupled layers: the sum of all tiles' partials; float64."""

    @property
    def partial(self) -> Array:
        """Batch-coupled layers: the partial of this tile; float64."""

    def empty(self, shape: Shape) -> Array:
        """Uninitialised memory in the network's dtype, C order; it is reused when nobody refers to it any more."""

    def empty_like(self, x: Array) -> Array:
        """As `empty`, with the shape and the axis order of `x`."""

    def empty_bits(self, shape: Shape) -> Array:
        """As `empty`, of bool."""

    def gradient(self, name: str, shape: Shape) -> Array:
        """As `empty`, where the gradient of this parameter of the layer will be kept: what is returned in it stays."""


class Draws(Protocol):
    """Random numbers for the samples of a tile: a row for each, which depends on seed, epoch and sample alone."""

    def uniform(self, low: float = 0.0, high: float = 1.0, *size: int) -> Array:
        """Numbers with low <= value < high, which rounding may reach, (N, *size) float64."""

    def integers(self, low: int, high: int, *size: int) -> Array:
        """Whole numbers with low <= value < high, (N, *size) int64."""

    def normal(self, *size: int) -> Array:
        """Numbers of the standard normal distribution, (N, *size) float64."""

    def where(self, mask: Array) -> Draws:
        """Fresh draws for some of the samples; mask: (N,) bool.

        It takes a number of every sample: call it also where the mask is empty, for other tiles may differ in that.
        """


class OnnxGraph(Protocol):
    """The builder that a layer lowers itself into; values are known by their names."""

    @property
    def opset(self) -> int:
        """Version of the default ONNX operator set that is being written."""

    def add(self, op_type: str, *inputs: str | Array, **attributes: Any) -> str:
        """Append a node with one output and return the output's name; arrays become initializers."""

    def shape(self, value: str) -> Shape:
        """Shape of a value without the batch axis."""


@dataclass(frozen=True)
class LayerCost:
    """What a layer costs in a forward pass in prediction, for one sample; in numbers, as bytes depend on the dtype."""

    operations: int
    what: str
    """What is counted as an operation, as text."""
    products: int = 0
    """Multiplications with an addition each, which are two operations."""
    seen: int = 0
    """Numbers that its windows see, at all of their positions together."""
    scratch: int = 0
    """Numbers that are in memory beside inputs, outputs and parameters."""
    rounds: int = 0
    """How often loops in Python go round."""
    touched: int = 0
    """Numbers that these loops touch."""

    @classmethod
    def each(cls, shape: Shape, operations: int, what: str) -> LayerCost:
        """So many operations for each number of this shape."""
        return cls(operations * math.prod(shape), what)

    @classmethod
    def of_products(cls, products: int, **rest: int) -> LayerCost:
        """Multiplications, each with an addition; rest: as the fields are called."""
        return cls(2 * products, f"{products:,} multiplications, each with an addition", products, **rest)


@dataclass(frozen=True)
class Published:
    """What a paper says of an architecture."""

    expression: str
    """The configuration that it speaks of."""
    input_shape: Shape
    """Without the batch axis."""
    parameters: int | None
    """None where it does not say."""
    products: int | None
    """Multiplications for one image, each with an addition; None where it does not say."""


@dataclass(frozen=True)
class Example:
    """A component in one configuration, with an input that it takes: what the proofs of the whole catalog try."""

    expression: str
    in_shape: Shape
    """Without the batch axis; of a loss or metric, that of the network's outputs."""
    twin: str | None = None
    """The arguments of its PyTorch twin for the same, such as "2, 4, 3, padding=1"; None if it is not compared."""
    targets: str = ""
    """Of a loss or metric: "classes", "values", "shares" (of the classes) or "labels" (each 0 or 1)."""


@dataclass(frozen=True)
class Preprocessing:
    """What turns a dataset's raw values into what the first layer sees.

    y = (x * scale - mean) / std, with one mean and std for each channel, or one for all.

    x: (N, C, ...) in the dataset's own units, uint8 or float; y: the same shape, the network's dtype.
    Raises ConfigError unless 1 / scale, scale / std and mean / std are finite in float32, and every std is above 0.
    """

    scale: float = 1.0
    mean: tuple[float, ...] = (0.0,)
    std: tuple[float, ...] = (1.0,)

    def __post_init__(self) -> None:
        if not 0 < len(self.mean) == len(self.std) or not all(std > 0 for std in self.std):
            raise ConfigError(
                "Preprocessing needs as many std as mean values, one or one for each channel, and every std above 0; "
                f"it got mean={self.mean} and std={self.std}"
            )
        smallest, largest = float(np.finfo(np.float32).tiny), float(np.finfo(np.float32).max)
        factors = [abs(value) for value in (self.scale, *(self.scale / std for std in self.std))]
        offsets = [abs(mean / std) for mean, std in zip(self.mean, self.std, strict=True)]
        if not all(smallest <= factor <= largest for factor in factors) or not all(o <= largest for o in offsets):
            raise ConfigError(
                "Preprocessing needs a scale other than 0, and finite values that float32 can hold; "
                f"it got scale={self.scale}, mean={self.mean} and std={self.std}"
            )

    def affine(self, dtype: np.dtype[Any], axes: int) -> tuple[Array, Array]:
        """The map as a factor and an offset, y = x * factor + offset, shaped (C, 1, ...) for `axes` axes."""
        std = np.asarray(self.std, np.float64).reshape((-1,) + (1,) * (axes - 1))
        mean = np.asarray(self.mean, np.float64).reshape(std.shape)
        return (self.scale / std).astype(dtype), (-mean / std).astype(dtype)


Resize = Literal["fit", "crop", "stretch"]
"""Keep the whole image and fill the rest, keep the shape filled and cut the rest, or change the aspect."""


@dataclass(frozen=True)
class Framing:
    """How a dataset's images were brought to the size that a network takes, so that other images can be, too."""

    resize: Resize = "fit"
    content: int = 0
    """Pixels of the longer side of the box around what an image shows, as MNIST's 20; 0 if it was not cropped to it."""
    centre: Literal["box", "mass"] = "box"
    """What of it is in the middle of the image: this box, or the centre of mass of its lightness."""

    def __post_init__(self) -> None:
        if self.resize not in get_args(Resize) or self.centre not in ("box", "mass") or self.content < 0:
            raise ConfigError(
                f"Framing needs resize, one of {', '.join(map(repr, get_args(Resize)))}, content, 0 or above, and "
                f"centre, 'box' or 'mass'; it got {self}"
            )


FITTED = Framing()
"""The whole image, on a ground where its aspect is another."""


@runtime_checkable
class Rows(Protocol):
    """Inputs that are not in memory, (N, ...): an index reads rows, and `np.asarray` all of them."""

    @property
    def shape(self) -> Shape:
        """(N, ...)."""

    @property
    def ndim(self) -> int:
        """The number of axes."""

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of the arrays that are given."""

    @property
    def nbytes(self) -> int:
        """What is in memory, in bytes."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: Any, /) -> Array: ...

    def __array__(self, dtype: np.dtype[Any] | None = None, copy: bool | None = None) -> Array: ...

    def select(self, index: slice | Array) -> Rows:
        """The rows at these positions, not read."""

    def read(self, positions: Array, out: Array) -> Array:
        """Read the rows at these positions into `out`, and return it."""


Inputs = Array | Rows
"""What a network is given: an array, or rows that are read where they are needed."""
BLOCK_BYTES = 4 << 20
"""What of inputs is looked at together, unless a single one takes more; larger blocks leave the processor's cache."""


def as_array(x: Any, what: str) -> Array:
    """An array of whatever NumPy makes one of. Raises DataError for masked arrays, naming `what`."""
    refuse_masked(x, what)
    return np.asarray(x)


def as_inputs(x: Any) -> Inputs:
    """Inputs as an array; rows that are not in memory stay where they are. Raises DataError for masked arrays."""
    if type(x) is np.ndarray:  # looking for a protocol takes longer than all other checks of one image
        return x
    return x if isinstance(x, Rows) else as_array(x, "the inputs")


def refuse_masked(x: Any, what: str) -> None:
    """Raise DataError for a masked array, and for a list of them: to NumPy, what a mask hides would be data again."""
    for array in x if isinstance(x, list | tuple) else (x,):
        # NumPy loads np.ma when it is first asked for, which takes longer than to see that this is no subclass.
        if isinstance(array, np.ndarray) and type(array) is not np.ndarray and isinstance(array, np.ma.MaskedArray):
            hidden = np.flatnonzero(np.ma.getmaskarray(array))
            if hidden.size:
                first = tuple(map(int, np.unravel_index(hidden[0], array.shape)))
                raise DataError(
                    f"expected {what} as an ordinary array, got a masked one, which hides {hidden.size:,} of "
                    f"{array.size:,} numbers, the first at index {first}: replace them, as x.filled(0) does, or "
                    "remove these samples"
                )


def blocks(x: Inputs) -> Iterator[slice]:
    """Slices of the first axis, in order, that are small enough to be read together."""
    step = max(1, BLOCK_BYTES // max(1, math.prod(x.shape[1:]) * x.dtype.itemsize))
    return (slice(start, min(start + step, len(x))) for start in range(0, len(x), step))


@dataclass(frozen=True)
class Samples:
    """Inputs and their targets, in the dataset's own dtype and units.

    x: (N, C, H, W), (N, C, L) or (N, F), in memory or not; y: (N,) class indices (int64), or (N, H, W), one for each
    pixel; or (N, F) or (N, C, H, W), values to regress, or zeros and ones for labels.
    """

    x: Inputs
    y: Array

    def __post_init__(self) -> None:
        refuse_masked(self.x, "the inputs")
        refuse_masked(self.y, "the targets")
        if len(self.x) != len(self.y):
            raise DataError(f"expected as many targets as inputs, got {len(self.x)} inputs and {len(self.y)} targets")

    def __len__(self) -> int:
        return len(self.x)

    def __repr__(self) -> str:
        return f"{type(self).__name__}(x: {_outline(self.x)}, y: {_outline(self.y)})"

    def take(self, index: Array | slice) -> Samples:
        """The samples at these positions; inputs that are not in memory stay where they are."""
        x = self.x[index] if isinstance(self.x, np.ndarray) else self.x.select(index)
        return Samples(x, self.y[index])


@dataclass(frozen=True)
class Batch(Samples):
    """Samples that are in memory."""

    x: Array


@dataclass(frozen=True)
class TrainingStep:
    """One step of a training, when its gradient is known and before its update: what a callback sees."""

    epoch: int
    """From 1."""
    step: int
    """Of the epoch, from 1."""
    steps: int
    """In an epoch."""
    lr: float
    loss: float
    """The mean over the samples of the step."""
    norm: float
    """Of the whole gradient, before it is clipped."""
    samples: int
    weights: Mapping[str, Array]
    """The parameters by their names, such as "conv2d_1.weight", read-only; they change with the update."""
    gradients: Mapping[str, Array]
    """The gradient of each, read-only, before it is clipped; gone after the call."""


Gives = Literal["classes", "labels", "values"]
"""What a network says of a sample: one class of several, any number of labels, or values as they are."""
Scope = Literal["numbers", "parameters", "network"]
"""What an optimizer looks at to move a number: its own values, those of its parameter, or those of all."""


@dataclass(frozen=True)
class Task:
    """What a network predicts, as defined by the loss that it was trained with.

    Where outputs are (N, K, H, W), it predicts this for each pixel.
    """

    gives: Gives
    from_logits: bool = False
    """Whether a softmax (classes) or a sigmoid (labels) of the outputs gives probabilities."""


@dataclass(frozen=True)
class Data:
    """A loaded dataset: its samples, the names of the classes, and how raw values become network input."""

    train: Samples
    test: Samples
    validation: Samples | None = None
    labels: tuple[str, ...] = ()
    preprocessing: Preprocessing = field(default_factory=Preprocessing)
    name: str = ""
    """The expression that loads it."""
    digest: str = ""
    """sha256 over the content of all samples, and the digest of their files if there is one, in hexadecimal."""
    training_digest: str = ""
    """sha256 over the training and validation samples alone, which a resumed training must find unchanged."""
    files_digest: str = ""
    """sha256 over the names of the files that the samples come from, a part of the digest; "" if names say nothing."""
    framing: Framing = FITTED
    """How its images were brought to their size, which the model keeps."""
    warnings: tuple[str, ...] = ()
    """What a training tells of its samples before it begins, such as files that are left out."""

    @property
    def input_shape(self) -> Shape:
        """Shape of one input, without the batch axis."""
        return tuple(self.train.x.shape[1:])

    def __repr__(self) -> str:
        counts = {"training": len(self.train), "validation": len(self.validation or ()), "test": len(self.test)}
        parts = ", ".join(f"{count:,} {name}" for name, count in counts.items() if count)
        inputs = f"inputs of {' x '.join(map(str, self.input_shape))} {self.train.x.dtype}"
        classes = f", {len(self.labels):,} classes" if self.labels else ""
        return f"<Data {self.name + ': ' if self.name else ''}{parts} samples; {inputs}{classes}>"


def _outline(array: Inputs) -> str:
    """Shape and dtype, such as (1797, 1, 8, 8) uint8."""
    return f"{tuple(array.shape)} {array.dtype}"
