"""The account: everything that outlives a session."""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from mz_orchestration.local.snowflake import errors
from mz_orchestration.local.snowflake.catalog import Catalog
from mz_orchestration.local.snowflake.session import Session
from mz_orchestration.local.snowflake.storage import Storage

if TYPE_CHECKING:
    from mz_orchestration.local.snowflake.results import Result
    from mz_orchestration.local.snowflake.store import Store

ACCOUNT = "LOCAL"
USER = "LOCAL"
VERSION = "9.38.0"
_RESULTS_KEPT = 500
_RESULT_BYTES_KEPT = 256 << 20


@dataclass
class Faults:
    """Wrong answers a test asked for."""

    rows_loaded_delta: int = 0
    times: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def set(self, delta: int, times: int) -> None:
        """Make the next ``times`` COPY answers report this many rows more."""
        with self.lock:
            self.rows_loaded_delta, self.times = delta, times

    def take(self) -> int:
        """The difference the next COPY answer must lie by."""
        with self.lock:
            if self.times <= 0:
                return 0
            self.times -= 1
            return self.rows_loaded_delta


class Account:
    """Catalog, rows, sessions, the object store, and recent results for RESULT_SCAN."""

    def __init__(self, storage: Storage, store: Store) -> None:
        self.version = VERSION
        self.catalog = Catalog()
        self.storage = storage
        self.store = store
        self.faults = Faults()
        self._lock = threading.Lock()
        self._sessions: dict[str, Session] = {}
        self._results: OrderedDict[str, Result] = OrderedDict()
        self._kept = 0

    def login(self, user: str) -> Session:
        """Open a session."""
        session = Session(self.catalog, self.storage, user)
        with self._lock:
            self._sessions[session.token] = session
        return session

    def session(self, token: str) -> Session | None:
        """The session of a token."""
        with self._lock:
            return self._sessions.get(token)

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

    def keep(self, query_id: str, result: Result) -> None:
        """Keep a result to be fetched and scanned, at the cost of the oldest ones."""
        with self._lock:
            self._results[query_id] = result
            self._kept += result.table.nbytes
            while len(self._results) > 1 and (len(self._results) > _RESULTS_KEPT or self._kept > _RESULT_BYTES_KEPT):
                _, oldest = self._results.popitem(last=False)
                self._kept -= oldest.table.nbytes

    def result(self, query_id: str) -> Result:
        """The kept result of a query."""
        with self._lock:
            if query_id not in self._results:
                raise errors.SnowflakeError("000709", "02000", f"Statement {query_id} not found or its result is gone.")
            return self._results[query_id]
