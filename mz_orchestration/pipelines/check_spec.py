"""What an export must be like: the limits of its checks."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from mz_orchestration.pipelines.units import Duration, Share


class ChecksSpec(BaseModel):
    """What an export must be like before anything is loaded from it or synced after it."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    min_rows: Annotated[int, Field(ge=0)] | None = Field(default=None, description="Fewest rows it may have.")
    max_rows: Annotated[int, Field(ge=0)] | None = Field(default=None, description="Most rows it may have.")
    max_change: Share | None = Field(
        default=None,
        description="How much the number of rows may differ from that of the last run that passed, by that number: "
        "0.2 or 20%. The first run has nothing to differ from.",
    )
    max_lag: Duration | None = Field(
        default=None,
        description="How far the object may lag behind the clock, by Materialize's account when it is checked.",
    )

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.min_rows is not None and self.max_rows is not None and self.min_rows > self.max_rows:
            raise ValueError(f"min_rows {self.min_rows} is more than max_rows {self.max_rows}")
        return self

    @property
    def wanted(self) -> bool:
        """Whether there is anything to check."""
        return any(value is not None for value in self.__dict__.values())
