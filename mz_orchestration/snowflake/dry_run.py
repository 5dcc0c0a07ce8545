"""What a load would say to Snowflake, written without contacting anything."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from mz_orchestration.exports.manifest import Manifest
from mz_orchestration.snowflake import ledger, statements
from mz_orchestration.snowflake.copy import copy_into
from mz_orchestration.snowflake.ledger import LEDGER, ledger_of
from mz_orchestration.snowflake.plan import check_keys
from mz_orchestration.snowflake.quoting import Name, identifier, parse_name
from mz_orchestration.snowflake.schema import WantedColumn, wanted_columns
from mz_orchestration.snowflake.spec import Clear, LoadSpec, Strategy
from mz_orchestration.snowflake.stages import probe_statement

_HERE = ("<current database>", "<current schema>")
_LOAD = "<12 hex digits>"


def planned_statements(spec: LoadSpec, manifest: Manifest | None) -> Iterator[str]:
    """The statements of a load in order, with comments; those of a target that exists, and of one that does not.

    Args:
        spec: The load.
        manifest: Its content, where it can be had without a request; None leaves what it decides as ``<...>``.

    Raises:
        ConfigurationError: The manifest cannot be loaded this way.
    """
    stage, table = (
        (*_HERE[: 3 - len(name)], *name)
        for name in (parse_name(spec.stage, field="stage"), parse_name(spec.table, field="table"))
    )
    staging = (*table[:2], f"{table[2]}__MZ_{_LOAD}")
    yield f"-- read {spec.manifest} and compare it with the store"
    yield f"{statements.current_names()};"
    yield f"{statements.describe_stage(stage)};"
    if manifest is None:
        yield f"LIST @{identifier(*stage)}/<the manifest below the stage>;"
    else:
        yield f"{probe_statement(stage, manifest.folder.key, manifest)};"
    yield f"{statements.describe_tables((table[0], table[1]), [table[2], LEDGER])};"
    yield f"{statements.describe_columns(table)};"
    yield f"-- has {identifier(*table)} had this manifest, by {identifier(*ledger_of(table))}?"
    columns = () if manifest is None else wanted_columns(manifest, layout=spec.layout, lineage=spec.with_lineage)
    if manifest is not None:
        check_keys(spec, columns)
    if spec.strategy is Strategy.TRANSACTION:
        yield "-- if the table exists"
        yield from _in_transaction(spec, table, stage, manifest, columns)
        yield "-- if not"
        yield from _create(staging, columns)
        yield from _copy(staging, stage, manifest, columns)
    else:
        yield "-- a staging table: the first if the table exists, the last if not"
        if spec.strategy is Strategy.SWAP:
            yield f"{statements.clone(staging, table, transient=False)};"
            yield f"{statements.truncate(staging)};"
        elif manifest is None:
            yield f"CREATE TRANSIENT TABLE {identifier(*staging)} (<columns of the manifest>);"
        else:
            yield f"{statements.create_transient_staging(staging, columns)};"
        yield from _create(staging, columns)
        yield from _copy(staging, stage, manifest, columns)
        if columns and spec.keys:
            yield f"{statements.find_bad_keys(staging, _key_names(spec, columns))};"
        yield "-- only if all counts agree, and the table exists"
        yield from _publish(spec, table, staging, columns)
    yield "-- only if all counts agree, and the table does not exist"
    yield f"COMMENT ON TABLE {identifier(*staging)} IS '<mark of the load>';"
    yield f"{statements.rename(staging, table)};"
    yield "-- then a row in the ledger, where none was written yet"
    yield f"{statements.drop(staging)};"


def _create(staging: Name, columns: Sequence[WantedColumn]) -> Iterator[str]:
    if columns:
        yield f"{statements.create_staging(staging, columns)};"
    else:
        yield f"CREATE TABLE {identifier(*staging)} (<columns of the manifest>);"


def _copy(
    target: Name, stage: Name, manifest: Manifest | None, columns: Sequence[WantedColumn], *, force: bool = False
) -> Iterator[str]:
    if manifest is None:
        yield (
            f"COPY INTO {identifier(*target)} FROM @{identifier(*stage)}/<path below the stage>/ "
            "FILES = (<files of the manifest>) FILE_FORMAT = (<by the manifest>) ON_ERROR = ABORT_STATEMENT"
            f"{' FORCE = TRUE' if force else ''};"
        )
        return
    for statement in copy_into(target, stage, manifest.folder.key, manifest, columns, force=force):
        yield f"{statement};"
    yield f"{statements.count_rows(target)};"


def _in_transaction(
    spec: LoadSpec, table: Name, stage: Name, manifest: Manifest | None, columns: Sequence[WantedColumn]
) -> Iterator[str]:
    delete = spec.clear is Clear.DELETE
    yield from _begin(table)
    yield f"{statements.delete_all(table) if delete else statements.truncate(table)};"
    yield from _copy(table, stage, manifest, columns, force=True)
    yield from _commit(table)


def _publish(spec: LoadSpec, table: Name, staging: Name, columns: Sequence[WantedColumn]) -> Iterator[str]:
    if spec.strategy is Strategy.SWAP:
        yield f"COMMENT ON TABLE {identifier(*staging)} IS '<comment of the table and mark of the load>';"
        yield f"{statements.swap(table, staging)};"
        return
    yield from _begin(table)
    if not columns:
        yield f"-- {spec.strategy.value} the rows of {identifier(*staging)}: <columns of the manifest>"
    elif spec.strategy is Strategy.MERGE:
        keys = _key_names(spec, columns)
        yield f"{statements.merge(table, staging, columns, keys)};"
        if spec.delete_missing:
            yield f"{statements.delete_missing(table, staging, keys)};"
    else:
        overwrite = spec.strategy is Strategy.OVERWRITE
        yield f"{statements.insert_rows(table, staging, columns, overwrite=overwrite)};"
    yield from _commit(table)


def _key_names(spec: LoadSpec, columns: Sequence[WantedColumn]) -> list[str]:
    return [column.name for column in columns if column.source is not None and column.source.name in spec.keys]


def _begin(table: Name) -> Iterator[str]:
    yield f"{ledger.make_lock(ledger_of(table), identifier(*table))};"
    yield f"{statements.end_autocommit()};"
    yield f"{statements.begin(f'MZ_{_LOAD}')};"


def _commit(table: Name) -> Iterator[str]:
    label = identifier(*table)
    yield "-- rolled back unless all counts agree"
    yield f"{ledger.lock(ledger_of(table), label)};"
    yield f"-- has {label} had this manifest meanwhile? a row in the ledger"
    yield f"{statements.commit()};"
