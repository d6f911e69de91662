"""Compiled kernels against the plain layers that they stand for, and the machine code's life on disk."""

from __future__ import annotations

import gc
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cnnkit.components import Layer
from cnnkit.errors import ShapeError
from cnnkit.layers import AvgPool2D, Conv2D, Dense, Flatten, LeakyReLU, MaxPool2D, ReLU, ReLU6, Tanh
from cnnkit.network import Sequential
from cnnkit.network.execution.tile_context import TileContext, Workspace
from cnnkit.network.kernels.compiled import direct_conv_kernel, machine_code
from cnnkit.network.kernels.compiled.depthwise_kernel import DepthwiseKernel
from cnnkit.network.kernels.compiled.direct_conv_kernel import DirectConvKernel
from cnnkit.network.kernels.compiled.interface import ARGUMENTS
from cnnkit.training import Trainer
from cnnkit.types import Array, Grads, Samples
from tests.network.test_kernels import plain

POINTERS = {"float32", "float64", "uint8", "intp"}

pytest.importorskip("numba", reason="compiled kernels need the extra cnnkit[fast]")


def random_layers(rng: np.random.Generator) -> tuple[list[Layer], tuple[int, int, int]]:
    size = int(rng.integers(2, 6)), int(rng.integers(2, 6))
    padding = int(rng.integers(min(size) + 1)), int(rng.integers(min(size) + 1))
    stride = int(rng.choice([1, 1, 2, 3])), int(rng.choice([1, 1, 2, 3]))
    dilation = int(rng.choice([1, 1, 1, 2, 3])), int(rng.choice([1, 1, 1, 2, 3]))
    groups = int(rng.choice([1, 1, 2, 3, 7]))
    filters, channels = (
        groups * int(rng.integers(1, min(12, 1 + 144 // (size[0] * size[1])) if groups == 1 else 5)),
        groups * int(rng.integers(1, 4)),
    )
    tail: list[Layer] = [
        MaxPool2D(int(rng.integers(2, 5))),
        [ReLU(), ReLU6(), LeakyReLU(float(rng.choice([0.0, 0.1, 0.9])))][rng.integers(3)],
    ]
    rng.shuffle(tail)
    layers: list[Layer] = [
        Conv2D(filters, size, stride, padding, dilation, groups, bool(rng.integers(2))),
        *(tail[: int(rng.integers(3))] if groups == 1 else tail[1:][: not isinstance(tail[1], MaxPool2D)]),
    ]
    return layers, (channels, int(rng.integers(1, 20)), int(rng.integers(1, 20)))


def built(seed: int) -> tuple[list[Layer], tuple[int, int, int], tuple[int, ...], np.random.Generator]:
    """Layers that fit their images."""
    rng = np.random.default_rng(seed)
    while True:
        layers, shape = random_layers(rng)
        out: tuple[int, ...] = shape
        try:
            for layer in layers:
                out = layer.build(out, rng)
        except ShapeError:
            continue
        fill(layers[0], rng.standard_normal)
        return layers, shape, out, rng


def fill(layer: Layer, numbers: Callable[[tuple[int, ...]], Array]) -> None:
    """Give all parameters numbers of float32, as in a network."""
    for name, array in layer.params.items():
        layer.params[name] = numbers(array.shape).astype(np.float32)


class Dirty(TileContext):
    """A context whose memory is full of what nobody may read."""

    def empty(self, shape: tuple[int, ...]) -> Array:
        memory = super().empty(shape)
        memory.fill(np.nan)
        return memory

    def empty_bits(self, shape: tuple[int, ...]) -> Array:
        memory = super().empty_bits(shape)
        memory.view(np.uint8).fill(255)
        return memory


def run(kernel: DirectConvKernel | DepthwiseKernel, x: Array, dy: Array) -> tuple[Array, Array | None, Grads]:
    ctx = Dirty(Workspace(np.dtype(np.float32)), True, (0,))
    y, cache = kernel.forward(x, ctx)
    dx, grads = kernel.backward(dy, cache, ctx)
    return y, dx, grads


def taken(layers: list[Layer], needs_dx: bool = True) -> tuple[DirectConvKernel, int]:
    found = DirectConvKernel.take(layers, needs_dx)
    assert found is not None
    return found


def near(found: Array, expected: Array) -> bool:
    """Sums in float32 that were added in another order, of numbers of this size."""
    return bool(np.allclose(found, expected, rtol=2e-5, atol=2e-5 * max(1.0, float(np.abs(expected).max(initial=0)))))


def check(kernel: Any, layers: list[Layer], x: Array, dy: Array, needs_dx: bool) -> None:
    """The kernel against the plain layers, forward and backward."""
    y, expected_y = run(kernel, x, dy)[0].copy(), plain(layers, x, dy)[0]
    assert near(y, expected_y)
    dy[((y > 0) != (expected_y > 0)) | ((y < 6) != (expected_y < 6))] = 0  # where a bound is met but for rounding
    _, dx, grads = run(kernel, x, dy)
    _, expected_dx, expected = plain(layers, x, dy)
    assert (dx is not None) == needs_dx
    assert dx is None or near(dx, expected_dx)
    assert grads.keys() == expected.keys()
    for name, gradient in expected.items():
        assert near(grads[name], gradient), name


@pytest.mark.parametrize("seed", range(200))
def test_a_direct_convolution_equals_its_layers(
    seed: int, compiled_kernels: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    layers, shape, out_shape, rng = built(seed)
    monkeypatch.setattr(direct_conv_kernel, "PLANES_BYTES", int(rng.choice([1, 1 << 15, 1 << 20])))
    samples = int(rng.choice([1, 7, 16, 33, 64]))
    x = rng.standard_normal((samples, *shape)).astype(np.float32)
    dy = rng.standard_normal((samples, *out_shape)).astype(np.float32)
    needs_dx = bool(rng.integers(2))
    kernel, used = taken(layers, needs_dx)
    assert used == len(layers)
    check(kernel, layers, x, dy, needs_dx)


def test_images_that_windows_miss_get_no_gradient(compiled_kernels: Path) -> None:
    layers: list[Layer] = [
        Conv2D(3, 2, stride=3, padding=2)
    ]  # its rows are 2 and 1 before the image, and 1 and 2 behind
    shape = layers[0].build((2, 1, 9), np.random.default_rng(0))
    fill(layers[0], np.ones)
    y, dx, grads = run(taken(layers)[0], np.ones((16, 2, 1, 9), np.float32), np.ones((16, *shape), np.float32))
    assert dx is not None
    assert (y == 1).all()  # the bias
    assert not dx.any()
    assert not grads["weight"].any()
    assert grads["bias"].tolist() == [16 * 2 * 4] * 3


@pytest.mark.parametrize("pool", [3, 4, 5])
def test_an_image_that_is_as_large_as_what_windows_see_of_it_is_padded(pool: int, compiled_kernels: Path) -> None:
    """Pooling leaves out as many rows and columns at the end as were padded at the beginning."""
    rng = np.random.default_rng(pool)
    layers: list[Layer] = [Conv2D(2, 3, padding=1), MaxPool2D(pool)]
    shape: tuple[int, ...] = (1, 2 * pool + 2, 2 * pool + 2)
    for layer in layers:
        shape = layer.build(shape, rng)
    fill(layers[0], rng.standard_normal)
    x = rng.standard_normal((16, 1, 2 * pool + 2, 2 * pool + 2)).astype(np.float32)
    dy = rng.standard_normal((16, *shape)).astype(np.float32)
    y, dx, grads = run(taken(layers)[0], x, dy)
    expected_y, expected_dx, expected = plain(layers, x, dy)
    assert dx is not None
    assert near(y, expected_y)
    assert near(dx, expected_dx)
    assert near(grads["weight"], expected["weight"])


@pytest.mark.parametrize("size", [2, 3, 4])
def test_of_equal_maxima_the_same_one_gets_the_gradient(size: int, compiled_kernels: Path) -> None:
    layers: list[Layer] = [Conv2D(2, 2, padding="same", bias=False), MaxPool2D(size)]
    rng = np.random.default_rng(size)
    shape: tuple[int, ...] = (1, 4 * size, 4 * size)
    for layer in layers:
        shape = layer.build(shape, rng)
    layers[0].params["weight"] = np.zeros((2, 1, 2, 2), np.float32)
    layers[0].params["weight"][..., 0, 0] = 1
    x = rng.integers(0, 2, (16, 1, 4 * size, 4 * size)).astype(np.float32)  # ties in most windows
    dy = rng.standard_normal((16, *shape)).astype(np.float32)
    _, dx, _ = run(taken(layers)[0], x, dy)
    assert dx is not None
    np.testing.assert_allclose(dx, plain(layers, x, dy)[1], rtol=1e-6)


@pytest.mark.parametrize("activation", [None, ReLU(), ReLU6(), LeakyReLU(0.1)])
@pytest.mark.parametrize("pool", [1, 2, 3, 4])
def test_what_is_not_finite_stays_so(pool: int, activation: Layer | None, compiled_kernels: Path) -> None:
    layers: list[Layer] = [
        Conv2D(1, (1, 4)),
        *([MaxPool2D(pool)] if pool > 1 else []),
        *([activation] if activation else []),
    ]
    shape: tuple[int, ...] = (1, 12, 12)
    for layer in layers:
        shape = layer.build(shape, np.random.default_rng(0))
    fill(layers[0], np.ones)
    x = np.random.default_rng(1).standard_normal((20, 1, 12, 12)).astype(np.float32)
    for number, value in enumerate((np.nan, np.inf, -np.inf)):
        x.reshape(20, -1)[:, number::23] = value
        x[number] = value
    y, _, _ = run(taken(layers)[0], x, np.ones((20, *shape), np.float32))
    with np.errstate(invalid="ignore"):
        expected = plain(layers, x, np.ones((20, *shape), np.float32))[0]
    np.testing.assert_allclose(y, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    "layer",
    [
        Conv2D(2, 1, padding=1),
        Conv2D(2, 9),
        Conv2D(2, 1),
        Conv2D(64, 3),
        AvgPool2D(2),
    ],
    ids=repr,
)
def test_what_it_leaves_to_others(layer: Layer) -> None:
    layer.build((2, 12, 12), np.random.default_rng(0))
    fill(layer, np.zeros)
    assert DirectConvKernel.take([layer], True) is None


def test_an_activation_that_no_loop_has_stays_outside(compiled_kernels: Path) -> None:
    layers: list[Layer] = [Conv2D(2, 3), Tanh()]
    layers[0].build((1, 8, 8), np.random.default_rng(0))
    fill(layers[0], np.zeros)
    assert taken(layers)[1] == 1


class Doubled(Layer):
    """As somebody may write it: its numbers become float64."""

    def build(self, in_shape: tuple[int, ...], rng: np.random.Generator) -> tuple[int, ...]:
        return in_shape

    def forward(self, x: Array, ctx: object) -> tuple[Array, None]:
        return x * np.full((1, 1, 1, 1), 2.0), None

    def backward(self, dy: Array, cache: object, ctx: object) -> tuple[Array, Grads]:
        return dy * np.full((1, 1, 1, 1), 2.0), {}


@pytest.mark.usefixtures("compiled_kernels")
def test_layers_that_give_other_numbers_or_are_frozen() -> None:
    """The same steps by both kinds of kernels: also of tiles with few samples, and gradients that are added up."""
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((150, 1, 12, 12)).astype(np.float32), rng.integers(0, 3, 150)

    def losses(kernels: str) -> list[float]:
        layers = [Doubled(), Conv2D(3, 3), Doubled(), Conv2D(3, 3, padding=1), ReLU(), Doubled(), Conv2D(3, 3)]
        model = Sequential([*layers, MaxPool2D(2), Flatten(), Dense(3)], (1, 12, 12))
        trainer = Trainer(
            kernels=kernels,  # type: ignore[arg-type]  # one of two words
            batch_size=70,
            accumulate=2,
            epochs=3,
            freeze=["conv2d_1"],
            progress=False,
            workers=1,
        )
        return trainer.fit(model, Samples(x, y)).history["loss"]

    np.testing.assert_allclose(losses("compiled"), losses("numpy"), rtol=1e-5)


@pytest.mark.usefixtures("compiled_kernels")
def test_arrays_that_machine_code_would_misread_are_refused() -> None:
    function = machine_code.functions()["convolution"]
    right = [np.zeros(64, kind) if kind in POINTERS else 0 for kind in ARGUMENTS["convolution_loops"]["convolution"]]
    function(*right)  # of no rows
    for wrong in (np.zeros(64), np.zeros((8, 8), np.float32).T[:4]):
        with pytest.raises(TypeError, match="expected a contiguous array of float32"):
            function(wrong, *right[1:])


@pytest.mark.usefixtures("compiled_kernels")
def test_the_gradient_of_large_images_has_as_many_digits_as_numpys() -> None:
    """Sums in float32 over all pixels would have one less."""
    rng = np.random.default_rng(0)
    layer = Conv2D(8, 3, padding=1)
    layer.build((1, 128, 128), rng)
    fill(layer, rng.standard_normal)
    x, dy = (rng.random((32, count, 128, 128), np.float32) for count in (1, 8))
    _, _, grads = run(taken([layer], False)[0], x, dy)
    expected = np.einsum("npq,nfpq->f", x[:, 0, 1:, 1:], dy[:, :, :-1, :-1], dtype=np.float64)
    np.testing.assert_allclose(grads["weight"][:, 0, 2, 2], expected, rtol=1e-6)


@pytest.mark.usefixtures("compiled_kernels")
def test_functions_keep_their_code() -> None:
    """Two threads may load it at once, and only one copy is kept for others."""
    place = machine_code.folder()
    function = machine_code._loaded.__wrapped__(place)["gradient_descent"]
    gc.collect()
    numbers = np.ones(8, np.float32)
    function(numbers, numbers.copy(), numbers.copy(), 8, 0.5, 0.0, 0.0, 0, 0, 0)
    assert (numbers == 0.5).all()


def test_a_folder_of_somebody_else_is_not_touched(tmp_path: Path) -> None:
    place = machine_code.folder()
    assert place is not None
    place.mkdir(parents=True)
    victim = tmp_path / "victim"
    victim.write_text("here")
    (place / machine_code.LOCK).symlink_to(victim)
    with pytest.raises(OSError, match="symbolic link"):
        machine_code.make_here()
    place.chmod(0o777)
    with pytest.raises(machine_code.MachineCodeError, match="others may write to it"):
        machine_code.make_here()
    assert "others may write to it" in machine_code.failure()
    assert victim.read_text() == "here"


def test_machine_code_is_used_only_as_it_was_written(
    compiled_kernels: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert machine_code.is_ready()
    place = tmp_path / "cache" / "cnnkit" / "machine-code" / compiled_kernels.name
    shutil.copytree(compiled_kernels, place)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert machine_code.is_ready()
    code = place / "convolution.o"
    content = code.read_bytes()
    code.write_bytes(content[:-100])  # as a full disk leaves it
    assert not machine_code.is_ready()
    code.write_bytes(content)
    assert machine_code.is_ready()
    place.chmod(0o777)
    assert not machine_code.is_ready()
    place.chmod(0o700)
    (place / machine_code.COMPLETE).write_text("[")
    assert not machine_code.is_ready()


def test_code_that_is_compiled_in_one_process_is_loaded_in_another_without_numba(compiled_kernels: Path) -> None:
    program = (
        "import sys; from cnnkit.network.kernels.compiled import machine_code as code; assert code.is_ready(); "
        "code.functions(); print('loaded', 'numba' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, env=os.environ | {}, timeout=60
    )
    assert done.stdout == "loaded False\n", done.stderr


def test_another_processor_has_another_folder(
    compiled_kernels: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    described = tmp_path / "cpuinfo"
    described.write_text("vendor_id\t: Somebody\nmodel name\t: Another\nflags\t\t: sse2\n\n")
    monkeypatch.setattr(machine_code, "CPUINFO", described)
    machine_code._key.cache_clear()
    try:
        assert machine_code.folder() != compiled_kernels
        assert not machine_code.is_ready()
    finally:
        machine_code._key.cache_clear()


def test_without_a_home_there_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine_code, "user_folder", lambda _: None)
    assert "XDG_CACHE_HOME" in machine_code.unavailable()
    assert not machine_code.is_ready()
    with pytest.raises(machine_code.MachineCodeError, match="XDG_CACHE_HOME"):
        machine_code.make()
