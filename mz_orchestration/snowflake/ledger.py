"""The ledger: a table in Snowflake that says which manifests a schema's tables have had.

`MZ_ORCHESTRATION_LOADS` lies beside the targets. A load that changes its target by DML writes its row in the same
transaction, so the two are true together; one that publishes by a change of names cannot, and proves itself by the
mark in the table's comment until its row is written. Rows are never changed, but for those that serve as locks.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mz_orchestration import __version__
from mz_orchestration.exports.manifest import Manifest
from mz_orchestration.snowflake.marker import Mark
from mz_orchestration.snowflake.quoting import Name, Sql, compose, identifier, literal

LEDGER = "MZ_ORCHESTRATION_LOADS"
# The row whose change makes loads into one target wait for each other names no manifest.
_LOCK = literal("")


@dataclass(frozen=True, slots=True)
class LedgerFacts:
    """What the ledger says of one target, as the table object that it is now.

    Attributes:
        had: How many times the target has had this manifest.
        latest: Hash of the manifest it has had last.
        newest: When the newest of its manifests of the same object was exported, in milliseconds since 1970.
        mark_known: There is a row for the load that the table's mark names.
        load_known: There is a row for the earlier load that was asked about.
    """

    had: int = 0
    latest: str | None = None
    newest: int | None = None
    mark_known: bool = False
    load_known: bool = False


def exported_at(manifest: Manifest) -> int:
    """The moment that a manifest shows its object at, in milliseconds since 1970."""
    return manifest.timestamp or int(manifest.finished_at.timestamp() * 1000)


def ledger_of(table: Name) -> Name:
    """Name of the ledger that has a table's loads."""
    return (*table[:2], LEDGER)


def create(ledger: Name) -> Sql:
    """Makes the ledger, once for a schema."""
    return compose(
        "CREATE TABLE IF NOT EXISTS {} (TARGET VARCHAR, MANIFEST VARCHAR(64), LOAD_ID VARCHAR, RUN_KEY VARCHAR, "
        "OBJECT VARCHAR, MANIFEST_URL VARCHAR, EXPORTED_AT NUMBER(38,0), STRATEGY VARCHAR, ROWS_LOADED NUMBER(38,0), "
        "QUERY_IDS VARCHAR, TABLE_CREATED VARCHAR, LOADED_AT TIMESTAMP_LTZ(6), LOADED_BY VARCHAR) "
        "COMMENT = 'Loads by mz-orchestration: what each table has had. Rows guard against loading twice.'",
        identifier(*ledger),
    )


def read(
    ledger: Name, target: str, manifest: Manifest, *, created: str, mark: Mark | None = None, load: str = ""
) -> Sql:
    """Asks what a target has had.

    Rows tell of the table object they were written for; of one that somebody has put in its place they tell nothing.
    Only where a swap of ours did that do the earlier rows go on counting.

    Args:
        ledger: The ledger.
        target: The target's qualified name.
        manifest: Which manifest is asked about.
        created: When the table object was made, as `TableFacts` has it.
        mark: The table's mark.
        load: Id of an earlier load whose end is not known.
    """
    return compose(
        "SELECT COUNT_IF(MANIFEST = {} AND TABLE_CREATED = {}) AS HAD_HERE, "
        "COUNT_IF(MANIFEST = {} AND TABLE_CREATED <> {}) AS HAD_BEFORE, "
        "COUNT_IF(STRATEGY = 'swap' AND TABLE_CREATED = {}) AS SWAPPED, "
        "MAX_BY(MANIFEST, IFF(TABLE_CREATED = {}, LOADED_AT, NULL)) AS LATEST, "
        "MAX(IFF(TABLE_CREATED = {} AND OBJECT = {}, EXPORTED_AT, NULL)) AS NEWEST, "
        "COUNT_IF(LOAD_ID = {}) AS MARK_KNOWN, COUNT_IF(LOAD_ID = {}) AS LOAD_KNOWN "
        "FROM {} WHERE TARGET = {} AND MANIFEST <> {}",
        literal(manifest.sha256),
        literal(created),
        literal(manifest.sha256),
        literal(created),
        literal(created),
        literal(created),
        literal(created),
        literal(manifest.object),
        literal(mark.load if mark else ""),
        literal(load),
        identifier(*ledger),
        literal(target),
        _LOCK,
    )


def facts(rows: Sequence[Mapping[str, Any]]) -> LedgerFacts:
    """The answer to `read`."""
    row = rows[0]
    return LedgerFacts(
        had=int(row["had_here"]) + (int(row["had_before"]) if row["swapped"] else 0),
        latest=row["latest"],
        newest=None if row["newest"] is None else int(row["newest"]),
        mark_known=bool(row["mark_known"]),
        load_known=bool(row["load_known"]),
    )


def make_lock(ledger: Name, target: str) -> Sql:
    """Outside a transaction: makes the row that `lock` changes, if there is none; two of them do no harm."""
    return compose(
        "INSERT INTO {} (TARGET, MANIFEST) SELECT {}, {} WHERE NOT EXISTS "
        "(SELECT 1 FROM {} WHERE TARGET = {} AND MANIFEST = {})",
        identifier(*ledger),
        literal(target),
        _LOCK,
        identifier(*ledger),
        literal(target),
        _LOCK,
    )


def lock(ledger: Name, target: str) -> Sql:
    """Within a transaction: waits for every other load that has come this far.

    An UPDATE holds what it changes until the end of its transaction, in Snowflake the whole table, so what the next
    statement reads from the ledger is final. INSERT would not wait. It is the last thing before the commit: loads into
    other targets wait, too.
    """
    return compose(
        "UPDATE {} SET LOADED_AT = CURRENT_TIMESTAMP() WHERE TARGET = {} AND MANIFEST = {}",
        identifier(*ledger),
        literal(target),
        _LOCK,
    )


def insert(
    ledger: Name,
    target: str,
    manifest: Manifest,
    *,
    load: str,
    strategy: str,
    query_ids: Sequence[str],
    created: str,
) -> Sql:
    """Writes down that the target has the manifest."""
    return compose(
        "INSERT INTO {} (TARGET, MANIFEST, LOAD_ID, RUN_KEY, OBJECT, MANIFEST_URL, EXPORTED_AT, STRATEGY, ROWS_LOADED, "
        "QUERY_IDS, TABLE_CREATED, LOADED_AT, LOADED_BY) "
        "SELECT {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, CURRENT_TIMESTAMP(), {}",
        identifier(*ledger),
        literal(target),
        literal(manifest.sha256),
        literal(load),
        literal(manifest.run_key),
        literal(manifest.object),
        literal(str(manifest.location)),
        exported_at(manifest),
        literal(strategy),
        manifest.rows,
        literal(json.dumps(list(query_ids))),
        literal(created),
        literal(f"mz-orchestration {__version__}"),
    )


def insert_marked(ledger: Name, target: str, mark: Mark, *, created: str) -> Sql:
    """Writes down a load that ended between its publish and its row, from what the table's mark says of it."""
    return compose(
        "INSERT INTO {} (TARGET, MANIFEST, LOAD_ID, STRATEGY, TABLE_CREATED, LOADED_AT, LOADED_BY) "
        "SELECT {}, {}, {}, {}, {}, CURRENT_TIMESTAMP(), {}",
        identifier(*ledger),
        literal(target),
        literal(mark.manifest),
        literal(mark.load),
        literal("swap" if mark.swapped else "new"),
        literal(created),
        literal(f"mz-orchestration {__version__}"),
    )
