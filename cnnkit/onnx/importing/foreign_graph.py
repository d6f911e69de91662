"""What an ONNX file of another program says, free of protobuf: what the steps of an import read and rewrite."""

from __future__ import annotations

from dataclasses import dataclass, field

from cnnkit.types import Array

Attribute = int | float | str | Array | list[int] | list[float] | list[str]
Sizes = tuple[int | str, ...]
"""The axes of a value: a number where it is fixed, a name where it is free, "?" where it is unknown."""
BATCH = "N"
"""The name of the batch axis, whatever a file calls it, once `free_batch` has found it; "2*N" is twice as many."""


@dataclass(frozen=True)
class ForeignValue:
    """An input or output of the graph."""

    name: str
    dtype: str
    """NumPy's name of its type."""
    sizes: Sizes | None
    """None if the file does not declare them."""


@dataclass
class ForeignNode:
    """One operator of the graph, of ONNX's own set."""

    operator: str
    name: str
    """What messages call it; one without a name is called after its operator and first output."""
    inputs: list[str]
    """Names of values; "" leaves out an optional input."""
    outputs: list[str]
    attributes: dict[str, Attribute] = field(default_factory=dict)
    description: str = ""
    """What the file says of it, in any words; cnnkit writes the expression of the layer."""


@dataclass
class ForeignGraph:
    """The nodes in an order in which each comes after its inputs, and the constants by their names."""

    opset: int
    nodes: list[ForeignNode]
    constants: dict[str, Array]
    inputs: list[ForeignValue]
    """Without those that are initializers, too."""
    outputs: list[ForeignValue]
    sizes: dict[str, Sizes]
    """The axes of every value of which they are known: empty before `fold_constants`."""
    producer: str = ""
    digest: str = ""
    """The sha256 of the file, and of the data file beside it if there is one, "sha256:..."."""
    metadata: dict[str, str] = field(default_factory=dict)
    baked_batch: int = 0
    """The number of samples that the file was written for; 0 if it takes any."""
    transposed_inputs: list[str] = field(default_factory=list)
    """Inputs that are (N, H, W, C) in the file, and (N, C, H, W) here."""
    transposed_output: bool = False
    """Whether the output is (N, H, W, C) in the file, and (N, C, H, W) of the network."""
