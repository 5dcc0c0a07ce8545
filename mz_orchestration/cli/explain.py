"""``mz-orchestration explain``: what a run was, why it is red, what that means, and what to type next."""

from __future__ import annotations

import difflib
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mz_orchestration.cli.commands import pipeline_command
from mz_orchestration.cli.output import print_json, printable, reporting
from mz_orchestration.cli.runs import print_run, run_data
from mz_orchestration.errors import ConfigurationError, NotFoundError

if TYPE_CHECKING:
    from mz_orchestration.census.record import SyncRecord
    from mz_orchestration.objectstore.client import ObjectStore
    from mz_orchestration.objectstore.location import Location
    from mz_orchestration.pipelines.lease import Lease
    from mz_orchestration.pipelines.record import NodeEntry, PipelineRecord
    from mz_orchestration.runs.record import RunRecord

# What is true of the world when a part of that kind has failed.
_MEANS = {
    "export": "nothing was loaded from it; its path is not used again",
    "group": "nothing was loaded from any of them",
    "check": "the export is whole; nothing was loaded from it",
    "load": "the table is as it was",
    "retention": "what is deleted is gone, the rest is deleted the next time",
}
_MEANS_UNKNOWN = "what became of it is found out by running it again; nothing is done twice"


def explain(
    run_key: Annotated[str, typer.Argument(metavar="RUN", help="The run key of a pipeline, an export or a sync.")],
    at: Annotated[
        str | None, typer.Option("--at", help="The folder that exports go --to.", envvar="MZ_ORCHESTRATION_TO")
    ] = None,
    file: Annotated[Path | None, typer.Option("--file", help="The pipeline file, which names the folder.")] = None,
    json: Annotated[bool, typer.Option("--json", help="As JSON on standard output.")] = False,
) -> None:
    """Say what a run was, what is done, why it is red, what that means, and what to type next."""
    with reporting(as_json=json):
        from mz_orchestration.objectstore.client import ObjectStore

        base = _base(at, file)
        store = ObjectStore()
        pipelines, runs, syncs = _find(store, base, run_key)
        leases = [_lease(store, base, record) for record in pipelines]
        if json:
            print_json(
                {
                    "pipelines": [
                        {
                            **record.model_dump(mode="json"),
                            "gone": _is_gone(record, lease),
                            "next": _next(record, file) or None,
                        }
                        for record, lease in zip(pipelines, leases, strict=True)
                    ],
                    "runs": [run_data(record) for record in runs],
                    "syncs": [
                        {**record.model_dump(mode="json"), "next": _next_of_sync(record, base) or None}
                        for record in syncs
                    ],
                }
            )
            return
        for record, lease in zip(pipelines, leases, strict=True):
            _print_pipeline(record, lease, file)
        for run in runs:
            print_run(run)
        for sync in syncs:
            _print_sync(sync, base)


def _base(at: str | None, file: Path | None) -> Location:
    from mz_orchestration.objectstore.location import parse_folder

    if file is not None:
        from mz_orchestration.pipelines.nodes import base_of
        from mz_orchestration.pipelines.reading import read_pipeline

        return base_of(read_pipeline(file))
    if not at:
        raise ConfigurationError(
            "--at is missing.", hint="Give the folder that exports go --to, or the pipeline file with --file."
        )
    return parse_folder(at, field="--at")


def _find(
    store: ObjectStore, base: Location, run_key: str
) -> tuple[list[PipelineRecord], list[RunRecord], list[SyncRecord]]:
    """Whatever has that run key.

    Raises:
        NotFoundError: Nothing has; what comes close is named.
    """
    from mz_orchestration.exports.group_record import find_group
    from mz_orchestration.pipelines.store import PipelineStore
    from mz_orchestration.runs.store import RunStore

    pipelines = PipelineStore(store, base).with_key(run_key)
    runs = RunStore(store, base)
    exports = runs.with_key(run_key)
    if not exports and (group := find_group(store, base, run_key)) is not None:
        exports = runs.with_key(group.member_key())
    syncs = _syncs(store, base, run_key)
    if pipelines or exports or syncs:
        return pipelines, exports, syncs
    close = difflib.get_close_matches(run_key, _known(store, base), n=3)
    hint = f"Is it {' or '.join(map(repr, close))}?" if close else f"'mz-orchestration runs --at {base}' lists runs."
    raise NotFoundError(f"There is no run {run_key!r} below {base}.", hint=hint)


def _syncs(store: ObjectStore, base: Location, run_key: str) -> list[SyncRecord]:
    from mz_orchestration.census.record import SYNCS_FOLDER, find_sync
    from mz_orchestration.objectstore.location import Location
    from mz_orchestration.runs.key import run_key_hash

    name = f"/{run_key_hash(run_key)}.json"
    found = []
    for item in store.list_objects(base.child(f"{SYNCS_FOLDER}/")):
        if item.key.endswith(name):
            stored = find_sync(store, Location(base.bucket, item.key, base.scheme))
            found += [stored.record] if stored is not None else []
    return found


def _known(store: ObjectStore, base: Location) -> list[str]:
    from mz_orchestration.pipelines.store import PipelineStore
    from mz_orchestration.runs.store import RunStore

    recent, _ = RunStore(store, base).recent(50)
    pipelines = PipelineStore(store, base)
    records = [record for name in pipelines.names() for record in pipelines.recent(name, 20)]
    keys = [key for record in records for key in (record.run_key, *(node.run_key for node in record.nodes))]
    return list(dict.fromkeys([*keys, *(record.run_key for record in recent)]))


def _lease(store: ObjectStore, base: Location, record: PipelineRecord) -> Lease | None:
    from mz_orchestration.pipelines.lease import lease_location, read_lease

    lease, _ = read_lease(store, lease_location(base, record.pipeline))
    return lease if lease is not None and lease.run_key == record.run_key else None


def _is_gone(record: PipelineRecord, lease: Lease | None) -> bool | None:
    """Whether the process of a run that is in progress is no more; None where nobody can tell from here."""
    from mz_orchestration.pipelines.lease import surely_gone

    if record.state != "running":
        return None
    return True if lease is None or surely_gone(lease) else None


def _next(record: PipelineRecord, file: Path | None) -> str:
    """The command to type next; empty where there is nothing to do."""
    if record.state == "succeeded" and not record.only:
        return ""
    # The recorded path may be relative to another folder than this one.
    only = () if record.state == "succeeded" else record.only
    return pipeline_command(str(file or record.file or "FILE"), record.run_key, only)


def _next_of_sync(record: SyncRecord, base: Location) -> str:
    """The command to type next; empty where there is nothing to do."""
    last = record.attempts[-1] if record.attempts else None
    if last is not None and not last.open and last.error is None:
        return ""
    # Behind an equals sign, a key that begins with a dash is no option.
    return shlex.join(
        ["mz-orchestration", "census", "sync", record.sync, f"--run-key={record.run_key}", "--at", str(base)]
    )


def _print_pipeline(record: PipelineRecord, lease: Lease | None, file: Path | None) -> None:
    def line(text: str) -> None:
        typer.echo(printable(text))

    line(f"run {record.run_key} of pipeline {record.pipeline}: {_how_it_stands(record, lease)}")
    ended = "" if record.finished_at is None else f", ended {record.finished_at:%Y-%m-%d %H:%M:%S}"
    line(f"  began {record.created_at:%Y-%m-%d %H:%M:%S}{ended} UTC")
    for node in record.nodes:
        if node.state == "succeeded":
            line(f"  done      {node.name}  {node.line}")
    for node in record.nodes:
        if node.state == "failed":
            _print_failure(node)
    for node in record.nodes:
        if node.state not in ("succeeded", "failed"):
            line(f"  {node.state:<9} {node.name}{_behind(node, record)}")
    command = _next(record, file)
    if command:
        line(f"next: {command}")
    else:
        line("nothing to do")


def _how_it_stands(record: PipelineRecord, lease: Lease | None) -> str:
    if record.state != "running":
        return f"{record.state}, but only {', '.join(record.only)} of it" if record.only else str(record.state)
    if _is_gone(record, lease):
        return "its process was killed, or could not write its record; what is left is done by the next command"
    assert lease is not None
    return (
        f"in progress, by {lease.who} since {lease.taken_at:%Y-%m-%d %H:%M:%S} UTC; "
        "if that is no more, the next command takes over within a minute"
    )


def _print_failure(node: NodeEntry) -> None:
    error: dict[str, Any] = node.error or {}
    when = "" if node.finished_at is None else f"  at {node.finished_at:%Y-%m-%d %H:%M:%S} UTC"
    typer.echo(printable(f"  failed    {node.name}{when}"))
    typer.echo(printable(f"    why: {error.get('message', '')}"))
    meaning = _meaning(node.kind, error)
    if meaning:
        typer.echo(f"    that means: {meaning}")
    if error.get("hint"):
        typer.echo(printable(f"    what to do: {error['hint']}"))


def _meaning(kind: str, error: dict[str, Any]) -> str:
    from mz_orchestration import errors

    found = getattr(errors, str(error.get("type")), errors.MzOrchestrationError)
    # With these it may still be at work, by another process or remotely.
    open = (errors.UnavailableError, errors.DeadlineError, errors.RunConflictError)
    if found is errors.MzOrchestrationError or (issubclass(found, open) and kind in ("export", "group", "load")):
        return _MEANS_UNKNOWN
    if kind == "sync":
        rejected = error.get("type") == "RejectedRecordsError"
        return "the other records were sent" if rejected else "part of the records may have been sent, or none"
    return _MEANS.get(kind, "")


def _behind(node: NodeEntry, record: PipelineRecord) -> str:
    causes = [need for need in node.needs if (entry := record.entry(need)) and entry.state in ("failed", "blocked")]
    return f"  since {', '.join(causes)} {'has' if len(causes) == 1 else 'have'} not succeeded" if causes else ""


def _print_sync(record: SyncRecord, base: Location) -> None:
    typer.echo(printable(f"run {record.run_key} of the Census sync {record.sync} at {record.where}"))
    for attempt in record.attempts:
        said = attempt.result.status if attempt.result else attempt.state
        typer.echo(printable(f"  attempt {attempt.number}  run {attempt.run or 'unknown'}  {said}"))
        if attempt.error:
            typer.echo(printable(f"    why: {attempt.error['message']}"))
            if attempt.error["hint"]:
                typer.echo(printable(f"    what to do: {attempt.error['hint']}"))
    command = _next_of_sync(record, base)
    if command:
        typer.echo(printable(f"next: {command}"))
        typer.echo("  with the other flags it was run with; where a pipeline ran it, run the pipeline again instead")
    else:
        typer.echo("nothing to do")
