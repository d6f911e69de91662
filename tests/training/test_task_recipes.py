"""The recipes of tasks beyond one class, on random images of MNIST's size: trained, registered, drawn and exported."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from cnnkit import Registry, export_onnx, load_dataset, load_model, load_recipe, plot, train, validate_onnx
from cnnkit.components.expressions import parse
from cnnkit.metrics import METRICS

RECIPES = {
    "mnist-segment": ("Overlapping({}, train=90, test=6)", "11 classes for each pixel", {"accuracy", "mean_iou"}),
    "mnist-multilabel": ('Overlapping({}, targets="labels", train=24, test=6)', "any of 10 labels", {"f1"}),
    "mnist-denoise": ("Denoising({}, stddev=0.5)", "1 value for each pixel", {"psnr", "ssim"}),
    "mnist-autoencode": ("Autoencoding({})", "1 value for each pixel", {"psnr", "ssim"}),
    "digits-regress": ("MeanInk(Digits())", "1 value", {"mae", "r2"}),
    "signals": ("Waveforms(train=24, test=6)", "4 classes", {"accuracy"}),
}


@pytest.mark.parametrize("name", RECIPES)
def test_each_goes_all_the_way(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    x = rng.integers(0, 256, (40, 1, 28, 28), dtype=np.uint8)
    np.savez("images.npz", x=x, y=np.arange(40) % 10, labels=list("0123456789"))
    dataset, gives, metrics = RECIPES[name]
    expression = dataset.format('Arrays("images.npz")')
    recipe = load_recipe(name)
    assert recipe.data.dataset.partition("(")[0] == expression.partition("(")[0]
    assert recipe.data.validation == 0.1
    changes = {"data.dataset": expression, "data.fraction": 1.0, "train.epochs": 1}
    run = train(load_recipe(name, changes), workers=1)
    assert run.model.gives == gives
    assert set(run.metrics) == {"loss", *metrics}
    version = Registry().save(run.model, name, **run.record())
    data, again = load_dataset(expression), load_model(version.ref)
    some = np.asarray(data.test.x[:3])
    np.testing.assert_array_equal(again.predict(some), run.model.predict(some))
    for kind in ("curves", "predictions"):
        assert plot(version, kind, f"{kind}.png", data=data).stat().st_size > 10_000
    report = validate_onnx(export_onnx(again, "model.onnx"), again, some)
    assert [result.ok for result in report.results] == [True, True]


def test_the_guide_names_the_data_of_each_recipe() -> None:
    page = Path(__file__).parents[2] / "docs" / "guide-tasks.md"
    rows = re.findall(r"^\| `(.*?)` \| [^|]* \| `(.*?)`(.*?) \|", page.read_text("utf-8"), re.MULTILINE)
    told = {name: (parse(data), "fifth" in rest) for name, data, rest in rows}
    recipes = {name: load_recipe(name).data for name in RECIPES}
    assert told == {name: (parse(data.dataset), data.fraction == 0.2) for name, data in recipes.items()}


@pytest.mark.parametrize("made", ["MeanInk", "Denoising", "Autoencoding", "Overlapping"])
def test_images_made_from_others_are_bytes_as_the_guide_says(made: str) -> None:
    images = np.asarray(load_dataset(f"{made}(Digits())").train.x)
    assert images.dtype == np.uint8
    assert (images.min(), images.max()) == (0, 255)
    assert np.asarray(load_dataset("Digits()").train.x).max() == 16


def test_noisy_images_get_clearer(tmp_path: Path) -> None:
    """Something is learned: the outputs are nearer to the clean images than the inputs, or black images, are."""
    changes = {"data.dataset": "Denoising(Digits(), stddev=0.3)", "data.fraction": 1.0, "train.metrics": ["PSNR()"]}
    run = train(load_recipe("mnist-denoise", changes), workers=1, epochs=3)
    test = load_dataset("Denoising(Digits(), stddev=0.3)").test
    (psnr,) = (cls() for cls in METRICS if cls.__name__ == "PSNR")
    noisy = psnr.value(psnr.sums(np.asarray(test.x) / 255, test.y))
    assert run.metrics["psnr"] > noisy + 1
