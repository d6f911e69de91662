"""What a component declares about itself, in addition to what it computes: its proofs, and of a layer much more."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Self

from cnnkit.arguments import Configured
from cnnkit.errors import ComponentError
from cnnkit.types import Array, Example, LayerCost, Shape

OWN = ("cost", "lesson", "operators", "passes_values_on", "pointwise")
"""What holds for one class of layers alone."""


class Exemplified:
    """What a component declares for its proofs, each class for itself: a derived one may compute something else."""

    examples: ClassVar[tuple[Example, ...]] = ()
    """Configurations and inputs on which it is proved: the contract, gradients, exported files."""
    twin: ClassVar[str] = ""
    """What computes the same in PyTorch, such as "torch.nn.ReLU"."""

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        for name in ("examples", "twin"):
            if name not in vars(cls):
                setattr(cls, name, getattr(Exemplified, name))


class Declared(Exemplified, Configured):
    """All of it is optional: without it, it is unknown.

    A class that is derived from another may compute something else. It does not inherit what is in `OWN`, and must
    repeat it: `cost = ReLU.cost`.
    """

    argument_kinds: ClassVar[Mapping[str, str]] = {"initializer": "initializer"}
    """As of any component."""
    params: dict[str, Array]
    """What is trained, by name; after `build` the engine replaces the arrays by views of one flat vector, which are
    changed in place: a training refuses others in their place. A merge has none."""
    buffers: dict[str, Array]
    """What is kept but not trained, by name, such as running statistics. A merge has none."""
    branches: Sequence[Sequence[Any]] = ()
    """The layers of each branch of a merge, in order; an empty branch passes its input on."""
    domain: ClassVar[tuple[float, float]] = (-math.inf, math.inf)
    """Inputs must lie between these two numbers; checks keep to it, training does not look at it."""
    surrogate_gradients: ClassVar[tuple[str, ...]] = ()
    """Of what `backward` gives another gradient than the derivative, on purpose: "x", or names of parameters; of a
    merge "xs[0]", "xs[1]" and so on."""
    passes_values_on: ClassVar[bool] = False
    """Whether prediction passes the input's values on, in their order, so that a Softmax before it still is the end."""
    pointwise: ClassVar[bool] = False
    """Whether, in prediction, each number of the output depends on the input's number at the same place alone."""
    lesson: ClassVar[tuple[str, str]] = ("", "")
    """Two sentences for people who learn: what it does, and why a network has it."""
    operators: ClassVar[tuple[str, ...]] = ()
    """The ONNX operators that `lower` writes."""

    def __new__(cls, *args: Any, **kwargs: Any) -> Self:
        """Give each its own `params` and `buffers`, so that no `__init__` has to."""
        self = super().__new__(cls, *args, **kwargs)
        self.params, self.buffers = {}, {}
        return self

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        # Reset here, so that nobody who asks has to remember it.
        for name in OWN:
            if name not in vars(cls):
                setattr(cls, name, getattr(Declared, name))

    @property
    def brief(self) -> str:
        """Its expression, without the layers of branches, which are listed separately."""
        return type(self).__name__ if self.branches else repr(self)

    def cost(self, in_shapes: Sequence[Shape], out_shape: Shape) -> LayerCost | None:
        """What a forward pass in prediction costs for one sample, from shapes without the batch axis; None if unknown.

        Called after `build`, and before anything is allocated: it must take no time and no memory.
        """
        return None


def layer_cost(layer: Declared, in_shapes: Sequence[Shape], out_shape: Shape) -> LayerCost | None:
    """What a layer or merge says that it costs. Raises ComponentError for what is not a cost, naming the layer."""
    try:
        found: object = layer.cost(in_shapes, out_shape)
    except Exception as error:
        error.add_note(f"in cost of {layer!r}")
        raise
    if found is None or isinstance(found, LayerCost):
        return found
    raise ComponentError(
        f"cost of {layer!r} must return a LayerCost, or None if it is not known, it returned {found!r}"
    )
