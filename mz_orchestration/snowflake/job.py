"""One load under way: what it works with, and how it runs its long statements."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum

from mz_orchestration.errors import DeadlineError, UnavailableError
from mz_orchestration.exports.manifest import Manifest
from mz_orchestration.flow import Flow, call, sleep
from mz_orchestration.objectstore.client import ObjectStore
from mz_orchestration.progress import Progress
from mz_orchestration.runs.record import LoadEntry, LoadState
from mz_orchestration.runs.store import RunStore, refuse_lost_load
from mz_orchestration.snowflake.config import SnowflakeConfig
from mz_orchestration.snowflake.plan import LoadPlan
from mz_orchestration.snowflake.quoting import Name, Sql
from mz_orchestration.snowflake.session import Answer, QueryStatus, SnowflakeSession
from mz_orchestration.snowflake.spec import LoadSpec
from mz_orchestration.snowflake.standing import Look

_FIRST_POLL, _LONGEST_POLL = 0.05, 5.0
# Seconds that nothing is heard of a statement until it is given up.
_SILENT_FOR = 120


class LoadStep(StrEnum):
    """The steps of a load, in order; a process may die before or after each."""

    READ = "read"
    CHECK = "check"
    STAGE = "stage"
    COPY = "copy"
    RECONCILE = "reconcile"
    PUBLISH = "publish"
    FINISH = "finish"


@dataclass(frozen=True, slots=True)
class LoadContext(Progress):
    """What every load of a caller works with.

    Attributes:
        open_session: Opens a session with Snowflake whose statements carry a tag.
        store: The object store that holds the files.
        snowflake_host: Snowflake's host where it is set; by its account otherwise.
        on_job: Told of the load once its plan is made, and of each long statement that it has begun.
    """

    open_session: Callable[[Mapping[str, str]], SnowflakeSession]
    store: ObjectStore
    snowflake_host: str | None = None
    on_job: Callable[[Job], None] = lambda job: None


def session_opener(
    config: SnowflakeConfig, *, timeout: float = 3600
) -> Callable[[Mapping[str, str]], SnowflakeSession]:
    """Opens sessions whose statements carry what they are for in their tag, as compact JSON.

    Args:
        config: How to sign in.
        timeout: Seconds after which Snowflake itself ends a statement.
    """

    def open_session(facts: Mapping[str, str]) -> SnowflakeSession:
        # A tag has 2,000 characters.
        tag = {"tool": "mz-orchestration", **{name: value[:300] for name, value in facts.items()}}
        # What is left to run when Snowflake cannot be reached is gone on with later.
        return SnowflakeSession(config, query_tag=tag, statement_timeout=timeout, keep_running=True)

    return open_session


@dataclass(frozen=True, slots=True)
class Job:
    """One load under way.

    Attributes:
        look: What the target has had before.
        entry: The load in the run record, as this process knows it.
    """

    spec: LoadSpec
    manifest: Manifest
    plan: LoadPlan
    look: Look
    session: SnowflakeSession
    entry: LoadEntry
    runs: RunStore
    context: LoadContext

    @property
    def staging(self) -> Name:
        """The load's staging table."""
        return self.plan.staging(self.entry.load)

    @property
    def keys(self) -> tuple[str, ...]:
        """The names that the keys have in Snowflake."""
        return tuple(
            column.name
            for column in self.plan.columns
            if column.source is not None and column.source.name in self.spec.keys
        )

    def query(self, statement: Sql) -> Flow[Answer]:
        """Run a short statement."""
        return (yield from call(self.session.query, statement))

    def save(self, *, begins: bool = False) -> Flow[None]:
        """Write the entry into the run record: one GET and one PUT.

        Raises:
            RunConflictError: The load was cancelled or taken over.
        """
        now, key = self.context.clock.now(), (self.manifest.export, self.manifest.run_key)
        yield from call(self.runs.put_load, *key, self.entry, now, begins=begins)

    def cancelled(self) -> Flow[bool]:
        """Whether another process has cancelled the load; one GET."""
        stored = yield from call(self.runs.find, self.manifest.export, self.manifest.run_key)
        there = stored.record.loads.get(self.plan.label) if stored else None
        return there is not None and there.load == self.entry.load and there.state is LoadState.FAILED

    def still_ours(self) -> Flow[None]:
        """Make sure that nobody has cancelled the load or taken it over; one GET.

        Raises:
            RunConflictError: Somebody has.
        """
        stored = yield from call(self.runs.find, self.manifest.export, self.manifest.run_key)
        there = stored.record.loads.get(self.plan.label) if stored else None
        if there is not None:
            refuse_lost_load(there, self.entry)

    def submit(self, statement: Sql, *, step: LoadStep, ids: list[str] | None = None) -> Flow[Answer]:
        """Run a statement that may take long.

        Args:
            statement: The statement.
            step: For remarks.
            ids: The list of the entry that its id belongs in, and is written down in before it is waited for.
        """
        try:
            query_id = yield from call(self.session.submit, statement)
        except UnavailableError:
            raise
        except BaseException:
            yield from call(self.session.abort_submitted)
            raise
        if ids is not None:
            try:
                ids.append(query_id)
                self.entry.deadline_at = self.context.clock.now() + timedelta(seconds=self.spec.timeout)
                yield from self.save()
            except BaseException:
                yield from call(self.session.abort, query_id)
                raise
            self.context.on_job(self)
        return (yield from self.wait(query_id, step=step))

    def wait(self, query_id: str, *, step: LoadStep) -> Flow[Answer]:
        """Wait for a statement by its id, whichever session began it; abort it if we leave early.

        Only where Snowflake cannot be asked about it any more is it left to run: whoever asks for the load again goes
        on with it.
        """
        clock = self.context.clock
        deadline = clock.monotonic() + self.spec.timeout
        heard = clock.monotonic()
        pause = _FIRST_POLL
        try:
            while True:
                status = yield from self._status(query_id, step)
                if status not in (QueryStatus.RUNNING, QueryStatus.UNKNOWN):
                    break
                now = clock.monotonic()
                heard = now if status is QueryStatus.RUNNING else heard
                if now - heard >= _SILENT_FOR:
                    raise UnavailableError(
                        f"For {_SILENT_FOR} seconds Snowflake has not told what became of the statement {query_id}.",
                        hint="Run the same command again: it goes on with that statement.",
                        details={"query_id": query_id},
                    )
                if now >= deadline:
                    raise DeadlineError(
                        f"The statement {query_id} was aborted because it took longer than {self.spec.timeout:g} "
                        "seconds.",
                        hint="Allow more time, or use a larger warehouse.",
                        details={"query_id": query_id, "timeout_seconds": self.spec.timeout},
                    )
                yield from sleep(pause)
                pause = min(pause * 1.5, _LONGEST_POLL)
        except UnavailableError:
            raise
        except BaseException:
            yield from call(self.session.abort, query_id)
            self.context.note(step, f"the statement {query_id} has been asked to abort")
            raise
        return (yield from self._result(query_id))

    def _status(self, query_id: str, step: LoadStep) -> Flow[QueryStatus]:
        try:
            return (yield from call(self.session.status, query_id))
        except UnavailableError as error:
            self.context.note(step, f"{error.message} Asking again for {query_id}.")
            return QueryStatus.UNKNOWN

    def _result(self, query_id: str) -> Flow[Answer]:
        """The answer of a statement that has ended; fetched again where it is lost on the way."""
        for pause in (0.5, 2.0, 5.0):
            try:
                return (yield from call(self.session.result, query_id))
            except UnavailableError:
                yield from sleep(pause)
        return (yield from call(self.session.result, query_id))
