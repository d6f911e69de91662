"""Sequential: building, naming, state, predictions, and errors that name the layer."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable

import numpy as np
import pytest

from cnnkit.errors import ComponentError, ConfigError, DataError, ShapeError
from cnnkit.layers import BatchNorm2D, Concat, Conv2D, Dense, Flatten, MaxPool2D, ReLU, Residual
from cnnkit.network import INPUT, Sequential
from cnnkit.types import Gives, Preprocessing, Task


def small() -> Sequential:
    return Sequential([Conv2D(2, 3), BatchNorm2D(), ReLU(), Flatten(), Dense(3)], (1, 6, 6), labels=("a", "b", "c"))


def test_nodes_are_flat_and_named_in_order() -> None:
    model = Sequential(
        [
            Conv2D(4, 3, padding="same"),
            Residual(Conv2D(4, 3, padding="same"), ReLU()),
            Concat(Conv2D(1, 1), []),
        ],
        (1, 4, 4),
    )
    assert [(node.name, node.inputs) for node in model.nodes] == [
        ("conv2d_1", (INPUT,)),
        ("conv2d_2", (0,)),
        ("relu_1", (1,)),
        ("residual_1", (2, 0)),
        ("conv2d_3", (3,)),
        ("concat_1", (4, 3)),
    ]
    assert model.output_shape == (5, 4, 4)


def test_names_of_layers_are_words() -> None:
    model = Sequential(["MaxPool2D(2)", "BatchNorm2D()", "ReLU()", "Flatten()", "Dense(2)"], (1, 4, 4))
    assert [node.name for node in model.nodes] == ["max_pool2d_1", "batch_norm2d_1", "relu_1", "flatten_1", "dense_1"]


def test_parameters_are_views_of_one_vector() -> None:
    model = small()
    model.parameters.vector[...] = 7
    state = model.state()
    assert list(state) == [
        "conv2d_1.weight",
        "conv2d_1.bias",
        "batch_norm2d_1.gamma",
        "batch_norm2d_1.beta",
        "batch_norm2d_1.running_mean",
        "batch_norm2d_1.running_var",
        "dense_1.weight",
        "dense_1.bias",
    ]
    assert (state["dense_1.weight"] == 7).all()
    assert (state["batch_norm2d_1.running_var"] == 1).all()
    assert model.parameter_count() == sum(a.size for n, a in state.items() if "running" not in n)
    assert all(array.dtype == np.float32 for array in state.values())


def test_state_round_trip_and_misfits() -> None:
    model, other = small(), Sequential([*small().layers[:0], "Flatten()", "Dense(3)"], (1, 6, 6))
    state = model.state()
    model.parameters.vector[...] = 0
    model.load_state(state)
    assert all((model.state()[name] == state[name]).all() for name in state)
    with pytest.raises(
        ShapeError, match=r"conv2d_1\.weight is not in this network.*dense_1\.weight has shape \(3, 32\)"
    ):
        other.load_state(state)
    with pytest.raises(ShapeError, match=r"dense_1\.bias is missing"):
        other.load_state({"dense_1.weight": np.zeros((3, 36))})


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda model: pickle.loads(pickle.dumps(model))])
def test_a_copy_is_a_network_of_its_own(copied: Callable[[Sequential], Sequential]) -> None:
    model = small()
    model.parameters.vector += 1
    before = model.state()
    again = copied(model)
    assert all((again.state()[name] == before[name]).all() for name in before)
    assert (again.labels, again.input_shape) == (model.labels, model.input_shape)
    again.parameters.vector[...] = 5  # its layers look into this vector
    assert (again.state()["dense_1.bias"] == 5).all()
    assert all((model.state()[name] == before[name]).all() for name in before)


def test_layers_of_another_network_are_refused() -> None:
    model, residual = small(), Residual(Conv2D(1, 3, padding="same"))
    before = model.state()
    inner = Sequential([residual], (1, 6, 6))
    for layers in (model.layers, [*model.layers[:-1], Dense(2)], [Residual(*residual.body)]):
        with pytest.raises(ConfigError, match=r"belongs to another network.*\], weights=old\), which copies"):
            Sequential(layers, (1, 6, 6))
    assert all((model.state()[name] == before[name]).all() for name in before)
    Sequential([*copy.deepcopy(model.layers[:-1]), Dense(2)], (1, 6, 6))
    del inner  # what belongs to no network any more may be used
    Sequential([residual], (1, 6, 6))


def test_what_is_no_list_of_layers() -> None:
    with pytest.raises(ConfigError, match=r"expected a list of layers, such as .* got 'Flatten\(\)'"):
        Sequential("Flatten()", (1, 6, 6))
    with pytest.raises(ConfigError, match=r"expected a layer, got the class ReLU: write ReLU\(\.\.\.\)"):
        Sequential([ReLU], (1, 6, 6))  # type: ignore[list-item]  # wrong on purpose
    with pytest.raises(ConfigError, match="expected a layer or its expression, got 3"):
        Sequential([3], (1, 6, 6))  # type: ignore[list-item]  # wrong on purpose


def test_seed_decides_the_first_weights() -> None:
    def weights(seed: int) -> bytes:
        return Sequential(["Flatten()", "Dense(3)"], (1, 6, 6), seed=seed).parameters.vector.tobytes()

    assert weights(1) == weights(1)
    assert weights(1) != weights(2)


def test_predictions_take_raw_values_of_any_number_type() -> None:
    model = Sequential(["Flatten()", "Dense(3)"], (1, 2, 2), preprocessing=Preprocessing(1 / 255, (0.5,), (0.2,)))
    raw = np.arange(8, dtype=np.uint8).reshape(2, 1, 2, 2) * 30
    by_hand = (raw / 255 - 0.5).reshape(2, 4) / 0.2 @ model.state()["dense_1.weight"].T
    for x in (raw, raw.astype(np.float32), raw.astype(np.float64), raw.astype(np.int32), raw.tolist()):
        np.testing.assert_allclose(model.logits(x), by_hand, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(model.predict_proba(raw).sum(axis=1), 1, rtol=1e-6)
    assert (model.predict(raw) == by_hand.argmax(axis=1)).all()
    assert model.predict(raw[:0]).shape == (0,)


def test_wrong_inputs_are_told_what_was_expected() -> None:
    model = small()
    with pytest.raises(ShapeError, match=r"expected inputs of shape \(N, 1, 6, 6\), got \(1, 6, 6\): write x\[None\]"):
        model.predict(np.zeros((1, 6, 6)))
    with pytest.raises(ShapeError, match=r"expected inputs of shape \(N, 1, 6, 6\), got \(2, 1, 6, 7\)"):
        model.predict(np.zeros((2, 1, 6, 7)))
    with pytest.raises(ShapeError, match="expected numbers, uint8 or float, got an array of <U1"):
        model.predict(np.array(["a"]))


def scores(*layers: str, gives: Gives = "classes") -> Sequential:
    model = Sequential([*layers, "Flatten()", "Dense(2, bias=False)"], (1, 1, 2), task=Task(gives, from_logits=True))
    model.load_state({"dense_1.weight": np.eye(2, dtype=np.float32)})
    return model


@pytest.mark.parametrize(("gives", "what"), [("classes", "class"), ("labels", "labels")])
def test_no_class_is_predicted_from_nan(gives: Gives, what: str) -> None:
    model, x = scores(gives=gives), np.arange(8, dtype=np.float32).reshape(4, 1, 1, 2)
    x[2, 0, 0, 0] = np.nan
    with pytest.raises(DataError) as error:
        model.predict(x)
    assert str(error.value) == (
        "the network gives NaN for sample 2: its weights are not finite, or an input is not. So it predicts no "
        f"{what}: fix or remove the sample; logits(x) and predict_proba(x) keep NaN"
    )
    assert np.isnan(model.logits(x)).any(axis=1).tolist() == [False, False, True, False]
    assert np.isnan(model.predict_proba(x)).any(axis=1).tolist() == [False, False, True, False]
    good = model.predict(x[[0, 1, 3]])
    assert good.tolist() == ([1, 1, 1] if gives == "classes" else [[True, True]] * 3)


def test_no_class_is_predicted_for_a_pixel_that_is_nan() -> None:
    model = Sequential(["Conv2D(2, 1)"], (1, 2, 2))
    x = np.zeros((3, 1, 2, 2), np.float32)
    x[1, 0, 1, 1] = np.nan
    with pytest.raises(DataError, match=r"the network gives NaN for sample 1: .* So it predicts no class"):
        model.predict(x)


def test_values_that_are_nan_are_given() -> None:
    x = np.array([[[[1, np.nan]]]], np.float32)
    assert np.isnan(scores(gives="values").predict(x)).any()


def test_misfit_names_the_layer_and_the_shapes() -> None:
    with pytest.raises(ShapeError, match=r"layer conv2d_2 = Conv2D\(4, 3\), after max_pool2d_1 of shape \(2, 2, 2\)"):
        Sequential([Conv2D(2, 3), MaxPool2D(2), Conv2D(4, 3)], (1, 6, 6))
    with pytest.raises(ShapeError, match=r"there are 3 classes: the last layer must give 3 values, as Dense\(3\) does"):
        Sequential(["Flatten()", "Dense(2)"], (1, 6, 6), labels="abc")


def test_unknown_and_impossible_layers() -> None:
    with pytest.raises(ComponentError, match="did you mean Conv2D"):
        Sequential(["Conv2d(2, 3)"], (1, 6, 6))
    with pytest.raises(ConfigError, match="a network needs at least one layer"):
        Sequential([], (1, 6, 6))
    relu = ReLU()
    with pytest.raises(
        ConfigError, match=r"ReLU\(\) is already used in the network, as relu_1: create a separate layer for each place"
    ):
        Sequential([relu, relu], (1, 6, 6))
    with pytest.raises(ShapeError, match=r"input_shape must be \(channels, height, width\)"):
        Sequential([ReLU()], ())


def test_summary_lists_what_runs() -> None:
    text = small().summary()
    assert "conv2d_1" in text
    assert "2 x 4 x 4" in text
    assert text.splitlines()[-1] == (
        "123 parameters; for each sample 384 products (a multiplication and its addition) and 928 operations in all"
    )


class Doubled(ReLU):
    pass


def test_summary_says_which_layers_do_not_say_what_they_cost() -> None:
    lines = Sequential(["ReLU()", Doubled()], (4,)).summary().splitlines()
    assert [line.split()[-1] for line in lines[-3:-1]] == ["4", "?"]
    assert lines[-1] == (
        "0 parameters; for each sample 0 products (a multiplication and its addition) and 4 operations in all, without "
        "those marked ?"
    )
