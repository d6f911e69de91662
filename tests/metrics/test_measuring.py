"""Metrics in trainings: probabilities, what is only validated, and the same bits for any number of workers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sklearn.metrics import f1_score, roc_auc_score

from cnnkit import Sequential, Trainer, explain
from cnnkit.components import CollectingMetric, Metric
from cnnkit.errors import ComponentError, ConfigError, CostError, ShapeError
from cnnkit.explanation.pixels import verdict
from cnnkit.layers import Conv2D, Dense, Flatten, ReLU, Softmax
from cnnkit.losses import NLL, CrossEntropy, KLDiv
from cnnkit.metrics import ROCAUC, Accuracy, AveragePrecision, MeanIoU
from cnnkit.network import Objective, Sums
from cnnkit.network.execution import cost
from cnnkit.network.graph.final_layers import about_end
from cnnkit.plotting.curves import drawn_quantities
from cnnkit.training.checkpoint import Position
from cnnkit.types import Array, Data, Samples

RNG = np.random.default_rng(0)
X = RNG.normal(size=(300, 1, 6, 6)).astype(np.float32)
Y = (X[:, 0, :3].mean(axis=(1, 2)) > X[:, 0, 3:].mean(axis=(1, 2))).astype(np.int64) + (X[:, 0, 0, 0] > 1)
DATA = Data(Samples(X[:200], Y[:200]), Samples(X[200:250], Y[200:250]), Samples(X[250:], Y[250:]))


def network(outputs: int = 3) -> Sequential:
    return Sequential([Conv2D(4, 3), ReLU(), Flatten(), Dense(outputs), Softmax()], input_shape=(1, 6, 6), seed=1)


def trained(metrics: list[Any], data: Any = DATA, **options: Any) -> Any:
    settings: dict[str, Any] = {"epochs": 3, "batch_size": 200, "optimizer": "Adam(0.01)", "progress": False} | options
    return Trainer(metrics=metrics, **settings).fit(network(), data)


ALL = [
    *("Accuracy()", "TopKAccuracy(2)", "Precision()", "Recall(class_index=1)", 'F1("micro")', "BalancedAccuracy()"),
    *("Matthews()", "CalibrationError()", "MeanIoU()", "ROCAUC()", "AveragePrecision(class_index=0)"),
]


@pytest.mark.parametrize("workers", [2, 3])
def test_all_metrics_of_classes_have_the_same_bits_for_any_number_of_workers(workers: int) -> None:
    one, other = (trained(ALL, workers=count) for count in (1, workers))
    for name in one.history:
        if name != "seconds":
            assert one.history[name] == other.history[name], name
    assert one.metrics == other.metrics
    names = [name for name in one.history if name not in ("lr", "seconds")]
    measured = [*one.metrics]
    collected = {"roc_auc", "average_precision_class_0"}
    assert names == [name for name in measured if name not in collected] + [f"validation_{name}" for name in measured]


def test_the_area_under_the_curve_is_that_of_the_probabilities_of_the_model() -> None:
    run = trained([ROCAUC()])
    p = run.model.predict_proba(DATA.test.x)
    expected = roc_auc_score(DATA.test.y, p, multi_class="ovr") if len(set(DATA.test.y)) == 3 else None
    assert run.metrics["roc_auc"] == pytest.approx(expected, abs=1e-6)  # which wants rows that add up to 1 in float64
    each = [roc_auc_score(DATA.test.y == k, p[:, k]) for k in range(3)]
    assert run.metrics["roc_auc"] == pytest.approx(np.mean(each), abs=1e-12)
    assert (
        run.history["validation_roc_auc"][-1]
        == run.model.evaluate(
            DATA.validation.x,  # type: ignore[union-attr]  # it has some
            DATA.validation.y,  # type: ignore[union-attr]  # as above
            metrics=["ROCAUC()"],
        )["roc_auc"]
    )


def test_what_is_only_validated_is_drawn_and_can_be_watched() -> None:
    run = trained(
        ["ROCAUC()", "Accuracy()"], callbacks=['EarlyStopping("validation_roc_auc", patience=1)'], keep="best", epochs=4
    )
    assert "roc_auc" in drawn_quantities([run.history])
    assert "roc_auc by epoch" in run._repr_html_()
    assert run.kept_epoch == 1 + int(np.argmax(run.history["validation_roc_auc"]))
    with pytest.raises(ConfigError, match=r"'roc_auc' is not recorded in this training, only loss, .* are"):
        trained(["ROCAUC()"], callbacks=['EarlyStopping("roc_auc")'])


def test_labels_and_values_have_metrics_of_their_own() -> None:
    model = Sequential([Flatten(), Dense(2)], input_shape=(1, 6, 6), seed=0)
    labels = np.stack([X[:, 0, 0, 0] > 0, X[:, 0, 1, 1] > 0.5], axis=1).astype(np.float32)
    of_labels = ["F1(threshold=0.5)", "ROCAUC()", "AveragePrecision()"]
    settings: dict[str, Any] = {"epochs": 8, "optimizer": "Adam(0.05)", "progress": False}
    run = Trainer(loss="BinaryCrossEntropy(pos_weight=2.0)", metrics=of_labels, **settings).fit(
        model, Data(Samples(X[:200], labels[:200]), Samples(X[200:], labels[200:]))
    )
    p = run.model.predict_proba(X[200:])
    assert run.metrics["roc_auc"] == pytest.approx(roc_auc_score(labels[200:], p), abs=1e-12)
    assert run.metrics["f1"] == pytest.approx(f1_score(labels[200:], p >= 0.5, average="macro"), abs=1e-12)
    values = X[:, 0, :2, 0]
    run = Trainer(loss="Huber()", metrics=["MAE()", "RMSE()", "R2()"], **settings).fit(model, (X, values))
    assert run.history["r2"][-1] > run.history["r2"][0]


def test_pixels_that_are_ignored_count_nowhere() -> None:
    model = Sequential([Conv2D(3, 3, padding="same")], input_shape=(1, 6, 6), seed=0)
    masks = np.digitize(X[:, 0], [-0.5, 0.5]).astype(np.uint8)
    masks[:, 3:] = 255
    samples = Data(Samples(X[:200], masks[:200]), Samples(X[200:], masks[200:]))
    kept: dict[str, Any] = {"epochs": 2, "progress": False, "optimizer": "Adam(0.05)"}
    metrics = ["Accuracy(ignore_index=255)", "MeanIoU(ignore_index=255)"]
    for loss in ("CrossEntropy(ignore_index=255)", "Dice(ignore_index=255)", "Focal(ignore_index=255)"):
        run = Trainer(loss=loss, metrics=metrics, **kept).fit(model, samples)
        right = run.model.predict(X[200:])[:, :3] == masks[200:, :3]
        assert run.metrics["accuracy"] == pytest.approx(right.mean())
    weighted = Trainer(loss="CrossEntropy(ignore_index=255)", metrics=metrics, class_weight="balanced", **kept)
    run = weighted.fit(model, samples)
    assert len(run.settings["class_weight"]) == 3
    with pytest.raises(ConfigError) as caught:
        Trainer(loss="CrossEntropy(ignore_index=255)", **kept).fit(model, samples)
    assert str(caught.value) == (
        "the loss CrossEntropy(ignore_index=255) does not count targets that are 255, and the metric Accuracy() would: "
        "write ignore_index=255 among its arguments"
    )
    with pytest.raises(ShapeError, match="class indices must be 0 to 2; the target of the training sample 0 is 255"):
        Trainer(loss="Dice()", metrics=["MeanIoU()"], **kept).fit(model, samples)


class Rows(CollectingMetric):
    """Gives what it is told to."""

    key = "rows"

    def __init__(self, rows: Any = None) -> None:
        self.rows = rows

    def sums(self, outputs: Array, targets: Array) -> Array:
        return np.zeros((len(outputs), len(outputs))) if self.rows is None else self.rows

    def value(self, total: Array) -> float:
        return float(len(total))


def test_rows_of_unequal_length_are_refused() -> None:
    model = network()
    many = Samples(np.zeros((300, 1, 6, 6), np.float32), np.zeros(300, np.int64))
    with pytest.raises(
        ShapeError, match=r"the metric Rows\(\) must give rows of one length for every tile, \(rows, R\)"
    ):
        model.engine(logits=True).evaluate(many, Objective(CrossEntropy(), [Rows()]), 1)


def test_what_joins_to_no_numbers_is_refused() -> None:
    class Strange(Accuracy):
        def join(self, parts: Any) -> Any:
            return "all"

    many = Samples(np.zeros((300, 1, 6, 6), np.float32), np.zeros(300, np.int64))
    with pytest.raises(ComponentError, match=r"must join what tiles give to an array of numbers; join\(\) gave str"):
        network().engine(logits=True).evaluate(many, Objective(CrossEntropy(), [Strange()]), 1)


def test_what_a_collecting_metric_refuses_is_told_before_the_first_step() -> None:
    values = np.full((300, 3), 0.4, np.float32)
    with pytest.raises(ShapeError, match=r"ROCAUC\(\) needs targets that say of each class"):
        Trainer(loss="MSE()", metrics=["ROCAUC()"], progress=False).fit(
            network(), Data(Samples(X, values), Samples(X, values))
        )


def test_more_than_fits_into_memory_is_refused_before_the_first_step(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cost, "FREE_BYTES", 1000)
    monkeypatch.setattr(cost, "available_memory", lambda: 2000)
    engine = network().engine(logits=True)
    engine.check_evaluation(10**6, Objective(CrossEntropy(), [Accuracy()]))
    with pytest.raises(CostError, match=r"what metrics collect of 1,000 samples takes about 0.1 MiB of memory"):
        engine.check_evaluation(1000, Objective(CrossEntropy(), [ROCAUC(), AveragePrecision()]))


def test_probabilities_are_computed_for_metrics_that_ask_for_them() -> None:
    asked: list[Array] = []

    class Looking(Accuracy):
        of_probabilities = True

        def sums(self, outputs: Array, targets: Array) -> Array:
            asked.append(outputs)
            return super().sums(outputs, targets)

    metrics: list[Metric] = [Looking(), MeanIoU()]
    network().engine(logits=True).evaluate(Samples(X[:5], Y[:5]), Objective(CrossEntropy(), metrics), 1)
    (p,) = asked
    np.testing.assert_array_equal(p, network().predict_proba(X[:5]))


@pytest.mark.parametrize("loss", [NLL(), KLDiv()], ids=repr)
def test_logarithms_of_probabilities_come_from_no_softmax(loss: NLL | KLDiv) -> None:
    with pytest.raises(
        ConfigError, match=r"the network ends in .*softmax.* takes logarithms of probabilities: replace"
    ):
        about_end(network().nodes, loss)
    plain = Sequential([Flatten(), Dense(3)], input_shape=(1, 6, 6))
    assert "put LogSoftmax() last, or use the loss CrossEntropy()" in about_end(plain.nodes, loss)


def test_sums_that_are_a_table_are_kept_in_a_checkpoint() -> None:
    sums = Sums(3, 1.5, (np.array([[1.0, 2.0], [3.0, 4.0]]),))
    again = Position.from_record(Position(step=1, sums=sums).to_record()).sums
    assert again is not None
    assert np.array_equal(again.metrics[0], sums.metrics[0])


def test_an_explanation_counts_no_pixels_that_are_ignored() -> None:
    model = Sequential([Conv2D(3, 3, padding="same")], input_shape=(1, 6, 6), seed=0)
    mask = model.predict(X[:1])[0].astype(np.uint8)
    mask[3:] = 255
    page = explain(model, X[0], target=mask, loss="CrossEntropy(ignore_index=255)")
    assert verdict(page) == "The network is right for 18 of 18 pixels, 100.0 %. "
    none = explain(model, X[0], target=np.full_like(mask, 255), loss="CrossEntropy(ignore_index=255)")
    assert verdict(none) == "The loss ignores all pixels. "
    with pytest.raises(ConfigError, match=r"^expected a class from 0 to 2, got \d to 255$"):
        explain(model, X[0], target=mask)
