"""Predictions by machine code against those of NumPy's kernels."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

import numpy as np
import pytest

from cnnkit.errors import CnnkitError, ConfigError, DataError
from cnnkit.layers import BatchNorm2D, Conv2D, ReLU
from cnnkit.network import Graph, Network, Sequential
from cnnkit.network.execution.compiled_prediction import FEW, CompiledPrediction, compiled_prediction
from cnnkit.network.execution.prediction_program import program_of
from cnnkit.network.kernels.compiled import machine_code
from cnnkit.network.kernels.compiled.prediction_steps import (
    AVERAGE,
    CONVOLVE,
    DENSE,
    FIELDS,
    GIVE,
    POINTWISE,
    SLACK,
    SPLIT,
    STEPS,
)
from cnnkit.types import Array, Preprocessing

pytest.importorskip("numba", reason="compiled kernels need the extra cnnkit[fast]")

WIDEST_RUN = 96
"""Numbers that a run may have more than it needs."""
N = TypeVar("N", bound=Network)
SCALED = Preprocessing(1 / 255, (0.5,), (0.25,))


@pytest.fixture
def compiled(compiled_kernels: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[Network], Network]:
    """Makes a copy of a network that predicts by machine code; the network itself goes on with NumPy's kernels."""

    def copied(model: Network) -> Network:
        with monkeypatch.context() as patch:
            patch.setenv("CNNKIT_KERNELS", "compiled")
            twin = model.again()
            twin.logits(np.zeros((1, *model.input_shape), np.float32))
            twin.outputs(np.zeros((1, *model.input_shape), np.float32))
        return twin

    return copied


def filled(model: N, seed: int = 0) -> N:
    """With statistics and biases as after a training."""
    rng = np.random.default_rng(seed)
    for node in model.nodes:
        for array in node.layer.params.values():
            array += 0.1 * rng.standard_normal(array.shape).astype(np.float32)
        for name, array in node.layer.buffers.items():
            array[...] = rng.uniform(0.5, 2, array.shape) if name == "running_var" else rng.standard_normal(array.shape)
    return model


def images(model: Network, count: int, seed: int = 1) -> Array:
    return np.random.default_rng(seed).integers(0, 256, (count, *model.input_shape), np.uint8)


def near(found: Array, expected: Array) -> bool:
    size = max(1.0, float(np.abs(expected).max(initial=0)))
    return found.shape == expected.shape and bool(np.allclose(found, expected, rtol=2e-5, atol=2e-5 * size))


def machine_code_of(model: Network) -> CompiledPrediction | None:
    engine = model.engine(logits=True)
    return compiled_prediction(engine._prediction, model.parameters, model.preprocessing, 1 << 25)


def random_layers(rng: np.random.Generator) -> list[str]:
    """Some that have loops, in any order that may fit together."""

    def convolution(stride: int | None = None) -> str:
        size = [int(n) for n in rng.integers(1, 5, 2)]
        groups = int(rng.choice([1, 1, 1, 2]))
        filters = groups * int(rng.integers(1, 6)) if stride is None else 4
        steps = [int(n) for n in rng.integers(1, 4, 2)] if stride is None and rng.integers(2) else [1, 1]
        padding = "'same'" if stride else f"({rng.integers(size[0])}, {rng.integers(size[1])})"
        return f"Conv2D({filters}, ({size[0]}, {size[1]}), ({steps[0]}, {steps[1]}), {padding}, groups={groups})"

    def activation() -> str:
        return str(rng.choice(["ReLU()", "LeakyReLU(0.1)", "ReLU6()"]))

    def residual() -> str:
        body = ", ".join([convolution(1), "BatchNorm2D()", activation(), "Conv2D(4, 3, padding='same')"])
        return f"Residual({body}, shortcut=Conv2D(4, 1))"

    kinds: list[Callable[[], str]] = [
        convolution,
        convolution,
        lambda: "BatchNorm2D()",
        activation,
        lambda: f"MaxPool2D({rng.integers(2, 4)})",
        lambda: f"MaxPool2D({rng.integers(2, 5)}, {rng.integers(1, 4)}, {rng.integers(2)})",
        lambda: f"AvgPool2D({rng.integers(2, 4)})",
        lambda: "Dropout(0.5)",
        residual,
        lambda: "Residual(ReLU())",
        lambda: f"Concat([], {convolution(1)}, ReLU())",
    ]
    layers = [kinds[int(rng.integers(len(kinds)))]() for _ in range(int(rng.integers(1, 7)))]
    if rng.integers(4):
        layers.append("Flatten()" if rng.integers(3) else "GlobalAvgPool2D()")
        layers += [f"Dense({rng.integers(1, 9)})", "BatchNorm1D()", activation()][: int(rng.integers(4))]
        layers += [f"Dense({rng.integers(1, 9)})"]
    return layers


def built(seed: int) -> Sequential:
    rng = np.random.default_rng(seed)
    while True:
        shape = tuple(int(n) for n in rng.integers(1, [5, 18, 18]))
        try:
            return filled(Sequential(random_layers(rng), shape, preprocessing=SCALED, seed=seed), seed)
        except CnnkitError:  # they do not fit together
            continue


@pytest.mark.parametrize("seed", range(200))
def test_a_compiled_prediction_equals_that_of_numpy(seed: int, compiled: Callable[[Network], Network]) -> None:
    model = built(seed)
    twin = compiled(model)
    x = images(model, 18)
    expected = model.outputs(x)
    assert near(twin.outputs(x), expected), model
    alone = np.concatenate([twin.outputs(x[n : n + 1]) for n in range(18)])
    assert near(alone, expected), model


@pytest.mark.usefixtures("compiled_kernels")
def test_most_random_networks_have_a_program() -> None:
    """Else the test above would compare NumPy's kernels with themselves."""
    programs = [machine_code_of(built(seed)) is not None for seed in range(200)]
    assert sum(programs) > 150


LAYERS = ["Conv2D(6, 3, padding=1)", "BatchNorm2D()", "ReLU()", "MaxPool2D(2)", "Dropout(0.5)", "Flatten()", "Dense(5)"]


def test_a_graph_with_layers_in_two_places(compiled: Callable[[Network], Network]) -> None:
    convolution, norm, rectifier = Conv2D(4, 3, padding=1), BatchNorm2D(), ReLU()
    model = Graph(
        {
            "one": (convolution, "input"),
            "one_norm": (norm, "one"),
            "one_rectified": (rectifier, "one_norm"),
            "two": (convolution, "one_rectified"),
            "two_norm": (norm, "two"),
            "sum": ("Add()", ["one_rectified", "two_norm", "input", "input"]),
            "rectified": (rectifier, "sum"),
            "left": ("GlobalAvgPool2D()", "rectified"),
            "right": ("Flatten()", "two_norm"),
            "both": ("Concat()", ["left", "right", "left"]),
            "scores": "Dense(3)",
        },
        (4, 7, 6),
    )
    model = filled(model)
    assert machine_code_of(model) is not None
    twin, x = compiled(model), images(model, 18)
    assert near(twin.logits(x), model.logits(x))


def test_it_follows_parameters_and_statistics(compiled: Callable[[Network], Network]) -> None:
    model = filled(Sequential(LAYERS, (2, 9, 8)))
    twin, x = compiled(model), images(model, 3)
    assert near(twin.logits(x), model.logits(x))
    state = {name: np.random.default_rng(5).uniform(0.5, 1.5, array.shape) for name, array in model.state().items()}
    before = twin.logits(x)
    model.load_state(state)
    twin.load_state(state)
    assert not near(twin.logits(x), before)
    assert near(twin.logits(x), model.logits(x))
    twin.parameters.move_to(np.empty_like(twin.parameters.vector))  # as into memory that processes share
    twin.parameters.vector[...] *= 2
    model.parameters.vector[...] *= 2
    assert near(twin.logits(x), model.logits(x))


def test_an_array_in_place_of_a_parameter_is_used_as_by_numpy(compiled: Callable[[Network], Network]) -> None:
    model = filled(Sequential(LAYERS, (2, 9, 8)))
    twin, x = compiled(model), images(model, 1)
    for one in (model, twin):
        one.nodes[-1].layer.params["bias"] = np.arange(5, dtype=np.float32)
    assert near(twin.logits(x), model.logits(x))


@pytest.mark.parametrize(
    "layers",
    [
        ["Conv2D(4, 3)", "Tanh()", "Flatten()", "Dense(3)"],
        ["AvgPool2D(3, 2, padding=1)", "Flatten()", "Dense(3)"],
        ["Conv2D(4, 3, dilation=2)", "Flatten()", "Dense(3)"],
        ["WeightNorm(Conv2D(4, 3))", "Flatten()", "Dense(3)"],
        ["Conv2D(4, 3)", "Upsample2D(2)", "Flatten()", "Dense(3)"],
    ],
)
def test_a_network_with_a_layer_that_has_no_loop_is_predicted_step_by_step(
    layers: list[str], compiled: Callable[[Network], Network]
) -> None:
    model = filled(Sequential(layers, (2, 9, 8)))
    assert machine_code_of(model) is None
    for count in (1, 40):
        x = images(model, count)
        assert near(compiled(model).logits(x), model.logits(x))


@pytest.mark.usefixtures("compiled_kernels")
def test_float64_and_large_images_are_predicted_by_numpy() -> None:
    assert machine_code_of(Sequential(LAYERS, (2, 9, 8), dtype="float64")) is None
    model = Sequential(LAYERS, (2, 9, 8))
    assert compiled_prediction(model.engine()._prediction, model.parameters, model.preprocessing, 1000) is None


def test_nan_and_infinity_stay_what_they_are(compiled: Callable[[Network], Network]) -> None:
    for pool in ("MaxPool2D(2)", "MaxPool2D(3)"):
        model = filled(Sequential(["Conv2D(4, 3)", "ReLU()", pool, "Flatten()", "Dense(3)"], (1, 8, 8)))
        twin = compiled(model)
        for place in range(64):
            x = np.ones((1, 1, 8, 8), np.float32)
            x.reshape(-1)[place] = np.nan
            assert np.array_equal(np.isnan(twin.logits(x)), np.isnan(model.logits(x)))
        with pytest.raises(DataError, match="the network gives NaN for sample 0"):
            twin.predict(np.full((1, 1, 8, 8), np.nan, np.float32))
    x = np.array([-np.inf, np.inf, np.nan, -1, -0.0, 0, 6, 7], np.float32).reshape(1, 2, 2, 2)
    for activation in ("ReLU()", "LeakyReLU(0.5)", "ReLU6()"):
        rectified = Sequential([activation], (2, 2, 2))
        assert np.array_equal(compiled(rectified).outputs(x), rectified.outputs(x), equal_nan=True)


def test_an_image_has_the_same_bits_alone_and_among_others(compiled: Callable[[Network], Network]) -> None:
    """Unless many images are predicted by products of matrices."""
    layers = ["Conv2D(8, 3, padding=1)", "ReLU()", "MaxPool2D(2)", "GlobalAvgPool2D()", "Dense(2)"]
    twin = compiled(filled(Sequential(layers, (2, 20, 19))))
    x = images(twin, 150)  # in two calls
    machine = twin._engine(logits=True)._machine_code
    assert machine is not None
    assert machine.suits(len(x))
    together = twin.logits(x)
    for number in range(len(x)):
        assert np.array_equal(twin.logits(x[number : number + 1])[0], together[number])


def test_many_images_are_predicted_together_where_that_is_faster(compiled: Callable[[Network], Network]) -> None:
    dense = ["Conv2D(2, 3)", "Flatten()", "Dense(999)", "Dense(9)"]
    deep = ["Conv2D(64, 3)", "Conv2D(64, 3)", "MaxPool2D(5)", "Flatten()", "Dense(3)"]
    small = ["Conv2D(8, 3)", "MaxPool2D(3)", "Conv2D(16, 2)", "Flatten()", "Dense(1)"]
    for layers in (dense, deep, small):
        model = filled(Sequential(layers, (16, 9, 9)))
        machine = machine_code_of(model)
        assert machine is not None
        assert machine.suits(FEW)
        assert not machine.suits(FEW + 1)
        x = images(model, 100)
        assert near(compiled(model).logits(x), model.logits(x))


def test_threads_have_memory_of_their_own(compiled: Callable[[Network], Network]) -> None:
    twin = compiled(filled(Sequential(LAYERS, (2, 9, 8))))
    x = images(twin, 64)
    expected = np.concatenate([twin.logits(x[start : start + 8]) for start in range(0, 64, 8)])
    found: dict[int, list[Array]] = {n: [] for n in range(4)}

    def ask(number: int) -> None:
        for start in range(0, 64, 8):
            found[number].append(twin.logits(x[start : start + 8]))

    threads = [threading.Thread(target=ask, args=(n,)) for n in found]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(np.array_equal(np.concatenate(parts), expected) for parts in found.values())


def test_large_images_come_one_at_a_time(compiled: Callable[[Network], Network]) -> None:
    model = filled(Sequential(["Conv2D(1, 3, 2)", "GlobalAvgPool2D()", "Dense(2)"], (1, 1030, 1030)))
    twin, x = compiled(model), images(model, 3)
    assert near(twin.logits(x), model.logits(x))
    machine = twin._engine(logits=True)._machine_code
    assert machine is not None
    assert [len(room.given) for room in machine._rooms] == [1]


def test_inputs_of_any_kind_and_of_no_sample(compiled: Callable[[Network], Network]) -> None:
    model = filled(Sequential(LAYERS, (2, 9, 8), preprocessing=SCALED))
    twin, x = compiled(model), images(model, 4)
    for given in (x, x.astype(np.float64), x.astype(np.int32), x[::-1], np.asfortranarray(x)):
        assert near(twin.logits(given), model.logits(given))
    assert twin.logits(x[:0]).shape == (0, 5)


@pytest.mark.parametrize("seed", range(0, 200, 3))
def test_a_program_stays_inside_of_its_memory(seed: int) -> None:
    """What machine code reads and writes has no bounds."""
    model = built(seed)
    program = program_of(model.engine(logits=True)._prediction, model.parameters)
    if program is None:
        return
    for row in program.steps:
        operation, fields = int(row[0]), dict(zip(STEPS[int(row[0])], map(int, row[1:]), strict=False))
        for low, high in reach(operation, fields, program.offsets):
            assert 0 <= low <= high < program.memory, (model, operation, fields)


def reach(operation: int, f: dict[str, int], offsets: Array) -> Iterator[tuple[int, int]]:
    """The first and the last number of each image that a step meets, and of what it has beside."""
    channels = f.get("channels", f.get("filters", 1))
    down, across = f.get("rows", 1), f.get("columns", 1)
    pool = f.get("pool", 1)
    seen = (f.get("height", 1) * pool - 1) * f.get("x_pitch", 0) + f.get("width", 1) * pool
    if operation == CONVOLVE:
        taps = offsets[f["first_tap"] : f["first_tap"] + f["taps"]]
        groups = f["filters"] // f["of_a_group"] - 1
        yield f["x"] + int(taps.min()), f["x"] + groups * f["between_groups"] + int(taps.max()) + seen + WIDEST_RUN
        yield f["lines"], f["lines"] + 5 * f["line"]
        rows = min(f["block"], f["height"])
        assert (rows * pool - 1) * f["x_pitch"] + f["width"] * pool + WIDEST_RUN <= f["line"]
    elif operation == DENSE:
        yield f["x"], f["x"] + f["inputs"] - 1
        yield f["y"], f["y"] + f["units"] - 1
        return
    elif operation == SPLIT:
        tall = (f["height"] - 1) * f["row_stride"] + f["row_phases"] - 1
        wide = (f["width"] - 1) * f["column_stride"] + f["column_phases"] - 1
        yield f["x"], f["x"] + (channels - 1) * f["x_plane"] + tall * f["x_pitch"] + wide
        yield f["y"], f["y"] + channels * f["row_phases"] * f["column_phases"] * f["height"] * f["width"] - 1
        return
    elif operation == POINTWISE:
        yield f["x"], f["x"] + (channels - 1) * f["x_plane"] + seen + WIDEST_RUN
        yield f["spare"], f["spare"] + seen + WIDEST_RUN
    elif operation == AVERAGE:
        last = (f["height"] * down - 1) * f["x_pitch"] + f["width"] * across - 1
        yield f["x"], f["x"] + (channels - 1) * f["x_plane"] + last
    for name in ("other", "y") if operation != GIVE else ("x",):
        if name in f:
            last = (f["height"] - 1) * f[f"{name}_pitch"] + f["width"] - 1
            yield f[name], f[name] + (channels - 1) * f[f"{name}_plane"] + last


def test_rows_of_a_program_have_room_for_all_fields() -> None:
    assert all(len(names) < FIELDS and len(set(names)) == len(names) for names in STEPS.values())


def test_runs_are_not_longer_than_what_is_left_for_them() -> None:
    from cnnkit.network.kernels.compiled.prediction_loops import WIDTH
    from cnnkit.network.kernels.compiled.vector_code import LANES

    assert WIDTH + LANES <= WIDEST_RUN < SLACK


@pytest.mark.usefixtures("compiled_kernels")
def test_only_who_asks_for_it_predicts_by_machine_code(monkeypatch: pytest.MonkeyPatch) -> None:
    x = np.zeros((1, 2, 9, 8), np.uint8)
    for word, is_compiled in (("numpy", False), ("auto", False), ("", False), ("compiled", True)):
        monkeypatch.setenv("CNNKIT_KERNELS", word)
        model = Sequential(LAYERS, (2, 9, 8))
        model.predict(x)
        assert (model._engine(logits=True)._machine_code is not None) == is_compiled
    monkeypatch.setenv("CNNKIT_KERNELS", "numpy")
    model.outputs(x)
    assert model._engine(logits=False)._machine_code is not None  # as its first prediction
    monkeypatch.setenv("CNNKIT_KERNELS", "fast")
    with pytest.raises(ConfigError, match="CNNKIT_KERNELS is 'fast'; expected one of auto, numpy, compiled"):
        Sequential(LAYERS, (2, 9, 8)).predict(x)


def test_who_asks_for_what_cannot_be_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CNNKIT_KERNELS", "compiled")
    monkeypatch.setattr(machine_code, "unavailable", lambda: "Numba is not installed")
    with pytest.raises(ConfigError, match="there are no compiled kernels: Numba is not installed"):
        Sequential(LAYERS, (2, 9, 8)).predict(np.zeros((1, 2, 9, 8)))


@pytest.mark.parametrize(("word", "loaded"), [("auto", "False"), ("compiled", "True")])
def test_numba_is_never_imported_for_a_prediction(word: str, loaded: str, compiled_kernels: Path) -> None:
    code = (
        "import sys, numpy as np; from cnnkit.network import Sequential; "
        "model = Sequential(['Conv2D(4, 3)', 'Flatten()', 'Dense(3)'], (1, 8, 8)); "
        "model.predict(np.zeros((1, 1, 8, 8))); print('numba' in sys.modules, 'llvmlite' in sys.modules)"
    )
    environment = os.environ | {"CNNKIT_KERNELS": word}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=True)
    assert done.stdout.split() == ["False", loaded]
