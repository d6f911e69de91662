"""What TensorBoard reads of a training: its own reader is the judge."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cnnkit_tensorboard import TensorBoard, filter_grid

from cnnkit import Run, Sequential, Trainer, load_dataset
from cnnkit.errors import ConfigError, TrainingError
from cnnkit.plugin import Layer
from cnnkit.testing import check_callback

event_accumulator = pytest.importorskip(
    "tensorboard.backend.event_processing.event_accumulator", reason="install cnnkit-tensorboard[test]"
)
LAYERS = ["Conv2D(6, 3)", "ReLU()", "Flatten()", "Dense(10)"]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def fit(callback: TensorBoard | str, layers: Any = LAYERS, **options: Any) -> Run:
    data = load_dataset("Digits()")
    model = Sequential(layers, data.input_shape, preprocessing=data.preprocessing)
    given: dict[str, Any] = {"optimizer": "Adam(0.01)", "epochs": 3, "workers": 1, "progress": False} | options
    return Trainer(callbacks=[callback], **given).fit(model, data, validation=0.1)


def read(folder: Path) -> Any:
    (written,) = folder.iterdir()
    found = event_accumulator.EventAccumulator(str(written), size_guidance={"histograms": 0, "images": 0})
    return found.Reload()


@pytest.mark.parametrize("text", ["TensorBoard()", 'TensorBoard("logs/a", histograms=False, images=2)'])
def test_it_keeps_the_contract(text: str) -> None:
    check_callback(text)


def test_tensorboard_reads_the_curves(folder: Path) -> None:
    run = fit('TensorBoard("runs/digits")')
    found = read(folder / "runs" / "digits")
    for tag, name in (("loss/training", "loss"), ("accuracy/validation", "validation_accuracy"), ("lr", "lr")):
        assert [event.step for event in found.Scalars(tag)] == [1, 2, 3]
        np.testing.assert_allclose([event.value for event in found.Scalars(tag)], run.history[name], rtol=1e-6)
    (event,) = found.Scalars("accuracy/test")
    assert event.value == pytest.approx(run.metrics["accuracy"])


def test_it_reads_histograms_of_weights_and_gradients(folder: Path) -> None:
    fit("TensorBoard()", epochs=2)
    found = read(folder / "runs")
    assert set(found.Tags()["histograms"]) == {
        f"{what}/{name}"
        for what in ("weights", "gradients")
        for name in ("conv2d_1.weight", "conv2d_1.bias", "dense_1.weight", "dense_1.bias")
    }
    first, last = (event.histogram_value for event in found.Histograms("weights/conv2d_1.weight"))
    assert first.num == last.num == 6 * 9
    assert first.sum != last.sum


def test_it_reads_a_picture_of_the_filters(folder: Path) -> None:
    image = pytest.importorskip("PIL.Image", reason="pillow is not installed")
    fit("TensorBoard(images=2)", epochs=4)
    events = read(folder / "runs").Images("filters/conv2d_1.weight")
    assert [event.step for event in events] == [1, 3]
    with image.open(io.BytesIO(events[0].encoded_image_string)) as picture:
        assert picture.size == (3 * 4 - 1, 2 * 4 - 1)


def test_it_reads_the_network_the_recipe_and_the_hyperparameters(folder: Path) -> None:
    fit("TensorBoard()", epochs=1)
    found = read(folder / "runs")
    assert {"Conv", "Gemm"} <= {node.op for node in found.Graph().node}
    (text,) = found.Tensors("recipe/text_summary")
    assert "train.optimizer = 'Adam(lr=0.01)'" in text.tensor_proto.string_val[0].decode()
    content = found.SummaryMetadata("_hparams_/session_start_info").plugin_data.content
    assert b"batch_size" in content
    assert b"optimizer" in content


class Halved(Layer):
    """Has no `lower`, so that it cannot be exported."""

    def forward(self, x: Any, ctx: Any) -> Any:
        return x / 2, None

    def backward(self, dy: Any, cache: Any, ctx: Any) -> Any:
        return dy / 2, {}


def test_a_network_that_cannot_be_exported_has_the_rest(folder: Path) -> None:
    fit("TensorBoard()", layers=["Flatten()", Halved(), "Dense(10)"], epochs=1)
    found = read(folder / "runs")
    assert not found.Tags()["graph"]
    assert not found.Tags()["images"]
    assert len(found.Scalars("loss/training")) == 1


def test_a_training_that_failed_can_be_read(folder: Path) -> None:
    with pytest.raises(TrainingError):
        fit("TensorBoard()", optimizer="SGD(1e30)")
    assert not read(folder / "runs").Tags()["scalars"]


def test_the_training_is_the_same_with_it() -> None:
    plain = fit("TimeLimit(1000.0)").model.state()
    for name, array in fit("TensorBoard()").model.state().items():
        np.testing.assert_array_equal(array, plain[name])


def test_filters_become_a_grid() -> None:
    grid = filter_grid(np.arange(3.0).reshape(3, 1, 1, 1))
    np.testing.assert_array_equal(grid, [[0, 0, 128], [0, 0, 0], [255, 0, 0]])
    assert filter_grid(np.zeros((100, 3, 5, 5))).shape == (8 * 6 - 1, 8 * 6 - 1)


@pytest.mark.parametrize("given", ["", "/tmp", "../elsewhere", 3])
def test_a_folder_elsewhere_is_refused(given: Any) -> None:
    with pytest.raises(ConfigError, match=r"^folder must be the name of a folder in the one that the training runs in"):
        TensorBoard(given)
