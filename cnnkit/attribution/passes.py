"""Tiles of samples through a network and back, in prediction mode, for the gradient of a score."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from cnnkit.components.error_naming import Naming
from cnnkit.errors import CnnkitError, ConfigError
from cnnkit.network import INPUT, Engine, Network, Node, available_cores
from cnnkit.network.execution.engine import BACKWARD
from cnnkit.network.execution.plain_nodes import PlainNodes
from cnnkit.network.execution.threads import one_blas_thread
from cnnkit.types import Array, Cache

COPIES = 4
"""Values, what backward passes need, and gradients of all layers, as multiples of the values."""
TILE_BYTES = 64 << 20
"""What all of these may take for a tile, unless a single sample has more."""
MOST_SAMPLES = 64


class Passes:
    """The nodes whose outputs a score is of, to be run over tiles.

    Raises CostError for a network whose outputs for a sample are too large.
    """

    def __init__(self, model: Network, nodes: Sequence[Node]) -> None:
        self.nodes = list(nodes)
        self._engine = Engine(self.nodes, model.parameters, model.preprocessing, len(model.input_shape))
        self._factor, _ = model.preprocessing.affine(self._engine.dtype, len(model.input_shape))
        cost = self._engine.plain_cost
        cost.check_copies(COPIES)
        self.tile = max(1, min(MOST_SAMPLES, TILE_BYTES // (COPIES * cost.outputs)))

    def tiles(self, count: int, times: int = 1) -> Iterator[slice]:
        """So many samples, a tile at a time, each to pass so many times.

        Raises CostError if loops of the layers go round too often for that.
        """
        self._engine.plain_cost.check_rounds(count * times, self.tile)
        return (slice(start, min(start + self.tile, count)) for start in range(0, count, self.tile))

    def scores(self, x: Array, weights: Array) -> Array:
        """The weighted sums of the outputs, (N,) float64, by the kernels of a prediction."""
        outputs = self._engine.predict(x, available_cores())
        products: Array = np.multiply(outputs, weights, dtype=np.float64)
        return np.asarray(products.sum(axis=tuple(range(1, outputs.ndim))))

    def input_gradients(self, x: Array, weights: Array) -> Array:
        """d score / d x for one tile, per unit of the dataset: the first layer's times the preprocessing's."""
        return np.multiply(self.back(x, weights, INPUT)[1], self._factor)

    def back(self, x: Array, weights: Array, at: int) -> tuple[Array, Array]:
        """The output of a node for one tile, and the gradient of the scores with respect to it.

        x: (n, *input_shape) in the dataset's own units; at: the node's index; INPUT is what the first layer sees.
        Raises ConfigError, naming the layer, where no gradient comes back.
        """
        plain = PlainNodes(self.nodes, self._engine.dtype)
        values = {INPUT: self._engine.prepare(x, plain.ctx)}
        caches: list[Cache] = []
        with one_blas_thread(), np.errstate(over="ignore", invalid="ignore"):
            for node in self.nodes:
                values[node.index], cache = plain.forward(node, [values[source] for source in node.inputs])
                caches.append(cache)
            last = self.nodes[-1].index
            pending = {last: weights.reshape(values[last].shape)}
            for node in reversed(self.nodes[at + 1 :]):
                cache, dy = caches.pop(), pending.pop(node.index, None)
                if dy is None:  # it does not lead to the last of these nodes
                    continue
                for source, dx in zip(node.inputs, _back(plain, node, dy, cache), strict=True):
                    pending[source] = pending[source] + dx if source in pending else dx
        return np.array(values[at]), np.array(pending[at])


def _back(plain: PlainNodes, node: Node, dy: Array, cache: Cache) -> Sequence[Array]:
    try:
        with Naming(node, BACKWARD):
            return plain.backward(node, dy, cache)[0]
    except CnnkitError:
        raise
    except Exception as error:  # code of a plugin, which may not know how to go back in prediction mode
        raise ConfigError(
            f"the backward pass of {node} failed in prediction mode ({type(error).__name__}: {error}): use the method "
            "occlusion, which needs no gradients"
        ) from error
