"""The ledger: a table in Snowflake that says which manifests a schema's tables have had.

`MZ_ORCHESTRATION_LOADS` lies beside the targets. A load that changes its target by DML writes its row in the same
transaction, so the two are true together; one that publishes by a change of names cannot, and proves itself by the
mark in the table's comment until its row is written. Rows are never changed.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
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
    """What the ledger says of one target.

    Attributes:
        had: How many times the target has had this manifest.
        latest: Hash of the manifest it has had last.
        mark_known: There is a row for the load that the table's mark names.
        load_known: There is a row for the earlier load that was asked about.
    """

    had: int = 0
    latest: str | None = None
    mark_known: bool = False
    load_known: bool = False


def ledger_of(table: Name) -> Name:
    """Name of the ledger that has a table's loads."""
    return (*table[:2], LEDGER)


def create(ledger: Name) -> Sql:
    """Makes the ledger, once for a schema."""
    return compose(
        "CREATE TABLE IF NOT EXISTS {} (TARGET VARCHAR, MANIFEST VARCHAR(64), LOAD_ID VARCHAR, RUN_KEY VARCHAR, "
        "OBJECT VARCHAR, MANIFEST_URL VARCHAR, STRATEGY VARCHAR, ROWS_LOADED NUMBER(38,0), QUERY_IDS VARCHAR, "
        "LOADED_AT TIMESTAMP_LTZ(6), LOADED_BY VARCHAR) "
        "COMMENT = 'Loads by mz-orchestration: what each table has had. Rows guard against loading twice.'",
        identifier(*ledger),
    )


def read(
    ledger: Name, target: str, manifest: Manifest, *, mark: Mark | None, load: str | None, since: datetime | None
) -> Sql:
    """Asks what a target has had.

    Args:
        ledger: The ledger.
        target: The target's qualified name.
        manifest: Which manifest is asked about.
        mark: The table's mark.
        load: Id of an earlier load whose end is not known.
        since: When the table was made; rows from before tell of another table of that name. None: all rows count.
    """
    made = compose("")
    if since is not None:
        made = compose(" AND LOADED_AT >= {}::TIMESTAMP_LTZ", literal(since.isoformat()))
    return compose(
        "SELECT COUNT_IF(MANIFEST = {}) AS HAD, MAX_BY(MANIFEST, LOADED_AT) AS LATEST, "
        "COUNT_IF(LOAD_ID = {}) AS MARK_KNOWN, COUNT_IF(LOAD_ID = {}) AS LOAD_KNOWN "
        "FROM {} WHERE TARGET = {} AND MANIFEST <> {}{}",
        literal(manifest.sha256),
        literal(mark.load if mark else ""),
        literal(load or ""),
        identifier(*ledger),
        literal(target),
        _LOCK,
        made,
    )


def facts(rows: Sequence[Mapping[str, Any]]) -> LedgerFacts:
    """The answer to `read`."""
    row = rows[0]
    return LedgerFacts(
        had=int(row["had"]),
        latest=row["latest"],
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


def insert(ledger: Name, target: str, manifest: Manifest, *, load: str, strategy: str, query_ids: Sequence[str]) -> Sql:
    """Writes down that the target has the manifest."""
    return compose(
        "INSERT INTO {} (TARGET, MANIFEST, LOAD_ID, RUN_KEY, OBJECT, MANIFEST_URL, STRATEGY, ROWS_LOADED, QUERY_IDS, "
        "LOADED_AT, LOADED_BY) SELECT {}, {}, {}, {}, {}, {}, {}, {}, {}, CURRENT_TIMESTAMP(), {}",
        identifier(*ledger),
        literal(target),
        literal(manifest.sha256),
        literal(load),
        literal(manifest.run_key),
        literal(manifest.object),
        literal(str(manifest.location)),
        literal(strategy),
        manifest.rows,
        literal(json.dumps(list(query_ids))),
        literal(f"mz-orchestration {__version__}"),
    )


def insert_marked(ledger: Name, target: str, mark: Mark) -> Sql:
    """Writes down a load that ended between its publish and its row, from what the table's mark says of it."""
    return compose(
        "INSERT INTO {} (TARGET, MANIFEST, LOAD_ID, LOADED_AT, LOADED_BY) SELECT {}, {}, {}, CURRENT_TIMESTAMP(), {}",
        identifier(*ledger),
        literal(target),
        literal(mark.manifest),
        literal(mark.load),
        literal(f"mz-orchestration {__version__}"),
    )
