"""The sweep: abandoned attempts, unfinished multipart uploads and orphaned sessions of ours below a folder.

A COPY that ends badly leaves its sentinel, perhaps data files and uploads, and nothing removes them; one whose client
was killed may run on for nobody. The sweep finds them, and removes them when asked to. Never a live one: the run
record is the authority, Materialize is asked whether the session is still there, both again right before anything
is deleted, and an attempt nobody closed is marked abandoned in its record first, by conditional write, so that a
process that goes on with it learns so before it can call it done. Killed half-way, it is simply repeated.

Cost: one listing per thousand objects and one per thousand unfinished uploads below the folder, one listing of the
records if the folder is a single export's; one GET per run record with an unfinished attempt there, or without
any folder but written within a week; one small statement per unsuccessful attempt of those. An orphaned session costs
a GET per record below the base more. A removal costs three listings, a GET, a statement and a DELETE per object; two
listings and a PUT more where nobody had closed the attempt.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from mz_orchestration.errors import ConfigurationError
from mz_orchestration.exports.sweep.act import abort_stale_uploads, cancel_sessions, remove_folder
from mz_orchestration.exports.sweep.judge import AttemptFolder, Fate, Verdict, attempt_name, is_stale
from mz_orchestration.exports.sweep.look import Look, Orphan, SweepContext, SweepStep
from mz_orchestration.exports.sweep.result import KeptFolder, SweepResult, SweptFolder, SweptSession, SweptUpload
from mz_orchestration.exports.sweep.scan import Scan
from mz_orchestration.flow import Clock, Flow, run
from mz_orchestration.materialize.connection import MaterializeConfig
from mz_orchestration.materialize.session import Session
from mz_orchestration.objectstore.client import ObjectStore
from mz_orchestration.objectstore.location import Location, parse_folder
from mz_orchestration.progress import OnEvent, ignore
from mz_orchestration.runs.key import RUNS_FOLDER

OLDER_THAN = timedelta(hours=24)


def sweep(
    where: str,
    *,
    older_than: timedelta = OLDER_THAN,
    delete: bool = False,
    ask_sessions: bool = True,
    materialize: MaterializeConfig | None = None,
    store: ObjectStore | None = None,
    on_event: OnEvent = ignore,
    clock: Clock | None = None,
) -> SweepResult:
    """Find what killed and failed exports left behind, and remove it if asked to.

    Args:
        where: What exports go ``--to``, or one export's folder below it.
        older_than: How long nothing must have happened to an attempt; at least an hour where nobody closed it.
        delete: Do it; otherwise nothing is changed anywhere.
        ask_sessions: Ask Materialize which sessions are there; otherwise an attempt nobody closed counts as running.
        materialize: How to reach Materialize; libpq's environment by default.
        store: The object store; boto3's environment by default.
        on_event: Told of every step.
        clock: The time to live in.

    Raises:
        MzOrchestrationError: The folder cannot be listed. Whatever fails later is among the result's ``problems``.
    """
    clock = clock or Clock()
    config = materialize or MaterializeConfig()

    def open_session() -> Session:
        return Session(config, application_name="mz-orchestration sweep")

    folder = parse_sweep_folder(where)
    context = SweepContext(clock, on_event, store or ObjectStore(), open_session if ask_sessions else None)
    return run(sweep_flow(folder, context, older_than=older_than, delete=delete), clock)


def parse_sweep_folder(where: str) -> Location:
    """The folder to sweep.

    Raises:
        ConfigurationError: It is no folder, or lies within one export.
    """
    folder = parse_folder(where, field="folder")
    if attempt_name(folder.name) or RUNS_FOLDER in folder.key.split("/"):
        raise ConfigurationError(
            f"folder: {where!r} is an attempt's folder or one of run records.",
            hint="Give the folder that exports go --to, or one export's folder below it.",
        )
    return folder


def sweep_flow(
    folder: Location, context: SweepContext, *, older_than: timedelta = OLDER_THAN, delete: bool = False
) -> Flow[SweepResult]:
    """The sweep as a flow; see `sweep`."""
    if older_than < timedelta(0):
        raise ConfigurationError(f"older_than: {older_than} is negative.", hint="Give 0 or more.")
    began = context.clock.monotonic()
    look = Look(context, older_than, Scan(folder))
    try:
        yield from look.list_all()
        yield from look.read_records()
        orphans = yield from look.ask_sessions()
        gone = (yield from cancel_sessions(look, orphans)) if delete and orphans else set()
        now = context.clock.now()
        judged = [(each, look.judge(each, now)) for each in look.folders]
        kept = [
            KeptFolder(str(each.location), verdict.fate, verdict.why)
            for each, verdict in judged
            if verdict.fate not in (Fate.REMOVE, Fate.FINISHED)
        ]
        abandoned = [
            (each, _swept(look, each, verdict, now)) for each, verdict in judged if verdict.fate is Fate.REMOVE
        ]
        uploads = [item for each, verdict in judged for item in _stale(each, verdict, now, older_than)]
        folders = [item for _, item in abandoned]
        if delete and (abandoned or uploads):
            with context.step(SweepStep.REMOVE, "remove what is abandoned") as details:
                folders = []
                for each, item in abandoned:
                    outcome = yield from remove_folder(look, each, item)
                    if isinstance(outcome, SweptFolder):
                        folders.append(outcome)
                    else:
                        kept.append(outcome)
                uploads = yield from abort_stale_uploads(look, uploads)
                details.update(folders=sum(item.done for item in folders), uploads=sum(item.done for item in uploads))
    finally:
        if look.session is not None:
            look.session.close()
    return SweepResult(
        where=str(folder),
        deleted=delete,
        older_than_seconds=older_than.total_seconds(),
        folders=tuple(folders),
        uploads=tuple(uploads),
        sessions=tuple(_session(orphan, gone, now) for orphan in orphans),
        kept=tuple(kept),
        finished=sum(verdict.fate is Fate.FINISHED for _, verdict in judged),
        others=look.scan.others,
        other_uploads=look.scan.other_uploads,
        problems=tuple(look.problems),
        seconds=context.clock.monotonic() - began,
    )


def _swept(look: Look, folder: AttemptFolder, verdict: Verdict, now: datetime) -> SweptFolder:
    return SweptFolder(
        path=str(folder.location),
        why=verdict.why,
        idle_seconds=(now - folder.last_sign(look.record_of(folder))).total_seconds(),
        files=len(folder.objects),
        bytes=folder.size,
        uploads=len(folder.uploads),
    )


def _stale(folder: AttemptFolder, verdict: Verdict, now: datetime, older_than: timedelta) -> list[SweptUpload]:
    """Old uploads of a finished attempt; those of an abandoned one go with its folder, those of others stay."""
    if verdict.fate is not Fate.FINISHED:
        return []
    return [
        SweptUpload(
            url=str(Location(folder.location.bucket, upload.key, folder.location.scheme)),
            upload_id=upload.upload_id,
            initiated=upload.initiated,
            idle_seconds=(now - upload.initiated).total_seconds(),
        )
        for upload in folder.uploads
        if is_stale(upload, now, older_than)
    ]


def _session(orphan: Orphan, gone: set[int], now: datetime) -> SweptSession:
    attempt = orphan.attempt
    return SweptSession(
        pid=attempt.pid,
        path=attempt.path,
        run_key=orphan.record.run_key,
        why=orphan.why,
        running_seconds=(now - attempt.started_at).total_seconds(),
        done=attempt.pid in gone,
    )
