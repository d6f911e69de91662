"""Several operators that are one layer: those of cnnkit's own exports without their descriptions, and of PyTorch's."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from foreign_models import model, node, write  # type: ignore[import-not-found]  # beside this file

from cnnkit import Sequential, import_onnx
from cnnkit.errors import OnnxError
from cnnkit.onnx.export import to_onnx
from cnnkit.types import Array

RNG = np.random.default_rng


def layers_of(path: Path) -> list[str]:
    return [repr(layer) for layer in import_onnx(path).layers]


def stranger(expression: str, shape: tuple[int, ...], path: Path) -> Path:
    """An export that does not say of which layer its nodes are."""
    proto = to_onnx(Sequential([expression], shape))
    del proto.metadata_props[:]
    for one in proto.graph.node:
        one.doc_string = ""
    del proto.graph.output[1:]
    return Path(write(path, proto))


@pytest.mark.parametrize(
    "expression",
    ["GELU()", "SiLU()", "Softsign()", "HardSwish()", "ChannelShuffle(2)", "Conv2D(3, 3, padding=1)", "PReLU(4)",
     "ELU()", "PixelShuffle(2)", "BatchNorm2D()", "Upsample2D(2)"],
)  # fmt: skip
def test_what_stands_for_a_layer_becomes_it(expression: str, tmp_path: Path) -> None:
    layers = layers_of(stranger(expression, (4, 6, 6), tmp_path / "a.onnx"))
    assert layers == [repr(Sequential([expression], (4, 6, 6)).layers[0])]


def test_a_hard_swish_of_older_exporters(tmp_path: Path) -> None:
    nodes = [node("Add", ["x", "three"], ["a"]), node("Clip", ["a", "zero", "six"], ["b"]),
             node("Mul", ["x", "b"], ["c"]), node("Div", ["c", "six"], ["y"])]  # fmt: skip
    numbers = {name: np.float32(value) for name, value in (("three", 3), ("zero", 0), ("six", 6))}
    path = write(tmp_path / "a.onnx", model(nodes, {"x": ["n", 5]}, ["y"], numbers))
    assert layers_of(path) == ["HardSwish()"]


def test_a_product_that_only_looks_like_one_stays(tmp_path: Path) -> None:
    nodes = [node("Add", ["x", "three"], ["a"]), node("Clip", ["a", "zero", "six"], ["b"]),
             node("Mul", ["x", "b"], ["c"]), node("Div", ["c", "five"], ["y"])]  # fmt: skip
    numbers = {name: np.float32(value) for name, value in (("three", 3), ("zero", 0), ("six", 6), ("five", 5))}
    path = write(tmp_path / "a.onnx", model(nodes, {"x": ["n", 5]}, ["y"], numbers))
    assert layers_of(path) == ["Rescale(offset=3.0)", "ReLU6()", "Multiply()", "Rescale(scale=0.2)"]


NEAR = 1.0002
"""What rounding to four digits may make of a constant: a difference that the proof does not allow."""


def _hard_swish(c: dict[str, float]) -> list[Any]:
    return [node("Add", ["x", "three"], ["a"]), node("Clip", ["a", "zero", "six"], ["b"]),
            node("Mul", ["x", "b"], ["c"]), node("Mul", ["c", "sixth"], ["y"])]  # fmt: skip


def _gelu(c: dict[str, float]) -> list[Any]:
    return [node("Mul", ["x", "root"], ["a"]), node("Erf", ["a"], ["e"]), node("Add", ["e", "one"], ["s"]),
            node("Mul", ["x", "s"], ["p"]), node("Mul", ["p", "half"], ["y"])]  # fmt: skip


def _hard_swish_by_hard_sigmoid(c: dict[str, float]) -> list[Any]:
    return [node("HardSigmoid", ["x"], ["h"], alpha=c["sixth"], beta=0.5), node("Mul", ["x", "h"], ["y"])]


def _selu(c: dict[str, float]) -> list[Any]:
    return [node("Selu", ["x"], ["y"], alpha=c["alpha"], gamma=c["gamma"])]


EXACT = {"three": 3.0, "zero": 0.0, "six": 6.0, "sixth": 1 / 6, "root": 0.5**0.5, "one": 1.0, "half": 0.5,
         "alpha": 1.6732632, "gamma": 1.0507010}  # fmt: skip
NEARLY: list[tuple[Callable[[dict[str, float]], list[Any]], str, str, str]] = [
    (_hard_swish, "three", "HardSwish()", "ReLU6"),
    (_hard_swish, "six", "HardSwish()", "Clip"),
    (_hard_swish, "sixth", "HardSwish()", "Rescale"),
    (_hard_swish_by_hard_sigmoid, "sixth", "HardSwish()", "Multiply"),
    (_gelu, "half", "GELU()", "Erf"),
    (_gelu, "root", "GELU()", "Erf"),
    (_gelu, "one", "GELU()", "Erf"),
    (_selu, "alpha", "SELU()", "ELU"),
    (_selu, "gamma", "SELU()", "ELU"),
]


@pytest.mark.parametrize(("nodes", "constant", "layer", "instead"), NEARLY)
def test_a_constant_that_is_nearly_that_of_a_layer_is_another(
    nodes: Callable[[dict[str, float]], list[Any]], constant: str, layer: str, instead: str, tmp_path: Path
) -> None:
    assert layers_of(_written(tmp_path / "a.onnx", nodes, EXACT)) == [layer]
    near = _written(tmp_path / "b.onnx", nodes, EXACT | {constant: EXACT[constant] * NEAR})
    if instead == "Erf":  # no layer alone does what the nodes do
        with pytest.raises(OnnxError, match=r"Erf, 1 x .*: no layer does it"):
            layers_of(near)
    else:
        assert any(one.startswith(instead) for one in layers_of(near))


def _written(path: Path, nodes: Callable[[dict[str, float]], list[Any]], numbers: dict[str, float]) -> Path:
    constants = {name: np.float32(value) for name, value in numbers.items()}
    proto = model(nodes(numbers), {"x": ["n", 5]}, ["y"], constants)
    return Path(write(path, proto))


def test_a_value_that_something_else_takes_too_stays(tmp_path: Path) -> None:
    weights = {"w": RNG(0).normal(size=(4, 3)).astype("f4"), "b": np.arange(3, dtype="f4"), "c": np.ones(3, "f4")}
    nodes = [node("MatMul", ["x", "w"], ["p"]), node("Add", ["p", "b"], ["q"]), node("Relu", ["p"], ["r"]),
             node("Mul", ["q", "c"], ["m"]), node("Add", ["m", "b"], ["s"]), node("Tanh", ["m"], ["t"]),
             node("Sum", ["q", "r", "s", "t"], ["y"])]  # fmt: skip
    path = write(tmp_path / "a.onnx", model(nodes, {"x": ["n", 4]}, ["y"], weights))
    assert sorted(layers_of(path)) == sorted(
        ["Dense(3, bias=False)", "ScaleShift()", "ReLU()", "ScaleShift()", "ScaleShift()", "Tanh()", "Add()"]
    )  # fmt: skip


def test_a_constant_behind_a_product_is_its_bias(tmp_path: Path) -> None:
    weights = {"w": RNG(0).normal(size=(4, 3)).astype("f4"), "b": np.arange(3, dtype="f4")}
    nodes = [node("MatMul", ["x", "w"], ["p"]), node("Add", ["b", "p"], ["y"])]
    network = import_onnx(write(tmp_path / "a.onnx", model(nodes, {"x": ["n", 4]}, ["y"], weights)))
    assert [repr(layer) for layer in network.layers] == ["Dense(3)"]
    assert [array.tolist() for name, array in network.state().items() if name.endswith("bias")] == [[0, 1, 2]]


def test_one_layer_that_is_used_twice_keeps_its_weights_and_its_bias_once(tmp_path: Path) -> None:
    weights = {"w": RNG(0).normal(size=(4, 4)).astype("f4"), "b": np.arange(4, dtype="f4")}
    nodes = [node("MatMul", ["x", "w"], ["p"]), node("Add", ["b", "p"], ["q"]),
             node("MatMul", ["q", "w"], ["r"]), node("Add", ["r", "b"], ["y"])]  # fmt: skip
    network = import_onnx(write(tmp_path / "a.onnx", model(nodes, {"x": ["n", 4]}, ["y"], weights)))
    assert network.parameter_count() == 20


def test_channels_last_between_two_transposes_need_none(tmp_path: Path) -> None:
    weights = {"w": RNG(0).normal(size=(4, 6)).astype("f4"), "g": np.ones(4, "f4"), "b": np.zeros(4, "f4")}
    nodes = [node("Conv", ["x", "k"], ["c"]), node("Transpose", ["c"], ["t"], perm=[0, 2, 3, 1]),
             node("LayerNormalization", ["t", "g", "b"], ["l"]), node("MatMul", ["l", "w"], ["m"]),
             node("Transpose", ["m"], ["y"], perm=[0, 3, 1, 2])]  # fmt: skip
    weights["k"] = RNG(1).normal(size=(4, 2, 1, 1)).astype("f4")
    path = write(tmp_path / "a.onnx", model(nodes, {"x": ["n", 2, 5, 3]}, ["y"], weights))
    assert layers_of(path) == ["Conv2D(4, 1, bias=False)", 'LayerNorm(axes="channels")', "Conv2D(6, 1, bias=False)"]


def modules() -> dict[str, tuple[Callable[[Any], Any], tuple[int, ...], str]]:
    """Functions on images or signals with PyTorch's modules, and a layer that each must become."""
    torch: Any = pytest.importorskip("torch", reason="torch is not installed")
    nn, functional = torch.nn, torch.nn.functional
    norm, dense, gate = (one.requires_grad_(False) for one in (nn.LayerNorm(4), nn.Linear(4, 4), nn.Conv2d(4, 4, 1)))

    def shuffled(x: Any) -> Any:
        n, c, h, w = x.shape
        return x.view(n, 2, c // 2, h, w).transpose(1, 2).reshape(n, c, h, w)

    return {
        "squeeze and excite": (
            lambda x: x * functional.hardsigmoid(gate(functional.adaptive_avg_pool2d(x, 1))), (4, 6, 6), "Multiply()"
        ),
        "channel shuffle": (shuffled, (4, 6, 6), "ChannelShuffle(2)"),
        "ConvNeXt": (
            lambda x: dense(norm(x.permute(0, 2, 3, 1))).permute(0, 3, 1, 2), (4, 6, 5), 'LayerNorm(axes="channels")'
        ),
        "GELU": (nn.GELU(), (4, 5), "GELU()"),
        "GELU by tanh": (nn.GELU("tanh"), (4, 5), 'GELU(approximate="tanh")'),
        "GroupNorm": (nn.GroupNorm(2, 4), (4, 5, 6), "GroupNorm(2)"),
        "hard swish": (nn.Hardswish(), (4, 5), "HardSwish()"),
        "mean without padding": (nn.AvgPool2d(3, 1, 1, count_include_pad=False), (4, 6, 5),
                                 "AvgPool2D(3, stride=1, padding=1, count_include_pad=False)"),
        "Mish": (nn.Mish(), (4, 5), "Mish()"),
        "pixel shuffle": (nn.PixelShuffle(2), (4, 3, 3), "PixelShuffle(2)"),
        "reflection": (nn.ReflectionPad2d((1, 2, 0, 1)), (2, 4, 5), 'Pad2D(((0, 1), (1, 2)), mode="reflect")'),
        "SiLU": (nn.SiLU(), (4, 5), "SiLU()"),
        "transposed signal": (nn.ConvTranspose1d(4, 3, 4, 2, 1), (4, 5),
                              "ConvTranspose2D(3, (1, 4), stride=(1, 2), padding=(0, 1))"),
        "upsampling": (nn.Upsample(scale_factor=2, mode="bilinear"), (4, 3, 5), 'Upsample2D(2, mode="bilinear")'),
    }  # fmt: skip


NAMES = [
    "squeeze and excite",
    "channel shuffle",
    "ConvNeXt",
    "GELU",
    "GELU by tanh",
    "GroupNorm",
    "hard swish",
    "mean without padding",
    "Mish",
    "pixel shuffle",
    "reflection",
    "SiLU",
    "transposed signal",
    "upsampling",
]


@pytest.mark.filterwarnings("ignore")  # PyTorch's exporter warns of itself
@pytest.mark.parametrize("name", NAMES)
def test_what_pytorch_exports_is_the_layer(name: str, tmp_path: Path) -> None:
    torch: Any = pytest.importorskip("torch", reason="torch is not installed")
    known = modules()
    assert [*known] == NAMES
    function, shape, layer = known[name]

    class Module(torch.nn.Module):  # type: ignore[misc]  # PyTorch may be missing
        def __init__(self) -> None:
            super().__init__()
            self.function = function

        def forward(self, x: Any) -> Any:
            return self.function(x)

    x: Array = RNG(0).normal(size=(3, *shape)).astype("f4")
    path = tmp_path / "a.onnx"
    options = {"input_names": ["x"], "dynamic_axes": {"x": {0: "batch"}}}
    torch.onnx.export(Module().eval(), (torch.tensor(x),), path, dynamo=False, **options)
    network = import_onnx(path)
    assert layer in [repr(one) for one in network.layers]
    with torch.no_grad():
        np.testing.assert_allclose(network.outputs(x), function(torch.tensor(x)), rtol=1e-4, atol=1e-5)
