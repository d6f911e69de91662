"""Orthogonal weights: of each group by itself, each as likely, and not of more than take a few seconds."""

from __future__ import annotations

from typing import cast

import numpy as np
import pytest

from cnnkit import Sequential
from cnnkit.components import Layer, installed_catalog
from cnnkit.errors import ShapeError
from cnnkit.types import Shape
from tests.test_initializers import made, rng


@pytest.mark.parametrize("shape", [(12, 4, 3, 3), (40, 10), (10, 40), (7, 7), (60, 2, 3, 3), (5, 3, 2)])
def test_orthogonal_rows_or_columns(shape: Shape) -> None:
    matrix = made("Orthogonal(1.5)", *shape).reshape(shape[0], -1)
    small = matrix @ matrix.T if len(matrix) <= matrix.shape[1] else matrix.T @ matrix
    np.testing.assert_allclose(small, 1.5**2 * np.eye(len(small)), atol=1e-14)


@pytest.mark.parametrize(
    ("layer", "in_shape", "name", "groups"),
    [
        ("SelfAttention2D(2, initializer=Orthogonal(1.5))", (6, 3, 3), "in_weight", 3),
        ("SelfAttention2D(2, initializer=Orthogonal(1.5))", (6, 3, 3), "out_weight", 1),
        ("Conv2D(8, 3, groups=2, initializer=Orthogonal(1.5))", (4, 5, 5), "weight", 2),
        ("Conv2D(12, 1, groups=2, initializer=Orthogonal(1.5))", (4, 5, 5), "weight", 2),
        ("DepthwiseConv2D(3, multiplier=2, initializer=Orthogonal(1.5))", (4, 5, 5), "weight", 4),
        ("ConvTranspose2D(4, 2, groups=2, initializer=Orthogonal(1.5))", (6, 5, 5), "weight", 2),
    ],
)
def test_each_group_is_orthogonal_by_itself(layer: str, in_shape: Shape, name: str, groups: int) -> None:
    """Also where the rows of all groups are more than the columns, and could not be orthogonal to each other."""
    one = cast(Layer, installed_catalog().build("layer", layer))
    one.build(in_shape, rng())
    weight = one.params[name]
    blocks = weight.reshape(groups, len(weight) // groups, -1)
    for block in blocks if blocks.shape[1] <= blocks.shape[2] else blocks.swapaxes(1, 2):
        np.testing.assert_allclose(block @ block.T, 1.5**2 * np.eye(len(block)), atol=1e-14)
    assert len(np.unique(blocks)) == weight.size


def test_more_weights_than_can_be_made_orthogonal_are_refused_before_they_are_drawn() -> None:
    with pytest.raises(ShapeError, match=r"Orthogonal\(\) is for at most 16,777,216 weights, got 16,777,220 of shape"):
        Sequential(["Dense(4, initializer=Orthogonal())"], (2**22 + 1,))


def test_orthogonal_matrices_are_as_likely_as_each_other() -> None:
    """Of a rotation of the plane, by any angle: the mean of its entries is 0, and so is that of its determinants."""
    drawn = np.stack([made("Orthogonal()", 2, 2, seed=seed) for seed in range(2000)])
    assert np.abs(drawn.mean(axis=0)).max() < 0.05
    assert abs(np.linalg.det(drawn).mean()) < 0.06
