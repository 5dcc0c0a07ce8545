"""The listener: accepts clients, connects each to PostgreSQL and starts its session."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import psycopg

from mz_orchestration.local.materialize.copy_grammar import CopyTo
from mz_orchestration.local.materialize.copy_work import ProxyWork
from mz_orchestration.local.materialize.error_texts import ErrorTexts
from mz_orchestration.local.materialize.errors import StatementError
from mz_orchestration.local.materialize.exchange import Exchange, Record
from mz_orchestration.local.materialize.life import live
from mz_orchestration.local.materialize.postgres import DATABASE
from mz_orchestration.local.materialize.session import Session
from mz_orchestration.local.materialize.startup import read_startup, startup_message
from mz_orchestration.local.materialize.statements import Validate, Work
from mz_orchestration.local.materialize.subscribe_grammar import Declare
from mz_orchestration.local.materialize.subscription import Subscription
from mz_orchestration.local.materialize.timeline import Timeline
from mz_orchestration.local.materialize.wire import (
    CANCEL_REQUEST,
    GSS_REQUEST,
    SSL_REQUEST,
    startup_parameters,
)
from mz_orchestration.local.statement_log import StatementLog

_STARTUP_SECONDS = 60.0
# Longer than anything but DDL in an open transaction holds a lock that planning needs.
_PLANNING_LOCK_TIMEOUT = "100ms"
_SET_FOR_PLANNING = "SELECT set_config('search_path', %s, true), set_config('lock_timeout', %s, true)"
# Run twice: what the first time sees is this query's own.
_LOCKED = (
    "SELECT c.oid::bigint, c.relname FROM pg_locks l JOIN pg_class c ON c.oid = l.relation"
    " WHERE l.pid = pg_backend_pid() AND l.locktype = 'relation'"
)


class AdminConnection:
    """The proxy's own connection to PostgreSQL: looks things up and holds the locks of running exports."""

    def __init__(self, connection: psycopg.AsyncConnection[tuple[object, ...]]) -> None:
        self._connection = connection
        self._turn = asyncio.Lock()
        self._closed = False

    async def rows(self, sql: str, *values: object) -> list[tuple[object, ...]]:
        """Run a statement and return its rows."""
        async with self._my_turn():
            cursor = await self._connection.execute(sql.encode(), values or None)
            return await cursor.fetchall()

    async def named(self, query: str, search_path: str) -> list[tuple[int, str]] | None:
        """The relations that planning the query locks, with their names; None when it cannot be planned here."""
        async with self._my_turn():
            try:
                await self._connection.execute("BEGIN")
                await self._connection.execute(_SET_FOR_PLANNING, [search_path, _PLANNING_LOCK_TIMEOUT])
                await self._connection.execute(_LOCKED)
                # The extended protocol takes one statement, whatever a client may have sent.
                await self._connection.execute(f"PREPARE planned AS {query}".encode(), binary=True)
                cursor = await self._connection.execute(_LOCKED)
                return [(int(str(oid)), str(name)) for oid, name in await cursor.fetchall()]
            except psycopg.Error:
                # Temporary and uncommitted objects are the client's own; what else is wrong, PostgreSQL tells it.
                return None
            finally:
                await self._connection.execute("ROLLBACK")
                await self._connection.execute("DEALLOCATE ALL")

    async def rows_as(self, role: str, search_path: str, query: str, width: int) -> list[str]:
        """Ask a query as a role would, and return its rows as JSON arrays."""
        names = ", ".join(f"c{number}" for number in range(width))
        statement = f"SELECT jsonb_build_array({names})::text FROM (\n{query}\n) AS q ({names})"  # noqa: S608
        async with self._my_turn():
            try:
                await self._connection.execute("BEGIN READ ONLY")
                await self._connection.execute(
                    "SELECT set_config('role', %s, true), set_config('search_path', %s, true)", [role, search_path]
                )
                cursor = await self._connection.execute(statement.encode())
                return [str(row[0]) for row in await cursor.fetchall()]
            except psycopg.Error as error:
                raise StatementError(
                    error.diag.message_primary or str(error), error.diag.sqlstate or "XX000"
                ) from error
            finally:
                await self._connection.execute("ROLLBACK")

    async def close(self) -> None:
        """Disconnect, once nobody is in the middle of a statement: closed under one, libpq crashes."""
        self._closed = True
        async with self._turn:
            await self._connection.close()

    @asynccontextmanager
    async def _my_turn(self) -> AsyncIterator[None]:
        async with self._turn:
            if self._closed:
                raise psycopg.OperationalError("the server is being stopped")
            yield


class Server:
    """All sessions of the stand-in."""

    def __init__(self, socket: Path, conninfo: str, log: StatementLog, workers: int) -> None:
        self._socket = socket
        self._conninfo = conninfo
        self._log = log
        self._workers = workers
        self._sessions: set[asyncio.Task[None]] = set()
        self._exchanges: set[Exchange] = set()

    async def start(self, host: str, port: int) -> int:
        """Listen and return the port."""
        self._admin = AdminConnection(await self._connect())
        # Subscriptions ask again and again: that must hold up nobody else.
        self._looks = AdminConnection(await self._connect("subscriptions"))
        self._timeline = Timeline(self._admin)
        self._work = ProxyWork(self._admin, self._timeline, self._conninfo, self._workers)
        self._life = asyncio.create_task(live(self._conninfo))
        self._listener = await asyncio.start_server(self._accept, host, port)
        return int(self._listener.sockets[0].getsockname()[1])

    async def stop(self) -> None:
        """End all sessions and exports."""
        self._listener.close()
        self._work.stop()
        self._life.cancel()
        for task in self._sessions:
            task.cancel()
        await asyncio.gather(*self._sessions, return_exceptions=True)
        await self._admin.close()
        await self._looks.close()

    async def _connect(self, purpose: str = "") -> psycopg.AsyncConnection[tuple[object, ...]]:
        return await psycopg.AsyncConnection.connect(
            self._conninfo,
            autocommit=True,
            prepare_threshold=None,
            application_name=f"mz_local {purpose}".rstrip(),
        )

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._sessions.add(task)
        try:
            await self._serve(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError, TimeoutError):
            pass
        except asyncio.CancelledError:
            # Asked to by stop(); asyncio.streams would report it as an error otherwise.
            pass
        finally:
            self._sessions.discard(task)
            writer.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        async with asyncio.timeout(_STARTUP_SECONDS):
            code, body = await read_startup(reader)
            while code in (SSL_REQUEST, GSS_REQUEST):
                writer.write(b"N")
                await writer.drain()
                code, body = await read_startup(reader)
        upstream = await asyncio.open_unix_connection(str(self._socket))
        exchange: Exchange | None = None
        try:
            if code == CANCEL_REQUEST:
                self._cancel(int.from_bytes(body[:4], "big"))
                await _forward_cancel(upstream, body)
                return
            upstream[1].write(startup_message(code, body, DATABASE))
            user = dict(startup_parameters(body)).get("user", "")
            errors = ErrorTexts(self._admin, user)
            exchange = Exchange(upstream, writer, self._log, errors.rewrite)
            self._exchanges.add(exchange)
            await Session(reader, exchange, self._carry_out, self._timeline.enter, self._subscribe).run()
        finally:
            if exchange is not None:
                self._exchanges.discard(exchange)
            upstream[1].close()

    def _cancel(self, pid: int) -> None:
        """What a session waits for without PostgreSQL ends, too."""
        for exchange in self._exchanges:
            if exchange.pid == pid:
                exchange.cancelled.set()

    async def _subscribe(self, exchange: Exchange, record: Record, declared: Declare) -> Subscription:
        columns = await exchange.describe(record, declared.query)
        [[path]] = await exchange.query(record, "SELECT current_setting('search_path')")
        [[role]] = await exchange.query(record, "SELECT current_user")
        kinds = await self._admin.rows(
            "SELECT format_type(o, m) FROM unnest(%s::oid[], %s::int[]) WITH ORDINALITY c (o, m, place) ORDER BY place",
            [column.oid for column in columns],
            [column.modifier for column in columns],
        )
        typed = [(column.name, str(kind)) for column, [kind] in zip(columns, kinds, strict=True)]

        async def ask(query: str) -> list[str]:
            return await self._looks.rows_as(str(role), str(path), query, len(typed))

        return Subscription(declared, typed, ask)

    async def _carry_out(self, exchange: Exchange, record: Record, work: Work) -> str:
        if isinstance(work, CopyTo):
            return await self._work.copy(exchange, record, work)
        assert isinstance(work, Validate)
        return await self._work.validate(exchange, record, work.connection)


async def _forward_cancel(upstream: tuple[asyncio.StreamReader, asyncio.StreamWriter], body: bytes) -> None:
    reader, writer = upstream
    packet = CANCEL_REQUEST.to_bytes(4, "big") + body
    writer.write((len(packet) + 4).to_bytes(4, "big") + packet)
    await writer.drain()
    # PostgreSQL closes once the signal is on its way; the client waits for the same.
    async with asyncio.timeout(_STARTUP_SECONDS):
        await reader.read()
