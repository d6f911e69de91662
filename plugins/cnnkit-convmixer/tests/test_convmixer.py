"""ConvMixer: its size as the paper says, and that a recipe trains and exports it."""

from __future__ import annotations

from pathlib import Path

import pytest
from cnnkit_convmixer import ConvMixer

from cnnkit import Sequential, export_onnx, train, validate_onnx
from cnnkit.errors import ConfigError
from cnnkit.plugin import Published

RECIPE = """
[model]
name = "mixer"
architecture = "ConvMixer(width=16, depth=2, patch=1, kernel=3)"
[data]
dataset = "Digits()"
[train]
optimizer = "Adam(0.01)"
schedule = "OneCycle()"
epochs = 15
batch_size = 64
"""


@pytest.mark.parametrize("published", ConvMixer.published, ids=lambda one: one.expression)
def test_parameters_are_as_many_as_in_the_paper(published: Published) -> None:
    arguments = published.expression.removeprefix("ConvMixer(").removesuffix(")")
    classes, width, depth, patch, kernel = map(int, arguments.split(","))
    built = ConvMixer(classes, width, depth, patch, kernel)
    assert repr(built).startswith("ConvMixer(")
    first = width * (3 * patch**2 + 3)
    block = width * (kernel**2 + 3) + width * (width + 3)
    assert first + depth * block + classes * (width + 1) == pytest.approx(published.parameters, rel=0.01)


def test_the_network_has_the_parameters_that_were_counted() -> None:
    model = Sequential(ConvMixer(5, 8, 3, 2, 3).layers(), (3, 12, 12))
    assert model.parameter_count() == 8 * (3 * 4 + 3) + 3 * (8 * (9 + 3) + 8 * (8 + 3)) + 5 * 9


def test_a_recipe_trains_it_and_the_file_gives_the_same_answers(tmp_path: Path) -> None:
    path = tmp_path / "mixer.toml"
    path.write_text(RECIPE)
    run = train(path, progress=False)
    assert run.metrics["accuracy"] >= 0.95
    report = validate_onnx(export_onnx(run.model, tmp_path / "mixer.onnx"), run.model)
    assert report.ok, str(report)


def test_wrong_arguments_are_explained() -> None:
    with pytest.raises(ConfigError, match=r"^kernel must be odd, so that a block keeps the size of the image, got 4$"):
        ConvMixer(kernel=4)
    with pytest.raises(ConfigError, match=r"^depth must be a whole number, 1 or above, got 0$"):
        ConvMixer(depth=0)
