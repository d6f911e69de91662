"""Convolutions of many groups: the way back goes through some groups at a time."""

from __future__ import annotations

import numpy as np
import pytest

from cnnkit import types
from cnnkit.layers import Conv2D
from cnnkit.network.execution.tile_context import TileContext, Workspace
from cnnkit.types import Array, Shape

SHAPE = (12, 6, 5)


class Recorded(TileContext):
    """A context that keeps count of what is asked for."""

    def __init__(self) -> None:
        super().__init__(Workspace(np.dtype("float32")), True, (0,))
        self.sizes: list[int] = []

    def empty(self, shape: Shape) -> Array:
        self.sizes.append(int(np.prod(shape)))
        return super().empty(shape)


def gradients(groups: int) -> tuple[list[Array], int, int]:
    """Those of input and parameters; the size of the patches, and of the most that the way back asks for."""
    layer, rng, ctx = Conv2D(24, 3, padding=2, dilation=2, groups=groups), np.random.default_rng(0), Recorded()
    out_shape = layer.build(SHAPE, rng)
    layer.params = {name: value.astype(np.float32) for name, value in layer.params.items()}
    x, dy = (rng.standard_normal((4, *shape), np.float32) for shape in (SHAPE, out_shape))
    _, patches = layer.forward(x, ctx)
    ctx.sizes.clear()
    dx, grads = layer.backward(dy, patches, ctx)
    return [np.array(array) for array in (dx, *grads.values())], patches.size, max(ctx.sizes)


@pytest.mark.parametrize("groups", [1, 3, 4, 12])
@pytest.mark.parametrize("block", [1, 30_000])
def test_some_groups_at_a_time_give_the_same_bits(monkeypatch: pytest.MonkeyPatch, groups: int, block: int) -> None:
    together, patches, most = gradients(groups)
    assert most == patches  # 4 MiB hold all of them
    monkeypatch.setattr(types, "BLOCK_BYTES", block)
    apart, _, less = gradients(groups)
    assert all(np.array_equal(one, other) for one, other in zip(apart, together, strict=True))
    assert (less < patches) == (groups > 1)
