"""`Sequential`: a network as a list of layers."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any, Literal, cast

from cnnkit.components import Layer, Merge, installed_catalog
from cnnkit.errors import ConfigError
from cnnkit.input_units import Range
from cnnkit.network.graph.node import Node, flatten
from cnnkit.network.graph.parameter_limit import Building
from cnnkit.network.graph.weight_transfer import WeightTransfer
from cnnkit.network.network import CLASSES, InputDtype, Network
from cnnkit.types import FITTED, Framing, Preprocessing, Task


class Sequential(Network):
    """A network of layers, one after another; merges such as `Residual` make branches.

    layers: layers, or their expressions; weights: another network, whose weights are taken over where name and shape
    are the same: `Sequential([*old.layers[:-1], "Dense(3)"], weights=old)`. Layers of it are copied; input_shape,
    preprocessing, input_dtype and framing are its own unless they are given; `taken` says what was taken and what was
    not. Everything else as in `Network`.
    """

    def __init__(
        self,
        layers: Sequence[Layer | Merge | str],
        input_shape: Sequence[int] | None = None,
        *,
        weights: Network | None = None,
        labels: Sequence[str] = (),
        preprocessing: Preprocessing | None = None,
        input_dtype: InputDtype | None = None,
        input_range: Range | None = None,
        framing: Framing | None = None,
        task: Task = CLASSES,
        seed: int = 0,
        dtype: Literal["float32", "float64"] = "float32",
        limit: int | None = None,
    ) -> None:
        if isinstance(layers, str) or not isinstance(layers, Sequence):
            raise ConfigError(f'expected a list of layers, such as ["Flatten()", "Dense(10)"], got {layers!r}')
        if weights is not None and not isinstance(weights, Network):
            raise ConfigError(f"weights must be a network, got {weights!r:.80}")
        if input_shape is None and weights is None:
            raise ConfigError("expected input_shape, such as (1, 28, 28), or weights, a network whose inputs are taken")
        theirs = {id(layer) for layer in weights.layers} if weights else set()
        their_dtype = cast(InputDtype, weights.input_dtype if weights else "float32")
        given = [copy.deepcopy(layer) if id(layer) in theirs else layer for layer in layers]
        self.layers = [cast(Layer | Merge, installed_catalog().build("layer", layer)) for layer in given]
        super().__init__(
            weights.input_shape if input_shape is None and weights else input_shape or (),
            labels=labels,
            preprocessing=preprocessing or (weights.preprocessing if weights else None),
            input_dtype=input_dtype or their_dtype,
            input_range=input_range,
            framing=framing or (weights.framing if weights else FITTED),
            task=task,
            seed=seed,
            dtype=dtype,
            limit=limit,
        )
        self.taken = self.take_weights(weights.state()) if weights else WeightTransfer({}, {})

    def expressions(self) -> list[str]:
        """The expression of each layer."""
        return list(map(repr, self.layers))

    def _nodes(self, building: Building) -> list[Node]:
        return flatten(self.layers, self.input_shape, self.seed, building)

    def _given(self) -> Any:
        return self.layers
