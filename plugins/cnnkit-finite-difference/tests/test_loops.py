"""LoopConv2D: equal to Conv2D in everything but its time."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cnnkit_finite_difference import LoopConv2D, __main__

from cnnkit import Sequential, export_onnx, validate_onnx
from cnnkit.layers import Conv2D
from cnnkit.plugin import Array, ConfigError, Context, Grads, ShapeError
from cnnkit.testing import PlainContext, check_layer, gradient_check

OPTIONS: list[dict[str, Any]] = [
    {"kernel": 3},
    {"kernel": 3, "padding": 1},
    {"kernel": (2, 3), "padding": (0, 2)},
    {"kernel": 2, "padding": "same", "bias": False},
    {"kernel": (1, 4), "padding": "valid"},
]


@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize("channels", [1, 3])
def test_it_is_the_convolution(options: dict[str, Any], channels: int) -> None:
    loops, fast = LoopConv2D(2, **options), Conv2D(2, **options)
    shape = (channels, 4, 5)
    assert loops.build(shape, np.random.default_rng(0)) == fast.build(shape, np.random.default_rng(0))
    rng = np.random.default_rng(1)
    loops.params = fast.params = {name: rng.normal(size=value.shape) for name, value in fast.params.items()}
    x = rng.normal(size=(2, *shape))
    (y, cache), (expected, expected_cache) = (layer.forward(x, PlainContext()) for layer in (loops, fast))
    np.testing.assert_allclose(y, expected, rtol=1e-12, atol=1e-12)
    dy = rng.normal(size=y.shape)
    dx, grads = loops.backward(dy, cache, PlainContext())
    expected_dx, expected_grads = fast.backward(dy, expected_cache, PlainContext())
    np.testing.assert_allclose(dx, expected_dx, rtol=1e-12, atol=1e-12)
    assert grads.keys() == expected_grads.keys()
    for name, grad in grads.items():
        np.testing.assert_allclose(grad, expected_grads[name], rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("options", OPTIONS[:4], ids=str)
def test_gradient_and_contract(options: dict[str, Any]) -> None:
    check_layer(LoopConv2D(2, **options), (2, 3, 4))


def test_positive_control_a_wrong_loop_is_noticed() -> None:
    class Shifted(LoopConv2D):
        """Begins its loops over the kernel one pixel too late, backward."""

        def backward(self, dy: Array, padded: Array, ctx: Context) -> tuple[Array, Grads]:
            return super().backward(dy, np.roll(padded, 1, axis=2), ctx)

    assert gradient_check(LoopConv2D(2, 2), (2, 3, 4)).ok
    assert not gradient_check(Shifted(2, 2), (2, 3, 4)).ok


def test_a_network_has_the_same_outputs_and_the_same_file(tmp_path: Path) -> None:
    def model(convolution: str) -> Sequential:
        return Sequential([f"{convolution}(3, 3, padding=1)", "ReLU()", "Flatten()", "Dense(4)"], (2, 5, 5), seed=2)

    loops, fast = model("LoopConv2D"), model("Conv2D")
    x = np.random.default_rng(0).normal(size=(4, 2, 5, 5)).astype("float32")
    np.testing.assert_allclose(loops.logits(x), fast.logits(x), rtol=1e-5, atol=1e-6)
    path = tmp_path / "loops.onnx"
    export_onnx(loops, path)
    report = validate_onnx(path, loops, x)
    assert report.ok, str(report)
    assert validate_onnx(path, fast, x).ok


def test_wrong_arguments_and_inputs_name_the_layer() -> None:
    with pytest.raises(ConfigError, match=r"^filters must be a whole number, 1 or above, got 0$"):
        LoopConv2D(0, 3)
    with pytest.raises(
        ShapeError, match=r"^LoopConv2D expects an input of shape \(channels, height, width\), got \(4,\)"
    ):
        LoopConv2D(2, 3).build((4,), np.random.default_rng(0))
    with pytest.raises(ShapeError, match=r"^LoopConv2D has a window of 3 x 3, larger than its input of 2 x 2"):
        LoopConv2D(2, 3).build((1, 2, 2), np.random.default_rng(0))


def test_both_run_beside_each_other(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(__main__, "SAMPLES", 4)
    assert __main__.main() == 0
    title, slow, fast, difference = capsys.readouterr().out.splitlines()
    assert title.startswith("one training step with 4 digits through Conv2D(4, 3, padding=1), ReLU()")
    assert slow.split()[0] == "LoopConv2D"
    assert fast.endswith("times as fast")
    assert difference.startswith("  the gradients differ by ")
    monkeypatch.setattr(__main__, "DIFFERENCE", 1e-12)
    assert __main__.main() == 1
