"""`Sequential`: a network as a list of layers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, cast

from cnnkit.components import Layer, Merge, installed_catalog
from cnnkit.errors import ConfigError
from cnnkit.network.graph.node import Node, flatten
from cnnkit.network.network import CLASSES, InputDtype, Network
from cnnkit.types import FITTED, Framing, Preprocessing, Task
from cnnkit.units import Range


class Sequential(Network):
    """A network of layers, one after another; merges such as `Residual` make branches.

    layers: layers, or their expressions; everything else as in `Network`.
    """

    def __init__(
        self,
        layers: Sequence[Layer | Merge | str],
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
        if isinstance(layers, str) or not isinstance(layers, Sequence):
            raise ConfigError(f'expected a list of layers, such as ["Flatten()", "Dense(10)"], got {layers!r}')
        self.layers = [cast(Layer | Merge, installed_catalog().build("layer", layer)) for layer in layers]
        super().__init__(
            input_shape,
            labels=labels,
            preprocessing=preprocessing,
            input_dtype=input_dtype,
            input_range=input_range,
            framing=framing,
            task=task,
            seed=seed,
            dtype=dtype,
            limit=limit,
        )

    def expressions(self) -> list[str]:
        """The expression of each layer."""
        return list(map(repr, self.layers))

    def _nodes(self, limit: int | None) -> list[Node]:
        return flatten(self.layers, self.input_shape, self.seed, limit)

    def _given(self) -> Any:
        return self.layers
