"""Callbacks: when they end a training, and what they say."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import Any, cast

import pytest

from cnnkit.components import Callback
from cnnkit.errors import ConfigError
from cnnkit.training.callbacks import EarlyStopping, StopAt, TimeLimit, better


def ends(callback: Callback, quantity: str, values: list[float]) -> tuple[int, str]:
    """The epoch after which a training with these values ends, and why; 0 if it goes through."""
    callback.start({"loss": False, quantity: not quantity.endswith("loss")})
    for epoch in range(1, len(values) + 1):
        if reason := callback.after_epoch({"loss": [1.0] * epoch, quantity: values[:epoch]}):
            return epoch, reason
    return 0, ""


def test_what_is_better() -> None:
    assert better(1.0, than=2.0, greater=False)
    assert not better(2.0, than=1.0, greater=False)
    assert better(2.0, than=1.0, greater=True)
    assert not better(1.0, than=1.0, greater=True)
    assert not better(1.5, than=1.0, greater=True, by_more_than=0.5)
    assert not better(math.nan, than=1.0, greater=True)
    assert better(1.0, than=math.nan, greater=True)
    assert not better(math.nan, than=math.nan, greater=True)


def test_early_stopping_waits_for_patience_epochs() -> None:
    epoch, reason = ends(EarlyStopping(patience=2), "validation_loss", [3.0, 2.0, 2.5, 1.5, 1.6, 1.5, 1.0])
    assert epoch == 6
    assert reason == "validation_loss has not improved for 2 epochs; the best was 1.5 in epoch 4"


def test_early_stopping_lets_a_training_that_gets_better_go_on() -> None:
    assert ends(EarlyStopping(patience=1), "validation_loss", [4.0, 3.0, 2.0, 1.0]) == (0, "")
    assert ends(EarlyStopping("validation_accuracy", patience=1), "validation_accuracy", [0.1, 0.2, 0.3]) == (0, "")


def test_early_stopping_wants_more_than_min_delta() -> None:
    slowly = [1.0, 0.95, 0.9, 0.85]
    assert ends(EarlyStopping(patience=2, min_delta=0.06), "validation_loss", slowly) == (0, "")  # 0.9 beats 1.0
    assert ends(EarlyStopping(patience=2, min_delta=0.2), "validation_loss", slowly)[0] == 3


def test_early_stopping_never_takes_nan_for_the_best() -> None:
    assert ends(EarlyStopping(patience=2), "validation_loss", [math.nan, 1.0, 0.9]) == (0, "")
    assert ends(EarlyStopping(patience=2), "validation_loss", [math.nan] * 4) == (
        2,
        "validation_loss has not improved for 2 epochs",
    )


def test_early_stopping_forgets_earlier_trainings() -> None:
    callback = EarlyStopping(patience=2)
    assert ends(callback, "validation_loss", [1.0, 2.0, 3.0])[0] == 3
    assert ends(callback, "validation_loss", [9.0, 8.0, 7.0]) == (0, "")


def test_stop_at_ends_at_the_target() -> None:
    epoch, reason = ends(StopAt(0.95), "validation_accuracy", [0.9, 0.95, 0.97])
    assert (epoch, reason) == (2, "validation_accuracy has reached 0.95, the target was 0.95")
    assert ends(StopAt(0.2, monitor="loss"), "loss", [0.5, 0.3, 0.19, 0.1])[0] == 3
    assert ends(StopAt(0.95), "validation_accuracy", [0.9, math.nan]) == (0, "")


@pytest.mark.parametrize("callback", [EarlyStopping(), StopAt(0.9)], ids=repr)
def test_a_quantity_that_needs_validation_samples_says_so(callback: EarlyStopping | StopAt) -> None:
    with pytest.raises(ConfigError) as error:
        callback.start({"loss": False, "accuracy": True})
    assert str(error.value) == (
        f"{callback.monitor!r} is not recorded in this training, only loss, accuracy are; "
        "a validation quantity needs validation samples: set data.validation in the recipe, such as 0.1, or in Python "
        "give Data(train, test, validation)"
    )


def test_an_unknown_quantity_is_answered_with_the_known_ones() -> None:
    with pytest.raises(ConfigError, match=r"^'acc' is not recorded in this training, only loss, accuracy are$"):
        StopAt(0.9, monitor="acc").start({"loss": False, "accuracy": True})


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: EarlyStopping(patience=0), "patience must be a whole number, 1 or above, got 0"),
        (lambda: EarlyStopping(min_delta=-1), "min_delta must be a number, 0 or above, got -1"),
        (lambda: StopAt(cast(Any, "high")), "target must be a finite number, got 'high'"),
        (lambda: TimeLimit(0), "seconds must be a number above 0, got 0"),
        (lambda: StopAt(math.nan), "target must be a finite number, got nan"),
    ],
)
def test_arguments_are_checked(make: Callable[[], Callback], message: str) -> None:
    with pytest.raises(ConfigError, match=f"^{re.escape(message)}$"):
        make()


def test_a_time_limit_ends_before_an_epoch_that_would_not_fit() -> None:
    assert ends(TimeLimit(9.4), "seconds", [2.0, 2.0, 3.0])[0] == 0
    epoch, reason = ends(TimeLimit(9), "seconds", [2.0, 2.0, 3.0, 3.0])
    assert epoch == 3  # one more is expected to take 2.3 s
    assert reason == "one more epoch would exceed 9 s, 7.0 s are used"


def test_the_expression_is_kept() -> None:
    assert repr(StopAt(0.9, monitor="accuracy")) == 'StopAt(0.9, monitor="accuracy")'
