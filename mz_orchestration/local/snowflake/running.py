"""Queries by id: run once, waited for, polled, aborted, and their answers kept for a while."""

from __future__ import annotations

import threading
import time
import uuid
from collections import OrderedDict
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from mz_orchestration.local.snowflake import engine, errors
from mz_orchestration.local.snowflake.account import Account
from mz_orchestration.local.snowflake.bindings import bind, without_values
from mz_orchestration.local.snowflake.session import Session
from mz_orchestration.local.snowflake.statement import Statement
from mz_orchestration.local.snowflake.transactions import current_query
from mz_orchestration.local.statement_log import Outcome, StatementLog

_KEPT = 2000
_THREADS = 24
_CLOSE_WITHIN = 3.0
# What a limit of 0 stands for in Snowflake: seven days.
_LONGEST_SECONDS = 7 * 24 * 3600


@dataclass
class Query:
    """One submitted statement and how it goes.

    Role, warehouse, database, schema and tag are those of the session at the time.
    """

    statement: Statement
    request_id: str
    bindings: dict[str, Any] | None
    describe_only: bool = False
    done: threading.Event = field(default_factory=threading.Event)
    error: errors.SnowflakeError | None = None
    begun: bool = False
    started: float = field(default_factory=time.time)
    ended: float | None = None
    rows_produced: int | None = None
    role: str = field(init=False)
    warehouse: str | None = field(init=False)
    database: str | None = field(init=False)
    schema: str | None = field(init=False)
    tag: str = field(init=False)

    def __post_init__(self) -> None:
        session = self.statement.session
        self.role, self.warehouse = session.role, session.warehouse
        self.database, self.schema = session.context.database, session.context.schema
        self.tag = str(session.parameters["QUERY_TAG"])

    @property
    def id(self) -> str:
        """The query id clients see."""
        return self.statement.query_id

    @property
    def user(self) -> str:
        """Whose query it is."""
        return self.statement.session.user

    @property
    def status(self) -> str:
        """The state by the names the monitoring endpoint uses."""
        if self.done.is_set():
            return "SUCCESS" if self.error is None else "FAILED_WITH_ERROR"
        if self.statement.cancel.is_set():
            return "ABORTING"
        if not self.begun:
            return "QUEUED"
        return "BLOCKED" if self.statement.account.transactions.is_blocked(self.id) else "RUNNING"


class Queries:
    """All queries of the account."""

    def __init__(self, account: Account, log: StatementLog) -> None:
        self._account = account
        self._log = log
        self._pool = ThreadPoolExecutor(_THREADS, thread_name_prefix="query")
        self._lock = threading.Lock()
        self._by_id: OrderedDict[str, Query] = OrderedDict()
        self._by_request: dict[str, Query] = {}
        account.queries = self

    def submit(
        self,
        session: Session,
        sql: str,
        request_id: str,
        bindings: dict[str, Any] | None,
        describe_only: bool = False,
        tag: str | None = None,
    ) -> Query | None:
        """Start a statement; a request sent again (a client's retry) is not run again. None: the session has ended."""
        with self._lock:
            if request_id and request_id in self._by_request:
                return self._by_request[request_id]
            statement = Statement(self._account, session, sql, str(uuid.uuid4()))
            query = Query(statement, request_id, bindings, describe_only)
            if tag is not None:
                query.tag = str(tag)
            if not session.enter(statement):
                return None
            self._by_id[query.id] = query
            if request_id:
                self._by_request[request_id] = query
            self._forget_oldest()
        self._pool.submit(self._run, query)
        return query

    def _forget_oldest(self) -> None:
        ended = (query for query in list(self._by_id.values()) if query.done.is_set())
        while len(self._by_id) > _KEPT and (old := next(ended, None)) is not None:
            del self._by_id[old.id]
            self._by_request.pop(old.request_id, None)

    def get(self, query_id: str, user: str) -> Query | None:
        """The query of an id, from whichever session of the user it came."""
        with self._lock:
            query = self._by_id.get(query_id)
        return query if query is not None and query.user == user else None

    def by_request(self, request_id: str, user: str) -> Query | None:
        """The query of a request."""
        with self._lock:
            query = self._by_request.get(request_id)
        return query if query is not None and query.user == user else None

    def all(self) -> list[Query]:
        """Every query still known, oldest first."""
        with self._lock:
            return [query for query in self._by_id.values() if not query.describe_only]

    def close(self) -> None:
        """Abort what runs and give it a moment to end."""
        with self._lock:
            running = [q for q in self._by_id.values() if not q.done.is_set()]
        for query in running:
            query.statement.abort()
        self._pool.shutdown(wait=False, cancel_futures=True)
        deadline = time.monotonic() + _CLOSE_WITHIN
        for query in running:
            query.done.wait(max(0.0, deadline - time.monotonic()))

    def _run(self, query: Query) -> None:
        statement, session = query.statement, query.statement.session
        query.begun = True
        limit = int(session.parameters["STATEMENT_TIMEOUT_IN_SECONDS"])
        expired = threading.Event()
        timer = threading.Timer(limit or _LONGEST_SECONDS, _expire, (statement, expired))
        timer.daemon = True
        timer.start()
        current_query.set(query.id)
        transaction = session.transaction
        try:
            self._execute(query)
        except errors.SnowflakeError as error:
            query.error = error
        except Exception as error:
            # Whatever it is, the client gets an answer that quotes the statement; HTTP 500 would be retried.
            query.error = errors.from_duckdb(error, statement.sent)
        finally:
            timer.cancel()
        if query.error is not None and query.error.code == errors.cancelled().code:
            if expired.is_set():
                query.error = errors.timed_out(limit)
            elif transaction is not None and transaction.aborted:
                query.error = errors.transaction_aborted(transaction.id)
        query.ended = time.time()
        session.leave(statement)
        if not query.describe_only:
            session.query_ids.append(query.id)
            self._write(query)
        query.done.set()

    def _execute(self, query: Query) -> None:
        statement, faults = query.statement, self._account.faults
        if query.describe_only:
            statement.sql = without_values(statement.sent)
            self._account.keep(query.id, query.user, engine.describe(statement))
            return
        statement.sql = bind(statement.sent, query.bindings)
        if slow := faults.strike("slow_statements", statement.sent):
            statement.cancel.wait(slow.seconds)
            statement.check()
        failing = faults.strike("fail", statement.sent)
        if failing is not None and failing.error is not None:
            raise failing.error
        result = engine.execute(statement)
        query.rows_produced = result.rows_produced()
        self._account.keep(query.id, query.user, result)

    def _write(self, query: Query) -> None:
        outcome: Outcome = "ok"
        if query.error is not None:
            outcome = "cancelled" if query.error.code == errors.cancelled().code else "error"
        self._log.append(
            query.statement.sent,
            session=str(query.statement.session.id),
            outcome=outcome,
            tag=query.tag or None,
            code=query.error.code if query.error else None,
            error=query.error.message if query.error else None,
            seconds=(query.ended or query.started) - query.started,
            bound=bool(query.bindings),
        )


def _expire(statement: Statement, expired: threading.Event) -> None:
    """Abort a statement whose time is over."""
    expired.set()
    statement.abort()
