"""One layer with a batch to run it on, and the two passes that it is run in."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from cnnkit.components import Layer, Merge
from cnnkit.testing.example_inputs import domain_of, extreme, ordinary
from cnnkit.testing.tiled_passes import Built, Tile, backward, build, cast_parameters, forward, output
from cnnkit.types import Array, Grads, Shape

DTYPE = "float32"
BATCH = 12
"""More than a handful of samples, and still fast."""
PASSES = {"training": True, "prediction": False}


@dataclass
class Trial:
    """A built layer with a batch to run it on."""

    built: Built
    xs: list[Array]
    dy: Array
    seed: int
    tiles: list[Tile] = field(default_factory=list)

    @classmethod
    def make(
        cls,
        layer: Layer | Merge,
        in_shape: Shape,
        *,
        batch: int = BATCH,
        seed: int = 0,
        extremes: bool = False,
        dtype: str = DTYPE,
    ) -> Trial:
        """Parameters depend on the shape alone, inputs on the seed; extremes: a batch of eight of them."""
        built = build(layer, in_shape, np.random.default_rng(0))
        cast_parameters(built.layer, dtype)
        rng, domain = np.random.default_rng(seed), domain_of(layer)
        made = [extreme(rng, s, domain) if extremes else ordinary(rng, (batch, *s), domain) for s in built.in_shapes]
        dy = rng.normal(size=(len(made[0]), *built.out_shape))
        return cls(built, [x.astype(dtype) for x in made], dy.astype(dtype), seed)

    def forward(self, *, training: bool = True, tiles: int | Sequence[int] = 1, fill: float = math.nan) -> Array:
        """The output."""
        self.tiles = forward(self.built.layer, self.xs, training=training, seed=self.seed, tiles=tiles, fill=fill)
        return output(self.tiles)

    def backward(self) -> tuple[list[Array], Grads]:
        """The gradients."""
        return backward(self.built.layer, self.dy, self.tiles)

    def results(self, *, tiles: int | Sequence[int] = 1, fill: float = math.nan) -> dict[str, Array]:
        """Everything that both passes give, by name."""
        found: dict[str, Array] = {}
        for name, training in PASSES.items():
            found |= self.results_of(name, training=training, tiles=tiles, fill=fill)
        return found

    def results_of(
        self, name: str, *, training: bool, tiles: int | Sequence[int] = 1, fill: float = math.nan
    ) -> dict[str, Array]:
        """Everything that one pass gives, forward and backward, by name."""
        y = self.forward(training=training, tiles=tiles, fill=fill)
        dxs, grads = self.backward()
        found = {"y": y} | {f"dx {i}": dx for i, dx in enumerate(dxs)}
        found |= {f"gradient of {k}": grad for k, grad in grads.items()}
        return {f"{k} in {name}": value for k, value in found.items()}

    def is_random(self) -> bool:
        """Whether the layer draws random numbers in training."""
        self.forward()
        return any(tile.ctx.has_drawn for tile in self.tiles)
