"""What a statement runs with: the account, its session, its text, its own DuckDB connection, its cancel flag."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from mz_orchestration.local.snowflake import errors
from mz_orchestration.local.snowflake.account import Account
from mz_orchestration.local.snowflake.catalog import Catalog, Name
from mz_orchestration.local.snowflake.session import Session
from mz_orchestration.local.snowflake.storage import Storage

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection


@dataclass
class Statement:
    """One statement on its way through the server."""

    account: Account
    session: Session
    sql: str
    query_id: str
    cancel: threading.Event = field(default_factory=threading.Event)
    acting_role: str | None = None
    sent: str = field(init=False)
    cursor: DuckDBPyConnection = field(init=False)

    def __post_init__(self) -> None:
        # What the client sent, before parameters are put in: for the log and for messages.
        self.sent = self.sql

    @property
    def role(self) -> str:
        """The role whose rights count: the session's, or inside a view that of its owner."""
        return self.acting_role or self.session.role

    @property
    def catalog(self) -> Catalog:
        """The account's objects."""
        return self.account.catalog

    @property
    def storage(self) -> Storage:
        """The account's rows."""
        return self.account.storage

    def name(self, parts: list[str], action: str = "SELECT") -> Name:
        """Complete a name from the session's current database and schema."""
        return self.catalog.resolve(parts, self.session.context, action)

    def check(self) -> None:
        """Stop here if somebody aborted the statement."""
        if self.cancel.is_set():
            raise errors.cancelled()

    def abort(self) -> None:
        """Abort the statement from another thread."""
        self.cancel.set()
        if hasattr(self, "cursor"):
            self.cursor.interrupt()

    @contextmanager
    def connected(self) -> Iterator[None]:
        """Give the statement its connection."""
        with self.storage.cursor(self.session.timezone) as cursor:
            self.cursor = cursor
            yield
