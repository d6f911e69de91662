"""Rows and their order: means, deviations with n - 1, failed runs behind all others."""

from __future__ import annotations

import math

import pytest

from cnnkit.comparison import Comparison, Row, RunResult
from cnnkit.comparison.comparison_progress import spread


def row(position: int, *values: float | None, quantity: str = "accuracy") -> Row:
    """A configuration whose runs reached these values; None for one that has failed."""
    runs = [
        RunResult(seed, error="NaN")
        if value is None
        else RunResult(seed, {"loss": 1 - value, quantity: value}, {"loss": [2.0, 1.0], "seconds": [1.5, 0.5]})
        for seed, value in enumerate(values)
    ]
    return Row(position, f"c{position}", f"net-c{position}", 10, tuple(runs))


def comparison(*rows: Row, quantity: str = "accuracy", greater: bool = True) -> Comparison:
    return Comparison("net-1", quantity, greater, (), (0, 1, 2)).ranked(rows)


def order(made: Comparison) -> list[str]:
    return [one.name for one in made.rows]


def test_mean_and_deviation_over_the_seeds() -> None:
    one = row(0, 0.9, 0.8, 0.7)
    assert one.mean("accuracy") == pytest.approx(0.8)
    assert one.deviation("accuracy") == pytest.approx(0.1)  # with n it would be 0.0816
    assert spread(one, "accuracy") == "0.8000 ± 0.1000"
    assert (one.seconds, one.seconds_per_epoch) == (6.0, 1.0)


def test_numbers_without_measure_are_short() -> None:
    assert spread(row(0, 1.8809e30, 3e29), "accuracy") == "1.09e+30 ± 1.118e+30"


def test_a_single_run_has_no_deviation() -> None:
    assert row(0, 0.5, None).deviation("accuracy") is None
    assert spread(row(0, 0.5, None), "accuracy") == "0.5000"
    assert row(0, 0.5, math.inf).deviation("accuracy") is None


def test_what_is_not_finite_has_a_mean_too() -> None:
    assert row(0, 0.5, math.inf).mean("accuracy") == math.inf
    assert math.isnan(row(0, math.inf, -math.inf).mean("accuracy") or 0.0)
    assert row(0, 1e308, 1e308).mean("accuracy") == math.inf


def test_without_a_run_there_is_nothing() -> None:
    empty = row(0, None)
    assert (empty.mean("accuracy"), empty.deviation("accuracy"), empty.seconds_per_epoch) == (None, None, None)
    assert (spread(empty, "accuracy"), empty.seconds) == ("", 0.0)


def test_the_best_mean_comes_first() -> None:
    made = comparison(row(0, 0.7, 0.8), row(1, 0.9, 0.7), row(2, 0.6, 0.6))
    assert order(made) == ["c1", "c0", "c2"]
    assert made.best == made.rows[0]
    assert made.best_run == made.rows[0].runs[0]
    assert made.quantities == ("accuracy", "loss")


def test_where_less_is_better_the_least_comes_first() -> None:
    made = comparison(row(0, 0.7), row(1, 0.9, 0.8), quantity="loss", greater=False)
    assert order(made) == ["c1", "c0"]
    assert made.best_run == made.rows[0].runs[0]
    assert made.quantities == ("loss", "accuracy")


def test_equal_ones_stay_in_order() -> None:
    assert order(comparison(row(1, 0.5), row(0, 0.5))) == ["c1", "c0"]
    made = comparison(row(0, 0.5, 0.5))
    assert made.best_run is made.rows[0].runs[0]


def test_failed_runs_put_a_configuration_behind_all_others() -> None:
    made = comparison(row(0, None, None), row(1, 0.99, None), row(2, 0.1, 0.1), row(3, math.nan))
    assert order(made) == ["c2", "c3", "c1", "c0"]
    assert [(one.name, run.seed) for one, run in made.failures] == [("c1", 1), ("c0", 0), ("c0", 1)]


def test_where_all_have_failed_none_is_best() -> None:
    made = comparison(row(0, None), row(1, None))
    assert (made.best, made.best_run, made.quantities) == (None, None, ("accuracy",))
    assert comparison(row(0), row(1)).best is None


def test_curves_are_those_of_the_validation_if_all_have_one() -> None:
    history = {"accuracy": [0.1], "validation_accuracy": [0.2]}
    with_one = Row(0, "a", "net", 1, (RunResult(0, {"accuracy": 1.0}, history),))
    without = Row(1, "b", "net", 1, (RunResult(0, {"accuracy": 0.5}, {"accuracy": [0.3]}), RunResult(1, error="x")))
    assert comparison(with_one).curves("accuracy") == ("validation_accuracy", [[[0.2]]])
    assert comparison(with_one, without).curves("accuracy") == ("accuracy", [[[0.1]], [[0.3]]])
