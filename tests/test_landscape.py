"""The loss landscape: the losses that a model has whose weights are moved, and its picture."""

from __future__ import annotations

import numpy as np
import pytest

from cnnkit.errors import PlotError
from cnnkit.evaluation import landscape as module
from cnnkit.evaluation.landscape import landscape
from cnnkit.losses import CrossEntropy
from cnnkit.plotting.landscape import draw_landscape
from cnnkit.types import Samples
from tests.explanation.networks import image, network


def test_each_point_is_the_loss_of_a_moved_model(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SIDE", 3)
    monkeypatch.setattr(module, "MOST_SAMPLES", 12)
    model = network("Conv2D(3, 3)", "BatchNorm2D()", "ReLU()", "Flatten()", "Dense(5)")
    samples = Samples(image((20, 2, 9, 7)), np.arange(20) % 5)
    before = model.state()
    found = landscape(model, samples, CrossEntropy(), seed=2)
    assert all(np.array_equal(value, before[name]) for name, value in model.state().items())
    assert (found.samples, found.steps.tolist()) == (12, [-1, 0, 1])
    assert found.losses[1, 1] == pytest.approx(model.evaluate(samples.x[:12], samples.y[:12])["loss"], rel=1e-5)

    rng = np.random.default_rng(2)
    directions = []
    for _ in range(2):
        direction = {}
        for entry in model.parameters:
            name = f"{model.nodes[entry.node].name}.{entry.name}"
            drawn = rng.standard_normal(before[name].shape)
            if drawn.ndim > 1:
                for each, weight in zip(drawn, before[name], strict=True):
                    each *= np.linalg.norm(weight) / np.linalg.norm(each)
                direction[name] = drawn
        directions.append(direction)
    assert list(directions[0]) == ["conv2d_1.weight", "dense_1.weight"]
    moved = network("Conv2D(3, 3)", "BatchNorm2D()", "ReLU()", "Flatten()", "Dense(5)")
    moved.load_state(
        before | {name: before[name] - directions[0][name] + directions[1][name] for name in directions[0]}
    )
    expected = moved.evaluate(samples.x[:12], samples.y[:12])["loss"]
    assert found.losses[2, 0] == pytest.approx(expected, rel=1e-4)  # direction 2 forward, direction 1 back


def test_a_picture_on_a_log_scale() -> None:
    steps = np.linspace(-1, 1, 5)
    losses = 0.01 + np.add.outer(steps**2, 2 * steps**2)
    losses[0, 0] = np.nan
    figure = draw_landscape(steps, losses, "a title")
    plane, beside = figure.axes[:2]
    assert plane.get_aspect() == 1
    assert beside.get_yscale() == "log"
    assert np.array_equal(np.asarray(beside.lines[0].get_ydata()), losses[2])
    assert np.array_equal(np.asarray(beside.lines[1].get_ydata()), losses[:, 2])
    assert draw_landscape(steps, 5 + losses, "a title").axes[1].get_yscale() == "linear"
    with pytest.raises(PlotError, match="the loss is not finite, or the same everywhere"):
        draw_landscape(steps, np.ones((5, 5)), "a title")
