"""``mz-orchestration export``."""

from __future__ import annotations

import secrets
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mz_orchestration.cli.casts import parse_casts
from mz_orchestration.cli.commands import LISTED_ONLY, closer_key, export_command, load_command, show_command
from mz_orchestration.cli.output import print_json, progress, refuse_json, reporting, say, size_text
from mz_orchestration.errors import AlreadyRunningError, ConfigurationError

if TYPE_CHECKING:
    from mz_orchestration.exports.group_check import Mode
    from mz_orchestration.exports.policy import ExportPolicy
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
        str | None, typer.Option(help="CSV: before a quote inside quotes; by default the quote.", show_default=False)
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
            help="Cast a column, such as total=numeric(38,2); with several objects OBJECT.COLUMN=TYPE. Repeatable.",
            metavar="COLUMN=TYPE",
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
    statistics: Annotated[
        bool,
        typer.Option(
            "--statistics",
            help="Ask for NULLs, smallest and largest values and sums of each column at the same timestamp first, for "
            "loads to be compared with; counts the rows too.",
        ),
    ] = False,
    if_running: Annotated[
        str | None,
        typer.Option(
            help="While another run of the same export is in progress: wait for it, skip this one (exit code 0), or "
            "fail (5); by default nobody looks.",
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
        typer.Option(help="Names the run: the same key again does nothing twice; by default a new one."),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print the statements of a first attempt; contact nothing.")
    ] = False,
    json: Annotated[bool, typer.Option("--json", help="The result as JSON on standard output.")] = False,
    quiet: Annotated[
        bool, typer.Option("--quiet", "-q", help="No progress, and only the manifests' URLs on standard output.")
    ] = False,
) -> None:
    """Export objects or a query: COPY TO, wait for the sentinel, verify, write the manifest.

    Materialize is found through PGHOST, PGPORT, PGUSER, PGPASSWORD (or ~/.pgpass), PGDATABASE and PGSSLMODE, the object
    store through AWS_* as usual.
    """
    from mz_orchestration.exports.policy import ExportPolicy
    from mz_orchestration.exports.spec import export_spec
    from mz_orchestration.validation import validated

    with reporting(as_json=json):
        if query is not None and len(objects) > 1:
            raise ConfigurationError(
                "--query goes with one name.", hint="Make views of the queries, and export the views together."
            )
        casts = parse_casts(cast or [], objects)
        specs = [
            export_spec(
                object=name,
                to=_required("--to", to),
                connection=_required("--connection", connection),
                query=query,
                format=format,
                csv={"delimiter": delimiter, "null": null, "quote": quote, "escape": escape, "header": header},
                safe_types=safe_types,
                casts=casts[name],
                cluster=cluster,
                max_file_size=max_file_size,
                timeout=timeout,
            )
            for name in objects
        ]
        policy = validated(
            ExportPolicy,
            verify=verify,
            count=count,
            statistics=statistics,
            if_running=if_running,
            left_behind=left_behind,
        )
        mode = _mode(consistency)
        if len(specs) > 1:
            from mz_orchestration.exports.group_check import check_group

            check_group(specs, mode, max_parallel)
        if run_key is not None and not run_key.strip():
            raise ConfigurationError("--run-key is empty.", hint="Is the variable behind it set?")
        key = run_key or f"cli-{datetime.now(UTC):%Y%m%dT%H%M%SZ}-{secrets.token_hex(3)}"
        if dry_run:
            refuse_json(json)
            _dry_run(specs, key, policy, mode, max_parallel)
            return

    def command(run_key: str, **changes: Any) -> str:
        return export_command(
            [spec.model_dump(mode="json") for spec in specs],
            run_key,
            policy={**policy.model_dump(mode="json"), **changes},
            mode=mode,
            max_parallel=max_parallel,
        )

    with reporting(as_json=json, again=command(key)):
        results = _run(specs, key, policy, mode, max_parallel, json=json, quiet=quiet)
    _say_what_is_not_done(results, policy)
    if not json and not quiet and any(result.manifest.verified == "listing" for result in results):
        typer.echo(f"to load it: {command(closer_key(key), verify='footers')}")


def _dry_run(specs: list[ExportSpec], key: str, policy: ExportPolicy, mode: Mode, max_parallel: int) -> None:
    from mz_orchestration.cli.dry_run import planned_export, planned_group

    if len(specs) == 1:
        lines = planned_export(specs[0], key, policy)
    else:
        lines = planned_group(specs, key, policy, mode, max_parallel)
    for line in lines:
        typer.echo(line)


def _run(
    specs: list[ExportSpec],
    key: str,
    policy: ExportPolicy,
    mode: Mode,
    max_parallel: int,
    *,
    json: bool,
    quiet: bool,
) -> list[ExportResult]:
    from mz_orchestration.exports.export import run_export
    from mz_orchestration.exports.group import run_exports

    if not quiet:
        say(f"export {', '.join(spec.object for spec in specs)}  run key {key}")
    on_event = progress(quiet=quiet or json)
    try:
        if len(specs) == 1:
            group = None
            results = [run_export(specs[0], run_key=key, policy=policy, on_event=on_event)]
        else:
            group = run_exports(
                specs, run_key=key, mode=mode, max_parallel=max_parallel, policy=policy, on_event=on_event
            )
            results = list(group.exports)
    except AlreadyRunningError as error:
        if policy.if_running != "skip":
            raise
        say(f"skipped: {error.message}")
        if json:
            print_json({"skipped": error.message})
        return []
    if json:
        exports = [{**result.to_metadata(), "verified": result.manifest.verified} for result in results]
        print_json(exports[0] if group is None else {**group.to_metadata(), "exports": exports})
    elif quiet:
        for result in results:
            typer.echo(result.manifest_url)
    else:
        for result in results:
            _report(result)
        if group is not None:
            typer.echo(f"timestamp: {group.timestamp}, the same for all; {group.record_url}")
    return results


def _mode(text: str) -> Mode:
    from typing import get_args

    from mz_orchestration.exports.group_check import Mode

    modes: tuple[Mode, ...] = get_args(Mode)
    for mode in modes:
        if mode == text:
            return mode
    raise ConfigurationError(f"--consistency: {text!r} is not one of {', '.join(modes)}.", hint="Give one of these.")


def _required(flag: str, value: str | None) -> str:
    if not value:
        name = flag.lstrip("-")
        raise ConfigurationError(
            f"{flag} is missing.",
            hint=f"Give {flag}, set MZ_ORCHESTRATION_{name.upper()}, or '{name}:' under 'export:' in the YAML file.",
        )
    return value


def _report(result: ExportResult) -> None:
    manifest = result.manifest
    done = "already exported, nothing done" if result.repeated else "exported"
    copied = "unknown (adopted)" if manifest.copied is None else manifest.copied
    typer.echo(
        f"{done}: {manifest.object}  rows={manifest.rows} copied={copied} files={len(manifest.files)} "
        f"size={size_text(manifest.size)}"
    )
    typer.echo(f"manifest: {result.manifest_url}")
    if manifest.verified == "listing":
        typer.echo(LISTED_ONLY)
        typer.echo(f"next: {show_command(manifest.run_key, manifest.base)}")
    else:
        typer.echo(f"next: {load_command(result.manifest_url, 'STAGE', 'TABLE')}")
        typer.echo(f"      {show_command(manifest.run_key, manifest.base)}")


def _say_what_is_not_done(results: list[ExportResult], policy: ExportPolicy) -> None:
    """A run keeps what it was verified by: who asks for more must not believe to have it."""
    levels = list(type(policy.verify))
    for result in results:
        manifest = result.manifest
        if not result.repeated:
            continue
        missing = []
        if levels.index(policy.verify) > levels.index(manifest.verified):
            missing.append(f"was verified at level {manifest.verified}, not {policy.verify}")
        if policy.count and manifest.counted is None:
            missing.append("was not counted")
        if policy.statistics and manifest.statistics is None:
            missing.append("has no statistics")
        if missing:
            say(f"{manifest.object} {' and '.join(missing)}, when it was exported", bold="yellow")
            say("  what to do: if that matters, export it again under another run key")
