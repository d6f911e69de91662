"""PyTorch's network of each task is the same as ours, and the table says how far the means are apart."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from benchmarks import tasks
from cnnkit.training.assembly import model_for
from cnnkit.training.recipe import load_recipe
from cnnkit.types import Data, Preprocessing, Samples

SHAPES = {
    "mnist-segment": (1, 40, 40),
    "mnist-multilabel": (1, 40, 40),
    "digits-regress": (1, 8, 8),
    "signals": (1, 128),
}


@pytest.mark.parametrize("name", tasks.TASKS)
def test_the_twin_computes_the_same(name: str) -> None:
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    from benchmarks.peers.torch_tasks import Twin

    x = np.random.default_rng(0).random((3, *SHAPES.get(name, (1, 28, 28)))).astype(np.float32)
    samples = Samples(x, np.zeros(3, np.int64))
    model = model_for(load_recipe(name), Data(samples, samples, preprocessing=Preprocessing()))
    twin = Twin(model).eval()
    with torch.no_grad():
        np.testing.assert_allclose(twin(torch.from_numpy(x)).numpy(), model.outputs(x), rtol=1e-4, atol=1e-5)


def test_both_are_trained_and_compared(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("torch", reason="PyTorch is not installed")
    file = tmp_path / "t.json"
    tasks.main(["--recipes", "digits-regress", "--seeds", "2", "--epochs", "1", "--workers", "1", "--json", str(file)])
    runs = json.loads(file.read_text())["results"]["digits-regress"]
    assert [(run["framework"], run["seed"]) for run in runs] == [
        (name, seed) for seed in range(2) for name in ("cnnkit", "PyTorch")
    ]
    assert "| digits-regress | 1 | mae | " in capsys.readouterr().out


def test_means_are_told_apart_by_the_larger_deviation() -> None:
    values = {"cnnkit": (1.0, 3.0), "PyTorch": (4.0, 4.0)}
    runs = [
        {"framework": name, "epochs": 2, "metrics": {"mae": value}} for name, some in values.items() for value in some
    ]
    assert tasks.rows("r", runs) == [["r", "2", "mae", "2.0000 ± 1.4142", "4.0000 ± 0.0000", "1.4"]]
