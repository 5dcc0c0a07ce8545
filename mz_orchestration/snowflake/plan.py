"""Where a load goes: full names, what the stage covers, the table as it is and what it holds already.

Everything here reads; nothing is made or changed.
"""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any

from mz_orchestration.errors import ConfigurationError, VerificationError
from mz_orchestration.exports.manifest import Manifest
from mz_orchestration.flow import Flow, call
from mz_orchestration.runs.record import LoadEntry, LoadState
from mz_orchestration.snowflake import statements
from mz_orchestration.snowflake.marker import marked_manifest
from mz_orchestration.snowflake.quoting import identifier, parse_name
from mz_orchestration.snowflake.session import SnowflakeSession
from mz_orchestration.snowflake.spec import LoadSpec
from mz_orchestration.snowflake.statements import Name
from mz_orchestration.snowflake.types import TargetColumn, differences


@dataclass(frozen=True, slots=True)
class LoadPlan:
    """What the check found out: full names, the manifest's folder below the stage, and the table as it is."""

    stage: Name
    path: str
    table: Name
    exists: bool
    transient: bool
    comment: str | None

    @property
    def label(self) -> str:
        """The table's qualified, quoted name."""
        return str(identifier(*self.table))

    @property
    def _staging_prefix(self) -> str:
        return f"{self.table[2][:200]}__MZ_"

    def new_staging(self) -> str:
        """A name nobody else uses: of two processes that load one manifest, neither disturbs the other's table."""
        return self._staging_prefix + secrets.token_hex(6).upper()

    def staging(self, name: str) -> Name:
        """The staging table of that name.

        Raises:
            VerificationError: It cannot be one of ours; a name from a record must never make us drop another table.
        """
        if not re.fullmatch(re.escape(self._staging_prefix) + "[0-9A-F]{12}", name):
            raise VerificationError(
                f"The run record names {name!r} as a staging table of {self.label}, which it cannot be.",
                hint="Somebody has changed the record: look at it, then move it away and load again.",
            )
        return (*self.table[:2], name)


def plan_load(spec: LoadSpec, manifest: Manifest, session: SnowflakeSession) -> Flow[LoadPlan]:
    """Look up everything a load needs to know; two statements, one more for names without database or schema.

    Raises:
        ConfigurationError: A name, the stage or the target cannot be used.
        NotFoundError: The stage does not exist.
    """
    stage, table = parse_name(spec.stage, field="stage"), parse_name(spec.table, field="table")
    if len(stage) < 3 or len(table) < 3:
        answer = yield from call(session.query, statements.current_names())
        current = (answer.rows[0]["database_name"], answer.rows[0]["schema_name"])
        stage, table = _qualified(stage, current, "stage"), _qualified(table, current, "table")
    properties = yield from call(session.query, statements.describe_stage(stage))
    path = path_below_stage(properties.rows, stage, manifest)
    found = yield from call(session.query, statements.describe_table(table))
    row = found.rows[0] if found.rows else {"table_type": "BASE TABLE", "is_transient": "NO", "comment": None}
    if row["table_type"] != "BASE TABLE":
        raise ConfigurationError(
            f"{identifier(*table)} is a {str(row['table_type']).lower()}, which cannot be replaced by a load.",
            hint="Name a table; put the view on top of it.",
        )
    return LoadPlan(stage, path, table, bool(found.rows), row["is_transient"] == "YES", row["comment"])


def _qualified(name: Name, current: tuple[str | None, str | None], field: str) -> Name:
    full = (*current[: 3 - len(name)], *name)
    if None in full:
        raise ConfigurationError(
            f"{field}: {'.'.join(name)} names no database and schema, and the session has none.",
            hint="Write database.schema.name, or set SNOWFLAKE_DATABASE and SNOWFLAKE_SCHEMA.",
        )
    return tuple(part for part in full if part is not None)


def path_below_stage(properties: Iterable[Mapping[str, Any]], stage: Name, manifest: Manifest) -> str:
    """The manifest's folder as seen from the stage.

    Args:
        properties: Rows of ``DESC STAGE``.
        stage: Its name, for errors.
        manifest: Whose folder is meant.

    Raises:
        ConfigurationError: The stage is internal, or does not cover the folder.
    """
    urls = [row["property_value"] for row in properties if row["property"] == "URL" and row["property_value"]]
    if not urls:
        raise ConfigurationError(
            f"The stage {identifier(*stage)} has no URL.", hint="Use an external stage on the export's bucket."
        )
    text = str(urls[0])
    url = str(json.loads(text)[0] if text.startswith("[") else text)
    # Snowflake names other stores by other schemes: gcs://, s3compat://; bucket and key stay the same.
    place = url.partition("://")[2].rstrip("/") + "/"
    folder = f"{manifest.folder.bucket}/{manifest.folder.key}"
    if not folder.startswith(place):
        raise ConfigurationError(
            f"The stage {identifier(*stage)} on {url} does not cover {manifest.path}.",
            hint=f"Use a stage whose URL is s3://{manifest.folder.bucket}/ or a folder above the manifest.",
        )
    return folder.removeprefix(place)


class Standing(Enum):
    """What the target holds of a manifest."""

    ABSENT = "absent"
    PUBLISHED = "published"
    CHANGED = "changed"  # published, and changed by somebody since
    SUPERSEDED = "superseded"  # published once, and replaced by another manifest since


def standing_of(
    plan: LoadPlan, manifest: Manifest, earlier: LoadEntry | None, session: SnowflakeSession
) -> Flow[Standing]:
    """Find out what the target holds of a manifest; one statement where it carries its mark.

    Args:
        plan: The target as found.
        manifest: What is to be loaded.
        earlier: What the run record knows of a load into this target.
        session: To count the rows with.
    """
    mark = marked_manifest(plan.comment) if plan.exists else None
    if mark == manifest.sha256:
        counted = yield from call(session.query, statements.count_rows(plan.table))
        return Standing.PUBLISHED if int(counted.rows[0]["n"]) == manifest.rows else Standing.CHANGED
    if mark is not None and earlier is not None and earlier.state is LoadState.SUCCEEDED:
        return Standing.SUPERSEDED
    return Standing.ABSENT


def check_columns(plan: LoadPlan, manifest: Manifest, session: SnowflakeSession) -> Flow[None]:
    """Make sure that the files can be loaded without loss and fit the table, if there is one.

    Raises:
        ConfigurationError: They cannot or do not; every difference is named.
    """
    # Raises for files that cannot be loaded at all, before anything is made.
    list(statements.copy_into(plan.table, plan.stage, plan.path, manifest))
    if not plan.exists:
        return
    answer = yield from call(session.query, statements.describe_columns(plan.table))
    columns = [
        TargetColumn(row["column_name"], row["data_type"], row["numeric_scale"], row["datetime_precision"])
        for row in answer.rows
    ]
    different = differences(manifest.columns, columns)
    if different:
        raise ConfigurationError(
            f"The table {plan.label} does not fit the export: {'; '.join(different)}.",
            hint="Change the table or the export, or load into a new table.",
            details={"differences": len(different)},
        )
