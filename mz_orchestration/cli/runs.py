"""``mz-orchestration runs`` and ``runs show``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from mz_orchestration.cli.export import export_command
from mz_orchestration.cli.output import print_json, reporting
from mz_orchestration.errors import ConfigurationError, NotFoundError

if TYPE_CHECKING:
    from mz_orchestration.runs.record import RunRecord
    from mz_orchestration.runs.store import RunStore

app = typer.Typer(help="What ran, how it stands, and what to do next.")

At = Annotated[str | None, typer.Option("--at", help="The folder that exports go --to.", envvar="MZ_ORCHESTRATION_TO")]
Json = Annotated[bool, typer.Option("--json", help="As JSON on standard output.")]


@app.callback(invoke_without_command=True)
def list_runs(
    context: typer.Context,
    at: At = None,
    limit: Annotated[int, typer.Option(help="How many, newest first.", min=1)] = 20,
    json: Json = False,
) -> None:
    """List the runs written down last."""
    if context.invoked_subcommand is not None:
        context.obj = at
        return
    with reporting(as_json=json):
        records = _runs(at).recent(limit)
        if json:
            print_json({"runs": [_as_data(record) for record in records]})
            return
        if not records:
            typer.echo(f"no runs below {at}")
            return
        _print_table(records)


@app.command("show")
def show_run(
    context: typer.Context,
    run_key: Annotated[str, typer.Argument(help="The run key.")],
    at: At = None,
    json: Json = False,
) -> None:
    """Show one run: attempts, counts, loads, why it is red, and the next command."""
    with reporting(as_json=json):
        at = at or context.obj
        records = _runs(at).with_key(run_key)
        if not records:
            raise NotFoundError(
                f"There is no run {run_key!r} below {at}.", hint=f"'mz-orchestration runs --at {at}' lists them."
            )
        if json:
            print_json({"runs": [_as_data(record) for record in records]})
            return
        for record in records:
            _print_run(record)


def next_command(record: RunRecord) -> str:
    """The command a person would type next; empty when everything is done."""
    if record.manifest is None:
        return export_command(record.spec, record.run_key)
    manifest = _manifest_url(record)
    waiting = [load.target for load in record.loads.values() if load.state != "succeeded"]
    if waiting or not record.loads:
        target = waiting[0] if waiting else "TABLE"
        return f"mz-orchestration load {manifest} --stage STAGE --table '{target}'"
    return ""


def _runs(at: str | None) -> RunStore:
    from mz_orchestration.objectstore.client import ObjectStore
    from mz_orchestration.objectstore.location import parse_folder
    from mz_orchestration.runs.store import RunStore

    if not at:
        raise ConfigurationError("--at is missing.", hint="Give the folder that exports go --to.")
    return RunStore(ObjectStore(), parse_folder(at, field="--at"))


def _manifest_url(record: RunRecord) -> str:
    return f"{record.manifest['path']}_manifest.json" if record.manifest else ""


def _as_data(record: RunRecord) -> dict[str, object]:
    data = record.model_dump(mode="json")
    return {
        **data,
        "state": record.state,
        "error": record.error,
        "manifest_url": _manifest_url(record) or None,
        "next": next_command(record) or None,
    }


def _print_table(records: list[RunRecord]) -> None:
    from rich.console import Console
    from rich.table import Table

    colors = {"loaded": "green", "exported": "green", "failed": "red", "running": "yellow"}
    table = Table(box=None, header_style="bold", pad_edge=False)
    for heading in ("RUN KEY", "OBJECT", "STATE", "ROWS", "FILES", "UPDATED (UTC)"):
        table.add_column(heading, justify="right" if heading in ("ROWS", "FILES") else "left", overflow="fold")
    for record in records:
        rows, files = (record.manifest["rows"], len(record.manifest["files"])) if record.manifest else ("", "")
        state = f"[{colors[record.state]}]{record.state}[/]"
        when = f"{record.updated_at:%Y-%m-%d %H:%M:%S}"
        table.add_row(record.run_key, record.object, state, str(rows), str(files), when)
    Console().print(table)


def _print_run(record: RunRecord) -> None:
    typer.echo(f"run {record.run_key}  {record.object}  {record.state}")
    typer.echo(f"  to        {record.spec['to']}")
    for attempt in record.attempts:
        copied = "" if attempt.copied is None else f"  copied={attempt.copied}"
        typer.echo(f"  attempt {attempt.number}  {attempt.state}{copied}  {attempt.path}")
        if attempt.error:
            typer.echo(f"    why: {attempt.error['message']}")
    if record.manifest:
        typer.echo(f"  manifest  {_manifest_url(record)}")
        typer.echo(f"  rows      {record.manifest['rows']} in {len(record.manifest['files'])} files")
    for load in record.loads.values():
        rows = "" if load.rows is None else f"  rows={load.rows}"
        typer.echo(f"  load      {load.state}{rows}  {load.target}")
        if load.error:
            typer.echo(f"    why: {load.error['message']}")
            typer.echo(f"    what to do: {load.error['hint']}")
    if record.error and not record.loads:
        typer.echo(f"  what to do: {record.error['hint']}")
    command = next_command(record)
    if command:
        typer.echo(f"  next: {command}")
