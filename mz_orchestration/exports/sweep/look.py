"""The sweep's first half: look at everything, change nothing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum

from mz_orchestration.errors import MzOrchestrationError, WrongEnvironmentError
from mz_orchestration.exports.sweep.io import Records, explained, match_run, read_records, readable
from mz_orchestration.exports.sweep.judge import (
    AttemptFolder,
    Fate,
    SessionState,
    Verdict,
    in_use_by,
    judge,
    orphaned,
)
from mz_orchestration.exports.sweep.scan import RecordEntry, Scan
from mz_orchestration.flow import Flow, call
from mz_orchestration.materialize.session import Session, SessionIdentity
from mz_orchestration.objectstore.client import ObjectStore
from mz_orchestration.objectstore.location import Location
from mz_orchestration.progress import Progress
from mz_orchestration.runs.record import Attempt, AttemptState, RunRecord
from mz_orchestration.runs.store import RunStore, StoredRun

# Of a run whose every folder is gone, nothing is left to sweep but perhaps a session.
RECENT = timedelta(days=7)

_Run = tuple[Location, str, str]


class SweepStep(StrEnum):
    """The steps of a sweep, in order; the last two only when something is to be done."""

    SCAN = "scan"
    RECORDS = "records"
    SESSIONS = "sessions"
    CANCEL = "cancel"
    REMOVE = "remove"


@dataclass(frozen=True, slots=True)
class SweepContext(Progress):
    """What a sweep works with.

    Attributes:
        store: The object store.
        open_session: Opens a session with Materialize; None where it is not to be asked, so that every attempt
            nobody closed counts as running.
    """

    store: ObjectStore
    open_session: Callable[[], Session] | None


@dataclass(frozen=True, slots=True)
class Orphan:
    """An attempt whose session is there though nobody waits for it."""

    record: RunRecord
    attempt: Attempt
    why: str


@dataclass(slots=True)
class Look:
    """What was seen so far, and how to see more.

    Attributes:
        scan: The sorted listing.
        folders: The attempts' folders in it.
        records: The run records that were read.
        active: What Materialize said, by session.
        session: The session it was asked in, while there is one.
        problems: What could not be seen.
        uploads_listed: Whether the store lets us list unfinished uploads.
    """

    context: SweepContext
    older_than: timedelta
    scan: Scan
    folders: list[AttemptFolder] = field(default_factory=list)
    records: Records = field(default_factory=dict)
    active: dict[str, SessionState] = field(default_factory=dict)
    session: Session | None = None
    problems: list[MzOrchestrationError] = field(default_factory=list)
    uploads_listed: bool = False
    _unreachable: bool = False
    _by_run: dict[_Run, list[RecordEntry]] = field(default_factory=dict)

    def problem(self, step: SweepStep, error: MzOrchestrationError) -> None:
        """Write down that something failed; the rest goes on."""
        self.problems.append(explained(error))
        self.context.note(step, error.message)

    def runs(self, base: Location) -> RunStore:
        """The run records below a base."""
        return RunStore(self.context.store, base)

    def list_all(self) -> Flow[None]:
        """List the objects, the unfinished uploads and, where the folder is a single export's, its records."""
        scan, store = self.scan, self.context.store
        with self.context.step(SweepStep.SCAN, f"list {scan.root}") as details:
            last, more, objects = "", True, 0
            while more:
                page, more = yield from call(store.list_page, scan.root, last)
                scan.add_objects(page)
                objects += len(page)
                last, more = (page[-1].key, more) if page else (last, False)
            try:
                scan.add_uploads((yield from call(store.list_uploads, scan.root)))
                self.uploads_listed = True
            except MzOrchestrationError as error:
                self.problem(SweepStep.SCAN, error)
            self.folders = scan.folders()
            # Only then: a role may be allowed to list what it was given and nothing beside it.
            for base, export in {(each.base, each.export) for each in self.folders if each.base != scan.root}:
                scan.add_records(base, export, (yield from call(self.runs(base).listed, export)))
            for entry in scan.records:
                self._by_run.setdefault(_run(entry), []).append(entry)
            details.update(objects=objects, attempts=len(self.folders))

    def read_records(self) -> Flow[None]:
        """Read the records of unfinished attempts, and recent ones of runs that have no folder."""
        recent = self.context.clock.now() - RECENT
        there = {_run(folder) for folder in self.folders}
        unfinished = {_run(folder) for folder in self.folders if not folder.finished}
        wanted = [
            entry
            for entry in self.scan.records
            if _run(entry) in unfinished
            or (_run(entry) not in there and (entry.written is None or entry.written >= recent))
        ]
        if wanted:
            with self.context.step(SweepStep.RECORDS, "read the run records concerned") as details:
                self.records = yield from self._read(wanted)
                for error in _unreadable(self.records):
                    self.problem(SweepStep.RECORDS, error)
                details["records"] = len(wanted)

    def ask_sessions(self) -> Flow[list[Orphan]]:
        """Ask Materialize for the session of every attempt that did not succeed; returns the orphaned ones."""
        found = [
            (entry, stored.record, attempt)
            for entry in self.scan.records
            if isinstance(stored := self.records.get(entry.location), StoredRun)
            for attempt in stored.record.attempts
            # The attempts in a record that was copied here from another place are not ours to judge.
            if attempt.state is not AttemptState.SUCCEEDED and _is_below(attempt.path, entry)
        ]
        if not found or self.context.open_session is None:
            return []
        orphans = []
        with self.context.step(SweepStep.SESSIONS, "ask Materialize which sessions are there") as details:
            now = self.context.clock.now()
            for entry, record, attempt in found:
                state = yield from self.ask(attempt)
                self.active[attempt.session] = state
                why = orphaned(record, attempt, now) if state is SessionState.ACTIVE else None
                if why is not None and (yield from self._is_alone(entry, attempt)):
                    orphans.append(Orphan(record, attempt, why))
            details.update(attempts=len(found), orphaned=len(orphans))
        return orphans

    def ask(self, attempt: Attempt) -> Flow[SessionState]:
        """Whether an attempt's session is still there."""
        if self.context.open_session is None or self._unreachable:
            return SessionState.UNKNOWN
        try:
            if self.session is None:
                self.session = yield from call(self.context.open_session)
            active = yield from call(self.session.is_active, SessionIdentity(attempt.session, attempt.environment))
        except MzOrchestrationError as error:
            self._unreachable = not isinstance(error, WrongEnvironmentError)
            self.problem(SweepStep.SESSIONS, error)
            return SessionState.UNKNOWN
        return SessionState.ACTIVE if active else SessionState.GONE

    def judge(self, folder: AttemptFolder, now: datetime) -> Verdict:
        """The verdict on a folder by what was seen."""
        if folder.finished:
            return judge(folder, None, SessionState.UNKNOWN, now, self.older_than)
        record = self.record_of(folder)
        if record is None and any(isinstance(each, MzOrchestrationError) for each in self._candidates(folder)):
            return Verdict(Fate.UNCLEAR, "its run record cannot be read")
        attempt = folder.attempt(record)
        state = self.active.get(attempt.session) if attempt else None
        return judge(folder, record, state or SessionState.UNKNOWN, now, self.older_than)

    def record_of(self, folder: AttemptFolder) -> RunRecord | None:
        """The record that knows a folder, if one was read."""
        stored = match_run(folder, [each for each in self._candidates(folder) if isinstance(each, StoredRun)])
        return stored.record if stored else None

    def _candidates(self, folder: AttemptFolder) -> list[StoredRun | MzOrchestrationError]:
        entries = self._by_run.get(_run(folder), [])
        return [self.records[entry.location] for entry in entries if entry.location in self.records]

    def _is_alone(self, entry: RecordEntry, attempt: Attempt) -> Flow[bool]:
        """Whether a session, without doubt this attempt's, does nothing for any other attempt below the base."""
        if (yield from self.ask(attempt)) is not SessionState.ACTIVE:
            return False
        every = Scan(entry.base)
        every.add_objects((yield from call(self.runs(entry.base).listed)))
        found = yield from self._read(every.records)
        return not _unreadable(found) and in_use_by(attempt, readable(found)) is None

    def _read(self, entries: list[RecordEntry]) -> Flow[Records]:
        stores = {base: self.runs(base) for base in {entry.base for entry in entries}}
        return (yield from call(read_records, stores, entries))


def _run(item: RecordEntry | AttemptFolder) -> _Run:
    return item.base, item.export, item.run


def _unreadable(records: Records) -> list[MzOrchestrationError]:
    return [each for each in records.values() if isinstance(each, MzOrchestrationError)]


def _is_below(path: str, entry: RecordEntry) -> bool:
    return path.partition("://")[2].startswith(f"{entry.base.bucket}/{entry.base.key}{entry.export}/")
