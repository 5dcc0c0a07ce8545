"""What a component says of each export, load and sync: what a pipeline file does, and what is Dagster's own."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, Literal, Self

from dagster import (
    AutomationCondition,
    DefaultScheduleStatus,
    FreshnessPolicy,
    ScheduleDefinition,
)
from dagster import (
    DagsterInvalidDefinitionError as InvalidDefinition,
)
from pydantic import BaseModel, ConfigDict, Field, model_validator

from mz_orchestration.dagster.components.compat import TranslationFn
from mz_orchestration.pipelines.spec import ExportItem, LoadItem, SyncItem
from mz_orchestration.pipelines.units import Duration

_strict = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True, defer_build=True)


class Schedule(BaseModel):
    """When something runs."""

    model_config = _strict

    cron: str = Field(description="Five fields, or a short form such as @hourly.")
    timezone: str = Field(default="UTC", description="Of the cron expression, such as Europe/Berlin.")
    default_status: Literal["RUNNING", "STOPPED"] = Field(
        default="STOPPED", description="RUNNING for a schedule that nobody has to switch on in the UI."
    )

    @model_validator(mode="after")
    def _exists(self) -> Self:
        try:
            self.definition(name="any", job_name="any")
        except InvalidDefinition as error:
            raise ValueError(f"{self.cron!r} in {self.timezone!r}: {' '.join(str(error).split())}") from None
        return self

    def definition(self, *, name: str, **what: Any) -> ScheduleDefinition:
        """The schedule.

        Args:
            name: Its name.
            **what: What runs, in the words of `ScheduleDefinition`.
        """
        return ScheduleDefinition(
            name=name,
            cron_schedule=self.cron,
            execution_timezone=self.timezone,
            default_status=DefaultScheduleStatus(self.default_status),
            **what,
        )


class Freshness(BaseModel):
    """How old what an asset holds may be: by the clock (`fail_window`), or at a deadline (`deadline_cron`)."""

    model_config = _strict

    fail_window: Duration | None = Field(default=None, description="Stale when older than that: 26h.")
    warn_window: Duration | None = Field(default=None, description="With fail_window: warned of when older than that.")
    deadline_cron: str | None = Field(default=None, description="When it has to be there: '0 8 * * *'.")
    lower_bound_delta: Duration | None = Field(
        default=None, description="With deadline_cron: how long before that it may have been made: 2h."
    )
    timezone: str | None = Field(default=None, description="With deadline_cron: its time zone; UTC by default.")

    @model_validator(mode="after")
    def _either(self) -> Self:
        if (self.fail_window is None) == (self.deadline_cron is None):
            raise ValueError("give either fail_window, or deadline_cron with lower_bound_delta")
        at_deadline = {"lower_bound_delta": self.lower_bound_delta, "timezone": self.timezone}
        apart = {"warn_window": self.warn_window} if self.fail_window is None else at_deadline
        for name, value in apart.items():
            if value is not None:
                raise ValueError(f"{name} belongs to {'fail_window' if name == 'warn_window' else 'deadline_cron'}")
        if self.deadline_cron is not None and self.lower_bound_delta is None:
            raise ValueError("deadline_cron needs lower_bound_delta: how long before it the asset may have been made")
        try:
            self.policy()
        # Dagster's own checks of what it is given.
        except Exception as error:
            raise ValueError(" ".join(str(error).split())) from None
        return self

    def policy(self) -> FreshnessPolicy:
        """The same in Dagster's terms."""
        if self.fail_window is not None:
            warn = None if self.warn_window is None else timedelta(seconds=self.warn_window)
            return FreshnessPolicy.time_window(timedelta(seconds=self.fail_window), warn)
        assert self.deadline_cron is not None
        assert self.lower_bound_delta is not None
        return FreshnessPolicy.cron(
            self.deadline_cron, timedelta(seconds=self.lower_bound_delta), self.timezone or "UTC"
        )


class DagsterAttributes(BaseModel):
    """What is Dagster's own of an asset, or of all assets of a component.

    Attributes:
        schedule: When it runs.
        freshness: How old it may be.
        automation_condition: When Dagster runs it by itself.
        translation: What is to be different about the asset.
    """

    model_config = ConfigDict(
        frozen=True, extra="forbid", hide_input_in_errors=True, defer_build=True, arbitrary_types_allowed=True
    )

    schedule: Schedule | None = Field(default=None, description="When it runs.")
    freshness: FreshnessPolicy | None = Field(
        default=None, description="How old it may be before Dagster calls it stale."
    )
    automation_condition: AutomationCondition[Any] | None = Field(
        default=None,
        description="When Dagster runs it by itself: eager, on_missing, on_cron(@hourly), "
        "on_cron(0 6 * * *, Europe/Berlin), or a template that gives an AutomationCondition.",
    )
    translation: TranslationFn[Any] | None = Field(
        default=None,
        description="What is to be different about the asset: key, key_prefix, group_name, owners, tags, deps, "
        "metadata and so on. Templates see 'spec', the asset as it would be, and 'props', what it stands for.",
    )


class ExportEntry(ExportItem, DagsterAttributes):
    """One export."""

    @property
    def item(self) -> str:
        """By which loads, syncs and people know it."""
        return self.name or self.object or ""


class LoadEntry(LoadItem, DagsterAttributes):
    """One load into Snowflake."""

    @property
    def item(self) -> str:
        """By which syncs and people know it."""
        return self.name or self.table


class SyncEntry(SyncItem, DagsterAttributes):
    """One run of a Census sync."""

    @property
    def item(self) -> str:
        """By which people know it."""
        return self.name or f"sync {self.sync}"


Entry = ExportEntry | LoadEntry | SyncEntry


def as_written(entry: Entry) -> dict[str, Any]:
    """The fields of an entry that are a pipeline's, as far as they are given.

    Args:
        entry: An export, a load or a sync.
    """
    given = entry.model_fields_set - DagsterAttributes.model_fields.keys()
    return {name: getattr(entry, name) for name in given}
