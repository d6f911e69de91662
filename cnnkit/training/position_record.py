"""The record of a position, checked when it is read: a checkpoint is a file, and files may be damaged or made up."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from cnnkit.errors import TrainingError

Count = Annotated[int, Field(ge=0, lt=2**53)]
Finite = Annotated[float, Field(allow_inf_nan=False)]


class _Section(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid")


class SumsRecord(_Section):
    """What `Sums` holds."""

    count: Annotated[int, Field(gt=0, lt=2**53)]
    loss: Finite
    metrics: list[Any]


class PositionRecord(_Section):
    """What `Position.to_record` writes."""

    epoch: Count
    step: Count
    updates: Count
    seconds: Annotated[Finite, Field(ge=0)]
    rate_factor: Annotated[float, Field(gt=0, le=1)]
    rollbacks: Count
    history: dict[str, list[float]]
    best: float | None
    hints: dict[str, str] = {}
    loss_before: Finite | None = None
    sums: SumsRecord | None = None


def checked(record: Any) -> Mapping[str, Any]:
    """The values of a record. Raises TrainingError naming the key that is wrong."""
    try:
        return PositionRecord.model_validate(record).model_dump()
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, ("position", *first["loc"])))
        found = f"{first['msg']}, found {first['input']!r:.100}"
        raise TrainingError(f"the checkpoint does not say how far the training was: {where}: {found}") from None
