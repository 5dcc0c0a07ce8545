"""Syncs as the API takes and shows them: from which object, to which destination, by which key, how often."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from mz_orchestration.local.census.answers import ApiError, now

#: Seconds between the runs of a schedule; of a continuous one they are set by the rules.
PERIODS = {"quarter_hourly": 900.0, "hourly": 3600.0, "daily": 86400.0, "weekly": 604800.0}

Name = Annotated[str, Field(min_length=1, max_length=255)]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class SourceObject(_Part):
    """A table or view of a source; ``table_catalog`` is its database."""

    type: Literal["table"] = "table"
    table_catalog: Name
    table_schema: Name
    table_name: Name


class SourceAttributes(_Part):
    """Where records come from."""

    connection_id: int
    object: SourceObject


class DestinationAttributes(_Part):
    """Where records go."""

    connection_id: int | str
    object: Name


class Column(_Part):
    """A column of the source."""

    type: Literal["column"] = "column"
    data: Name


class FieldMapping(_Part):
    """One column and the field it becomes."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    from_: Column = Field(alias="from")
    to: Name
    is_primary_identifier: bool = False


class Settings(_Part):
    """What a user sets of a sync."""

    label: str | None = None
    operation: Literal["upsert", "mirror", "append"]
    source_attributes: SourceAttributes
    destination_attributes: DestinationAttributes
    mappings: tuple[FieldMapping, ...]
    schedule_frequency: Literal["never", "continuous", "quarter_hourly", "hourly", "daily", "weekly"] = "never"
    paused: bool = False
    trigger_on_dbt_cloud_rebuild: bool = False

    @field_validator("schedule_frequency", mode="before")
    @classmethod
    def _manual(cls, value: Any) -> Any:
        return "never" if value == "manual" else value

    @model_validator(mode="after")
    def _one_key(self) -> Settings:
        if sum(mapping.is_primary_identifier for mapping in self.mappings) != 1:
            raise ValueError("is_primary_identifier must be true for exactly one mapping")
        return self

    @property
    def key(self) -> str:
        """The column that is the sync key."""
        return next(mapping.from_.data for mapping in self.mappings if mapping.is_primary_identifier)

    @classmethod
    def parse(cls, values: Mapping[str, Any]) -> Settings:
        """Read the body of a request.

        Raises:
            ApiError: Something is missing or wrong.
        """
        try:
            return cls.model_validate(values)
        except ValidationError as error:
            [first, *_] = error.errors()
            where = ".".join(str(part) for part in first["loc"])
            raise ApiError(422, f"{where}: {first['msg']}" if where else first["msg"]) from None

    def dump(self) -> dict[str, Any]:
        """The settings as JSON, as `parse` takes them."""
        return self.model_dump(mode="json", by_alias=True)


class Sync:
    """A sync; its settings are replaced as a whole."""

    def __init__(self, id: int, settings: Settings) -> None:
        self.id = id
        self.settings = settings
        self.created_at = self.updated_at = now()

    def change(self, changes: Mapping[str, Any]) -> None:
        """Change some settings.

        Raises:
            ApiError: Something is wrong; nothing was changed.
        """
        self.settings = Settings.parse({**self.settings.dump(), **changes})
        self.updated_at = now()

    def shown(self, *, working: bool) -> dict[str, Any]:
        """The sync as the API shows it."""
        return {
            "id": self.id,
            "status": "Working" if working else "Ready",
            "created_at": self.created_at,
            "updated_at": self.updated_at,
            **self.settings.dump(),
        }
