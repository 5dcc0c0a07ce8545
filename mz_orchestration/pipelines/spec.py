"""What a pipeline consists of: the validated description that cron, Airflow and Dagster share.

The models are the file as it is written. What its parts come to once the defaults are filled in and the names are
looked up is `planning.plan_pipeline`'s.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    SecretStr,
)

from mz_orchestration.exports.spec import CsvOptions
from mz_orchestration.exports.verify_level import VerifyLevel
from mz_orchestration.pipelines.check_spec import ChecksSpec
from mz_orchestration.pipelines.units import Duration, Share
from mz_orchestration.snowflake.schema import Layout, SchemaChanges
from mz_orchestration.snowflake.spec import Checks as ColumnChecks
from mz_orchestration.snowflake.spec import Clear, Strategy
from mz_orchestration.webhooks.address import webhook_address

_strict = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


def _a_name(value: str) -> str:
    if not value.isprintable() or value != value.strip():
        raise ValueError(f"{value!r} is not a name: it must be printable, without spaces around it")
    return value


Name = Annotated[str, Field(min_length=1, max_length=200), AfterValidator(_a_name)]
Address = Annotated[SecretStr, AfterValidator(webhook_address)]
Event = Literal["failure", "recovery", "success"]


class _ExportChoices(BaseModel):
    """What the defaults and each export may say."""

    model_config = _strict

    to: str | None = Field(default=None, description="Folder below which every run gets its own path.")
    connection: str | None = Field(default=None, description="Materialize's AWS connection.")
    format: Literal["parquet", "csv"] | None = Field(default=None, description="parquet (default) or csv.")
    csv: CsvOptions | None = Field(default=None, description="How CSV files are written.")
    cluster: str | None = Field(default=None, description="Cluster of Materialize to run on.")
    max_file_size: str | None = Field(default=None, description="16MB to 4GB; 256MB by default.")
    safe_types: bool | None = Field(
        default=None, description="Cast columns whose meaning the file format would lose; on by default."
    )
    verify: VerifyLevel | None = Field(default=None, description="listing, footers (default) or full.")
    count: bool | None = Field(default=None, description="Count the rows at the same timestamp first.")
    statistics: bool | None = Field(
        default=None, description="Ask for NULLs, extremes and sums of each column first, for loads to compare."
    )
    left_behind: Literal["wait", "cancel", "leave"] | None = Field(
        default=None, description="What to do with a COPY that an earlier process of this run left behind."
    )
    checks: ChecksSpec | None = Field(default=None, description="What the export must be like.")


class Defaults(_ExportChoices):
    """What goes for every part that does not say otherwise."""

    to: str = Field(description="Folder below which every run gets its own path, and the records lie.")
    stage: str | None = Field(default=None, description="Snowflake's external stage that covers the folder.")
    concurrency: int = Field(default=4, ge=1, le=100, description="How many parts run at a time.")


class ExportItem(_ExportChoices):
    """One export."""

    name: Name | None = Field(default=None, description="By which loads and syncs name it; the object by default.")
    object: str | None = Field(default=None, description="Table, source, view or materialized view.")
    query: str | None = Field(default=None, description="A SELECT to export in place of an object; needs a name.")
    where: str | None = Field(default=None, description="Condition on the object's rows, in SQL.")
    consistency_group: Name | None = Field(
        default=None, description="Exports of one group are read at one logical timestamp."
    )
    casts: dict[str, str] | None = Field(default=None, description="SQL types to cast columns to, by column.")
    timeout: Duration | None = Field(default=None, description="How long the COPY may take; 6h by default.")


class LoadItem(BaseModel):
    """One load into Snowflake."""

    model_config = _strict

    name: Name | None = Field(default=None, description="By which syncs name it; the table by default.")
    export: Name = Field(description="Name of the export to load.")
    table: str = Field(description="[database.][schema.]table; made if missing.")
    stage: str | None = Field(default=None, description="External stage that covers the export's folder.")
    strategy: Strategy = Field(default=Strategy.SWAP, description="How the table gets the rows.")
    layout: Layout | None = Field(default=None, description="columns (default) or variant.")
    keys: tuple[str, ...] = Field(default=(), description="For merge: columns that identify a row.")
    delete_missing: bool | None = Field(default=None, description="For merge: delete rows that are not in the export.")
    clear: Clear | None = Field(default=None, description="For transaction: delete (default) or truncate.")
    lineage: bool | None = Field(default=None, description="Columns that say where each row came from.")
    schema_changes: SchemaChanges | None = Field(default=None, description="fail (default) or add_columns.")
    checks: ColumnChecks | None = Field(default=None, description="none (default) or columns.")
    timeout: Duration | None = Field(default=None, description="How long a statement may take; 6h by default.")


class SyncItem(BaseModel):
    """One run of a Census sync."""

    model_config = _strict

    sync: str | int = Field(description="Id of the sync in Census.")
    name: Name | None = Field(default=None, description="'sync <id>' by default.")
    after: tuple[Name, ...] = Field(default=(), description="Names of the loads or exports it waits for.")
    on_overlap: Literal["wait", "attach", "fail"] | None = Field(
        default=None, description="While another run of the sync is active: wait (default), attach or fail."
    )
    on_cancelled: Literal["fail", "accept"] | None = Field(default=None, description="Of a run cancelled in Census.")
    full: bool | None = Field(default=None, description="Send all records, not only what changed.")
    max_failed: int | None = Field(default=None, description="Records that may be rejected; 0 by default.")
    max_failed_ratio: Share | None = Field(default=None, description="The same by records processed.")
    max_invalid: int | None = Field(default=None, description="Records that may be invalid; 0 by default.")
    max_invalid_ratio: Share | None = Field(default=None, description="The same by records of the source.")
    timeout: Duration | None = Field(default=None, description="How long the run may take; 6h by default.")


class RetentionSpec(BaseModel):
    """Which export files of earlier runs stay; a run's files go once neither limit keeps them."""

    model_config = _strict

    keep_last: int = Field(default=7, ge=1, description="Newest finished runs of each export to keep.")
    keep_for: Duration | None = Field(default=None, description="Keep everything that is younger.")


class WebhookSpec(BaseModel):
    """An address that gets a JSON document by POST."""

    model_config = _strict

    url: Address = Field(description="Where to; a secret, so write ${NAME}.")
    on: tuple[Event, ...] = Field(
        default=("failure", "recovery"),
        min_length=1,
        description="failure, recovery (the first success after one), success.",
    )


class NotificationsSpec(BaseModel):
    """Who is told how a run ended."""

    model_config = _strict

    webhooks: tuple[WebhookSpec, ...] = ()
    heartbeat: Address | None = Field(
        default=None, description="Asked for by GET after every run that ended well: a dead man's switch."
    )


class PipelineSpec(BaseModel):
    """A pipeline."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True, title="mz-orchestration pipeline")

    version: Literal[1] = Field(default=1, description="Of this format.")
    name: str = Field(
        pattern=r"^[A-Za-z0-9_-]{1,64}$", description="Letters, digits, - and _; names the records of its runs."
    )
    defaults: Defaults
    exports: tuple[ExportItem, ...] = ()
    loads: tuple[LoadItem, ...] = ()
    syncs: tuple[SyncItem, ...] = ()
    retention: RetentionSpec | None = None
    notifications: NotificationsSpec = NotificationsSpec()
