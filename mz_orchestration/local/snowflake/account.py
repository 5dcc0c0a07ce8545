"""The account: everything that outlives a session."""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import TYPE_CHECKING

from mz_orchestration.local.snowflake import errors
from mz_orchestration.local.snowflake.catalog import Catalog
from mz_orchestration.local.snowflake.faults import Faults
from mz_orchestration.local.snowflake.session import Session
from mz_orchestration.local.snowflake.storage import Storage
from mz_orchestration.local.snowflake.transactions import Transactions
from mz_orchestration.local.snowflake.users import Users

if TYPE_CHECKING:
    from mz_orchestration.local.snowflake.results import Result
    from mz_orchestration.local.snowflake.running import Queries
    from mz_orchestration.local.snowflake.store import Store

ACCOUNT = "LOCAL"
VERSION = "9.38.0"
_RESULTS_KEPT = 500
_RESULT_BYTES_KEPT = 256 << 20


class Account:
    """Catalog, rows, users, sessions, the object store, and recent results for RESULT_SCAN.

    Attributes:
        queries: Set by the `Queries` made for this account.
    """

    queries: Queries

    def __init__(self, storage: Storage, store: Store, password: str) -> None:
        self.version = VERSION
        self.catalog = Catalog()
        self.storage = storage
        self.store = store
        self.users = Users(password)
        self.transactions = Transactions()
        self.faults = Faults()
        self._lock = threading.Lock()
        self._sessions: dict[str, Session] = {}
        self._results: OrderedDict[str, tuple[str, Result]] = OrderedDict()
        self._kept = 0

    def login(self, user: str) -> Session:
        """Open a session."""
        session = Session(self.catalog, self.storage, self.transactions, user)
        with self._lock:
            self._sessions[session.token] = session
        return session

    def session(self, token: str) -> Session | None:
        """The session of a token."""
        with self._lock:
            return self._sessions.get(token)

    def session_by_id(self, session_id: int) -> Session | None:
        """The session of an id."""
        with self._lock:
            return next((s for s in self._sessions.values() if s.id == session_id), None)

    def renew(self, master_token: str) -> Session | None:
        """The session of a master token, under a new token of its own; the old one ends."""
        with self._lock:
            for token, session in self._sessions.items():
                if session.master_token == master_token:
                    del self._sessions[token]
                    session.renew()
                    self._sessions[session.token] = session
                    return session
        return None

    def logout(self, token: str) -> None:
        """End a session."""
        with self._lock:
            session = self._sessions.pop(token, None)
        if session is not None:
            session.close()

    def keep(self, query_id: str, user: str, result: Result) -> None:
        """Keep a result to be fetched and scanned, at the cost of the oldest ones."""
        with self._lock:
            self._results[query_id] = (user, result)
            self._kept += result.table.nbytes
            while len(self._results) > 1 and (len(self._results) > _RESULTS_KEPT or self._kept > _RESULT_BYTES_KEPT):
                _, (_, oldest) = self._results.popitem(last=False)
                self._kept -= oldest.table.nbytes

    def result(self, query_id: str, user: str) -> Result:
        """The kept result of a query, for the user whose query it was."""
        with self._lock:
            owner, result = self._results.get(query_id, (None, None))
            if result is None or owner != user:
                raise errors.SnowflakeError("000709", "02000", f"Statement {query_id} not found or its result is gone.")
            return result
