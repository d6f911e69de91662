"""Compiled normalisation against the NumPy kernels that it equals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cnnkit.components import Layer
from cnnkit.layers import (
    BatchNorm1D,
    BatchNorm2D,
    Conv2D,
    Dense,
    Flatten,
    GroupNorm,
    InstanceNorm1D,
    InstanceNorm2D,
    LayerNorm,
    LeakyReLU,
    MaxPool2D,
    ReLU,
    ReLU6,
    RMSNorm,
    Tanh,
)
from cnnkit.layers.batch_norm import statistics
from cnnkit.network import Sequential
from cnnkit.network.execution.tile_context import Workspace
from cnnkit.network.kernels import kernel_for
from cnnkit.network.kernels.compiled.batch_norm_kernel import CompiledBatchNormKernel
from cnnkit.network.kernels.compiled.sample_norm_kernel import SampleNormKernel
from cnnkit.network.kernels.norm_kernel import BatchNormKernel
from cnnkit.testing import PlainContext
from cnnkit.training import Trainer
from cnnkit.types import Array, Cache, Samples, Shape
from tests.network.test_compiled_kernels import Dirty, fill, near
from tests.network.test_kernels import plain

pytest.importorskip("numba", reason="compiled kernels need the extra cnnkit[fast]")

Tiles = Sequence[Array]


@dataclass
class Results:
    """What a batch of tiles gives."""

    total: Array
    ys: list[Array]
    dxs: list[Array]
    gammas: list[Array]
    betas: list[Array]


def of_kernels(layers: Sequence[Layer], xs: Tiles, dys: Tiles, *, compiled: bool, training: bool = True) -> Results:
    """The kernels that run these layers take all tiles there and back, the first one with what the tiles exchange."""
    kernels: list[Any] = []
    rest = list(layers)
    while rest:
        kernel, used = kernel_for(rest, True, compiled=compiled) or (rest[0], 1)
        kernels.append(kernel)
        rest = rest[used:]
    assert isinstance(kernels[0], CompiledBatchNormKernel) == compiled
    assert not compiled or len(kernels) == 1
    first, *others = kernels
    assert isinstance(first, BatchNormKernel | CompiledBatchNormKernel)
    contexts = [Dirty(Workspace(np.dtype(np.float32)), training, (0,)) for _ in xs]
    partials = [first.partial(x, ctx) for x, ctx in zip(xs, contexts, strict=True)]
    total = first.join(partials)
    results = Results(total, [], [], [], [])
    caches: list[list[Cache]] = []
    for x, ctx in zip(xs, contexts, strict=True):
        ctx.total, kept = total, []
        for kernel in kernels:
            x, cache = kernel.forward(x, ctx)
            kept.append(cache)
        results.ys.append(x)
        caches.append(kept)
    given: list[Array] = []
    for dy, ctx, kept in zip(dys, contexts, caches, strict=True):
        for kernel, cache in zip(reversed(others), reversed(kept[1:]), strict=True):
            dy, _ = kernel.backward(dy, cache, ctx)
        ctx.partial = first.backward_partial(dy, kept[0], ctx)
        given.append(dy)
    summed = np.sum([ctx.partial for ctx in contexts], axis=0)
    for dy, ctx, kept in zip(given, contexts, caches, strict=True):
        ctx.total = summed if training else np.zeros_like(summed)
        dx, grads = first.backward(dy, kept[0], ctx)
        results.dxs.append(dx)
        results.gammas.append(grads["gamma"])
        results.betas.append(grads["beta"])
    return results


def taken(layers: Sequence[Layer]) -> tuple[CompiledBatchNormKernel, int]:
    found = CompiledBatchNormKernel.take(layers, True)
    assert found is not None
    return found


def on_a_grid(rng: np.random.Generator, shape: Shape) -> Array:
    """Numbers of which two are equal, or so far apart that no rounding changes which one is larger."""
    return (np.round(16 * rng.standard_normal(shape)) / 16).astype(np.float32)


def built(layers: Sequence[Layer], shape: Shape, rng: np.random.Generator) -> Shape:
    """The shape of what comes out."""
    for layer in layers:
        shape = layer.build(shape, rng)
    fill(layers[0], rng.standard_normal)
    return shape


def tiles(rng: np.random.Generator, shape: Shape, out_shape: Shape) -> tuple[list[Array], list[Array]]:
    """A batch of one to three tiles, and gradients."""
    sizes = [int(size) for size in rng.choice([1, 2, 5, 16, 33, 64], int(rng.integers(1, 4)))]
    xs = [on_a_grid(rng, (size, *shape)) for size in sizes]
    return xs, [rng.standard_normal((size, *out_shape)).astype(np.float32) for size in sizes]


def assert_equal(found: Results, expected: Results) -> None:
    count, mean, var = statistics(found.total)
    of_count, of_mean, of_var = statistics(expected.total)
    assert count == of_count
    assert near(mean, of_mean)
    assert near(var, of_var)
    for name in ("ys", "dxs", "gammas", "betas"):
        for one, other in zip(getattr(found, name), getattr(expected, name), strict=True):
            assert one.shape == other.shape
            assert near(one, other), name


@pytest.mark.parametrize("seed", range(200))
def test_batch_normalisation_equals_its_layers(seed: int, compiled_kernels: Path) -> None:
    rng = np.random.default_rng(seed)
    activations: list[Layer] = [ReLU(), ReLU6(), LeakyReLU(float(rng.choice([0.0, 0.1, 0.9])))]
    axes = int(rng.integers(1, 4))
    shape = tuple(int(n) for n in rng.integers([1, 2, 2], 12))[:axes]
    tail: list[Layer] = [activations[int(rng.integers(3))]]
    if axes == 3 and (pool := int(rng.integers(1, 5))) <= min(shape[1:]) and pool > 1:
        tail.append(MaxPool2D(pool))
    rng.shuffle(tail)
    layers = [BatchNorm2D() if axes == 3 else BatchNorm1D(), *tail[: int(rng.integers(3))]]
    xs, dys = tiles(rng, shape, built(layers, shape, rng))
    found, expected = (of_kernels(layers, xs, dys, compiled=compiled) for compiled in (True, False))
    assert_equal(found, expected)


@pytest.mark.parametrize("mean", [0.0, 100.0, 30_000.0])
@pytest.mark.parametrize("pool", [1, 2, 3])
def test_large_means_lose_no_digits(mean: float, pool: int, compiled_kernels: Path) -> None:
    """Against float64: the NumPy form takes a mean out only where it is large."""
    rng = np.random.default_rng(pool)
    layers: list[Layer] = [BatchNorm2D(), LeakyReLU(0.25), *([MaxPool2D(pool)] if pool > 1 else [])]
    out_shape = built(layers, (3, 7, 8), rng)
    x = on_a_grid(rng, (40, 3, 7, 8)) + np.array([mean, -mean, 0], np.float32).reshape(3, 1, 1)
    dy = rng.standard_normal((40, *out_shape)).astype(np.float32)
    found = of_kernels(layers, [x[:24], x[24:]], [dy[:24], dy[24:]], compiled=True)
    whole = x.astype(np.float64)
    _, mean_of_all, var = statistics(found.total)
    np.testing.assert_allclose(mean_of_all, whole.mean(axis=(0, 2, 3)), rtol=1e-7, atol=1e-7)
    np.testing.assert_allclose(var, whole.var(axis=(0, 2, 3)), rtol=1e-6)
    centred = whole - whole.mean(axis=(0, 2, 3), keepdims=True)
    expected = of_kernels(layers, [centred.astype(np.float32)], [dy], compiled=False)
    assert near(np.concatenate(found.ys), expected.ys[0])
    assert near(np.concatenate(found.dxs), expected.dxs[0])


def test_a_prediction_normalises_by_the_running_statistics(compiled_kernels: Path) -> None:
    rng = np.random.default_rng(0)
    layers: list[Layer] = [BatchNorm2D(), ReLU(), MaxPool2D(2)]
    out_shape = built(layers, (3, 5, 6), rng)
    layers[0].buffers = {"running_mean": rng.standard_normal(3), "running_var": rng.uniform(1, 2, 3)}
    xs, dys = tiles(rng, (3, 5, 6), out_shape)
    found = of_kernels(layers[:2], xs, [on_a_grid(rng, x.shape) for x in xs], compiled=True, training=False)
    norm, expected = layers[0], []
    for x in xs:
        of_channel = [values.reshape(3, 1, 1) for values in (*norm.params.values(), *norm.buffers.values())]
        gamma, beta, mean, var = of_channel
        expected.append(np.maximum((x - mean) / np.sqrt(var + 1e-5) * gamma + beta, 0))
    for one, other in zip(found.ys, expected, strict=True):
        assert near(one, other)
    pooled = of_kernels(layers, xs, dys, compiled=True, training=False)
    for one, other in zip(pooled.ys, expected, strict=True):
        assert near(one, other[:, :, :4].reshape(len(other), 3, 2, 2, 3, 2).max(axis=(3, 5)))


@pytest.mark.parametrize("pool", [1, 2, 3])
@pytest.mark.parametrize("activation", [ReLU(), ReLU6(), LeakyReLU(0.1)])
def test_what_is_not_finite_stays_so(pool: int, activation: Layer, compiled_kernels: Path) -> None:
    rng = np.random.default_rng(pool)
    layers: list[Layer] = [BatchNorm2D(), activation, *([MaxPool2D(pool)] if pool > 1 else [])]
    built(layers, (2, 6, 6), rng)
    x = on_a_grid(rng, (20, 2, 6, 6))
    for number, value in enumerate((np.nan, np.inf, -np.inf)):
        x.reshape(20, -1)[:, number::23] = value
    kernel, used = taken(layers)
    assert used == len(layers)
    y, _ = kernel.forward(x, Dirty(Workspace(np.dtype(np.float32)), False, (0,)))
    with np.errstate(invalid="ignore"):
        for layer in layers:
            x, _ = layer.forward(x, PlainContext(training=False, seed=0))
    np.testing.assert_allclose(y, x, rtol=1e-5, atol=1e-5)


def test_any_memory_order_and_numbers_of_float64(compiled_kernels: Path) -> None:
    rng = np.random.default_rng(0)
    layers: list[Layer] = [BatchNorm2D(), ReLU()]
    built(layers, (3, 5, 6), rng)
    x, dy = on_a_grid(rng, (20, 3, 5, 6)), on_a_grid(rng, (20, 3, 5, 6))
    expected = of_kernels(layers, [x], [dy], compiled=True)
    for order in ((0, 2, 3, 1), (2, 3, 1, 0), (3, 2, 1, 0)):
        back = [order.index(axis) for axis in range(4)]
        laid = [np.ascontiguousarray(a.transpose(order)).astype(np.float64).transpose(back) for a in (x, dy)]
        found = of_kernels(layers, laid[:1], laid[1:], compiled=True)
        np.testing.assert_array_equal(found.ys[0], expected.ys[0])
        np.testing.assert_array_equal(found.dxs[0], expected.dxs[0])


@pytest.mark.parametrize(
    ("tail", "used"),
    [
        ([Tanh()], 1),
        ([ReLU(), ReLU()], 2),
        ([ReLU(), MaxPool2D(2)], 3),
        ([MaxPool2D(3), LeakyReLU(0.1)], 3),
        ([MaxPool2D(2)], 2),
        ([MaxPool2D(3, stride=1)], 1),
        ([ReLU(), MaxPool2D(16)], 2),
    ],
    ids=repr,
)
def test_what_it_takes_along(tail: list[Layer], used: int) -> None:
    layers: list[Layer] = [BatchNorm2D(), *tail]
    built(layers, (2, 40, 40), np.random.default_rng(0))
    assert taken(layers)[1] == used


def test_other_layers_and_float64_are_left_to_others() -> None:
    norm = BatchNorm2D()
    norm.build((2, 4, 4), np.random.default_rng(0))
    assert CompiledBatchNormKernel.take([norm, ReLU()], True) is None
    assert CompiledBatchNormKernel.take([ReLU()], True) is None


def sample_norm(rng: np.random.Generator) -> tuple[Layer, Shape]:
    """A normalisation of single samples, and the shape of what it sees."""
    channels = int(rng.choice([2, 4, 6, 12]))
    shape = channels, *(int(n) for n in rng.integers(2, 9, int(rng.integers(3))))
    affine, axes = bool(rng.integers(2)), str(rng.choice(["all", "channels"]))
    of_images = {2: InstanceNorm1D(affine=affine), 3: InstanceNorm2D(affine=affine)}
    norms = GroupNorm(channels // 2, affine=affine), GroupNorm(1), LayerNorm(axes, affine=affine), RMSNorm(axes)
    return rng.choice([*norms, of_images.get(len(shape), norms[0])]), shape  # type: ignore[arg-type]  # layers


@pytest.mark.parametrize("seed", range(200))
def test_a_normalisation_of_samples_equals_its_layers(seed: int, compiled_kernels: Path) -> None:
    rng = np.random.default_rng(seed)
    norm, shape = sample_norm(rng)
    tail: list[Layer] = [ReLU(), ReLU6(), LeakyReLU(float(rng.choice([0.0, 0.1, 0.9])))]
    rng.shuffle(tail)
    layers = [norm, *tail[: int(rng.integers(2))]]
    built(layers, shape, rng)
    samples = int(rng.choice([1, 2, 5, 16, 33, 64]))
    x, dy = on_a_grid(rng, (samples, *shape)), rng.standard_normal((samples, *shape)).astype(np.float32)
    found = kernel_for(layers, True, compiled=True)
    assert found is not None
    kernel, used = found
    assert isinstance(kernel, SampleNormKernel)
    assert used == len(layers)
    ctx = Dirty(Workspace(np.dtype(np.float32)), True, (0,))
    y, cache = kernel.forward(x, ctx)
    dx, grads = kernel.backward(dy, cache, ctx)
    expected_y, expected_dx, expected = plain(layers, x, dy)
    assert near(y, expected_y)
    assert near(dx, expected_dx)
    assert grads.keys() == expected.keys()
    for name, gradient in expected.items():
        assert grads[name].shape == gradient.shape
        assert near(grads[name], gradient), name


@pytest.mark.parametrize("norm", [GroupNorm(2), LayerNorm(), LayerNorm("channels"), InstanceNorm2D()], ids=repr)
def test_large_means_of_samples_lose_no_digits(norm: Layer, compiled_kernels: Path) -> None:
    rng = np.random.default_rng(0)
    built([norm], (4, 5, 6), rng)
    mean = rng.choice([0.0, 1000.0, -30_000.0], (20, 1, 1, 1))
    x, dy = on_a_grid(rng, (20, 4, 5, 6)), rng.standard_normal((20, 4, 5, 6)).astype(np.float32)
    kernel, _ = SampleNormKernel.take([norm], True) or (None, 0)
    assert kernel is not None
    ctx = Dirty(Workspace(np.dtype(np.float32)), True, (0,))
    y, cache = kernel.forward((x + mean).astype(np.float32), ctx)
    dx, _ = kernel.backward(dy, cache, ctx)
    expected_y, expected_dx, _ = plain([norm], x, dy)
    assert near(y, expected_y)
    assert near(dx, expected_dx)


@pytest.mark.usefixtures("compiled_kernels")
def test_trainings_by_both_kinds_of_kernels() -> None:
    """Of any number of workers, with the same bits."""
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((150, 1, 12, 12)).astype(np.float32), rng.integers(0, 3, 150)

    def losses(kernels: str, workers: int) -> list[float]:
        body = [Conv2D(4, 3), BatchNorm2D(), ReLU(), MaxPool2D(2), Conv2D(4, 3), BatchNorm2D(), ReLU()]
        model = Sequential([*body, Flatten(), Dense(8), BatchNorm1D(), LeakyReLU(0.1), Dense(3)], (1, 12, 12))
        trainer = Trainer(
            kernels=kernels,  # type: ignore[arg-type]  # one of two words
            batch_size=70,
            epochs=3,
            progress=False,
            workers=workers,
        )
        return trainer.fit(model, Samples(x, y)).history["loss"]

    compiled = losses("compiled", 1)
    np.testing.assert_allclose(compiled, losses("numpy", 1), rtol=1e-5)
    assert losses("compiled", 2) == compiled
