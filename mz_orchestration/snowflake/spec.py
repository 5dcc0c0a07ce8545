"""What to load: the validated description shared by the command line, Airflow and Dagster."""

from __future__ import annotations

from enum import StrEnum
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from mz_orchestration.objectstore.location import parse_location
from mz_orchestration.snowflake.quoting import parse_name
from mz_orchestration.snowflake.schema import Layout, SchemaChanges
from mz_orchestration.validation import validated


class Strategy(StrEnum):
    """How the target gets the rows of a manifest; every one is atomic."""

    SWAP = "swap"  # a new table takes the target's name
    OVERWRITE = "overwrite"  # INSERT OVERWRITE from a staging table; the target stays the object it is
    TRANSACTION = "transaction"  # delete and COPY INTO the target in one transaction; written once
    APPEND = "append"  # rows are added
    MERGE = "merge"  # rows are updated and inserted by key

    @property
    def replaces(self) -> bool:
        """Whether the target holds the manifest's rows and no others afterwards."""
        return self in (Strategy.SWAP, Strategy.OVERWRITE, Strategy.TRANSACTION)


class Clear(StrEnum):
    """How a ``transaction`` empties the target."""

    DELETE = "delete"  # Time Travel and the load history go on
    TRUNCATE = "truncate"  # quicker on large tables; forgets the load history


class Checks(StrEnum):
    """What is compared beside the counts before anything is published."""

    NONE = "none"
    COLUMNS = "columns"  # nulls, minimum, maximum and sum of each column


class LoadSpec(BaseModel):
    """One load.

    Attributes:
        manifest: URL of the manifest that an export wrote.
        stage: External stage whose URL covers the manifest's folder; ``[database.][schema.]name``.
        table: The target; made if it does not exist. ``[database.][schema.]name``.
        strategy: How the target gets the rows.
        layout: Columns as exported, or one VARIANT column (Parquet only).
        keys: Columns that identify a row, for ``merge``; together unique and never null.
        delete_missing: With ``merge``, delete the target's rows whose key is not in the export.
        clear: With ``transaction``, how the target is emptied.
        lineage: Add columns that say where each row came from; None means for ``append`` only.
        schema_changes: What to do where the target lacks columns of the export.
        checks: What is compared beside the counts.
        timeout: Seconds one long statement may take before it is aborted.
        again: Load the manifest even if the target has had it before.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    manifest: str
    stage: str
    table: str
    strategy: Strategy = Strategy.SWAP
    layout: Layout = Layout.COLUMNS
    keys: tuple[str, ...] = ()
    delete_missing: bool = False
    clear: Clear = Clear.DELETE
    lineage: bool | None = None
    schema_changes: SchemaChanges = SchemaChanges.FAIL
    checks: Checks = Checks.NONE
    # Snowflake's own limit for a statement is seven days, and it gets a minute more than we do.
    timeout: float = Field(default=6 * 3600, gt=0, le=7 * 24 * 3600 - 60, allow_inf_nan=False)
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

    @field_validator("keys", mode="before")
    @classmethod
    def _one_or_more(cls, value: Any) -> Any:
        return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value

    @model_validator(mode="after")
    def _fits_the_strategy(self) -> Self:
        merges = self.strategy is Strategy.MERGE
        if merges and not self.keys:
            raise ValueError("strategy 'merge' needs keys: name the columns that identify a row")
        if self.keys and not merges:
            raise ValueError(
                f"keys {', '.join(self.keys)} mean nothing to strategy {self.strategy.value!r}; use 'merge'"
            )
        if len(set(self.keys)) != len(self.keys):
            raise ValueError(f"keys: {', '.join(self.keys)} names a column twice")
        if self.delete_missing and not merges:
            raise ValueError(
                f"delete_missing belongs to strategy 'merge'; {self.strategy.value!r} "
                + ("leaves no other rows anyway" if self.strategy.replaces else "keeps every row")
            )
        if self.clear is not Clear.DELETE and self.strategy is not Strategy.TRANSACTION:
            raise ValueError(f"clear={self.clear.value} belongs to strategy 'transaction'")
        if self.layout is Layout.VARIANT and merges:
            raise ValueError("layout 'variant' has no columns to merge by; use another strategy")
        if self.layout is Layout.VARIANT and self.checks is not Checks.NONE:
            raise ValueError("layout 'variant' has no columns to check; leave checks out")
        return self

    @property
    def with_lineage(self) -> bool:
        """Whether the lineage columns are wanted."""
        return self.strategy is Strategy.APPEND if self.lineage is None else self.lineage


def load_spec(**fields: Any) -> LoadSpec:
    """An `LoadSpec` whose refusals are `ConfigurationError`, naming field, value and reason.

    Raises:
        ConfigurationError: A field is missing, unknown or wrong.
    """
    return validated(LoadSpec, **fields)
