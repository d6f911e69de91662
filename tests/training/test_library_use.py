"""A training in a program: what it shows, what it validates on, and what its model and run can be asked."""

from __future__ import annotations

import copy
import pickle
import re
import sys
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from types import ModuleType, SimpleNamespace
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest

from cnnkit import Registry, Run, Sequential, Trainer, load_dataset, load_model
from cnnkit.components import Callback
from cnnkit.errors import ConfigError, ShapeError
from cnnkit.training.data_checks import Validated
from cnnkit.training.notebook_progress import NotebookProgress, shown
from cnnkit.training.progress import Progress
from cnnkit.types import Data, Samples

DIGITS = load_dataset("Digits()")
X, Y = DIGITS.train.x[:100], DIGITS.train.y[:100]
SMALL = ["Conv2D(2, 3)", "ReLU()", "Flatten()", "Dense(10)"]


class Stop(Callback):
    """Ends a training after so many epochs."""

    def __init__(self, epochs: int) -> None:
        self.epochs = epochs

    def after_epoch(self, history: Mapping[str, list[float]]) -> str:
        return "enough" if len(history["loss"]) == self.epochs else ""


def network(**options: Any) -> Sequential:
    return Sequential(SMALL, DIGITS.input_shape, preprocessing=DIGITS.preprocessing, **options)


def trained(data: Any = (X, Y), progress: Any = False, model: Sequential | None = None, **options: Any) -> Run:
    return Trainer(epochs=2, workers=1, progress=progress).fit(model or network(), data, **options)


def test_a_script_shows_a_line_for_each_epoch_on_standard_error(capsys: pytest.CaptureFixture[str]) -> None:
    trained(progress=True)
    output = capsys.readouterr()
    assert output.out == ""
    network, machine, *epochs = output.err.splitlines()
    assert network == "the network: 4 layers, 750 parameters; 100 samples to train on"
    assert machine.startswith("1 worker; ")
    assert [line.split("  ")[0] for line in epochs] == ["epoch 1/2", "epoch 2/2"]
    trained(progress=False)
    assert capsys.readouterr().err == ""
    assert Trainer().progress is True


def test_what_is_no_progress_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"progress must be True, False, or an object that is told of steps"):
        Trainer(progress="yes")  # type: ignore[arg-type]  # wrong on purpose


def test_a_notebook_shows_one_table(monkeypatch: pytest.MonkeyPatch) -> None:
    pages: list[str] = []
    handle = SimpleNamespace(update=pages.append)
    display: Any = ModuleType("IPython.display")
    display.HTML, display.display = str, lambda page, display_id: handle
    ipython: Any = ModuleType("IPython")
    ipython.get_ipython = lambda: SimpleNamespace(kernel=object())
    ipython.display = display
    monkeypatch.setitem(sys.modules, "IPython", ipython)
    monkeypatch.setitem(sys.modules, "IPython.display", display)
    assert isinstance(shown(True), NotebookProgress)
    trained(progress=True, validation=0.2)
    table = ElementTree.fromstring(pages[-1])
    (caption,) = (cell.text or "" for cell in table.iter("caption"))
    assert re.search(r"\d+ samples to train on, \d+ to validate on$", caption)
    assert [cell.text for cell in table.iter("th")] == [
        "epoch",
        *("loss", "accuracy", "validation loss", "validation accuracy"),
    ]
    assert len(list(table.iter("tr"))) == 3
    Trainer(epochs=30, batch_size=100, workers=1, callbacks=[Stop(25)]).fit(network(), (X, Y))
    table = ElementTree.fromstring(pages[-1])  # nothing of "epoch 25/30" is left below it
    (caption,) = (cell.text or "" for cell in table.iter("caption"))
    assert caption.endswith("100 samples to train on; the last 20 of 25 epochs")
    assert [row[0].text for row in table.iter("tr")] == ["epoch", *map(str, range(6, 26))]
    ipython.get_ipython = lambda: None
    assert not isinstance(shown(True), NotebookProgress)
    assert type(shown(False)) is Progress


def test_a_share_of_the_samples_validates() -> None:
    run = trained(validation=0.2)
    assert len(run.history["validation_accuracy"]) == 2
    again = trained(validation=0.2)
    assert again.history["validation_loss"] == run.history["validation_loss"]


@pytest.mark.parametrize("wrong", [1.0, 0, True, "0.1", [X, Y]], ids=["all", "none", "bool", "text", "list"])
def test_what_is_no_share_and_no_pair_is_refused(wrong: Any) -> None:
    with pytest.raises(ConfigError) as caught:
        trained(validation=wrong)
    expected = "validation must be a share above 0 and below 1, such as 0.1, or a pair (inputs, targets), got "
    assert str(caught.value) == f"{expected}{wrong!r:.80}"


@pytest.mark.parametrize(
    "data", [(X, Y), Samples(X, Y), Data(Samples(X, Y), DIGITS.test)], ids=["pair", "samples", "data"]
)
def test_validation_samples_may_be_given(data: Any) -> None:
    given = (DIGITS.test.x[:30], DIGITS.test.y[:30])
    run = trained(data, validation=given)
    last = run.model.evaluate(*given)
    assert last["accuracy"] == pytest.approx(run.history["validation_accuracy"][-1])
    assert last["loss"] == pytest.approx(run.history["validation_loss"][-1])


def test_classes_may_have_names() -> None:
    names = np.array([f"digit {y}" for y in Y])
    run = trained((X, names), validation=0.2)
    assert run.model.labels[0] == "digit 0"
    assert run.model.evaluate(X, names)["accuracy"] == run.model.evaluate(X, Y)["accuracy"]


@pytest.mark.parametrize("data", [replace(DIGITS, validation=DIGITS.test), Validated(DIGITS.train, DIGITS.test)])
def test_data_with_validation_samples_give_no_share(data: Any) -> None:
    with pytest.raises(ConfigError, match=r"the data have their own validation samples: expected no share, got 0\.1"):
        trained(data, validation=0.1)


def test_evaluation_measures_by_the_task() -> None:
    x = np.linspace(-1, 1, 40, dtype="float32")[:, None]
    model = Sequential(["Dense(1)"], (1,))
    Trainer(loss="MSE()", metrics=[], epochs=1, workers=1, progress=False).fit(model, (x, 2 * x))
    assert model.evaluate(x, 2 * x) == {
        "loss": pytest.approx(float(((model.outputs(x) - 2 * x) ** 2).mean()), rel=1e-5)
    }
    labels = Sequential(["Dense(2)"], (1,))
    y = np.hstack([x > 0, x < 0]).astype("float32")
    Trainer(loss="BinaryCrossEntropy()", metrics=[], epochs=1, workers=1, progress=False).fit(labels, (x, y))
    z = labels.outputs(x).astype(float)
    expected = np.mean(np.maximum(z, 0) - z * y + np.log1p(np.exp(-np.abs(z))))
    assert labels.evaluate(x, y) == {"loss": pytest.approx(expected, rel=1e-5)}
    with pytest.raises(ShapeError, match="inputs of shape"):
        network().evaluate(x, y)
    with pytest.raises(ShapeError, match="expected at least one sample to measure on, got none"):
        network().evaluate(X[:0], Y[:0])


def test_a_model_saves_itself() -> None:
    run = trained()
    version = run.model.save("tiny", **run.record())
    assert repr(version) == "<Version tiny@1>"
    assert (load_model("tiny@1").predict(X) == run.model.predict(X)).all()
    assert Registry().read("tiny@1").manifest.history["loss"] == run.history["loss"]
    assert "tiny@1" in Registry()._repr_html_()
    assert "tiny@1" in version._repr_html_()


def test_a_history_is_a_table() -> None:
    run = trained(validation=0.2)
    assert {len(values) for values in run.history.values()} == {2}


def test_what_an_interpreter_shows_is_short() -> None:
    run = trained(DIGITS)
    assert repr(DIGITS) == "<Data Digits(): 1,437 training, 360 test samples; inputs of 1 x 8 x 8 uint8, 10 classes>"
    assert repr(DIGITS.test) == "Samples(x: (360, 1, 8, 8) uint8, y: (360,) int64)"
    assert repr(run).startswith("<Run: 2 epochs, all epochs done, test loss ")
    for one, part, prefix in ((trained(validation=0.2), "validation", "validation_"), (trained(), "training", "")):
        loss, accuracy = (one.history[f"{prefix}{name}"][-1] for name in ("loss", "accuracy"))
        assert repr(one) == (
            f"<Run: 2 epochs, all epochs done, {part} loss {loss:.4g}, {part} accuracy {accuracy:.4g}>"
        )
    assert repr(replace(run, metrics={}, history={}, kept_epoch=None)) == "<Run: 0 epochs, all epochs done>"
    assert repr(Trainer(epochs=5, optimizer="SGD(0.1)", progress=False)) == (
        "Trainer(optimizer='SGD(lr=0.1)', epochs=5, progress=False)"
    )
    assert repr(Trainer()) == "Trainer()"
    assert repr(Registry("models")) == "Registry('models')"
    text = run.model.summary()
    assert repr(text) == str(text)
    assert copy.deepcopy(text) == pickle.loads(pickle.dumps(text)) == str(text)
    assert Registry("nowhere")._repr_html_().count("<tr>") == 1


def test_what_a_notebook_shows_is_well_formed() -> None:
    run = trained(DIGITS, validation=0.2)
    for one in (run, run.model):
        page = ElementTree.fromstring(f"<div>{one._repr_html_()}</div>")
        text = " ".join(page.itertext())
        assert "accuracy" in text or "conv2d_1" in text
    assert _drawn(run) == {"#0072B2": 4, "#D55E00": 4, "currentColor": 2}  # of two quantities, with their legends
    assert _drawn(trained(DIGITS)) == {"#0072B2": 2, "currentColor": 2}
    assert _drawn(replace(run, kept_epoch=1))["currentColor"] == 4
    assert "validation" not in trained(DIGITS)._repr_html_()


def test_a_notebook_shows_the_numbers_of_the_kept_epoch() -> None:
    run = trained(DIGITS, validation=0.2)
    for kept in (1, 2):
        shown = replace(run, kept_epoch=kept)._repr_html_()
        assert f"after epoch {kept}<" in shown
        for name in ("loss", "validation_loss", "accuracy", "validation_accuracy"):
            assert f">{run.history[name][kept - 1]:.4f}<" in shown
    stopped = replace(run, kept_epoch=None, history={name: [] for name in run.history})
    assert "after epoch" not in stopped._repr_html_()
    ElementTree.fromstring(f"<div>{stopped._repr_html_()}</div>")


def test_one_epoch_makes_no_curve() -> None:
    run = trained(DIGITS)
    for values in run.history.values():
        del values[1:]
    assert _drawn(run) == {}
    assert "accuracy" in run._repr_html_()


def _drawn(run: Run) -> Counter[str]:
    """The lines of its curves, by their colours."""
    page = ElementTree.fromstring(f"<div>{run._repr_html_()}</div>")
    return Counter(path.attrib["stroke"] for path in page.iter("{http://www.w3.org/2000/svg}path"))


def test_what_a_notebook_shows_fits_light_and_dark_pages() -> None:
    run = trained(DIGITS, validation=0.2)
    for one in (run, run.model):
        assert not re.search("background|:white|black|#000|#fff|#222", one._repr_html_())


def test_a_name_from_a_file_is_text_in_a_notebook() -> None:
    run = trained()
    run.history["<script>"] = [1.0, float("nan")]
    assert "<script>" not in run._repr_html_()
