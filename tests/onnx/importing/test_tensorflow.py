"""What tf2onnx makes of Keras' layers: channels last, sizes in int32, and layers that are written out.

That the networks give the files' answers is proved by each import.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from foreign_models import model, node, write  # type: ignore[import-not-found]  # beside this file
from onnx import ModelProto, NodeProto, TensorProto

from cnnkit import import_onnx
from cnnkit.errors import OnnxError
from cnnkit.network import Graph
from cnnkit.onnx.backend import CnnkitBackend
from cnnkit.types import Array

FIRST, LAST = [0, 3, 1, 2], [0, 2, 3, 1]
"""What brings channels to the front, and behind the pixels."""


def normal(*shape: int) -> Array:
    return np.random.default_rng(sum(shape)).normal(size=shape).astype("f4")


def numbers(*values: int) -> Array:
    return np.array(values, np.int64)


def imported(path: Path, proto: ModelProto) -> Graph:
    return import_onnx(write(path / "a.onnx", proto))


def layers_of(network: Graph) -> list[str]:
    return [repr(layer) for layer in network.layers]


def flattened(value: str) -> list[NodeProto]:
    """Keras' Flatten: the shape in int32, of which the first number is the number of samples."""
    return [
        node("Shape", [value], ["shape"]),
        node("Cast", ["shape"], ["shape32"], to=TensorProto.INT32),
        node("Slice", ["shape32", "zero", "one", "zero"], ["samples"]),
        node("Concat", ["samples", "rest"], ["wanted32"], axis=0),
        node("Cast", ["wanted32"], ["wanted"], to=TensorProto.INT64),
        node("Reshape", [value, "wanted"], ["flat"]),
    ]


FLAT = {"zero": numbers(0), "one": numbers(1), "rest": np.array([-1], np.int32)}


def test_sizes_may_be_int32(tmp_path: Path) -> None:
    nodes = [node("Transpose", ["x"], ["t"], perm=FIRST), node("Conv", ["t", "k"], ["c"]),
             node("Transpose", ["c"], ["l"], perm=LAST), *flattened("l"),
             node("MatMul", ["flat", "w"], ["y"])]  # fmt: skip
    weights = FLAT | {"k": normal(4, 2, 3, 3), "w": normal(4 * 3 * 4, 5)}
    network = imported(tmp_path, model(nodes, {"x": ["n", 5, 6, 2]}, ["y"], weights))
    assert network.input_shape == (2, 5, 6)
    assert layers_of(network) == ["Conv2D(4, 3, bias=False)", "Permute((2, 3, 1))", "Flatten()", "Dense(5, bias=False)"]


def test_sizes_of_one_type_are_computed_in_it(tmp_path: Path) -> None:
    """Height and width are no free sizes once they are taken alone, and stay int32."""
    nodes = [node("Shape", ["x"], ["shape"]), node("Cast", ["shape"], ["s"], to=TensorProto.INT32),
             node("Slice", ["s", "one", "three", "zero"], ["inner"]), node("Mul", ["inner", "two"], ["twice"]),
             node("Slice", ["s", "zero", "one", "zero"], ["n"]), node("Concat", ["n", "twice"], ["w32"], axis=0),
             node("Cast", ["w32"], ["w"], to=TensorProto.INT64), node("Reshape", ["x", "w"], ["r"]),
             node("Relu", ["r"], ["y"])]  # fmt: skip
    weights = {"zero": numbers(0), "one": numbers(1), "three": numbers(3), "two": np.array([2, 1], np.int32)}
    network = imported(tmp_path, model(nodes, {"x": ["n", 3, 4, 2]}, ["y"], weights))
    assert network.output_shape == (6, 4)


def test_one_channel_moves_by_a_reshape(tmp_path: Path) -> None:
    nodes = [node("Reshape", ["x", "first"], ["t"]), node("Conv", ["t", "k"], ["c"]), node("Relu", ["c"], ["y"])]
    weights = {"first": numbers(-1, 1, 6, 5), "k": normal(2, 1, 3, 3)}
    network = imported(tmp_path, model(nodes, {"x": ["n", 6, 5, 1]}, ["y"], weights))
    assert network.input_shape == (1, 6, 5)
    assert layers_of(network) == ["Conv2D(2, 3, bias=False)", "ReLU()"]


def test_a_reshape_that_changes_nothing_goes(tmp_path: Path) -> None:
    nodes = [node("Conv", ["x", "k"], ["c"]), node("Reshape", ["c", "same"], ["r"]), node("Relu", ["r"], ["y"])]
    weights = {"same": numbers(-1, 2, 4, 3), "k": normal(2, 1, 3, 3)}
    network = imported(tmp_path, model(nodes, {"x": ["n", 1, 6, 5]}, ["y"], weights))
    assert layers_of(network) == ["Conv2D(2, 3, bias=False)", "ReLU()"]


def segmenting() -> ModelProto:
    nodes = [node("Transpose", ["x"], ["t"], perm=FIRST), node("Conv", ["t", "k"], ["c"]),
             node("Softmax", ["c"], ["s"], axis=1), node("Transpose", ["s"], ["y"], perm=LAST)]  # fmt: skip
    return model(nodes, {"x": ["n", 6, 5, 2]}, ["y"], {"k": normal(3, 2, 1, 1)})  # type: ignore[no-any-return]  # untyped


def test_images_that_come_out_have_their_channels_first_as_well(tmp_path: Path) -> None:
    network = imported(tmp_path, segmenting())
    assert (network.input_shape, network.output_shape) == ((2, 6, 5), (3, 6, 5))
    assert layers_of(network) == ["Conv2D(3, 1, bias=False)", "Softmax()"]
    assert network.task.gives == "classes"


def test_a_backend_gives_images_as_the_file_does() -> None:
    x = normal(2, 6, 5, 2)
    (y,) = CnnkitBackend.prepare(segmenting()).run([x])
    assert y.shape == (2, 6, 5, 3)
    np.testing.assert_allclose(y.sum(axis=-1), 1, rtol=1e-5)


def written_out(x: str, axes: str, y: str, turned: str = "") -> list[NodeProto]:
    """Keras' normalisation of single samples; turned: x in another order of axes."""
    return [
        node("ReduceMean", [x, axes], ["mean"]),
        node("Neg", ["mean"], ["negative"]),
        node("Sub", [x, "mean"], ["d"]),
        node("Mul", ["d", "d"], ["d2"]),
        node("ReduceMean", ["d2", axes], ["variance"]),
        node("Add", ["variance", "epsilon"], ["v"]),
        node("Sqrt", ["v"], ["root"]),
        node("Reciprocal", ["root"], ["inverse"]),
        node("Mul", ["inverse", "gamma"], ["g"]),
        node("Mul", [turned or x, "g"], ["scaled"]),
        node("Mul", ["negative", "g"], ["m"]),
        node("Add", ["m", "beta"], ["offset"]),
        node("Add", ["scaled", "offset"], [y]),
    ]


@pytest.mark.parametrize(
    ("axes", "learned", "layer"),
    [
        ((1,), (1, 4, 1, 1), 'LayerNorm(axes="channels", epsilon=0.001)'),
        ((1, 2, 3), (1, 4, 5, 6), "LayerNorm(epsilon=0.001)"),
        ((2, 3), (1, 4, 1, 1), "InstanceNorm2D(epsilon=0.001, affine=True)"),
    ],
)
def test_a_normalisation_that_is_written_out(
    axes: tuple[int, ...], learned: tuple[int, ...], layer: str, tmp_path: Path
) -> None:
    weights = {"axes": numbers(*axes), "epsilon": np.float32(1e-3), "gamma": normal(*learned), "beta": normal(*learned)}
    proto = model(written_out("x", "axes", "y"), {"x": ["n", 4, 5, 6]}, ["y"], weights, opset=18)
    assert layers_of(imported(tmp_path, proto)) == [layer]


def test_a_normalisation_of_all_numbers_with_the_channels_last(tmp_path: Path) -> None:
    weights = {"axes": numbers(1, 2, 3), "epsilon": np.float32(1e-3), "gamma": normal(1, 5, 6, 4), "beta": normal(6, 4)}
    nodes = [node("Conv", ["x", "k"], ["c"]), node("Transpose", ["c"], ["l"], perm=LAST)]
    nodes += written_out("c", "axes", "y", turned="l")
    proto = model(nodes, {"x": ["n", 3, 5, 6]}, ["y"], weights | {"k": normal(4, 3, 1, 1)}, opset=18)
    assert "LayerNorm(epsilon=0.001)" in layers_of(imported(tmp_path, proto))


def test_what_normalises_over_some_axes_alone_is_refused(tmp_path: Path) -> None:
    weights = {"axes": numbers(1, 2), "epsilon": np.float32(1e-3), "gamma": normal(1), "beta": normal(1)}
    proto = model(written_out("x", "axes", "y"), {"x": ["n", 2, 3, 4, 5]}, ["y"], weights, opset=18)
    with pytest.raises(OnnxError, match="it normalises over 2 of 4 axes; LayerNorm over all or one, InstanceNorm2D"):
        imported(tmp_path, proto)


def test_what_only_looks_like_a_normalisation_is_none(tmp_path: Path) -> None:
    """Its offset has another mean."""
    weights = {"axes": numbers(1), "epsilon": np.float32(1e-3), "gamma": normal(4), "beta": normal(4)}
    nodes = written_out("x", "axes", "y")
    nodes[1] = node("Neg", ["x"], ["negative"])
    with pytest.raises(OnnxError, match=r"Reciprocal, 1 x \(Reciprocal of inverse\): no layer does it"):
        imported(tmp_path, model(nodes, {"x": ["n", 4]}, ["y"], weights, opset=18))


def test_groups_are_normalised(tmp_path: Path) -> None:
    nodes = [node("Transpose", ["x"], ["t"], perm=FIRST), node("Conv", ["t", "k"], ["c"]),
             node("Transpose", ["c"], ["l"], perm=LAST), node("Reshape", ["l", "apart"], ["a"]),
             *written_out("a", "axes", "b"), node("Reshape", ["b", "together"], ["r"]),
             node("Transpose", ["r"], ["f"], perm=FIRST), node("Relu", ["f"], ["y"])]  # fmt: skip
    weights = {"axes": numbers(1, 2, 4), "epsilon": np.float32(1e-3), "gamma": normal(1, 1, 1, 2, 3),
               "beta": normal(2, 3), "apart": numbers(-1, 4, 5, 2, 3), "together": numbers(-1, 4, 5, 6),
               "k": normal(6, 2, 1, 1)}  # fmt: skip
    network = imported(tmp_path, model(nodes, {"x": ["n", 4, 5, 2]}, ["y"], weights, opset=18))
    assert layers_of(network) == ["Conv2D(6, 1, bias=False)", "GroupNorm(2, epsilon=0.001)", "ReLU()"]


def repeated(x: str, axis: int, shape: tuple[int, ...], y: str) -> tuple[list[NodeProto], dict[str, Array]]:
    """Keras' repeat: a new axis behind one, which is repeated, and one axis of both."""
    times = [1] * (len(shape) + 2)
    times[axis + 1] = 2
    nodes = [node("Unsqueeze", [x, f"{y}.axis"], [f"{y}.wide"]),
             node("Tile", [f"{y}.wide", f"{y}.times"], [f"{y}.more"]),
             node("Reshape", [f"{y}.more", f"{y}.shape"], [y])]  # fmt: skip
    return nodes, {f"{y}.axis": numbers(axis + 1), f"{y}.times": numbers(*times), f"{y}.shape": numbers(-1, *shape)}


def test_pixels_that_are_repeated(tmp_path: Path) -> None:
    rows, first = repeated("l", 1, (8, 5, 3), "rows")
    columns, second = repeated("rows", 2, (8, 10, 3), "columns")
    nodes = [node("Transpose", ["x"], ["t"], perm=FIRST), node("Conv", ["t", "k"], ["c"]),
             node("Transpose", ["c"], ["l"], perm=LAST), *rows, *columns,
             node("Transpose", ["columns"], ["f"], perm=FIRST), node("Relu", ["f"], ["y"])]  # fmt: skip
    weights = first | second | {"k": normal(3, 2, 1, 1)}
    network = imported(tmp_path, model(nodes, {"x": ["n", 4, 5, 2]}, ["y"], weights))
    assert layers_of(network) == ["Conv2D(3, 1, bias=False)", "Upsample2D(2)", "ReLU()"]


def test_pixels_that_are_repeated_with_a_transpose_between(tmp_path: Path) -> None:
    """tf2onnx moves Transposes through what does not mind."""
    nodes = [node("Conv", ["x", "k"], ["c"]), node("Unsqueeze", ["c", "axis"], ["u"]),
             node("Tile", ["u", "times"], ["m"]), node("Transpose", ["m"], ["t"], perm=[0, 2, 3, 4, 1]),
             node("Reshape", ["t", "shape"], ["r"]),
             node("Transpose", ["r"], ["y"], perm=FIRST)]  # fmt: skip
    weights = {
        "k": normal(3, 2, 1, 1),
        "axis": numbers(3),
        "times": numbers(1, 1, 1, 2, 1),
        "shape": numbers(-1, 8, 5, 3),
    }
    network = imported(tmp_path, model(nodes, {"x": ["n", 2, 4, 5]}, ["y"], weights))
    assert layers_of(network) == ["Conv2D(3, 1, bias=False)", "Upsample2D((2, 1))"]


def test_steps_of_a_signal_that_are_repeated(tmp_path: Path) -> None:
    nodes, weights = repeated("x", 1, (12, 2), "y")
    network = imported(tmp_path, model(nodes, {"x": ["n", 6, 2]}, ["y"], weights))
    assert "Upsample2D((1, 2))" in layers_of(network)


def test_copies_side_by_side_are_no_repetition(tmp_path: Path) -> None:
    nodes = [
        node("Unsqueeze", ["x", "axis"], ["u"]),
        node("Tile", ["u", "times"], ["m"]),
        node("Reshape", ["m", "s"], ["y"]),
    ]
    weights = {"axis": numbers(1), "times": numbers(1, 2, 1, 1), "s": numbers(-1, 12, 2)}
    with pytest.raises(OnnxError, match=r"Tile, 1 x \(Tile of m\): no layer does it"):
        imported(tmp_path, model(nodes, {"x": ["n", 6, 2]}, ["y"], weights))


def test_a_dense_layer_on_images(tmp_path: Path) -> None:
    nodes = [node("Transpose", ["x"], ["t"], perm=FIRST), node("Conv", ["t", "k"], ["c"]),
             node("Transpose", ["c"], ["l"], perm=LAST), node("Reshape", ["l", "rows"], ["r"]),
             node("MatMul", ["r", "w"], ["p"]), node("Reshape", ["p", "pixels"], ["q"]), node("Add", ["q", "b"], ["a"]),
             node("Transpose", ["a"], ["f"], perm=FIRST), node("Relu", ["f"], ["y"])]  # fmt: skip
    weights = {
        "k": normal(3, 2, 1, 1),
        "rows": numbers(-1, 3),
        "w": normal(3, 4),
        "pixels": numbers(-1, 4, 5, 4),
        "b": normal(4),
    }
    network = imported(tmp_path, model(nodes, {"x": ["n", 4, 5, 2]}, ["y"], weights))
    assert layers_of(network) == ["Conv2D(3, 1, bias=False)", "Conv2D(4, 1)", "ReLU()"]


def test_squeeze_and_excite_needs_no_other_order(tmp_path: Path) -> None:
    nodes = [node("Transpose", ["x"], ["t"], perm=FIRST), node("Conv", ["t", "k"], ["c"]),
             node("Transpose", ["c"], ["l"], perm=LAST), node("ReduceMean", ["l"], ["m"], axes=[1, 2], keepdims=0),
             node("Reshape", ["m", "pixel"], ["p"]), node("MatMul", ["p", "w"], ["q"]), node("Sigmoid", ["q"], ["s"]),
             node("Mul", ["l", "s"], ["z"]), node("Transpose", ["z"], ["y"], perm=FIRST)]  # fmt: skip
    weights = {"k": normal(3, 2, 1, 1), "pixel": numbers(-1, 1, 1, 3), "w": normal(3, 3)}
    network = imported(tmp_path, model(nodes, {"x": ["n", 4, 5, 2]}, ["y"], weights))
    assert layers_of(network) == [
        "Conv2D(3, 1, bias=False)", "GlobalAvgPool2D()", "Reshape((3, 1, 1))", "Conv2D(3, 1, bias=False)", "Sigmoid()",
        "Multiply()",
    ]  # fmt: skip


def test_signals_are_images_one_pixel_high(tmp_path: Path) -> None:
    nodes = [node("Unsqueeze", ["x", "one"], ["u"]), node("Transpose", ["u"], ["t"], perm=FIRST),
             node("Conv", ["t", "k"], ["c"], strides=[1, 2]), node("Squeeze", ["c", "two"], ["s"]),
             node("Relu", ["s"], ["r"]), node("Unsqueeze", ["r", "two"], ["v"]),
             node("MaxPool", ["v"], ["p"], kernel_shape=[1, 2], strides=[1, 2]),
             node("AveragePool", ["p"], ["q"], kernel_shape=[1, 2]), node("Squeeze", ["q", "two"], ["y"])]  # fmt: skip
    weights = {"one": numbers(1), "two": numbers(2), "k": normal(4, 2, 1, 3)}
    network = imported(tmp_path, model(nodes, {"x": ["n", 16, 2]}, ["y"], weights))
    assert network.input_shape == (2, 16)
    assert layers_of(network) == [
        "Conv1D(4, 3, stride=2, bias=False)", "ReLU()", "MaxPool1D(2, stride=2)", "AvgPool1D(2, stride=1)"
    ]  # fmt: skip


def test_steps_are_padded_wherever_the_channels_are(tmp_path: Path) -> None:
    nodes = [node("Pad", ["x", "pads"], ["p"]), node("Relu", ["p"], ["y"])]
    network = imported(tmp_path, model(nodes, {"x": ["n", 6, 2]}, ["y"], {"pads": numbers(0, 1, 0, 0, 2, 0)}))
    assert network.output_shape == (9, 2)
    assert "Pad2D(((0, 0), (1, 2)))" in layers_of(network)


def test_a_slice_may_name_the_batch_axis(tmp_path: Path) -> None:
    nodes = [node("Slice", ["x", "starts", "ends"], ["s"]), *flattened("s"), node("Relu", ["flat"], ["y"])]
    weights = FLAT | {"starts": numbers(0, 1, 0), "ends": numbers(2**31 - 1, -1, 2**31 - 1)}
    network = imported(tmp_path, model(nodes, {"x": ["n", 6, 2]}, ["y"], weights))
    assert network.output_shape == (8,)


def test_all_that_is_missing_is_listed_with_its_reason(tmp_path: Path) -> None:
    nodes = [node("Erfc", ["x"], ["e"]), *flattened("e"), node("Exp", ["flat"], ["p"]),
             node("Mul", ["p", "count"], ["y"]), node("Shape", ["x"], ["xs"]), node("Gather", ["xs", "zero"], ["n"]),
             node("Cast", ["n"], ["count"], to=TensorProto.FLOAT)]  # fmt: skip
    with pytest.raises(OnnxError) as raised:
        imported(tmp_path, model(nodes, {"x": ["n", 6, 2]}, ["y"], FLAT))
    _, *lines = str(raised.value).splitlines()
    assert lines == [
        "  Erfc, 1 x (Erfc of e): ONNX 17 has no such operator, so no runtime can run the file",
        "  Exp, 1 x (Exp of p): no layer does it",
        "  Cast, 1 x (Cast of count): it computes with the number of samples, which a layer does not know",
    ]


def test_constants_that_an_exporter_left_out_are_named_with_their_shapes(tmp_path: Path) -> None:
    nodes = [node("Sub", ["x", "mean"], ["y"])]
    with pytest.raises(
        OnnxError, match=r"2 inputs \(x of shape \(N, 6, 2\), mean of shape \(N, 1, 2\)\).*Normalization"
    ):
        imported(tmp_path, model(nodes, {"x": ["n", 6, 2], "mean": [1, 1, 2]}, ["y"]))
