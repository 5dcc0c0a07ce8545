"""One load under way: what it works with, and how it runs its long statements."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum

from mz_orchestration.errors import DeadlineError, LoadError
from mz_orchestration.exports.manifest import Manifest
from mz_orchestration.flow import Flow, call, sleep
from mz_orchestration.objectstore.client import ObjectStore
from mz_orchestration.progress import Progress
from mz_orchestration.runs.record import LoadEntry
from mz_orchestration.runs.store import RunStore
from mz_orchestration.snowflake.config import SnowflakeConfig
from mz_orchestration.snowflake.plan import LoadPlan, Look
from mz_orchestration.snowflake.quoting import Name, Sql
from mz_orchestration.snowflake.session import Answer, QueryStatus, SnowflakeSession
from mz_orchestration.snowflake.spec import LoadSpec

_FIRST_POLL, _LONGEST_POLL = 0.05, 5.0


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
        return SnowflakeSession(config, query_tag=tag, statement_timeout=timeout)

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

    def save(self) -> Flow[None]:
        """Write the entry into the run record: one GET and one PUT."""
        now = self.context.clock.now()
        yield from call(self.runs.put_load, self.manifest.export, self.manifest.run_key, self.entry, now)

    def submit(self, statement: Sql, ids: list[str], *, step: LoadStep) -> Flow[Answer]:
        """Run a long statement: its query id is in the run record before it is waited for.

        Args:
            statement: The statement.
            ids: The list of the entry that its id belongs in.
            step: For remarks.
        """
        query_id = yield from call(self.session.submit, statement)
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
        """Wait for a statement by its id, whichever session began it; abort it if we leave early."""
        deadline = self.context.clock.monotonic() + self.spec.timeout
        pause = _FIRST_POLL
        running = True
        try:
            while running:
                status = yield from call(self.session.status, query_id)
                running = status is QueryStatus.RUNNING
                if status is QueryStatus.UNKNOWN:
                    raise LoadError(
                        f"Snowflake does not know the query {query_id} any more, so how it ended cannot be told.",
                        hint="Run the same command again: it looks at what the table has had before it loads.",
                        retryable=True,
                        details={"query_id": query_id},
                    )
                if running:
                    if self.context.clock.monotonic() >= deadline:
                        raise DeadlineError(
                            f"The statement {query_id} was aborted because it took longer than "
                            f"{self.spec.timeout:g} seconds.",
                            hint="Allow more time, or use a larger warehouse.",
                            details={"query_id": query_id, "timeout_seconds": self.spec.timeout},
                        )
                    yield from sleep(pause)
                    pause = min(pause * 1.5, _LONGEST_POLL)
        finally:
            if running:
                yield from call(self.session.abort, query_id)
                self.context.note(step, f"the statement {query_id} has been asked to abort")
        return (yield from call(self.session.result, query_id))
