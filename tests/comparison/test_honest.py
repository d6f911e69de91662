"""What ranks and what does not: validation samples rank, the test samples are looked at once, at the end."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cnnkit.comparison import compare, resume_comparison, tasks
from cnnkit.comparison.compare import _ranking, _result
from cnnkit.comparison.comparison_plan import Datasets, make_plan
from cnnkit.data import load_dataset
from cnnkit.errors import ConfigError, ShapeError
from cnnkit.metrics import Accuracy
from cnnkit.network import Engine
from cnnkit.registry import ComparisonFolder, Comparisons, Registry
from cnnkit.registry.format import text
from cnnkit.registry.unfinished_comparisons import manifest_of
from cnnkit.training.trainer import Trainer
from tests.comparison.test_compare import Interrupting, base, refs

TWO = ["c4p", "pc2"]


@pytest.fixture
def looks(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The number of samples of every evaluation in this process."""
    seen: list[int] = []
    original = Engine.evaluate

    def counted(engine: Engine, samples: Any, *rest: Any) -> Any:
        seen.append(len(samples))
        return original(engine, samples, *rest)

    monkeypatch.setattr(Engine, "evaluate", counted)
    return seen


def test_validation_samples_rank_and_the_test_samples_are_looked_at_once(tmp_path: Path, looks: list[int]) -> None:
    tested = len(load_dataset("Digits()").test)
    made = compare(TWO, base=base(epochs=2), seeds=2, registry=tmp_path, register="all", jobs=1)
    assert looks.count(tested) == 1
    assert looks[-1] == tested
    for row in made.rows:
        for run in row.runs:
            assert run.metrics == {name: run.history[f"validation_{name}"][-1] for name in ("loss", "accuracy")}
    means = [row.mean("accuracy") or 0.0 for row in made.rows]
    assert means == sorted(means, reverse=True)
    store, best = Registry(tmp_path), made.best_run
    assert best
    assert {ref: bool(store.read(ref).manifest.metrics) for ref in refs(made)} == {
        ref: ref == best.ref for ref in refs(made)
    }
    assert store.read(best.ref or "").manifest.metrics == made.test != best.metrics


@pytest.mark.parametrize("distance", [0, 4])
def test_configurations_that_all_answer_one_class_are_told(tmp_path: Path, distance: float) -> None:
    y = np.arange(400) // 380
    x = np.random.default_rng(0).standard_normal((400, 1, 8, 8)) + distance * y[:, None, None, None]
    np.savez(tmp_path / "rare.npz", x=x.astype(np.float32), y=y)
    changes = {"data.dataset": f'Arrays("{tmp_path / "rare.npz"}")', "train.optimizer": "Adam(0.01)"}
    made = compare(["c4p", "pc2"], base=base(epochs=8).override(changes), seeds=1, registry=tmp_path, jobs=1)
    expected = (
        "all configurations are right about as often as the answer 0 for all samples, 0.950: try --set "
        "train.class_weight=balanced or train.sampling=balanced if other classes are rare, or more epochs"
    )
    assert made.hint == ("" if distance else expected)


def test_a_share_is_set_aside_where_nobody_has(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        compare(TWO, base=base(), seeds=1, registry=tmp_path, jobs=1, progress=Interrupting())
    (place,) = (tmp_path / ".comparisons").iterdir()
    record = text.decode((place / "plan.json").read_bytes())
    assert (record["ranked_on"], record["validation"]) == ("validation", 0.1)
    assert {one["recipe"]["data"]["validation"] for one in record["configurations"]} == {0.1}
    assert resume_comparison(registry=tmp_path).validation == 0.1
    own = make_plan(TWO, Datasets(None), base=base(**{"data.validation": 0.25}))
    assert (own.validation, own.configurations[0].recipe.data.validation) == (0.0, 0.25)


def test_a_dataset_with_samples_to_validate_on_is_not_split(monkeypatch: pytest.MonkeyPatch) -> None:
    def validated(*arguments: Any) -> Any:
        data = load_dataset(*arguments)
        return dataclasses.replace(data, validation=data.test)

    monkeypatch.setattr("cnnkit.comparison.comparison_plan.load_dataset", validated)
    plan = make_plan(TWO, Datasets(None), base=base())
    assert (plan.validation, plan.configurations[0].recipe.data.validation) == (0.0, 0.0)


def test_the_kept_epoch_is_the_one_that_ranks(tmp_path: Path) -> None:
    made = compare(["c4p"], base=base(epochs=4, keep="best", optimizer="SGD(2.0)"), seeds=1, registry=tmp_path, jobs=1)
    assert made.best_run
    history = made.best_run.history["validation_accuracy"]
    assert history[-1] < max(history), "this training shall not end with its best epoch"
    assert made.best_run.metrics["accuracy"] == max(history)
    manifest = Registry(tmp_path).read(refs(made)[0]).manifest
    for wrong in (2.0, True, "2", 99, None):  # of a file that somebody has made up
        made_up = dataclasses.replace(manifest, settings={"kept_epoch": wrong})
        assert _result(made_up, "validation").metrics["accuracy"] == history[-1]


def without_test_samples(*arguments: Any, **options: Any) -> Any:
    data = load_dataset(*arguments, **options)
    return dataclasses.replace(data, test=data.test.take(slice(0)))


def test_no_test_samples_are_needed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("comparison.comparison_plan", "training.assembly"):
        monkeypatch.setattr(f"cnnkit.{name}.load_dataset", without_test_samples)
    made = compare(TWO, base=base(), seeds=1, registry=tmp_path, jobs=1)
    assert (made.test, made.warning, len(refs(made))) == ({}, "", 1)


@pytest.mark.parametrize(
    ("error", "why"),
    [
        (ShapeError("the test targets are strange"), "the test targets are strange"),
        (ZeroDivisionError("division by zero"), "ZeroDivisionError: division by zero"),
    ],
)
def test_a_winner_that_cannot_be_measured_wins_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception, why: str
) -> None:
    def fail(*arguments: Any) -> None:
        raise error

    monkeypatch.setattr(Trainer, "evaluate", fail)
    made = compare(TWO, base=base(), seeds=1, registry=tmp_path, jobs=1)
    assert made.warning == f"the best run could not be measured on the test samples: {why}"
    manifest = Registry(tmp_path).read(refs(made)[0]).manifest
    assert (manifest.metrics, manifest.settings["warning"]) == ({}, made.warning)


def let_fail(patch: pytest.MonkeyPatch, key: str) -> None:
    original = tasks.train

    def train(recipe: Any, task: tasks.Task, *rest: Any) -> Any:
        if task.key == key:
            raise MemoryError
        return original(recipe, task, *rest)

    patch.setattr(tasks, "train", train)


@pytest.mark.parametrize("register", ["best", "all"])
def test_the_winner_of_a_second_attempt_is_registered_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, register: Any
) -> None:
    options: Any = {"base": base(), "seeds": 2, "register": register, "jobs": 1}
    whole = compare(TWO, registry=tmp_path / "whole", **options)
    winner = whole.rows[0]
    other = next(run.seed for run in winner.runs if run != whole.best_run)
    with monkeypatch.context() as patch:
        let_fail(patch, f"{winner.position}-{other}")
        first = compare(TWO, registry=tmp_path / "twice", **options)
    made = resume_comparison(registry=tmp_path / "twice", jobs=1)
    assert first.rows[0].name != winner.name == made.rows[0].name
    store = Registry(tmp_path / "twice")
    versions = [version.ref for model in store.models() for version in store.versions(model)]
    assert len(versions) == (4 if register == "all" else 2)
    recipes = [store.read(ref).manifest.recipe for ref in versions]
    assert all(recipes.count(recipe) == 1 for recipe in recipes)
    assert {ref for ref in versions if "comparison" in store.tags(ref)} == set(refs(made))
    assert set(refs(first)) <= set(versions)


def test_a_measurement_that_works_at_last_leaves_no_warning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*arguments: Any) -> None:
        raise ShapeError("the test targets are strange")

    with monkeypatch.context() as patch:
        let_fail(patch, "1-1")
        patch.setattr(Trainer, "evaluate", fail)
        first = compare(TWO, base=base(), seeds=2, registry=tmp_path, register="none", jobs=1)
    assert first.warning
    kept: list[Any] = []
    monkeypatch.setattr(ComparisonFolder, "keep", lambda place, key, data: kept.append(manifest_of(data)))
    made = resume_comparison(registry=tmp_path, jobs=1)
    assert made.best_run == first.best_run
    assert (kept[-1].seed, kept[-1].metrics, made.warning) == (made.best_run and made.best_run.seed, made.test, "")
    assert "warning" not in kept[-1].settings


def test_a_process_that_is_lost_before_it_registers_measures_no_second_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, looks: list[int]
) -> None:
    def lost(*arguments: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Registry, "add", lost)
        with pytest.raises(KeyboardInterrupt):
            compare(TWO, base=base(), seeds=1, registry=tmp_path, jobs=1)
    seen = len(looks)
    made = resume_comparison(registry=tmp_path, jobs=1)
    assert len(looks) == seen
    assert made.test
    assert Registry(tmp_path).read(refs(made)[0]).manifest.metrics == made.test


def test_a_comparison_of_an_earlier_cnnkit_is_ranked_as_it_began(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        compare(TWO, base=base(), seeds=2, registry=tmp_path, jobs=1, progress=Interrupting())
    (place,) = (tmp_path / ".comparisons").iterdir()
    record = text.decode((place / "plan.json").read_bytes())
    del record["ranked_on"], record["validation"]
    for one in record["configurations"]:
        one["recipe"]["data"]["validation"] = 0.0
    (place / "plan.json").write_bytes(text.encode(record, "plan"))
    made = resume_comparison(registry=tmp_path, jobs=1)
    assert (made.ranked_on, made.validation) == ("test", 0.0)
    assert not any(name.startswith("validation") for row in made.rows for run in row.runs for name in run.history)
    assert made.best_run
    assert made.test == made.best_run.metrics == Registry(tmp_path).read(refs(made)[0]).manifest.metrics
    assert Comparisons(tmp_path).names() == []


SMOOTHED = {"loss": ["CrossEntropy()", "CrossEntropy(label_smoothing=0.1)"]}


def test_different_losses_do_not_rank_each_other(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as error:
        compare([base(metrics=[])], grid=SMOOTHED, seeds=1, registry=tmp_path / "new")
    assert str(error.value) == (
        "the configurations have the losses CrossEntropy() and CrossEntropy(label_smoothing=0.1), whose values say "
        "nothing about each other, and no metric in common that could rank them: give all of them one, such as --set "
        "'metrics=[\"Accuracy()\"]', or compare those with the same loss"
    )
    assert not (tmp_path / "new").exists()
    made = compare([base()], grid=SMOOTHED, seeds=1, registry=tmp_path, jobs=1)
    assert (made.quantity, made.quantities) == ("accuracy", ("accuracy",))


class Top3(Accuracy):
    pass


def test_any_metric_that_all_have_may_rank() -> None:
    first, second = [Top3(), Accuracy()], [Accuracy()]
    assert _ranking([first, second], ["A()", "B()"]) == ("accuracy", True)
    assert _ranking([first, first], ["A()", "B()"]) == ("top3", True)
    assert _ranking([[Top3()], second], ["A()", "A()"]) == ("loss", False)
