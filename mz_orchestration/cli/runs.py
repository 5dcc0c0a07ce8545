"""``mz-orchestration runs`` and ``runs show``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from mz_orchestration.cli.commands import LISTED_ONLY, is_listed_only, loadable_command, next_command
from mz_orchestration.cli.output import print_json, printable, progress, reporting, say
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
        records, unreadable = _runs(at).recent(limit)
        if json:
            broken = [error.to_dict() for error in unreadable]
            print_json({"runs": [run_data(record) for record in records], "unreadable": broken})
        for error in unreadable:
            say(f"unreadable: {error.message}", bold="yellow")
        if records and not json:
            _print_table(records)
        elif not unreadable and not json:
            typer.echo(f"no runs below {at}")
    if unreadable and not records:
        raise typer.Exit(4)


@app.command("show")
def show_run(
    context: typer.Context,
    run_key: Annotated[str, typer.Argument(help="The run key.")],
    at: At = None,
    json: Json = False,
) -> None:
    """Show one run: attempts, counts, loads, why it is red, and the next command."""
    with reporting(as_json=json):
        records = _with_key(run_key, at or context.obj)
        if json:
            print_json({"runs": [run_data(record) for record in records]})
            return
        for record in records:
            print_run(record)


@app.command("cancel")
def cancel_run(
    context: typer.Context,
    run_key: Annotated[str, typer.Argument(help="The run key.")],
    at: At = None,
    json: Json = False,
) -> None:
    """Cancel the COPYs and loads of a run, whoever started them, and wait until they have ended."""
    with reporting(as_json=json):
        from mz_orchestration.exports.handle import cancel_export, handles_of

        listen = progress(quiet=json)
        records = _with_key(run_key, at or context.obj)
        # An earlier attempt may still be copying, too, if it was left behind.
        stopped = [
            record.object
            for record in records
            for handle in handles_of(record)
            if cancel_export(handle, on_event=listen)
        ]
        if any(load.state == "started" for record in records for load in record.loads.values()):
            from mz_orchestration.snowflake.handle import cancel_load, load_handles

            stopped += [
                handle.target
                for record in records
                for handle in load_handles(record)
                if cancel_load(handle, on_event=listen)
            ]
        if json:
            print_json({"cancelled": stopped})
        elif stopped:
            typer.echo(f"cancelled: {', '.join(stopped)}")
        else:
            typer.echo(f"the run {run_key!r} has no COPY or load in progress; nothing done")


def _with_key(run_key: str, at: str | None) -> list[RunRecord]:
    from mz_orchestration.exports.group_record import find_group
    from mz_orchestration.objectstore.client import ObjectStore
    from mz_orchestration.objectstore.location import parse_folder

    runs = _runs(at)
    records = runs.with_key(run_key)
    if not records and (group := find_group(ObjectStore(), parse_folder(at or "", field="--at"), run_key)):
        records = runs.with_key(group.member_key())
    if not records:
        raise NotFoundError(
            f"There is no run {run_key!r} below {at}.", hint=f"'mz-orchestration runs --at {at}' lists them."
        )
    return records


def _runs(at: str | None) -> RunStore:
    from mz_orchestration.objectstore.client import ObjectStore
    from mz_orchestration.objectstore.location import parse_folder
    from mz_orchestration.runs.store import RunStore

    if not at:
        raise ConfigurationError("--at is missing.", hint="Give the folder that exports go --to.")
    return RunStore(ObjectStore(), parse_folder(at, field="--at"))


def _manifest_url(record: RunRecord) -> str:
    return f"{record.manifest['path']}_manifest.json" if record.manifest else ""


def run_data(record: RunRecord) -> dict[str, object]:
    """A run for machines."""
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
    from rich.text import Text

    colors = {"loaded": "green", "exported": "green", "failed": "red", "running": "yellow"}
    table = Table(box=None, header_style="bold", pad_edge=False)
    for heading in ("RUN KEY", "OBJECT", "STATE", "ROWS", "FILES", "UPDATED (UTC)"):
        table.add_column(heading, justify="right" if heading in ("ROWS", "FILES") else "left", overflow="fold")
    for record in records:
        rows, files = (record.manifest["rows"], len(record.manifest["files"])) if record.manifest else ("", "")
        state = Text(record.state, style=colors[record.state])
        when = f"{record.updated_at:%Y-%m-%d %H:%M:%S}"
        # Text: rich would read brackets in a string as markup.
        run_key, name = Text(printable(record.run_key)), Text(printable(record.object))
        table.add_row(run_key, name, state, str(rows), str(files), when)
    Console().print(table)


def _print(text: str) -> None:
    typer.echo(printable(text))


def _print_hint(error: dict[str, Any], *, indent: int) -> None:
    if error["hint"]:
        _print(f"{' ' * indent}what to do: {error['hint']}")


def print_run(record: RunRecord) -> None:
    """A run for people: attempts, counts, loads, why it is red, and the next command."""
    _print(f"run {record.run_key}  {record.object}  {record.state}")
    _print(f"  to        {record.spec['to']}")
    for attempt in record.attempts:
        copied = "" if attempt.copied is None else f"  copied={attempt.copied}"
        _print(f"  attempt {attempt.number}  {attempt.state}{copied}  {attempt.path}")
        if attempt.error:
            _print(f"    why: {attempt.error['message']}")
    if record.manifest:
        _print(f"  manifest  {_manifest_url(record)}")
        _print(f"  rows      {record.manifest['rows']} in {len(record.manifest['files'])} files")
        if is_listed_only(record):
            _print(f"  {LISTED_ONLY}")
            _print(f"  to load it: {loadable_command(record)}")
    for load in record.loads.values():
        rows = "" if load.rows is None else f"  rows={load.rows}"
        _print(f"  load      {load.state}{rows}  {load.target}")
        if load.error:
            _print(f"    why: {load.error['message']}")
            _print_hint(load.error, indent=4)
    if record.error and not record.loads:
        _print_hint(record.error, indent=2)
    command = next_command(record)
    if command:
        _print(f"  next: {command}")
