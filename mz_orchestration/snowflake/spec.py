"""What to load: the validated description shared by the command line, Airflow and Dagster."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field, field_validator

from mz_orchestration.objectstore.location import parse_location
from mz_orchestration.snowflake.quoting import parse_name
from mz_orchestration.validation import validated


class LoadSpec(BaseModel):
    """One load.

    Attributes:
        manifest: URL of the manifest that an export wrote.
        stage: External stage whose URL covers the manifest's folder; ``[database.][schema.]name``.
        table: Table whose whole content is replaced; made if it does not exist. ``[database.][schema.]name``.
        timeout: Seconds a COPY INTO may take before it is aborted.
        again: Publish the manifest even if the table holds a later one by now.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    manifest: str
    stage: str
    table: str
    timeout: float = Field(default=6 * 3600, gt=0, allow_inf_nan=False)
    again: bool = False

    @field_validator("manifest")
    @classmethod
    def _a_location(cls, value: str) -> str:
        return str(parse_location(value, field="manifest"))

    @field_validator("stage", "table")
    @classmethod
    def _a_name(cls, value: str, info: Any) -> str:
        parse_name(value.removeprefix("@") if info.field_name == "stage" else value, field=info.field_name)
        return value.removeprefix("@")


def load_spec(**fields: Any) -> LoadSpec:
    """An `LoadSpec` whose refusals are `ConfigurationError`, naming field, value and reason.

    Raises:
        ConfigurationError: A field is missing, unknown or wrong.
    """
    return validated(LoadSpec, **fields)
