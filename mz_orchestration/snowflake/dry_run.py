"""What a load would say to Snowflake, written without contacting anything."""

from __future__ import annotations

from collections.abc import Iterator

from mz_orchestration.exports.manifest import Manifest
from mz_orchestration.snowflake import statements
from mz_orchestration.snowflake.quoting import identifier, parse_name
from mz_orchestration.snowflake.spec import load_spec

_HERE = ("<current database>", "<current schema>")


def planned_statements(manifest_url: str, stage: str, table: str, manifest: Manifest | None) -> Iterator[str]:
    """The statements of a load in order, with comments.

    Args:
        manifest_url: Where the manifest lies; checked only if ``manifest`` is None.
        stage: As given.
        table: As given.
        manifest: Its content, where it can be had without a request; None leaves what it decides as ``<...>``.

    Raises:
        ConfigurationError: An argument is wrong.
    """
    url = manifest_url if manifest is None else str(manifest.location)
    spec = load_spec(manifest=url, stage=stage, table=table)
    stage_name, table_name = (
        (*_HERE[: 3 - len(name)], *name)
        for name in (parse_name(spec.stage, field="stage"), parse_name(spec.table, field="table"))
    )
    staging = (*table_name[:2], f"{table_name[2]}__MZ_<12 hex digits>")
    yield f"-- read {url} and compare it with the store"
    yield statements.current_names() + ";"
    yield statements.describe_stage(stage_name) + ";"
    yield statements.describe_table(table_name) + ";"
    yield statements.describe_columns(table_name) + ";"
    yield "-- if the table exists, the staging table is made like it, otherwise with the types of the export"
    yield statements.create_staging_like(staging, table_name, transient=False) + ";"
    if manifest is None:
        yield f"CREATE TABLE {identifier(*staging)} (<columns of the manifest>);"
        yield (
            f"COPY INTO {identifier(*staging)} FROM @{identifier(*stage_name)}/<path below the stage>/ "
            "FILES = (<files of the manifest>) FILE_FORMAT = (<by the manifest>) ON_ERROR = ABORT_STATEMENT;"
        )
    else:
        yield statements.create_staging(staging, manifest.columns) + ";"
        for statement in statements.copy_into(staging, stage_name, manifest.folder.key, manifest):
            yield statement + ";"
    yield statements.count_rows(staging) + ";"
    yield f"COMMENT ON TABLE {identifier(*staging)} IS '<comment of the table and the manifest's hash>';"
    yield "-- only if all counts agree; the first two if the table exists, the last if not"
    yield statements.publish_by_swap(table_name, staging) + ";"
    yield statements.drop(staging) + ";"
    yield statements.publish_by_rename(table_name, staging) + ";"
