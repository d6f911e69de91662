"""Pictures of registered models: the model's own numbers reach them, and what does not fit is refused in words."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import cnnkit
from cnnkit import Registry, Sequential, Trainer, load_dataset
from cnnkit.errors import CnnkitError, PlotError, ShapeError
from cnnkit.evaluation.plot import KINDS, draw, plot, write
from cnnkit.evaluation.plot_subject import Subject
from cnnkit.types import Data, Samples, Task

pytest.importorskip("matplotlib")
DIGITS = load_dataset("Digits()")
LAYERS = ["Conv2D(4, 3)", "ReLU()", "Conv2D(2, 3)", "Flatten()", "Dense(10)"]


def _subject(
    tmp_path: Path, model: Sequential, data: Data = DIGITS, *, layer: str | None = None, sample: int = 0, **record: Any
) -> Subject:
    registry = Registry(tmp_path / "registry")
    version = registry.save(model, "net", **record)
    return Subject(registry.read(version.ref), lambda: data, layer, sample)


def _network(layers: list[str] = LAYERS, **options: Any) -> Sequential:
    return Sequential(layers, DIGITS.input_shape, preprocessing=DIGITS.preprocessing, **options)


def test_the_confusion_is_that_of_the_model(tmp_path: Path) -> None:
    model = _network(labels=DIGITS.labels)
    figure: Any = draw("confusion", [_subject(tmp_path, model)])
    written = np.zeros((10, 10), np.int64)
    for text in figure.axes[0].texts:
        column, row = map(int, text.get_position())
        written[row, column] = int(text.get_text())
    predicted = model.predict(DIGITS.test.x)
    expected = [[np.sum((DIGITS.test.y == i) & (predicted == j)) for j in range(10)] for i in range(10)]
    assert (written == expected).all()


@pytest.mark.parametrize(("layer", "node"), [(None, 0), ("conv2d_1", 0), ("conv2d_2", 2)])
def test_filters_are_those_of_the_layer(tmp_path: Path, layer: str | None, node: int) -> None:
    model = _network()
    figure: Any = draw("filters", [_subject(tmp_path, model, layer=layer)])
    name = layer or "conv2d_1"
    assert figure.get_suptitle().startswith(f"net@1: filters of {name} = Conv2D(")
    weight = model.state()[f"{name}.weight"]
    shown = np.ma.getdata(figure.axes[0].images[0].get_array())
    assert (shown[:3, :3] == weight[0, 0]).all()


def test_filters_that_were_recorded_are_shown_through_the_epochs(tmp_path: Path) -> None:
    model = _network()
    record = ["conv2d_1.weight", "conv2d_2.weight"]
    run = cnnkit.Trainer(epochs=3, batch_size=500, record=record).fit(model, DIGITS)
    figure: Any = draw("filters", [_subject(tmp_path, model, history=run.history)])
    kernels = figure.axes[: 4 * 3]  # filters by epochs
    assert [axes.get_title() for axes in kernels[:3]] == ["1", "2", "3"]
    last = np.ma.getdata(kernels[5].images[0].get_array())  # the second filter in the third epoch
    assert (last == model.state()["conv2d_1.weight"][1, 0]).all()
    other: Any = draw("filters", [_subject(tmp_path, model, history=run.history, layer="conv2d_2")])
    assert other.get_suptitle().startswith("net@2: filters of conv2d_2")
    assert other.axes[0].get_ylabel() == "input channel"  # of several channels, all are shown
    assert "through 3 epochs" in figure.get_suptitle()
    assert "kept" not in figure.get_suptitle()


def test_the_epoch_that_was_kept_is_named(tmp_path: Path) -> None:
    model = _network()
    weight = model.state()["conv2d_1.weight"].astype(np.float64)
    recorded = np.stack([weight - 1, weight, weight + 1, weight + 2]).reshape(4, -1).T
    history = {f"conv2d_1.weight[{place}]": values.tolist() for place, values in enumerate(recorded)}
    figure: Any = draw("filters", [_subject(tmp_path, model, history=history)])
    assert figure.get_suptitle().replace("\n", " ").endswith(" through 4 epochs, epoch 2 kept")


@pytest.mark.parametrize("lengths", [[], [2, 3]])
def test_what_a_file_says_was_recorded_may_be_anything(tmp_path: Path, lengths: list[int]) -> None:
    history = {f"conv2d_1.weight[{index}]": [0.5] * length for index, length in enumerate(lengths)}
    figure: Any = draw("filters", [_subject(tmp_path, _network(), history=history)])
    assert "filters of conv2d_1" in figure.get_suptitle()


@pytest.mark.parametrize(("layer", "node"), [(None, 0), ("relu_1", 1), ("conv2d_2", 2)])
def test_feature_maps_are_those_of_the_layer_for_the_sample(tmp_path: Path, layer: str | None, node: int) -> None:
    model = _network(labels=DIGITS.labels)
    figure: Any = draw("feature-maps", [_subject(tmp_path, model, layer=layer, sample=5)])
    sample, *maps = [np.ma.getdata(axes.images[0].get_array()) for axes in figure.axes if axes.images]
    assert (sample == DIGITS.test.x[5, 0]).all()
    assert np.array_equal(np.stack(maps), model.trace(DIGITS.test.x[5:6])[node][0])
    caption = next(axes.title.get_text() for axes in figure.axes if axes.images)
    predicted = model.predict(DIGITS.test.x[5:6])[0]
    assert caption.startswith(f"test sample 5\ntrue {DIGITS.test.y[5]}\npredicted {predicted} (")


def test_almost_sure_is_told_as_such(tmp_path: Path) -> None:
    model = _network(["Conv2D(1, 3)", "Flatten()", "Dense(10)"])
    state = model.state()
    state["dense_1.weight"][:] = 0
    state["dense_1.bias"][0] = 10.0  # of ten classes: 0.9996
    model.load_state(state)
    figure: Any = draw("feature-maps", [_subject(tmp_path, model)])
    assert "predicted 0 (>99.9%)" in next(axes.title.get_text() for axes in figure.axes if axes.images)


def test_long_labels_stay_beside_the_sample(tmp_path: Path) -> None:
    model = _network(labels=[f"a class with a long name, number {i}" for i in range(10)])
    figure: Any = draw("feature-maps", [_subject(tmp_path, model, replace(DIGITS, labels=model.labels))])
    figure.canvas.draw()
    title = next(axes.title for axes in figure.axes if axes.images)
    assert title.get_text().splitlines()[1] == f"true {DIGITS.test.y[0]} a class with a lo…"
    assert title.get_window_extent().x0 > 0


def test_a_merge_has_feature_maps(tmp_path: Path) -> None:
    model = _network(['Residual(Conv2D(1, 3, padding="same"))', "Flatten()", "Dense(10)"])
    figure: Any = draw("feature-maps", [_subject(tmp_path, model, layer="residual_1")])
    assert figure.get_suptitle() == "net@1: outputs of residual_1"


@pytest.mark.parametrize(
    ("kind", "options", "message"),
    [
        (
            "filters",
            {"layer": "dense_1"},
            "'dense_1' with kernels (out, in, kh, kw); choose one of conv2d_1, conv2d_2",
        ),
        ("feature-maps", {"layer": "x"}, "choose one of conv2d_1, relu_1, conv2d_2"),
        ("feature-maps", {"sample": 360}, "there is no test sample 360: the dataset has 360, from 0 to 359"),
        ("curves", {}, "there are no training curves"),
        ("poster", {}, "expected a kind of picture, curves, filters, feature-maps, predictions, misclassified, "),
        ("compare", {}, "2 to 7 models can be compared in one picture, got 1"),
    ],
)
def test_what_is_asked_for_and_cannot_be_drawn(
    tmp_path: Path, kind: str, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(PlotError) as caught:
        draw(kind, [_subject(tmp_path, _network(), **options)])
    assert message in str(caught.value)


def test_one_kind_shows_one_model(tmp_path: Path) -> None:
    subject = _subject(tmp_path, _network())
    with pytest.raises(PlotError, match="curves shows one model, got 2: several models can be shown with compare"):
        draw("curves", [subject, subject])


def test_a_network_of_vectors_has_what_needs_no_images(tmp_path: Path) -> None:
    x = np.random.default_rng(0).normal(size=(20, 6)).astype(np.float32)
    samples = Samples(x, np.arange(20) % 3)
    model = Sequential(["Dense(3)"], (6,))
    subject = _subject(tmp_path, model, Data(samples, samples), history={"loss": [1.0]})
    files, left_out = write([subject], None, tmp_path)
    assert set(files) == {"curves", "confusion", "calibration"}
    assert left_out["filters"] == "net@1 has no layer with kernels (out, in, kh, kw)"
    assert left_out["predictions"] == "images of 1 or 3 channels can be shown, inputs of shape (6,) cannot"
    assert files["confusion"] == tmp_path / "net-1-confusion.png"


def test_many_classes_have_no_confusion_and_the_other_pictures_are_drawn(tmp_path: Path) -> None:
    model = _network(["Flatten()", "Dense(2, bias=False)", "Dense(1001, bias=False)"])
    files, left_out = write([_subject(tmp_path, model)], None, tmp_path)
    assert "calibration" in files
    assert left_out["confusion"] == "the confusion of up to 1,000 classes can be shown, the model has 1,001"


def test_a_picture_that_does_not_fit_into_memory_is_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: Subject) -> None:
        raise MemoryError

    monkeypatch.setitem(KINDS, "predictions", full)
    files, left_out = write([_subject(tmp_path, _network())], None, tmp_path)
    assert left_out["predictions"] == "the memory is too small for it"
    assert "confusion" in files


def test_a_network_for_regression_shows_no_classes(tmp_path: Path) -> None:
    samples = Samples(DIGITS.test.x, np.zeros((len(DIGITS.test), 2), np.float32))
    model = _network(["Conv2D(4, 3)", "Flatten()", "Dense(2)"])
    model.task = Task("values")
    files, left_out = write([_subject(tmp_path, model, Data(samples, samples))], None, tmp_path)
    assert set(files) == {"filters", "feature-maps", "predictions"}
    assert left_out["confusion"] == "net@1 gives 2 values: this picture shows probabilities of classes"


def test_classes_of_pixels_are_no_classes_of_samples(tmp_path: Path) -> None:
    model = Sequential(["Conv2D(3, 1)"], (1, 1, 3000))  # wider than the largest matrix that is drawn
    samples = Samples(np.zeros((2, 1, 1, 3000)), np.zeros((2, 1, 3000), int))
    subject = _subject(tmp_path, model, Data(samples, samples))
    for kind in ("confusion", "misclassified", "calibration"):
        with pytest.raises(PlotError) as error:
            draw(kind, [subject])
        assert str(error.value) == "net@1 gives 3 classes for each pixel: this picture shows one class for each sample"


@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # NumPy's, of the threads of a prediction
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_weights_that_are_not_finite(tmp_path: Path, bad: float) -> None:
    model = _network()
    state = model.state()
    state["conv2d_1.weight"][0, 0, 0, 0] = bad
    model.load_state(state)
    files, left_out = write([_subject(tmp_path, model)], None, tmp_path)
    assert "filters" in files
    assert "gives NaN for test samples: its weights are not finite" in left_out["confusion"]


def test_data_that_do_not_fit(tmp_path: Path) -> None:
    many = Data(DIGITS.test, Samples(DIGITS.test.x, DIGITS.test.y + 5))
    with pytest.raises(PlotError, match="net@1 knows the classes 0 to 9, the dataset has others"):
        draw("confusion", [_subject(tmp_path, _network(), many)])
    large = Data(DIGITS.test, Samples(np.zeros((2, 1, 9, 9)), np.zeros(2, np.int64)))
    with pytest.raises(ShapeError, match=r"takes inputs of shape \(1, 8, 8\), the dataset has \(1, 9, 9\)"):
        draw("predictions", [_subject(tmp_path, _network(), large)])
    none = Data(DIGITS.test, DIGITS.test.take(slice(0, 0)))
    for kind in ("predictions", "misclassified", "confusion", "calibration", "feature-maps"):
        with pytest.raises(CnnkitError):
            draw(kind, [_subject(tmp_path, _network(), none)])
    others = replace(DIGITS, labels=DIGITS.labels[1:])
    for kind in ("predictions", "misclassified", "confusion", "calibration", "feature-maps"):
        with pytest.raises(
            ShapeError, match=r"^class 0 is '1' in the data, and '0' in net@\d+; the data has the labels"
        ):
            draw(kind, [_subject(tmp_path, _network(labels=DIGITS.labels), others)])


def test_one_hot_targets_are_classes(tmp_path: Path) -> None:
    one_hot = Data(DIGITS.test, Samples(DIGITS.test.x, np.eye(10, dtype=np.float32)[DIGITS.test.y]))
    expected, found = (_subject(tmp_path, _network(), data) for data in (DIGITS, one_hot))
    np.testing.assert_array_equal(found.samples.y, expected.samples.y)
    assert draw("confusion", [found])


def test_labels_of_anybody_do_no_harm(tmp_path: Path) -> None:
    labels = ["$\\frac{$", "x" * 10_000, "\n\n", "_hidden", "日本", "\x1b[31m", "%s{}", "$", "\\", ""]
    data = replace(DIGITS, labels=tuple(labels))
    subject = _subject(tmp_path, _network(labels=labels), data, history={"$": [1.0], "loss": [1.0]})
    files, left_out = write([subject], None, tmp_path)
    assert (set(files), left_out) == (set(KINDS), {})


def test_the_public_function_writes_one_picture(tmp_path: Path) -> None:
    registry = Registry(tmp_path / "registry")
    history = {"loss": [1.0, 0.5]}
    ref = registry.save(_network(), "net", history=history, dataset={"name": "Digits()", "digest": ""}).ref
    assert cnnkit.plot is plot
    path = plot(ref, "curves", tmp_path / "a.svg", registry=registry)
    assert "net@1: training" in path.read_text()
    plot(ref, "predictions", tmp_path / "b.pdf", registry=registry, data="Digits()")
    plot([ref, ref], "compare", tmp_path / "c.png", registry=tmp_path / "registry")
    with pytest.raises(PlotError, match=r'confusion shows test samples: give the dataset, such as data="Digits\(\)"'):
        plot(ref, "confusion", tmp_path / "d.png", registry=registry)
    with pytest.raises(PlotError, match=r"give the dataset, such as data=\"Arrays\('data.npz'\)\""):
        plot(_network(), "confusion", tmp_path / "d.png")
    assert sorted(path.name for path in tmp_path.glob("*.*")) == ["a.svg", "b.pdf", "c.png"]


def test_a_figure_is_given_back_where_no_file_is_named(tmp_path: Path) -> None:
    run = Trainer(epochs=2, workers=1, progress=False).fit(_network(labels=DIGITS.labels), DIGITS, validation=0.1)
    curves: Any = plot(run, "curves")
    assert curves.get_suptitle() == "run on Digits(): training"
    from_recipe = replace(run, recipe={"model": {"name": "small"}})
    assert plot(from_recipe, "curves").get_suptitle() == "small: training"
    assert plot(replace(run, dataset=None), "curves").get_suptitle() == "the run: training"
    assert curves._repr_png_().startswith(b"\x89PNG")
    assert plot(run.model, "confusion", data=DIGITS).axes
    version = run.model.save("net", **run.record())
    assert plot(version, "curves").get_suptitle() == "net@1: training"
    assert plot(run, "curves", tmp_path / "curves.png") == tmp_path / "curves.png"
    together: Any = plot([run, version], "compare")
    assert together.get_suptitle() == "run 1, net@1"
    with pytest.raises(PlotError, match="expected references, versions, runs or models, got 3"):
        plot([3], "curves")  # type: ignore[list-item]  # wrong on purpose
    with pytest.raises(PlotError, match="there are no training curves"):
        plot(run.model, "curves")
