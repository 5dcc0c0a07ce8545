"""``mz-orchestration load``."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mz_orchestration.cli.commands import load_command
from mz_orchestration.cli.output import print_json, progress, refuse_json, reporting, say
from mz_orchestration.errors import ConfigurationError

if TYPE_CHECKING:
    from mz_orchestration.snowflake.load import LoadResult


def load(
    manifest: Annotated[
        str, typer.Argument(help="URL of the manifest an export wrote; with --dry-run also a local copy of it.")
    ],
    stage: Annotated[
        str | None,
        typer.Option(help="External stage that covers the manifest's folder.", envvar="MZ_ORCHESTRATION_STAGE"),
    ] = None,
    table: Annotated[str | None, typer.Option(help="The table; made if missing.")] = None,
    strategy: Annotated[
        str, typer.Option(help="swap, overwrite, transaction: replace the rows; append: add them; merge: by --key.")
    ] = "swap",
    key: Annotated[
        list[str] | None, typer.Option(help="For merge: a column that identifies a row; may be repeated.")
    ] = None,
    delete_missing: Annotated[
        bool, typer.Option("--delete-missing", help="For merge: delete rows whose key is not in the export.")
    ] = False,
    clear: Annotated[str, typer.Option(help="For transaction: empty the table by delete or truncate.")] = "delete",
    layout: Annotated[str, typer.Option(help="columns, or variant: each row in one VARIANT column.")] = "columns",
    lineage: Annotated[
        bool | None,
        typer.Option("--lineage/--no-lineage", help="Columns that say where each row came from; on for append."),
    ] = None,
    schema_changes: Annotated[
        str, typer.Option(help="Where the table lacks columns of the export: fail, or add_columns.")
    ] = "fail",
    checks: Annotated[
        str, typer.Option(help="none, or columns: compare nulls, minimum, maximum and sum of each column, too.")
    ] = "none",
    timeout: Annotated[float, typer.Option(help="Seconds until a long statement is aborted.")] = 6 * 3600,
    again: Annotated[
        bool, typer.Option("--again", help="Load the manifest even if the table has had it before.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the statements; contact nothing.")] = False,
    json: Annotated[bool, typer.Option("--json", help="The result as JSON on standard output.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress.")] = False,
) -> None:
    """Load an export into Snowflake: COPY INTO, reconcile the counts, publish in one atomic step.

    Snowflake is found through SNOWFLAKE_ACCOUNT, SNOWFLAKE_USER, SNOWFLAKE_PRIVATE_KEY_FILE and the other SNOWFLAKE_*
    settings, the object store through AWS_* as usual.
    """
    with reporting(as_json=json):
        for flag, value in (("--stage", stage), ("--table", table)):
            if not value:
                raise ConfigurationError(
                    f"{flag} is missing.", hint=f"Give {flag}, or '{flag[2:]}:' under 'load:' in the YAML file."
                )
        assert stage is not None
        assert table is not None
        _refuse_a_group(manifest, look=not dry_run)
        from mz_orchestration.snowflake.spec import load_spec

        options = {
            "strategy": strategy,
            "keys": tuple(key or ()),
            "delete_missing": delete_missing,
            "clear": clear,
            "layout": layout,
            "lineage": lineage,
            "schema_changes": schema_changes,
            "checks": checks,
            "timeout": timeout,
            "again": again,
        }
        if dry_run:
            refuse_json(json)
            from mz_orchestration.exports.manifest import parse_manifest
            from mz_orchestration.snowflake.dry_run import planned_statements

            local = Path(manifest)
            known = parse_manifest(local.read_bytes(), source=manifest) if local.is_file() else None
            url = manifest if known is None else str(known.location)
            for line in planned_statements(load_spec(manifest=url, stage=stage, table=table, **options), known):
                typer.echo(line)
            return
        spec = load_spec(manifest=manifest, stage=stage, table=table, **options)
    chosen = spec.model_dump(mode="json", exclude={"manifest", "stage", "table"}, exclude_defaults=True)
    command = load_command(spec.manifest, spec.stage, spec.table, chosen)
    with reporting(as_json=json, again=command):
        from mz_orchestration.snowflake.load import run_load

        if not quiet:
            say(f"load {spec.manifest} into {spec.table}")
        result = run_load(spec, on_event=progress(quiet=quiet or json))
        if json:
            print_json(result.to_metadata())
        else:
            _report(result)


def _refuse_a_group(manifest: str, *, look: bool) -> None:
    """The record of a group stands where one manifest is expected; it leads to several.

    Args:
        manifest: As given.
        look: Whether the record may be read, to name them.

    Raises:
        ConfigurationError: It is a group's.
        NotFoundError: There is none.
    """
    from pydantic import ValidationError

    from mz_orchestration.exports.group_record import GROUPS_FOLDER, GroupRecord
    from mz_orchestration.objectstore.client import ObjectStore
    from mz_orchestration.objectstore.location import parse_location

    if f"/{GROUPS_FOLDER}/" not in manifest:
        return
    at = parse_location(manifest, field="manifest")
    found: list[str] = []
    if look:
        with suppress(ValidationError):
            found = sorted(GroupRecord.model_validate_json(ObjectStore().get(at)[0]).manifests.values())
    raise ConfigurationError(
        f"manifest: {at} is the record of a group of exports, not a manifest.",
        hint=f"Load each of its manifests into a table of its own: {' '.join(found)}"
        if found
        else "Load the manifests that it names, each into a table of its own.",
    )


def _report(result: LoadResult) -> None:
    manifest = result.manifest
    if result.superseded:
        done = "loaded before, and another manifest since" if result.repeated else "the table holds a later export"
        typer.echo(f"{done}; nothing done: {result.target}")
        typer.echo("next: the same command with --again loads this manifest once more")
        return
    done = "already loaded, nothing done" if result.repeated else "loaded"
    typer.echo(f"{done}: {result.target}")
    if result.repeated and not result.strategy.replaces:
        return
    copied = "unknown" if manifest.copied is None else manifest.copied
    typer.echo(
        f"reconciled: copied={copied} footer_rows={manifest.rows} loaded_rows={result.rows} files={len(manifest.files)}"
    )
