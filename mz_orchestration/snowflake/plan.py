"""Where a load goes: full names, the stage, and the table as it is.

Everything here reads; nothing is made or changed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from mz_orchestration.errors import ConfigurationError, NotFoundError, VerificationError
from mz_orchestration.exports.manifest import Manifest
from mz_orchestration.flow import Flow, call
from mz_orchestration.objectstore.client import ObjectStore
from mz_orchestration.snowflake import statements
from mz_orchestration.snowflake.advice import advise
from mz_orchestration.snowflake.copy import copy_into
from mz_orchestration.snowflake.ledger import LEDGER, ledger_of
from mz_orchestration.snowflake.marker import Mark, mark_of
from mz_orchestration.snowflake.names import is_load_id, is_staging_name, staging_name
from mz_orchestration.snowflake.quoting import Name, identifier, parse_name
from mz_orchestration.snowflake.schema import (
    WantedColumn,
    compare,
    render,
    wanted_columns,
)
from mz_orchestration.snowflake.session import SnowflakeSession
from mz_orchestration.snowflake.spec import LoadSpec
from mz_orchestration.snowflake.stage_store import check_store
from mz_orchestration.snowflake.stages import (
    endpoint_statement,
    judge_probe,
    path_below_stage,
    probe_statement,
    stage_facts,
    with_endpoint,
)
from mz_orchestration.snowflake.target import target_column

# Files that one node of the smallest warehouse reads at once; with fewer there is nothing to advise.
_FEW_FILES = 8


@dataclass(frozen=True, slots=True)
class TableFacts:
    """The target as it is.

    Attributes:
        transient: It is a transient table; so must be what takes its place.
        clustered: Automatic clustering is on.
        created: When this table object was made, as text; that of another object of the same name differs.
        changed: When its definition was changed last, as text.
    """

    transient: bool
    comment: str | None
    clustered: bool
    created: str
    changed: str

    @property
    def mark(self) -> Mark | None:
        """The load whose rows took the table's name, if one did."""
        return mark_of(self.comment)


@dataclass(frozen=True, slots=True)
class LoadPlan:
    """What the look-ups found.

    Attributes:
        path: The manifest's folder below the stage.
        found: The target; None if it does not exist.
        has_ledger: The schema has a ledger.
        columns: What the export fills, in order, under the names that the target has for it.
        add: Those of them that the target lacks; empty where it does not exist.
        notes: Remarks for people.
    """

    stage: Name
    path: str
    table: Name
    found: TableFacts | None
    has_ledger: bool
    columns: tuple[WantedColumn, ...]
    add: tuple[WantedColumn, ...]
    notes: tuple[str, ...] = field(default=())

    @property
    def label(self) -> str:
        """The table's qualified, quoted name."""
        return str(identifier(*self.table))

    @property
    def ledger(self) -> Name:
        """The ledger's name."""
        return ledger_of(self.table)

    def staging(self, load: str) -> Name:
        """The staging table of a load.

        Raises:
            VerificationError: That is no load's id; a name from a record must never make us drop another table.
        """
        if not is_load_id(load):
            raise VerificationError(
                f"The run record names {load!r} as a load of {self.label}, which it cannot be.",
                hint="Somebody has changed the record: look at it, then move it away and load again.",
            )
        return (*self.table[:2], staging_name(self.table[2], load))


def plan_load(
    spec: LoadSpec, manifest: Manifest, session: SnowflakeSession, store: ObjectStore, *, snowflake_host: str | None
) -> Flow[LoadPlan]:
    """Look up everything a load needs to know, in four statements and one request to the store.

    One statement more each for a target that exists, for many files and for an ``s3compat://`` stage.

    Args:
        spec: The load.
        manifest: What is loaded.
        session: To ask with.
        store: Where the manifest was read.
        snowflake_host: Snowflake's host where it is set.

    Raises:
        ConfigurationError: A name, the stage or the target cannot be used, or the target does not fit the export.
        NotFoundError: The stage does not exist.
    """
    columns = wanted_columns(manifest, layout=spec.layout, lineage=spec.with_lineage)
    check_keys(spec, columns)
    stage, table = parse_name(spec.stage, field="stage"), parse_name(spec.table, field="table")
    notes: list[str] = []
    answer = yield from call(session.query, statements.current_names())
    current = answer.rows[0]
    names = (current["database_name"], current["schema_name"])
    if current["warehouse_name"] is None:
        raise ConfigurationError(
            "The session has no warehouse, and COPY INTO needs one.",
            hint="Set SNOWFLAKE_WAREHOUSE to one that the role may use, or give the user a default warehouse.",
        )
    stage, table = _qualified(stage, names, "stage"), _qualified(table, names, "table")
    if table[2] == LEDGER or is_staging_name(table[2]):
        what = "the ledger of loads" if table[2] == LEDGER else "a staging table of a load"
        raise ConfigurationError(f"table: {identifier(*table)} has the name of {what}.", hint="Name another table.")
    place = yield from _check_stage(stage, manifest, session, store, snowflake_host, notes)
    # Raises for files that cannot be loaded at all, before anything is made.
    for _ in copy_into(table, stage, place, manifest, columns):
        break
    if len(manifest.files) > _FEW_FILES:
        size = yield from _warehouse_size(current["warehouse_name"], session)
        notes += advise([file.bytes for file in manifest.files], size, manifest.format)
    described = yield from call(session.query, statements.describe_tables((table[0], table[1]), [table[2], LEDGER]))
    by_name = {row["table_name"]: row for row in described.rows}
    found: TableFacts | None = None
    add: tuple[WantedColumn, ...] = ()
    if table[2] in by_name:
        found = table_facts(by_name[table[2]], table)
        answer = yield from call(session.query, statements.describe_columns(table))
        changes = compare(columns, [target_column(row) for row in answer.rows], spec.schema_changes)
        if changes.problems:
            raise ConfigurationError(
                f"The table {identifier(*table)} does not fit the export:\n{render(changes)}",
                hint="Nothing was loaded.",
                details={"differences": len(changes.problems)},
            )
        columns, add = changes.columns, changes.add
    return LoadPlan(
        stage=stage,
        path=place,
        table=table,
        found=found,
        has_ledger=LEDGER in by_name,
        columns=columns,
        add=add,
        notes=tuple(notes),
    )


def check_keys(spec: LoadSpec, columns: tuple[WantedColumn, ...]) -> None:
    """Make sure that the keys are columns of the export by which rows can be told apart.

    Raises:
        ConfigurationError: One is not.
    """
    exported = {column.source.name: column for column in columns if column.source is not None}
    for key in spec.keys:
        if key not in exported:
            raise ConfigurationError(
                f"keys: the export has no column {key!r}.", hint=f"Its columns are: {', '.join(exported)}."
            )
        if exported[key].ddl.partition("(")[0] in ("VARIANT", "ARRAY", "OBJECT"):
            raise ConfigurationError(
                f"keys: {key!r} is a {exported[key].ddl} in Snowflake, by which rows cannot be told apart.",
                hint="Name columns with plain values.",
            )


def _qualified(name: Name, current: tuple[str | None, str | None], what: str) -> Name:
    full = (*current[: 3 - len(name)], *name)
    if None in full:
        raise ConfigurationError(
            f"{what}: {'.'.join(name)} names no database and schema, and the session has none.",
            hint="Write database.schema.name, or set SNOWFLAKE_DATABASE and SNOWFLAKE_SCHEMA.",
        )
    return tuple(part for part in full if part is not None)


def _check_stage(
    stage: Name,
    manifest: Manifest,
    session: SnowflakeSession,
    store: ObjectStore,
    snowflake_host: str | None,
    notes: list[str],
) -> Flow[str]:
    described = yield from call(session.query, statements.describe_stage(stage))
    facts = stage_facts(described.rows, stage)
    if facts.scheme == "s3compat" and facts.endpoint is None:
        shown = yield from call(session.query, endpoint_statement(stage))
        facts = with_endpoint(facts, shown.rows, stage)
    path = path_below_stage(facts, manifest)
    notes += check_store(facts, store_endpoint=store.endpoint_url, snowflake_host=snowflake_host)
    stored = yield from call(store.head, manifest.location)
    if stored is None:
        raise NotFoundError(f"{manifest.location} was deleted while it was being loaded.", hint="Export again.")
    listed = yield from call(session.query, probe_statement(stage, path, manifest))
    judge_probe(listed.rows, facts, manifest, stored)
    return path


def _warehouse_size(name: str | None, session: SnowflakeSession) -> Flow[str | None]:
    if name is None:
        return None
    answer = yield from call(session.query, statements.show_warehouse(name))
    return next((str(row["size"]) for row in answer.rows if row["name"] == name), None)


def table_facts(row: Mapping[str, Any], table: Name) -> TableFacts:
    """The target as a row of the answer to `statements.describe_tables` has it.

    Raises:
        ConfigurationError: It is no table that could be loaded.
    """
    if row["table_type"] != "BASE TABLE":
        raise ConfigurationError(
            f"{identifier(*table)} is a {str(row['table_type']).lower()}, which cannot be replaced by a load.",
            hint="Name a table; put the view on top of it.",
        )
    return TableFacts(
        transient=row["is_transient"] == "YES",
        comment=row["comment"],
        clustered=row["auto_clustering_on"] == "YES",
        created=str(row["created"]),
        changed=str(row["last_ddl"]),
    )
