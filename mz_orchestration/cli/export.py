"""``mz-orchestration export``."""

from __future__ import annotations

import secrets
import shlex
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mz_orchestration.cli.output import print_json, progress, reporting, say, size_text
from mz_orchestration.errors import ConfigurationError

if TYPE_CHECKING:
    from mz_orchestration.exports.result import ExportResult
    from mz_orchestration.exports.spec import ExportSpec


def export(
    object: Annotated[
        str,
        typer.Argument(help="Table, source, view or materialized view; with --query only the export's name."),
    ],
    to: Annotated[
        str | None,
        typer.Option(
            help="Folder below which every run gets its own path: s3://bucket/folder/.", envvar="MZ_ORCHESTRATION_TO"
        ),
    ] = None,
    connection: Annotated[
        str | None,
        typer.Option(help="Materialize's AWS connection.", envvar="MZ_ORCHESTRATION_CONNECTION"),
    ] = None,
    query: Annotated[str | None, typer.Option(help="A SELECT to export in place of the object.")] = None,
    format: Annotated[str, typer.Option(help="parquet or csv.")] = "parquet",
    delimiter: Annotated[str, typer.Option(help="CSV: between fields.")] = ",",
    null: Annotated[str, typer.Option(help="CSV: what NULL looks like.")] = "",
    quote: Annotated[str, typer.Option(help="CSV: around fields that need it.")] = '"',
    escape: Annotated[
        str | None, typer.Option(help="CSV: before a quote inside quotes. [default: the quote]", show_default=False)
    ] = None,
    header: Annotated[bool, typer.Option("--header", help="CSV: a header line in each file.")] = False,
    cluster: Annotated[str | None, typer.Option(help="Cluster to run on.", envvar="MZ_ORCHESTRATION_CLUSTER")] = None,
    max_file_size: Annotated[str, typer.Option(help="16MB to 4GB.")] = "256MB",
    timeout: Annotated[float, typer.Option(help="Seconds until the COPY is cancelled.")] = 6 * 3600,
    run_key: Annotated[
        str | None,
        typer.Option(help="Names the run: the same key again does nothing twice. [default: a new one]"),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print every statement; contact nothing.")] = False,
    json: Annotated[bool, typer.Option("--json", help="The result as JSON on standard output.")] = False,
    quiet: Annotated[
        bool, typer.Option("--quiet", "-q", help="No progress, and only the manifest's URL on standard output.")
    ] = False,
) -> None:
    """Export an object or a query: COPY TO, wait for the sentinel, verify, write the manifest.

    Materialize is found through PGHOST, PGPORT, PGUSER, PGPASSWORD (or ~/.pgpass), PGDATABASE and PGSSLMODE, the object
    store through AWS_* as usual.
    """
    from mz_orchestration.exports.spec import export_spec

    with reporting(as_json=json):
        spec = export_spec(
            object=object,
            to=_required("--to", to),
            connection=_required("--connection", connection),
            query=query,
            format=format,
            csv={"delimiter": delimiter, "null": null, "quote": quote, "escape": escape, "header": header},
            cluster=cluster,
            max_file_size=max_file_size,
            timeout=timeout,
        )
        if run_key is not None and not run_key.strip():
            raise ConfigurationError("--run-key is empty.", hint="Is the variable behind it set?")
    key = run_key or f"cli-{datetime.now(UTC):%Y%m%dT%H%M%SZ}-{secrets.token_hex(3)}"
    again = export_command(spec.model_dump(mode="json"), key)
    with reporting(as_json=json, again=again):
        if dry_run:
            _dry_run(spec, key)
            return
        from mz_orchestration.exports.export import run_export

        if not quiet:
            say(f"export {spec.object}  run key {key}")
        result = run_export(spec, run_key=key, on_event=progress(quiet=quiet or json))
        if json:
            print_json(result.to_metadata())
        elif quiet:
            typer.echo(result.manifest_url)
        else:
            _report(result, key)


def export_command(spec: dict[str, Any], run_key: str) -> str:
    """The command line that asks for the same run again."""
    words = ["mz-orchestration", "export", spec["object"], "--to", spec["to"], "--connection", spec["connection"]]
    for name in ("query", "cluster"):
        if spec[name] is not None:
            words += [f"--{name}", spec[name]]
    if spec["format"] == "csv":
        csv = spec["csv"]
        words += ["--format", "csv", "--delimiter", csv["delimiter"], "--null", csv["null"], "--quote", csv["quote"]]
        words += ["--escape", csv["escape"]] if csv["escape"] is not None else []
        words += ["--header"] if csv["header"] else []
    if spec["max_file_size"] != "256MB":
        words += ["--max-file-size", spec["max_file_size"]]
    return shlex.join([*words, "--run-key", run_key])


def _required(flag: str, value: str | None) -> str:
    if not value:
        name = flag.lstrip("-")
        raise ConfigurationError(
            f"{flag} is missing.",
            hint=f"Give {flag}, set MZ_ORCHESTRATION_{name.upper()}, or '{name}:' under 'export:' in the YAML file.",
        )
    return value


def _dry_run(spec: ExportSpec, run_key: str) -> None:
    from mz_orchestration.exports.paths import attempt_location
    from mz_orchestration.exports.statements import copy_statement, describe_statement
    from mz_orchestration.runs.key import record_location

    folder = attempt_location(spec.base, spec.folder_name, run_key, 1, datetime.now(UTC))
    from mz_orchestration.materialize import look_ups

    if spec.cluster is not None:
        typer.echo(look_ups.use_cluster(spec.cluster).as_string(None) + ";")
        typer.echo(look_ups.count_clusters(spec.cluster).as_string(None) + ";")
    typer.echo("-- the columns, to cast those that would lose their meaning (uuid) and refuse what cannot be exported")
    typer.echo(describe_statement(spec).as_string(None) + ";")
    typer.echo(look_ups.connection_types(spec.connection).as_string(None) + ";")
    typer.echo("-- the export; columns that need a cast are listed in place of the bare name")
    typer.echo(copy_statement(spec, None, str(folder)).as_string(None) + ";")
    typer.echo(f"-- run record: {record_location(spec.base, spec.folder_name, run_key)}")
    typer.echo(f"-- manifest, written last: {folder.child('_manifest.json')}")


def _report(result: ExportResult, run_key: str) -> None:
    manifest = result.manifest
    done = "already exported, nothing done" if result.repeated else "exported"
    copied = "unknown (adopted)" if manifest.copied is None else manifest.copied
    typer.echo(
        f"{done}: {manifest.object}  rows={manifest.rows} copied={copied} files={len(manifest.files)} "
        f"size={size_text(manifest.size)}"
    )
    typer.echo(f"manifest: {result.manifest_url}")
    typer.echo(f"next: mz-orchestration load {result.manifest_url} --stage STAGE --table TABLE")
    typer.echo(f"      mz-orchestration runs show {shlex.quote(run_key)} --at {manifest.base}")
