"""``mz-orchestration census``: run syncs, and look at them."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mz_orchestration.cli.output import print_json, printable, progress, reporting, say
from mz_orchestration.errors import MzOrchestrationError

if TYPE_CHECKING:
    from mz_orchestration.census.config import CensusConfig
    from mz_orchestration.census.models import Sync, SyncRun
    from mz_orchestration.census.spec import SyncSpec
    from mz_orchestration.census.sync import SyncResult

app = typer.Typer(help="Run Census syncs, and look at them.", no_args_is_help=True)

Json = Annotated[bool, typer.Option("--json", help="As JSON on standard output.")]

# How many syncs are asked for their last run at a time.
_LOOKS = 8


@app.command("sync")
def run_syncs(
    context: typer.Context,
    syncs: Annotated[
        list[str], typer.Argument(help="Ids of syncs; several are run one after another.", metavar="ID...")
    ],
    on_overlap: Annotated[
        str,
        typer.Option(
            help="While another run of the sync is active: wait for it and then trigger, attach to it, or fail.",
            metavar="wait|attach|fail",
        ),
    ] = "wait",
    on_cancelled: Annotated[
        str, typer.Option(help="Of a run that somebody cancels in Census.", metavar="fail|accept")
    ] = "fail",
    full: Annotated[bool, typer.Option("--full", help="Send all records, not only what changed.")] = False,
    max_failed: Annotated[
        int | None, typer.Option(help="Records the destination may reject; 0 by default.", show_default=False)
    ] = None,
    max_failed_ratio: Annotated[
        float | None, typer.Option(help="The same by records processed, 0 to 1.", show_default=False)
    ] = None,
    max_invalid: Annotated[
        int | None, typer.Option(help="Records of the source that may be invalid; 0 by default.", show_default=False)
    ] = None,
    max_invalid_ratio: Annotated[
        float | None, typer.Option(help="The same by records of the source, 0 to 1.", show_default=False)
    ] = None,
    timeout: Annotated[
        float, typer.Option(help="Seconds a run may take, with the wait for another; then ours is cancelled.")
    ] = 6 * 3600,
    run_key: Annotated[
        str | None,
        typer.Option(help="Names the run: the same key again triggers nothing twice; goes with --at."),
    ] = None,
    at: Annotated[
        str | None,
        typer.Option(
            help="With --run-key: folder that holds the record, s3://bucket/folder/.", envvar="MZ_ORCHESTRATION_TO"
        ),
    ] = None,
    json: Json = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress.")] = False,
) -> None:
    """Run syncs: trigger each once, wait for its run to end, and judge it.

    Census is found through CENSUS_API_TOKEN, CENSUS_GROUP_ID, CENSUS_API_VERSION, CENSUS_REGION and CENSUS_URL, the
    object store through AWS_* as usual. All ids are tried; the exit code is that of the worst.
    """
    from mz_orchestration.census.context import refuse_half_a_record
    from mz_orchestration.census.spec import sync_spec

    # The variable is there for other commands, too; what is said on the command line is meant.
    source = context.get_parameter_source("at")
    if run_key is None and source is not None and source.name == "ENVIRONMENT":
        at = None
    with reporting(as_json=json):
        refuse_half_a_record(run_key, at)
        specs = [
            sync_spec(
                sync=sync,
                on_overlap=on_overlap,
                on_cancelled=on_cancelled,
                full=full,
                max_failed=max_failed,
                max_failed_ratio=max_failed_ratio,
                max_invalid=max_invalid,
                max_invalid_ratio=max_invalid_ratio,
                timeout=timeout,
            )
            for sync in syncs
        ]
    results: list[dict[str, Any]] = []
    codes: list[int] = []
    for spec in specs:
        again = _again(spec, run_key, at)
        try:
            with reporting(as_json=False, again=again):
                results.append(_run(spec, run_key, at, json=json, quiet=quiet))
        except typer.Exit as ended:
            if not isinstance(ended.__cause__, MzOrchestrationError):
                raise
            codes.append(ended.exit_code)
            results.append({"sync": spec.sync, "error": ended.__cause__.to_dict(), "again": again})
    if json:
        print_json(results[0] if len(results) == 1 else {"syncs": results})
    if codes:
        # Of several, the one that the same command will help the least.
        raise typer.Exit(min(codes))


@app.command("list")
def list_syncs(json: Json = False) -> None:
    """List the syncs: what they read and write, when they run, and how their last run ended."""
    from mz_orchestration.census.client import CensusClient
    from mz_orchestration.census.judge import state_of

    with reporting(as_json=json), CensusClient() as client:
        _warn(client.api.config)
        syncs = list(client.syncs())
        with ThreadPoolExecutor(_LOOKS) as threads:
            last = list(threads.map(lambda sync: client.last_run(sync.id), syncs))
        rows = [
            {
                "id": sync.id,
                "name": sync.name,
                "source": sync.source_object,
                "destination": sync.destination_object,
                "schedule": _schedule(sync),
                "last_run": run and run.id,
                "state": run and str(state_of(run)),
            }
            for sync, run in zip(syncs, last, strict=True)
        ]
        if json:
            print_json({"syncs": rows})
        else:
            _print_table(("ID", "NAME", "SOURCE", "DESTINATION", "SCHEDULE", "LAST RUN", "STATE"), rows)


@app.command("runs")
def list_runs(
    sync: Annotated[str, typer.Argument(help="Id of the sync.")],
    limit: Annotated[int, typer.Option(help="How many, newest first.", min=1)] = 20,
    json: Json = False,
) -> None:
    """List the runs of a sync."""
    from itertools import islice

    from mz_orchestration.census.client import CensusClient

    with reporting(as_json=json), CensusClient() as client:
        _warn(client.api.config)
        runs = list(islice(client.runs(sync), limit))
        if json:
            print_json({"sync": sync, "runs": [run.model_dump(mode="json") for run in runs]})
        else:
            headings = ("RUN", "STATE", "PROCESSED", "FAILED", "INVALID", "BEGAN (UTC)", "WHY")
            _print_table(headings, [_row(run) for run in runs])


@app.command("cancel")
def cancel_run(
    run: Annotated[str, typer.Argument(help="Id of the run, which 'census runs' shows.", metavar="RUN_ID")],
    json: Json = False,
) -> None:
    """Cancel a run, whoever started it, and look whether it ends."""
    from mz_orchestration.census.context import sync_context
    from mz_orchestration.census.judge import RunState, state_of
    from mz_orchestration.census.watch import cancel_run as cancel
    from mz_orchestration.errors import UnavailableError
    from mz_orchestration.flow import run as carry_out

    with reporting(as_json=json, again=shlex.join(["mz-orchestration", "census", "cancel", "--", run])):
        context = sync_context(on_event=progress(quiet=json))
        try:
            _warn(context.api.config)
            before = carry_out(context.api.run(run))
            ended = before if state_of(before) is not RunState.RUNNING else carry_out(cancel(context, run))
        finally:
            context.api.close()
        if ended is None:
            raise UnavailableError(f"Run {run} was asked to end, and has not ended so far.", hint="Look again later.")
        state = state_of(ended)
        if json:
            print_json({"run": run, "state": str(state), "cancelled": ended is not before and state == "cancelled"})
        elif ended is before:
            typer.echo(f"run {run} had ended before: {state}; nothing done")
        else:
            typer.echo(f"run {run} has ended: {state}")


def _run(spec: SyncSpec, run_key: str | None, at: str | None, *, json: bool, quiet: bool) -> dict[str, Any]:
    from mz_orchestration.census.config import CensusConfig
    from mz_orchestration.census.sync import run_sync

    config, silent = CensusConfig.from_environment(), quiet or json
    if not quiet:
        say(f"census sync {spec.sync}")
    if silent:
        # They are among the progress otherwise.
        _warn(config)
    result = run_sync(spec, run_key=run_key, at=at, census=config, on_event=progress(quiet=silent))
    if not json:
        _report(result)
    return dict(result.to_metadata())


def _report(result: SyncResult) -> None:
    run = result.run
    done = "already synced, nothing done" if result.repeated else "synced"
    whose = "  (started by somebody else)" if result.attached else ""
    counts = {
        "processed": run.records_processed,
        "updated": run.records_updated,
        "failed": run.records_failed,
        "invalid": run.source_record_invalids,
    }
    facts = " ".join(f"{name}={'unknown' if count is None else count}" for name, count in counts.items())
    cancelled = "  cancelled" if run.canceled else ""
    typer.echo(printable(f"{done}: sync {result.sync}  run {run.id}  {facts}{cancelled}{whose}"))


def _again(spec: SyncSpec, run_key: str | None, at: str | None) -> str:
    words = ["mz-orchestration", "census", "sync", spec.sync]
    for name, value in spec.model_dump(mode="json", exclude={"sync"}, exclude_defaults=True).items():
        flag = "--" + name.replace("_", "-")
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        words += [flag] if value is True else [flag, str(value)]
    if run_key is not None and at is not None:
        words += ["--run-key", run_key, "--at", at]
    return shlex.join(words)


def _warn(config: CensusConfig) -> None:
    for sentence in config.warnings():
        say(f"warning: {sentence}", bold="yellow")


def _schedule(sync: Sync) -> str:
    parts = [*([sync.schedule] if sync.schedule else []), *sync.other_triggers]
    return f"{', '.join(parts) or 'none'}{', paused' if sync.paused else ''}"


def _row(run: SyncRun) -> dict[str, Any]:
    from mz_orchestration.census.judge import is_known, state_of

    return {
        "run": run.id,
        "state": str(state_of(run)) if is_known(run) else run.status,
        "processed": run.records_processed,
        "failed": run.records_failed,
        "invalid": run.source_record_invalids,
        "began": f"{run.created_at:%Y-%m-%d %H:%M:%S}" if run.created_at else None,
        "why": run.error_message,
    }


def _print_table(headings: Sequence[str], rows: Sequence[dict[str, Any]]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    if not rows:
        typer.echo("none")
        return
    colors = {"completed": "green", "failed": "red", "cancelled": "red", "skipped": "yellow", "running": "yellow"}
    table = Table(box=None, header_style="bold", pad_edge=False)
    for heading in headings:
        numbers = heading in ("PROCESSED", "FAILED", "INVALID")
        table.add_column(heading, justify="right" if numbers else "left", overflow="fold")
    for row in rows:
        # Text: rich would read brackets in a string as markup.
        texts = [printable(str(value)) if value is not None else "" for value in row.values()]
        table.add_row(
            *(
                Text(text, style=colors.get(text, "") if name == "state" else "")
                for name, text in zip(row, texts, strict=True)
            )
        )
    Console().print(table)
