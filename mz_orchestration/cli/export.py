"""``mz-orchestration export``."""

from __future__ import annotations

import secrets
import shlex
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mz_orchestration.cli.output import print_json, progress, reporting, say, size_text
from mz_orchestration.errors import AlreadyRunningError, ConfigurationError

if TYPE_CHECKING:
    from mz_orchestration.exports.result import ExportResult
    from mz_orchestration.exports.spec import ExportSpec


def export(
    objects: Annotated[
        list[str],
        typer.Argument(
            help="Table, source, view or materialized view; with --query only the export's name. Several are exported "
            "at one logical timestamp.",
            metavar="OBJECT...",
        ),
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
    safe_types: Annotated[
        bool,
        typer.Option(
            "--safe-types/--raw-types",
            help="Cast columns whose meaning the file format would lose, or write all as they are.",
        ),
    ] = True,
    cast: Annotated[
        list[str] | None,
        typer.Option(
            help="Cast a column: NAME=TYPE, such as total=numeric(38,2). May be repeated.", metavar="NAME=TYPE"
        ),
    ] = None,
    cluster: Annotated[str | None, typer.Option(help="Cluster to run on.", envvar="MZ_ORCHESTRATION_CLUSTER")] = None,
    max_file_size: Annotated[str, typer.Option(help="16MB to 4GB.")] = "256MB",
    timeout: Annotated[float, typer.Option(help="Seconds until the COPY is cancelled.")] = 6 * 3600,
    verify: Annotated[
        str, typer.Option(help="How closely to look at the files: listing, footers (rows of each file) or full.")
    ] = "footers",
    count: Annotated[
        bool,
        typer.Option(
            "--count", help="Count the rows at the same timestamp first: a second witness, for a second read."
        ),
    ] = False,
    if_running: Annotated[
        str | None,
        typer.Option(
            help="While another run of the same export is in progress: wait for it, skip this one (exit code 0), or "
            "fail (5). [default: do not look]",
            metavar="wait|skip|fail",
            show_default=False,
        ),
    ] = None,
    left_behind: Annotated[
        str,
        typer.Option(
            help="An earlier attempt of this run whose COPY still runs without its process: wait for its files, "
            "cancel it, or leave it; the latter two start anew.",
            metavar="wait|cancel|leave",
        ),
    ] = "wait",
    consistency: Annotated[
        str,
        typer.Option(
            help="Several objects: held (side by side, while a session holds the timestamp) or transaction (one after "
            "another in one transaction).",
            metavar="held|transaction",
        ),
    ] = "held",
    max_parallel: Annotated[int, typer.Option(help="Several objects: how many at a time on each cluster.", min=1)] = 4,
    run_key: Annotated[
        str | None,
        typer.Option(help="Names the run: the same key again does nothing twice. [default: a new one]"),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print every statement; contact nothing.")] = False,
    json: Annotated[bool, typer.Option("--json", help="The result as JSON on standard output.")] = False,
    quiet: Annotated[
        bool, typer.Option("--quiet", "-q", help="No progress, and only the manifests' URLs on standard output.")
    ] = False,
) -> None:
    """Export objects or a query: COPY TO, wait for the sentinel, verify, write the manifest.

    Materialize is found through PGHOST, PGPORT, PGUSER, PGPASSWORD (or ~/.pgpass), PGDATABASE and PGSSLMODE, the object
    store through AWS_* as usual.
    """
    from mz_orchestration.exports.spec import export_spec

    with reporting(as_json=json):
        if query is not None and len(objects) > 1:
            raise ConfigurationError(
                "--query goes with one name.", hint="Make views of the queries, and export the views together."
            )
        specs = [
            export_spec(
                object=name,
                to=_required("--to", to),
                connection=_required("--connection", connection),
                query=query,
                format=format,
                csv={"delimiter": delimiter, "null": null, "quote": quote, "escape": escape, "header": header},
                safe_types=safe_types,
                casts=_casts(cast or []),
                cluster=cluster,
                max_file_size=max_file_size,
                timeout=timeout,
            )
            for name in objects
        ]
        policy = {"verify": verify, "count": count, "if_running": if_running, "left_behind": left_behind}
        if consistency not in ("held", "transaction"):
            raise ConfigurationError(
                f"--consistency: {consistency!r} is neither held nor transaction.", hint="Give one of the two."
            )
        if run_key is not None and not run_key.strip():
            raise ConfigurationError("--run-key is empty.", hint="Is the variable behind it set?")
    key = run_key or f"cli-{datetime.now(UTC):%Y%m%dT%H%M%SZ}-{secrets.token_hex(3)}"
    again = export_command([spec.model_dump(mode="json") for spec in specs], key)
    with reporting(as_json=json, again=again):
        if dry_run:
            for spec in specs:
                _dry_run(spec, key)
            return
        _run(specs, key, policy, consistency, max_parallel, json=json, quiet=quiet)


def _run(
    specs: list[ExportSpec],
    key: str,
    policy: dict[str, Any],
    consistency: str,
    max_parallel: int,
    *,
    json: bool,
    quiet: bool,
) -> None:
    from mz_orchestration.exports.context import ExportPolicy
    from mz_orchestration.exports.export import run_export
    from mz_orchestration.exports.group import run_exports
    from mz_orchestration.validation import validated

    chosen = validated(ExportPolicy, **policy)
    if not quiet:
        say(f"export {', '.join(spec.object for spec in specs)}  run key {key}")
    on_event = progress(quiet=quiet or json)
    try:
        if len(specs) == 1:
            group = None
            results = [run_export(specs[0], run_key=key, policy=chosen, on_event=on_event)]
        else:
            mode: Any = consistency
            group = run_exports(
                specs, run_key=key, mode=mode, max_parallel=max_parallel, policy=chosen, on_event=on_event
            )
            results = list(group.exports)
    except AlreadyRunningError as error:
        if chosen.if_running != "skip":
            raise
        say(f"skipped: {error.message}")
        if json:
            print_json({"skipped": error.message})
        return
    if json:
        exports = [result.to_metadata() for result in results]
        print_json(exports[0] if group is None else {**group.to_metadata(), "exports": exports})
    elif quiet:
        for result in results:
            typer.echo(result.manifest_url)
    else:
        for result in results:
            _report(result)
        if group is not None:
            typer.echo(f"timestamp: {group.timestamp}, the same for all; {group.record_url}")


def _casts(given: list[str]) -> dict[str, str]:
    casts = {}
    for text in given:
        name, equals, type = text.rpartition("=")
        if not equals or not name or not type:
            raise ConfigurationError(f"--cast: {text!r} is not NAME=TYPE.", hint="Write --cast 'total=numeric(38,2)'.")
        casts[name] = type
    return casts


def export_command(specs: list[dict[str, Any]], run_key: str) -> str:
    """The command line that asks for the same run again."""
    spec = specs[0]
    objects = [each["object"] for each in specs]
    words = ["mz-orchestration", "export", *objects, "--to", spec["to"], "--connection", spec["connection"]]
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
    words += [] if spec["safe_types"] else ["--raw-types"]
    for name, type in spec["casts"].items():
        words += ["--cast", f"{name}={type}"]
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


def _report(result: ExportResult) -> None:
    manifest = result.manifest
    done = "already exported, nothing done" if result.repeated else "exported"
    copied = "unknown (adopted)" if manifest.copied is None else manifest.copied
    typer.echo(
        f"{done}: {manifest.object}  rows={manifest.rows} copied={copied} files={len(manifest.files)} "
        f"size={size_text(manifest.size)}"
    )
    typer.echo(f"manifest: {result.manifest_url}")
    typer.echo(f"next: mz-orchestration load {result.manifest_url} --stage STAGE --table TABLE")
    typer.echo(f"      mz-orchestration runs show {shlex.quote(manifest.run_key)} --at {manifest.base}")
