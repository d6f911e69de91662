"""Weights that are computed from what is trained, once for a whole prediction."""

from __future__ import annotations

from cnnkit.layers.reparametrised import _Reparametrised


class ComputedWeights:
    """The layer inside one such as WeightNorm, which gives in prediction what the layer around it does."""

    def __init__(self, layer: _Reparametrised) -> None:
        self.layer = layer
        self.inside = layer.outline()

    def refresh(self) -> None:
        """Compute the weights from the present parameters."""
        present = self.layer.inside(self.layer.computed().weight)
        self.inside.params, self.inside.buffers = present.params, present.buffers
