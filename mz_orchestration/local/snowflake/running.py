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
from mz_orchestration.local.statement_log import Outcome, StatementLog

_KEPT = 500
_THREADS = 24
_CLOSE_WITHIN = 3.0
# What a limit of 0 stands for in Snowflake: seven days.
_LONGEST_SECONDS = 7 * 24 * 3600


@dataclass
class Query:
    """One submitted statement and how it goes."""

    statement: Statement
    request_id: str
    bindings: dict[str, Any] | None
    describe_only: bool = False
    done: threading.Event = field(default_factory=threading.Event)
    error: errors.SnowflakeError | None = None
    started: float = field(default_factory=time.time)
    ended: float | None = None

    @property
    def id(self) -> str:
        """The query id clients see."""
        return self.statement.query_id

    @property
    def status(self) -> str:
        """The state by the names the monitoring endpoint uses."""
        if not self.done.is_set():
            return "RUNNING"
        if self.error is None:
            return "SUCCESS"
        return "FAILED_WITH_ERROR"


class Queries:
    """All queries of the account."""

    def __init__(self, account: Account, log: StatementLog) -> None:
        self._account = account
        self._log = log
        self._pool = ThreadPoolExecutor(_THREADS, thread_name_prefix="query")
        self._lock = threading.Lock()
        self._by_id: OrderedDict[str, Query] = OrderedDict()
        self._by_request: dict[str, Query] = {}

    def submit(
        self,
        session: Session,
        sql: str,
        request_id: str,
        bindings: dict[str, Any] | None,
        describe_only: bool = False,
    ) -> Query:
        """Start a statement; a request sent again (a client's retry) is not run again."""
        with self._lock:
            if request_id and request_id in self._by_request:
                return self._by_request[request_id]
            statement = Statement(self._account, session, sql, str(uuid.uuid4()))
            query = Query(statement, request_id, bindings, describe_only)
            self._by_id[query.id] = query
            if request_id:
                self._by_request[request_id] = query
            while len(self._by_id) > _KEPT:
                _, old = self._by_id.popitem(last=False)
                self._by_request.pop(old.request_id, None)
        self._pool.submit(self._run, query)
        return query

    def get(self, query_id: str) -> Query | None:
        """The query of an id."""
        with self._lock:
            return self._by_id.get(query_id)

    def by_request(self, request_id: str) -> Query | None:
        """The query of a request."""
        with self._lock:
            return self._by_request.get(request_id)

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
        statement = query.statement
        limit = int(statement.session.parameters["STATEMENT_TIMEOUT_IN_SECONDS"])
        expired = threading.Event()
        timer = threading.Timer(limit or _LONGEST_SECONDS, _expire, (statement, expired))
        timer.daemon = True
        timer.start()
        try:
            if query.describe_only:
                statement.sql = without_values(statement.sent)
                result = engine.describe(statement)
            else:
                statement.sql = bind(statement.sent, query.bindings)
                result = engine.execute(statement)
            self._account.keep(query.id, result)
        except errors.SnowflakeError as error:
            query.error = error
        except Exception as error:
            # Whatever it is, the client gets an answer that quotes the statement; HTTP 500 would be retried.
            query.error = errors.from_duckdb(error, statement.sent)
        finally:
            timer.cancel()
        if expired.is_set() and query.error is not None and query.error.code == errors.cancelled().code:
            query.error = errors.timed_out(limit)
        query.ended = time.time()
        if not query.describe_only:
            statement.session.last_query_id = query.id
            self._write(query)
        query.done.set()

    def _write(self, query: Query) -> None:
        outcome: Outcome = "ok"
        if query.error is not None:
            outcome = "cancelled" if query.error.code == "000604" else "error"
        session = query.statement.session
        self._log.append(
            query.statement.sent,
            session=str(session.id),
            outcome=outcome,
            tag=str(session.parameters["QUERY_TAG"]) or None,
            code=query.error.code if query.error else None,
            error=query.error.message if query.error else None,
            seconds=(query.ended or query.started) - query.started,
            bound=bool(query.bindings),
        )


def _expire(statement: Statement, expired: threading.Event) -> None:
    """Abort a statement whose time is over."""
    expired.set()
    statement.abort()
