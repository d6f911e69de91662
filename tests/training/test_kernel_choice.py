"""Which kernels a training uses, and what is recorded of it."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import math
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cnnkit import api
from cnnkit.errors import ConfigError
from cnnkit.evaluation.reproduce import check_reproduction, retrain
from cnnkit.network import Sequential
from cnnkit.network.kernels.compiled import machine_code
from cnnkit.network.kernels.compiled.direct_conv_kernel import DirectConvKernel
from cnnkit.registered_training import RegisteredTraining
from cnnkit.registry import Registry
from cnnkit.registry.environment import deciding, differences, environment
from cnnkit.training import Checkpoints, Run, Trainer, kernel_choice
from cnnkit.training.interruption import StopRequest
from cnnkit.training.kernel_choice import WORTH, chosen, products_of
from cnnkit.training.progress import Progress
from cnnkit.training.recipe import Recipe
from cnnkit.types import Array, Samples

RECIPE: dict[str, dict[str, object]] = {
    "model": {"name": "small", "layers": ["Conv2D(4, 3)", "ReLU()", "MaxPool2D(2)", "Flatten()", "Dense(10)"]},
    "data": {"dataset": "Digits()", "fraction": 0.2},
    "train": {"optimizer": "Adam(0.01)", "epochs": 2, "batch_size": 64},
}


def recipe(**train: object) -> Recipe:
    return Recipe.from_dict(RECIPE | {"train": RECIPE["train"] | train}, "here")


@pytest.fixture
def told() -> list[str]:
    return []


@pytest.fixture
def auto(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Nothing is set, as for a new user; what is begun in the background is noted, not done."""
    begun: list[str] = []
    monkeypatch.delenv("CNNKIT_KERNELS")
    monkeypatch.setattr(machine_code, "make_in_background", lambda: begun.append("begun"))
    return begun


@pytest.fixture
def all_worth(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernel_choice, "WORTH", 0.0)


def fit(**options: object) -> Run:
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((192, 1, 10, 10)).astype(np.float32), rng.integers(0, 3, 192)
    model = Sequential(["Conv2D(5, 3)", "MaxPool2D(2)", "ReLU()", "Conv2D(4, 3)", "Flatten()", "Dense(3)"], (1, 10, 10))
    trainer = Trainer(**({"epochs": 2, "progress": False, "workers": 1} | options))  # type: ignore[arg-type]  # of any type
    return trainer.fit(model, Samples(x, y))


def test_where_no_machine_code_is_there_a_training_begins_with_numpy(auto: list[str], told: list[str]) -> None:
    assert chosen(None, math.inf, told.append) == "numpy"
    assert auto == (["begun"] if not machine_code.unavailable() else [])
    assert not told


@pytest.mark.usefixtures("compiled_kernels")
def test_a_training_that_is_worth_it_uses_what_is_there(auto: list[str], told: list[str]) -> None:
    assert chosen(None, WORTH, told.append) == "compiled"
    assert chosen(None, WORTH / 2, told.append) == "numpy"
    assert chosen("numpy", math.inf, told.append) == "numpy"
    assert chosen("compiled", 0, told.append) == "compiled"
    assert not auto
    assert not told


@pytest.mark.usefixtures("compiled_kernels")
def test_the_environment_chooses_for_who_does_not(monkeypatch: pytest.MonkeyPatch, told: list[str]) -> None:
    monkeypatch.setenv("CNNKIT_KERNELS", "compiled")
    assert chosen(None, 0, told.append) == "compiled"
    assert chosen("numpy", 0, told.append) == "numpy"
    monkeypatch.setenv("CNNKIT_KERNELS", "fast")
    with pytest.raises(ConfigError, match="CNNKIT_KERNELS is 'fast'; expected one of auto, numpy, compiled"):
        chosen(None, 0, told.append)


def test_without_numba_all_works_as_before(
    auto: list[str], told: list[str], monkeypatch: pytest.MonkeyPatch, all_worth: None
) -> None:
    monkeypatch.setattr(machine_code, "unavailable", lambda: 'Numba is not installed: pip install "cnnkit[fast]"')
    assert "kernels" not in (fit().recipe or {})["train"]
    assert not auto
    with pytest.raises(ConfigError, match=r'no compiled kernels: Numba is not installed: pip install "cnnkit\[fast\]"'):
        fit(kernels="compiled")


@pytest.mark.usefixtures("compiled_kernels", "all_worth")
def test_machine_code_that_cannot_be_loaded_is_told_in_one_line(
    auto: list[str], told: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken() -> None:
        raise machine_code.MachineCodeError("ImportError: Numba needs NumPy 2.3 or less")

    monkeypatch.setattr(machine_code, "functions", broken)
    assert chosen(None, math.inf, told.append) == "numpy"
    assert told == ["compiled kernels are not used, they cannot be loaded: ImportError: Numba needs NumPy 2.3 or less"]


def test_what_could_not_be_compiled_is_not_tried_by_every_training(
    auto: list[str], told: list[str], tmp_path: Path
) -> None:
    pytest.importorskip("numba")
    place = machine_code.folder()
    assert place is not None
    place.mkdir(parents=True)
    (place / machine_code.FAILURE).write_text("ImportError: no LLVM")
    assert chosen(None, math.inf, told.append) == "numpy"
    assert told == [
        "compiled kernels are not used, they cannot be made: ImportError: no LLVM; try again: cnnkit doctor --compile"
    ]
    assert not auto


def test_a_compiler_that_is_killed_is_tried_again_but_not_for_ever(
    auto: list[str], told: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("numba")

    def killed() -> None:
        raise SystemExit

    monkeypatch.setattr(machine_code, "_compiled", killed)
    for _ in range(machine_code.MOST_KILLED):
        assert not machine_code.failure()
        with pytest.raises(SystemExit):
            machine_code.make_here()
    assert chosen(None, math.inf, told.append) == "numpy"
    assert not auto
    assert "cannot be made: the compiler did not end; try again: cnnkit doctor --compile" in told[0]


@pytest.mark.usefixtures("compiled_kernels")
def test_compiled_kernels_train_the_same_and_never_by_the_number_of_workers() -> None:
    plain, one, two = fit(), fit(kernels="compiled"), fit(kernels="compiled", workers=2)
    assert (one.recipe or {})["train"]["kernels"] == "compiled"
    assert "kernels" not in (plain.recipe or {})["train"]
    assert one.model.parameters.vector.tobytes() == two.model.parameters.vector.tobytes()
    assert one.model.parameters.vector.tobytes() != plain.model.parameters.vector.tobytes()
    np.testing.assert_allclose(one.history["loss"], plain.history["loss"], rtol=1e-5)
    engine = one.model.engine_for(Trainer().loss, compiled=True)
    assert [isinstance(step.run, DirectConvKernel) for step in engine.steps] == [True, True, False, False]


@pytest.mark.usefixtures("compiled_kernels", "all_worth")
def test_a_version_says_which_kernels_trained_it_and_is_repeated_with_those(auto: list[str], tmp_path: Path) -> None:
    store = Registry(tmp_path / "registry")
    compiled = api.train(recipe(), progress=False, workers=1)
    numpy = api.train(recipe(kernels="numpy"), progress=False, workers=1)
    silent = dataclasses.replace(numpy, recipe=recipe().to_dict())  # as all versions of before
    assert (compiled.recipe or {})["train"]["kernels"] == "compiled"
    for run in (compiled, numpy, silent):
        version = run.model.save("small", registry=store, **run.record())
        record = store.read(version.ref)
        assert check_reproduction(record, retrain(record, "Digits()", progress=False, workers=1)).identical


@pytest.mark.usefixtures("compiled_kernels", "all_worth")
@pytest.mark.parametrize("kernels", ["compiled", None])
def test_a_resumed_training_goes_on_with_the_kernels_that_it_began_with(
    kernels: str | None, auto: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    class Stops(Progress):
        def step_done(self, *_: object) -> None:
            stop.signal = signal.SIGTERM

    if kernels is None:  # there was no machine code when it began
        monkeypatch.setattr(machine_code, "is_ready", lambda: False)
    whole = api.train(recipe(kernels=kernels or "numpy"), progress=False, workers=1)
    stop = StopRequest()
    with RegisteredTraining.begin(recipe()) as training:
        training.train(progress=Stops(), stop=stop, workers=1)
    monkeypatch.setattr(machine_code, "is_ready", lambda: True)
    with RegisteredTraining.resume("latest") as training:
        run = training.train(progress=False, workers=1)
        version = training.register(run)
    assert version is not None
    assert run.model.parameters.vector.tobytes() == whole.model.parameters.vector.tobytes()
    assert (run.recipe or {})["train"].get("kernels") == kernels


class Kept:
    """A checkpoint in memory."""

    def save(self, record: Mapping[str, Any], arrays: Mapping[str, Array]) -> None:
        self.record, self.arrays = (
            json.loads(json.dumps(record)),
            {name: array.copy() for name, array in arrays.items()},
        )

    def load(self) -> tuple[dict[str, Any], dict[str, Array]]:
        return self.record, dict(self.arrays)


@pytest.mark.usefixtures("compiled_kernels", "all_worth")
@pytest.mark.parametrize("is_ready", [True, False])
def test_a_training_in_python_is_resumed_with_the_kernels_that_it_began_with(
    is_ready: bool, auto: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whether machine code appears or disappears in between."""
    x = np.random.default_rng(0).standard_normal((192, 1, 10, 10)).astype(np.float32)
    data = Samples(x, np.arange(192) % 3)

    def fit(stop: StopRequest, *, resume: bool) -> Run:
        model = Sequential(["Conv2D(5, 3)", "Flatten()", "Dense(3)"], (1, 10, 10))
        trainer = Trainer(epochs=2, progress=False, workers=1)
        return trainer.fit(model, data, stop=stop, checkpoints=Checkpoints(store, steps=1, resume=resume))

    store, stopped = Kept(), StopRequest()
    stopped.signal = signal.SIGTERM
    monkeypatch.setattr(machine_code, "is_ready", lambda: is_ready)
    fit(stopped, resume=False)
    assert store.record["train"].get("kernels") == ("compiled" if is_ready else None)
    monkeypatch.setattr(machine_code, "is_ready", lambda: not is_ready)
    if is_ready:
        monkeypatch.setattr(machine_code, "make", lambda: None)  # it is loaded
    run = fit(StopRequest(), resume=True)
    assert run.reason == "all epochs done"
    assert (run.recipe or {})["train"].get("kernels") == ("compiled" if is_ready else None)


@pytest.mark.usefixtures("compiled_kernels", "all_worth")
def test_only_what_compiled_kernels_take_counts(auto: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cnnkit.network.kernels.compiled.product_kernels.has_avx512", lambda: True)
    signals = Sequential(["Conv1D(3, 3)", "ReLU()"], (1, 10))
    mixed = Sequential(["Conv1D(3, 3)", "Flatten()", "Dense(4)"], (1, 10))
    assert products_of(signals, 100, 10) == 0
    assert products_of(mixed, 100, 10) == 24 * 4 * 100 * 10


@pytest.mark.usefixtures("compiled_kernels", "all_worth")
def test_a_version_of_compiled_kernels_names_the_machine_code(monkeypatch: pytest.MonkeyPatch) -> None:
    assert chosen("compiled", 0, print) == "compiled"
    recorded = environment()
    assert recorded["machine_code"] == machine_code.identity() != ""
    assert not differences(deciding())
    monkeypatch.setattr("cnnkit.registry.environment.identity", lambda: "another")
    assert f"machine_code was {recorded['machine_code']}, it is another" in differences(recorded)


PROGRAM = "from cnnkit.network.kernels.compiled.machine_code import make_in_background; make_in_background()"


@pytest.mark.full
def test_machine_code_is_made_in_the_background_and_after_a_kill() -> None:
    """Two that begin at once, one of them killed; then one whose compiler is killed."""
    pytest.importorskip("numba")

    def compilers() -> list[int]:
        """Those of this test, which have its cache folder."""
        found = []
        for process in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                here = os.environ["XDG_CACHE_HOME"].encode() in (process / "environ").read_bytes()
                if here and b"machine_code import main" in (process / "cmdline").read_bytes():
                    found.append(int(process.name))
        return found

    def ends() -> bool:
        until = time.monotonic() + 120
        while not machine_code.is_ready() and time.monotonic() < until:
            time.sleep(0.2)
        return machine_code.is_ready()

    subprocess.run([sys.executable, "-c", PROGRAM], check=True)
    (compiler,) = compilers()
    os.kill(compiler, signal.SIGKILL)
    assert not machine_code.is_ready()
    both = [subprocess.Popen([sys.executable, "-c", PROGRAM]) for _ in range(2)]
    assert [one.wait() for one in both] == [0, 0]
    assert ends()
    place = machine_code.folder()
    assert place is not None
    (place / "convolution_backward.o").write_bytes(b"cut")
    assert not machine_code.is_ready()
    subprocess.run([sys.executable, "-c", PROGRAM], check=True)
    assert ends()
