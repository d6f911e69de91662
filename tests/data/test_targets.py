"""Targets as other libraries give them: what can mean one thing is taken, anything else refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from cnnkit.class_indices import indices_of
from cnnkit.data.targets import as_targets
from cnnkit.errors import CnnkitError, DataError, ShapeError
from cnnkit.network import Sequential
from cnnkit.training import Trainer
from cnnkit.types import Array, Data, Samples

Y = np.arange(30) % 3
NAMES = np.array(["cat", "dog", "owl"])
X = (np.eye(3)[Y] * 4 + np.random.default_rng(0).normal(size=(30, 3))).astype(np.float32)


class Series:
    """What pandas gives, as far as NumPy asks for it: an array of objects."""

    def __init__(self, values: Any) -> None:
        self.values = np.asarray(values, object)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Array:
        return self.values


CLASSES = {
    "indices": Y,
    "list": Y.tolist(),
    "column": Y[:, None],
    "uint8 column": Y.astype("u1")[:, None],
    "one-hot ints": np.eye(3, dtype=int)[Y],
    "one-hot booleans": np.eye(3)[Y] == 1,
    "names": NAMES[Y],
    "column of names": NAMES[Y][:, None],
    "bytes": NAMES[Y].astype("S"),
    "strings of any length": NAMES[Y].astype(np.dtypes.StringDType()),
    "series of names": Series(NAMES[Y]),
    "series of ints": Series(Y),
    "masked without a mask": np.ma.masked_equal(Y, 7),
}


@pytest.mark.parametrize("given", CLASSES.values(), ids=CLASSES.keys())
def test_all_that_are_classes_train_the_same_network(given: Any) -> None:
    def trained(y: Any) -> Array:
        model = Sequential(["Dense(3)"], (3,))
        Trainer(epochs=2, workers=1).fit(model, (X, y))
        return model.parameters.vector

    np.testing.assert_allclose(trained(given), trained(Y), rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("given", [Y > 0, (Y > 0)[:, None], Series(Y > 0)])
def test_booleans_are_two_classes(given: Any) -> None:
    y, labels = as_targets(given, outputs=(2,))
    assert_array_equal(y, Y > 0)
    assert y.dtype == np.int64
    assert labels == ()


def test_names_stay_with_the_model() -> None:
    model = Sequential(["Dense(3)"], (3,))
    run = Trainer(epochs=20, optimizer="Adam(0.1)", workers=1).fit(model, (X, NAMES[Y]))
    assert run.model.labels == ("cat", "dog", "owl")
    assert Trainer(workers=1).evaluate(model, Samples(X, NAMES[Y]))["accuracy"] > 0.9


def test_names_are_those_of_the_model_in_its_order() -> None:
    model = Sequential(["Dense(3)"], (3,), labels=["owl", "dog", "cat"])
    Trainer(epochs=20, optimizer="Adam(0.1)", workers=1).fit(model, (X, NAMES[Y]))
    assert model.labels == ("owl", "dog", "cat")
    assert np.mean(NAMES[::-1][model.predict(X)] == NAMES[Y]) > 0.9


def test_names_of_all_parts_are_those_of_the_training_samples() -> None:
    train, test = Samples(X, NAMES[Y]), Samples(X[:4], np.array(["dog", "cow", "owl", "cat"]))
    with pytest.raises(DataError) as caught:
        Trainer().fit(Sequential(["Dense(3)"], (3,)), Data(train, test))
    assert str(caught.value) == (
        "the test targets: expected names among the labels 'cat', 'dog', 'owl'; that of sample 1 is 'cow'"
    )


def test_labels_of_the_data_stay_with_a_model_that_has_none() -> None:
    model = Sequential(["Dense(3)"], (3,))
    Trainer(epochs=1, workers=1).fit(model, Data(Samples(X, Y), Samples(X, Y), labels=("a", "b", "c")))
    assert model.labels == ("a", "b", "c")


def test_one_output_has_values() -> None:
    for given in (Y.astype("f8"), Y[:, None], Y.astype("f4")[:, None]):
        y, _ = as_targets(given, outputs=(1,))
        assert y.shape == (30, 1)
        model = Sequential(["Dense(1)"], (3,))
        run = Trainer(loss="MSE()", metrics=[], epochs=100, optimizer="Adam(0.1)", workers=1).fit(model, (X, given))
        assert run.history["loss"][-1] < 0.1


@pytest.mark.parametrize("given", [Y > 0, (Y > 0)[:, None], (Y > 0).astype(int), (Y > 0) * 1.0, Series(Y > 0)])
def test_one_label_is_there_or_not(given: Any) -> None:
    model = Sequential(["Dense(1)"], (3,))
    run = Trainer(loss="BinaryCrossEntropy()", metrics=[], epochs=60, optimizer="Adam(0.1)", workers=1).fit(
        model, (X, given)
    )
    assert run.history["loss"][-1] < 0.2


def test_any_number_of_labels() -> None:
    given = np.stack([Y > 0, Y < 2], axis=1)
    losses = []
    for y in (given, given.astype(int), given.astype("f4")):
        run = Trainer(loss="BinaryCrossEntropy()", metrics=[], epochs=2, workers=1).fit(
            Sequential(["Dense(2)"], (3,)), (X, y)
        )
        losses.append(run.history["loss"])
    assert losses[0] == losses[1] == losses[2]
    message = refusal(given * 2, 2, loss="BinaryCrossEntropy()", metrics=[])
    assert message.startswith(
        "the targets must be 0 to 1, one for each label; that of the training sample 0 is [0 2]: for"
    )
    message = refusal(Y, 2, loss="BinaryCrossEntropy()", metrics=[])
    assert message.startswith(
        "the training targets must be zeros and ones of shape (30, 2), one for each output; got int64 of shape (30,): "
        "for class indices, use the loss CrossEntropy(); for values to regress, "
    )


def test_classes_of_pixels() -> None:
    x, y = np.zeros((30, 1, 4, 4), np.float32), np.zeros((30, 4, 4), int)
    for given in (y, y == 0):
        model = Sequential(["Conv2D(3, 1)"], (1, 4, 4))
        assert Trainer(epochs=1, workers=1).fit(model, (x, given)).history["loss"]
    y[23, 1, 2] = 3
    with pytest.raises(ShapeError) as caught:
        Trainer().fit(Sequential(["Conv2D(3, 1)"], (1, 4, 4)), (x, y))
    assert "0 to 2; the target of the training sample 23 is 3 at pixel (1, 2): give the last layer" in str(caught.value)


def refusal(y: Any, outputs: int = 3, **options: Any) -> str:
    with pytest.raises(CnnkitError) as caught:
        Trainer(epochs=1, **options).fit(Sequential([f"Dense({outputs})"], (3,)), (X, y))
    return str(caught.value)


def test_names_that_are_no_text() -> None:
    names = np.array([b"cat", b"d\xffg", b"owl"] * 10)
    assert refusal(names).startswith("the training targets: expected names in UTF-8:")


def test_what_can_mean_two_things_is_refused_with_both() -> None:
    regress = "for values to regress, end the network in one output for each, and use the loss MSE() and metrics=[]"
    start = "the training targets must be class indices, integers of shape (30,), or values of shape (30, 3), one for "
    for whole in (Y.astype("f8"), Y.astype("f8")[:, None]):
        assert refusal(whole) == (
            f"{start}each output; got float64 of shape {whole.shape}: for class indices, write y.astype(int).ravel(); "
            f"{regress}"
        )
    assert refusal(Y / 7) == f"{start}each output; got float64 of shape (30,): {regress}"
    assert refusal(np.c_[Y, Y]) == f"{start}each output; got int64 of shape (30, 2): {regress}"
    assert refusal(Y > 0, 1) == (
        "the training targets are booleans, and the network has one output: for two classes, end it in Dense(2); for "
        'one label, use the loss BinaryCrossEntropy(); for the values 0 and 1, write y.astype("float32")'
    )
    assert refusal(Y, 1) == (
        "the network has 1 output, so class indices must be 0; the target of the training sample 1 is 1: for values to "
        'regress, write y.astype("float32"); for classes, give the last layer one output for each'
    )


def test_what_is_missing_is_refused_by_its_sample() -> None:
    assert refusal(np.ma.masked_equal(Y, 1)) == (
        "expected the training targets as an ordinary array, got a masked one, which hides 10 of 30 numbers, the first "
        "at index (1,): replace them, as x.filled(0) does, or remove these samples"
    )
    for missing in (None, np.nan):
        given = Series(NAMES[Y])
        given.values[7] = missing
        assert refusal(given) == (
            "the training targets: expected a number, a name or a boolean for each sample, all of one kind; that of "
            f"sample 7 is {missing!r}: remove samples without a target"
        )


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (3, "the training targets: expected one for each sample, got a single value of int64"),
        (None, "the training targets: expected one for each sample, got a single value of object"),
        (
            [[1], [2, 3]],
            "the training targets: expected one for each sample, all of one shape: setting an",
        ),
        (Y.astype(complex), "the training targets: expected numbers, names or booleans, got an array of complex128"),
        (
            np.stack([NAMES[Y], NAMES[Y]], axis=1),
            "the training targets: expected one name for each sample, got an array of names of shape (30, 2)",
        ),
        (
            NAMES[Y % 2],
            "the training targets name 2 classes (cat, dog), and the network has outputs of shape (3,): the last layer "
            "must give one value for each, as Dense(2) does",
        ),
        (
            np.eye(3)[Y] * 2,
            "the targets must be class indices, or for each sample shares of the classes that add up to 1; that of the "
            "training sample 0 is [2. 0. 0.]: for values to regress, use the loss MSE()",
        ),
        (
            Y + (np.arange(30) == 23),
            "the network has 3 outputs, so class indices must be 0 to 2; the target of the training sample 23 is 3: "
            "give the last layer one output for each class, or correct the targets",
        ),
    ],
)
def test_what_is_refused(given: Any, message: str) -> None:
    assert refusal(given).startswith(message)


def test_classes_in_another_order_are_refused() -> None:
    model = Sequential(["Dense(3)"], (3,), labels=["a", "b", "c"])
    data = Data(Samples(X, Y), Samples(X, Y), labels=("c", "a", "b"))
    with pytest.raises(ShapeError) as caught:
        Trainer().fit(model, data)
    assert str(caught.value) == (
        "class 0 is 'c' in the data, and 'a' in the model; the data has the labels c, a, b, the model has a, b, c: "
        "expected the same labels in the same order, or the first of them; reorder the data's targets and labels to "
        "match"
    )


def test_indices_into_labels_that_are_not_the_models_are_refused() -> None:
    model = Sequential(["Dense(3)"], (3,), labels=["a", "b", "c"])

    def fit(labels: str) -> None:
        samples = Samples(X, Y % 2)
        Trainer(epochs=1, workers=1).fit(model, Data(samples, samples, labels=tuple(labels)))

    for labels in ("bc", "xyz", "ac"):
        with pytest.raises(ShapeError, match=rf"^class \d is .* in the model; the data has the labels {labels[0]}, "):
            fit(labels)
    with pytest.raises(ShapeError, match=r"^class 3 is 'd' in the data, and the model has no such class; the data has"):
        fit("abcd")
    for labels in ("abc", "ab", ""):
        fit(labels)
        assert model.labels == ("a", "b", "c")


def test_one_hot_classes_train_to_the_bits_of_their_indices() -> None:
    vectors = []
    for given in (Y, np.eye(3, dtype=int)[Y], np.eye(3, dtype=np.float32)[Y]):
        model = Sequential(["Dense(3)"], (3,))
        Trainer(epochs=2, workers=1).fit(model, (X, given))
        vectors.append(model.parameters.vector.tobytes())
    assert vectors[0] == vectors[1] == vectors[2]


def test_labels_that_are_one_hot_by_chance_stay_labels() -> None:
    chance, several = np.eye(3, dtype=int)[Y], (np.eye(3)[Y] + np.eye(3)[(Y + 1) % 3]).astype(int)
    for train, test in ((chance, several), (several, chance), (chance, chance)):
        data = Data(Samples(X, as_targets(train).y), Samples(X, as_targets(test).y))
        model = Sequential(["Dense(3)"], (3,))
        run = Trainer(epochs=1, loss="BinaryCrossEntropy()", metrics=[], workers=1).fit(model, data)
        assert run.metrics["loss"] > 0
        assert model.task.gives == "labels"


def test_masks_of_one_plane_are_classes_or_a_label_as_the_loss_says() -> None:
    x, mask = np.zeros((30, 1, 4, 4), np.float32), np.arange(480).reshape(30, 1, 4, 4) % 3 == 0
    for y in (mask, mask.astype(int)):
        model = Sequential(["Conv2D(2, 1)"], (1, 4, 4))
        Trainer(epochs=1, workers=1).fit(model, (x, y))
        assert model.gives == "2 classes for each pixel"
        model = Sequential(["Conv2D(1, 1)"], (1, 4, 4))
        Trainer(epochs=1, loss="BinaryCrossEntropy()", metrics=[], workers=1).fit(model, (x, y))
        assert model.gives == "any of 1 labels for each pixel"
        Trainer(epochs=1, loss="MSE()", metrics=[], workers=1).fit(model, (x, y.astype(int)))
        assert model.gives == "1 value for each pixel"


@pytest.mark.parametrize("shape", [(30, 1, 4, 5), (30, 4, 5), (30, 4, 5, 1)])
def test_masks_as_floats_are_refused_with_what_to_write(shape: tuple[int, ...]) -> None:
    x, y = np.zeros((30, 1, 4, 5), np.float32), (np.arange(600).reshape(shape) % 2).astype(np.float32)
    model = Sequential(["Conv2D(2, 1)"], (1, 4, 5))
    with pytest.raises(ShapeError) as caught:
        Trainer().fit(model, (x, y))
    assert (
        f"got float32 of shape {shape}: for class indices, write y.astype(int).reshape(-1, 4, 5); for values to regress"
    ) in str(caught.value)
    assert Trainer(epochs=1, workers=1).fit(model, (x, y.astype(int).reshape(-1, 4, 5))).history["loss"]


def test_numbers_that_no_array_holds() -> None:
    for given, dtype, at in (
        ([1, 2**70], "int64", 1),
        ([0.5, 1, 10**400], "float64", 2),
        ([[1, 2], [3, 2**64]], "int64", 1),
    ):
        with pytest.raises(DataError) as caught:
            as_targets(given)
        assert str(caught.value).startswith(
            f"the targets: expected numbers that {dtype} can hold; that of sample {at} is "
        )
        assert str(caught.value).endswith(": correct the target, or remove the sample")


def test_pandas() -> None:
    pandas = pytest.importorskip("pandas")
    for given in (
        pandas.Series(NAMES[Y]),
        pandas.Series(NAMES[Y], dtype="category"),
        pandas.DataFrame({"animal": NAMES[Y]}),
        pandas.get_dummies(pandas.Series(NAMES[Y])),
        pandas.Series(Y, dtype="Int64"),
    ):
        y = indices_of(as_targets(given).y)
        assert_array_equal(y, Y)
    assert "target of the training sample 1 is not finite" in refusal(pandas.Series([0, None] * 15, dtype="Int64"))
    assert "that of sample 1 is nan: remove samples" in refusal(pandas.Series(["cat", None] * 15))
