"""Which kernels a training uses, and what is recorded of it."""

from __future__ import annotations

import dataclasses
import math
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

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
from cnnkit.training import Run, Trainer, kernel_choice
from cnnkit.training.interruption import StopRequest
from cnnkit.training.kernel_choice import WORTH, chosen
from cnnkit.training.progress import Progress
from cnnkit.training.recipe import Recipe
from cnnkit.types import Samples

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
    with pytest.raises(ConfigError, match=r'cannot be had: Numba is not installed: pip install "cnnkit\[fast\]"'):
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


PROGRAM = "from cnnkit.network.kernels.compiled.machine_code import make_in_background; make_in_background()"


@pytest.mark.full
def test_machine_code_is_made_in_the_background_and_after_a_kill() -> None:
    """Two that begin at once, one of them killed; then one whose compiler is killed."""
    pytest.importorskip("numba")

    def compilers() -> list[int]:
        found = subprocess.run(["pgrep", "-f", "machine_code import make_here"], capture_output=True, text=True)
        return [int(line) for line in found.stdout.split()]

    def ends() -> bool:
        until = time.monotonic() + 120
        while not machine_code.is_ready() and time.monotonic() < until:
            time.sleep(0.2)
        return machine_code.is_ready()

    subprocess.run([sys.executable, "-c", PROGRAM], check=True)
    time.sleep(2)
    for number in compilers():
        os.kill(number, signal.SIGKILL)
    assert not machine_code.is_ready()
    both = [subprocess.Popen([sys.executable, "-c", PROGRAM]) for _ in range(2)]
    assert [one.wait() for one in both] == [0, 0]
    assert ends()
    place = machine_code.folder()
    assert place is not None
    (place / "backward.o").write_bytes(b"cut")
    assert not machine_code.is_ready()
    subprocess.run([sys.executable, "-c", PROGRAM], check=True)
    assert ends()
