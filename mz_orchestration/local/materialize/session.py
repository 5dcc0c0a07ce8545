"""One client connection: reads its messages and decides which reach PostgreSQL as they are."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import Any

from mz_orchestration.local.materialize import wire
from mz_orchestration.local.materialize.client_messages import ClientMessages
from mz_orchestration.local.materialize.errors import StatementError, not_supported
from mz_orchestration.local.materialize.exchange import (
    Exchange,
    Expect,
    Record,
    StatementFailed,
    simple_query,
)
from mz_orchestration.local.materialize.relations import query_of
from mz_orchestration.local.materialize.statements import (
    NOTHING,
    Rewrite,
    Treatment,
    Validate,
    Work,
    classify,
    needs_tokens,
    refuse,
)
from mz_orchestration.local.materialize.subscribe_grammar import CopySubscribe, Declare, Fetch
from mz_orchestration.local.materialize.subscription import Subscription
from mz_orchestration.local.materialize.tokens import Piece, split

_GOODBYE_SECONDS = 10.0
_ONLY_READ = "SUBSCRIBE in transactions must be the only read statement"

Worker = Callable[[Exchange, Record, Work], Awaitable[str]]
"""Carries out a statement and returns its tag; raises StatementError or StatementFailed."""


Enter = Callable[[Exchange, Record, str], Awaitable[None]]
"""Lets a query take part in the open transaction; raises the same."""


Subscribe = Callable[[Exchange, Record, Declare], Awaitable[Subscription]]
"""Opens a subscription; raises the same."""


@dataclass(frozen=True, slots=True)
class Prepared:
    """A prepared statement: the client's text, what is done with it, and whether values were sent beside it."""

    sql: str
    treatment: Treatment = None
    bound: bool = False

    def record(self) -> Record:
        """What the statement log will tell of it."""
        return Record(self.sql, bound=self.bound)


class Session:
    """The client's side of a connection whose other side is an :class:`Exchange`."""

    def __init__(
        self, reader: asyncio.StreamReader, exchange: Exchange, worker: Worker, enter: Enter, subscribe: Subscribe
    ) -> None:
        self._client = ClientMessages(reader, exchange)
        self._exchange = exchange
        self._worker = worker
        self._enter = enter
        self._subscribe = subscribe
        self._subscriptions: dict[str, Subscription] = {}
        self._began = False
        self._statements: dict[bytes, Prepared] = {}
        self._portals: dict[bytes, Prepared] = {}

    async def run(self) -> None:
        """Serve until either side closes."""
        pump = asyncio.create_task(self._exchange.pump())
        client = asyncio.create_task(self._serve())
        try:
            await asyncio.wait({pump, client}, return_when=asyncio.FIRST_COMPLETED)
            if not pump.done():
                await self._exchange.send(wire.TERMINATE)
                await asyncio.wait({pump}, timeout=_GOODBYE_SECONDS)
        except ConnectionError:
            pass
        finally:
            for task in (pump, client):
                task.cancel()
            await asyncio.gather(pump, client, return_exceptions=True)

    async def _serve(self) -> None:
        try:
            while (head := await self._client.next()) is not None:
                kind, body = head
                if kind == ord("X"):
                    return
                await self._handle(kind, body)
        except ConnectionError:
            return

    async def _handle(self, kind: int, body: bytes) -> None:
        letter = bytes((kind,))
        handler = _HANDLERS.get(letter)
        if handler is not None:
            await handler(self, body)
            return
        # Password messages, CopyDone, CopyFail and Flush have no answer of their own here.
        expects = {b"S": [Expect(b"Z")], b"F": [Expect(b"Z")]}.get(letter, [])
        await self._exchange.send(wire.message(letter, body), *expects)

    # The simple protocol

    async def _simple(self, body: bytes) -> None:
        text = wire.text_of(body[:-1])
        if not needs_tokens(text):
            if not await self._may_read(Record(text)):
                await self._exchange.send(wire.SYNC, Expect(b"Z"))
                return
            await self._exchange.send(wire.message(b"Q", body), simple_query([Record(text)], rewritten=False))
            return
        pieces = split(text)
        treatments = [await self._treatment(piece) for piece in pieces]
        if any(_is_work(treatment) for treatment in treatments) or await self._reads_in_transaction(pieces):
            await self._one_by_one(pieces, treatments)
            return
        records = []
        out = []
        at = 0
        for index, (piece, treatment) in enumerate(zip(pieces, treatments, strict=True)):
            record = Record(piece.text)
            if isinstance(treatment, Rewrite):
                rewrite = self._checked(treatment, pieces[:index])
                record.tag = rewrite.tag
                out += [text[at : piece.start], rewrite.sql]
                at = piece.end
            records.append(record)
        out.append(text[at:])
        rewritten = at > 0
        await self._exchange.send(
            wire.query("".join(out)) if rewritten else wire.message(b"Q", body),
            simple_query(records or [Record(text)], rewritten=rewritten),
        )

    async def _one_by_one(self, pieces: list[Piece], treatments: list[Treatment]) -> None:
        """Carry out the statements of one query through the extended protocol, whose Sync ends the transaction."""
        for index, (piece, treatment) in enumerate(zip(pieces, treatments, strict=True)):
            record = Record(piece.text)
            if treatment is None and not await self._may_read(record):
                break
            if isinstance(treatment, Fetch):
                if not await self._fetch(record, treatment):
                    break
                continue
            if treatment is not None and not isinstance(treatment, Rewrite):
                if not await self._work(record, treatment, None, pieces[:index]):
                    break
                continue
            sql = piece.text
            if isinstance(treatment, Rewrite):
                rewrite = self._checked(treatment, pieces[:index])
                sql, record.tag = rewrite.sql, rewrite.tag
            if not await self._piece(record, sql, rewritten=treatment is not None):
                break
        await self._exchange.send(wire.SYNC, Expect(b"Z"))

    async def _piece(self, record: Record, sql: str, *, rewritten: bool) -> bool:
        ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._exchange.copy_in.clear()
        await self._exchange.send(
            wire.parse(b"", sql) + wire.bind(b"", b"") + wire.describe(b"P", b"") + wire.execute(b"") + wire.FLUSH,
            Expect(b"1", deque([record]), rewritten=rewritten, hidden_types=b"1"),
            Expect(b"2", deque([record]), rewritten=rewritten, hidden_types=b"2"),
            Expect(b"Tn", deque([record]), rewritten=rewritten, hidden_types=b"n"),
            Expect(b"CI", deque([record]), rewritten=rewritten, ended=ended),
        )
        wants_data = asyncio.create_task(self._exchange.copy_in.wait())
        either: list[asyncio.Future[Any]] = [ended, wants_data]
        try:
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
            while not ended.done() and (head := await self._client.next()) is not None:
                kind, body = head
                # PostgreSQL took the earlier Flush for a part of the data.
                await self._exchange.send(wire.message(bytes((kind,)), body) + wire.FLUSH)
                if bytes((kind,)) in b"cf":
                    break
            await ended
        finally:
            wants_data.cancel()
        return await self._exchange.settle()

    # The extended protocol

    async def _parse(self, body: bytes) -> None:
        name, at = wire.cut(body)
        raw, at = wire.cut(body, at)
        text = wire.text_of(raw)
        treatment: Treatment = None
        if needs_tokens(text):
            pieces = split(text)
            treatment = await self._treatment(pieces[0]) if len(pieces) == 1 else None
            if isinstance(treatment, Declare | Fetch | CopySubscribe):
                treatment = refuse(not_supported("SUBSCRIBE in a prepared statement; send it without parameters"))
        self._statements[name] = Prepared(text, treatment)
        if treatment is None:
            data = wire.message(b"P", body)
        elif isinstance(treatment, Rewrite):
            data = wire.parse(name, treatment.sql, body[at:])
        else:
            data = wire.parse(name, NOTHING)
        record = Record(text)
        await self._exchange.send(data, Expect(b"1", deque([record]), rewritten=treatment is not None))

    async def _bind(self, body: bytes) -> None:
        portal, at = wire.cut(body)
        name, at = wire.cut(body, at)
        prepared = replace(self._statements.get(name, Prepared("")), bound=wire.bound_values(body, at) > 0)
        self._portals[portal] = prepared
        # What stands for work of the proxy takes no parameters; the work refuses them itself.
        data = wire.bind(portal, name) if _is_work(prepared.treatment) else wire.message(b"B", body)
        await self._exchange.send(data, Expect(b"2", deque([prepared.record()])))

    async def _describe(self, body: bytes) -> None:
        prepared = (self._statements if body[:1] == b"S" else self._portals).get(body[1:-1], Prepared(""))
        await self._exchange.send(wire.message(b"D", body), Expect(b"Tn", deque([prepared.record()])))

    async def _execute(self, body: bytes) -> None:
        portal, _ = wire.cut(body)
        prepared = self._portals.get(portal, Prepared(""))
        record = prepared.record()
        treatment = prepared.treatment
        if treatment is not None and not isinstance(treatment, Rewrite):
            await self._work(record, treatment, portal, [])
            return
        if isinstance(treatment, Rewrite):
            record.tag = treatment.tag
            checked = self._checked(treatment, [])
            if checked is not treatment:
                await self._run_own(record, checked.sql)
                return
            self._began = self._began or _begins(prepared.sql)
        elif not await self._may_read(record):
            return
        await self._exchange.send(
            wire.message(b"E", body),
            Expect(b"CIs", deque([record]), rewritten=treatment is not None),
        )

    async def _close(self, body: bytes) -> None:
        known = self._statements if body[:1] == b"S" else self._portals
        known.pop(body[1:-1], None)
        await self._exchange.send(wire.message(b"C", body), Expect(b"3"))

    # Transactions

    async def _in_transaction(self) -> bool:
        if self._began:
            # Its answer may still be on its way.
            self._began = not await self._exchange.settle()
        return self._exchange.in_transaction

    async def _may_read(self, record: Record) -> bool:
        """Let a query take part in the open transaction, if there is one and it is one; False when it was refused."""
        if _begins(record.sql):
            self._began = True
            return True
        if not await self._in_transaction():
            self._subscriptions.clear()
            return True
        pieces = split(record.sql)
        query = query_of(pieces[0]) if len(pieces) == 1 else None
        if query is None:
            return True
        if not await self._exchange.settle():
            return False
        try:
            if self._subscriptions:
                raise StatementError(_ONLY_READ, "25000")
            await self._enter(self._exchange, record, query)
        except StatementFailed:
            return False
        except StatementError as error:
            await self._run_own(record, refuse(error).sql)
            return False
        return True

    async def _reads_in_transaction(self, pieces: list[Piece]) -> bool:
        begins = [piece.tokens[0].keyword in _BEGIN for piece in pieces]
        self._began = self._began or any(begins)
        return (any(begins) or await self._in_transaction()) and any(query_of(piece) for piece in pieces)

    # Subscriptions

    async def _treatment(self, piece: Piece) -> Treatment:
        """What is done with a statement; a FETCH of an ordinary cursor is PostgreSQL's."""
        treatment = classify(piece)
        if isinstance(treatment, Fetch):
            if not await self._in_transaction():
                self._subscriptions.clear()
            return treatment if treatment.cursor in self._subscriptions else None
        return treatment

    async def _declare(self, record: Record, declared: Declare) -> str:
        if not await self._in_transaction():
            raise StatementError("DECLARE CURSOR can only be used in transaction blocks", "25P01")
        if self._exchange.reading is not None or self._subscriptions:
            raise StatementError(_ONLY_READ, "25000")
        self._subscriptions[declared.cursor] = await self._subscribe(self._exchange, record, declared)
        return "DECLARE CURSOR"

    async def _fetch(self, record: Record, fetch: Fetch) -> bool:
        """Let PostgreSQL return the rows that a subscription has."""
        if not await self._exchange.settle():
            return False
        self._exchange.cancelled.clear()
        try:
            async with self._client.watched():
                sql, count = await self._subscriptions[fetch.cursor].fetch(fetch, self._left)
        except StatementError as error:
            await self._run_own(record, refuse(error).sql)
            return False
        record.tag = f"FETCH {count}"
        return await self._piece(record, sql, rewritten=True)

    async def _copy_out(self, record: Record, declared: Declare) -> str:
        """Send what a subscription tells, until it ends or the client cancels it."""
        if self._exchange.reading is not None or self._subscriptions:
            raise StatementError(_ONLY_READ, "25000")
        subscription = await self._subscribe(self._exchange, record, declared)
        self._exchange.cancelled.clear()
        count = 0
        await self._exchange.tell(wire.copy_out(subscription.width))
        async with self._client.watched():
            async for line in subscription.lines(self._left):
                count += 1
                await self._exchange.tell(wire.message(b"d", line.encode()))
        await self._exchange.tell(wire.message(b"c"))
        return f"COPY {count}"

    def _left(self) -> str | None:
        if self._exchange.client_gone.is_set():
            return "terminating connection because of a lost client"
        return "canceling statement due to user request" if self._exchange.cancelled.is_set() else None

    # Statements the proxy carries out

    async def _work(self, record: Record, work: Work, portal: bytes | None, before: list[Piece]) -> bool:
        """Do the work of a statement, then let PostgreSQL complete or fail it."""
        if not await self._exchange.settle():
            return False
        try:
            if isinstance(work, Validate):
                self._check_place(work.fresh, before)
            if isinstance(work, Declare):
                record.tag = await self._declare(record, work)
            elif isinstance(work, CopySubscribe):
                record.tag = await self._copy_out(record, work.declared)
            else:
                async with self._client.watched():
                    record.tag = await self._worker(self._exchange, record, work)
        except StatementFailed:
            return False
        except StatementError as error:
            await self._run_own(record, refuse(error).sql)
            return False
        data = b""
        expects = []
        if portal is None:
            data = wire.parse(b"", NOTHING) + wire.bind(b"", b"")
            expects = [Expect(b"1", visible=False), Expect(b"2", visible=False)]
        expects.append(Expect(b"CIs", deque([record]), rewritten=True))
        await self._exchange.send(data + wire.execute(portal or b""), *expects)
        return await self._exchange.settle()

    async def _run_own(self, record: Record, sql: str) -> None:
        """Let a failing statement of the proxy's own stand for the client's."""
        try:
            await self._exchange.query(record, sql)
        except StatementFailed:
            return

    def _checked(self, rewrite: Rewrite, before: list[Piece]) -> Rewrite:
        try:
            self._check_place(rewrite.fresh, before)
        except StatementError as error:
            return refuse(error)
        return rewrite

    def _check_place(self, fresh: str | None, before: list[Piece]) -> None:
        """Refuse a statement that may not follow another one in a transaction."""
        harmless = {"BEGIN", "START", "COMMIT", "END", "SET", "SHOW", "RESET", "ROLLBACK"}
        follows = any(piece.tokens[0].keyword not in harmless for piece in before)
        if fresh is None or not (follows or (self._exchange.in_transaction and self._exchange.used)):
            return
        if fresh.startswith("SET"):
            raise StatementError("SET cluster cannot be called in an active transaction", "25001")
        raise StatementError(f"{fresh} cannot be run inside a transaction block", "25001")


def _begins(sql: str) -> bool:
    return sql.lstrip()[:5].upper() in _BEGIN


_BEGIN = ("BEGIN", "START")


def _is_work(treatment: Treatment) -> bool:
    return treatment is not None and not isinstance(treatment, Rewrite)


_HANDLERS: dict[bytes, Callable[[Session, bytes], Awaitable[None]]] = {
    b"Q": Session._simple,
    b"P": Session._parse,
    b"B": Session._bind,
    b"D": Session._describe,
    b"E": Session._execute,
    b"C": Session._close,
}
