"""One session's conversation with PostgreSQL: what was sent, which answers are awaited, and who gets to see them.

Nothing of the protocol's state is invented. The proxy may add messages of its own, whose answers it keeps, and may
replace a statement, whose tag it then rewrites; transaction status, skipping after an error and ReadyForQuery are
always PostgreSQL's.
"""

from __future__ import annotations

import asyncio
import itertools
import time
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field

from mz_orchestration.local.materialize import wire
from mz_orchestration.local.materialize.reading import ReadTransaction
from mz_orchestration.local.statement_log import Outcome, StatementLog

_CHUNK = 1 << 18
_DATA = frozenset(b"Dd")
# Where an error happened in PostgreSQL says nothing about a statement the client did not send.
_OWN_POSITIONS = frozenset("PpqWFLR")
_READS_NOTHING = ("BEGIN", "START TRANSACTION", "SET", "SHOW", "RESET", "DEALLOCATE", "DISCARD")


class StatementFailed(Exception):
    """PostgreSQL refused a message the proxy added; the client has got the error."""


@dataclass(slots=True)
class Record:
    """A statement that will get its line in the statement log.

    Attributes:
        sql: what the client sent.
        tag: the tag it gets instead of PostgreSQL's own.
        bound: whether the client sent values beside the text.
        started: when it came, by the monotonic clock.
    """

    sql: str
    tag: str | None = None
    bound: bool = False
    started: float = field(default_factory=time.monotonic)


@dataclass(slots=True)
class Reply:
    """What came back for messages of the proxy."""

    done: asyncio.Future[None]
    rows: list[list[str | None]] = field(default_factory=list)
    columns: list[wire.Column] = field(default_factory=list)


@dataclass(slots=True)
class Expect:
    """An answer that will come.

    Attributes:
        ends: the types of message of which one ends the answer.
        records: the statements it may complete, in order.
        visible: whether the client gets it.
        rewritten: whether the statement is not the client's own text.
        hidden_types: types of message the client does not get although the rest is visible.
        reply: where answers to the proxy's own messages go.
        last: whether it is the last answer of that reply.
        ended: set when the answer has come or never will.
    """

    ends: bytes
    records: deque[Record] = field(default_factory=deque)
    visible: bool = True
    rewritten: bool = False
    hidden_types: bytes = b""
    reply: Reply | None = None
    last: bool = False
    ended: asyncio.Future[None] | None = None


ErrorRewriter = Callable[[dict[str, str]], Awaitable[dict[str, str]]]


class Exchange:
    """Sends to PostgreSQL, and forwards its answers to the client as the list of expected ones says."""

    def __init__(
        self,
        postgres: tuple[asyncio.StreamReader, asyncio.StreamWriter],
        client: asyncio.StreamWriter,
        log: StatementLog,
        rewrite_error: ErrorRewriter,
    ) -> None:
        self._reader, self._writer = postgres
        self._client = client
        self._client_lost = False
        self._log = log
        self._rewrite_error = rewrite_error
        self._expected: deque[Expect] = deque([Expect(ends=b"Z")])
        self._skipping = False
        self._idle: asyncio.Future[None] | None = None
        self._names = itertools.count(1)
        self.copy_in = asyncio.Event()
        self.client_gone = asyncio.Event()
        self.cancelled = asyncio.Event()
        self.pid = 0
        self.in_transaction = False
        self.used = False
        self.nested = False
        self.reading: ReadTransaction | None = None

    # Sending

    async def send(self, data: bytes | bytearray, *expects: Expect) -> None:
        """Send messages of which each answer is described."""
        for expect in expects:
            self._expect(expect)
        self._writer.write(data)
        await self._writer.drain()

    def _expect(self, expect: Expect) -> None:
        if expect.ends == b"Z":
            self._skipping = False
        elif self._skipping:
            # PostgreSQL discards everything up to the next Sync.
            self._finish(expect)
            return
        self._expected.append(expect)

    async def settle(self) -> bool:
        """Wait until PostgreSQL has answered all that was sent; False when it skips to the next Sync."""
        if self._expected:
            self._idle = asyncio.get_running_loop().create_future()
            await self.send(wire.FLUSH)
            await self._idle
        return not self._skipping

    async def query(self, record: Record, sql: str, *values: str) -> list[list[str | None]]:
        """Run a statement of the proxy's own in the client's session and return its rows.

        Raises:
            StatementFailed: it failed; the client has received the error as that of its statement.
        """
        name = self._name()
        hidden, reply = self._reply(record)
        data = wire.parse(name, sql) + wire.bind(name, name, values) + wire.execute(name)
        data += wire.close(b"P", name) + wire.close(b"S", name) + wire.FLUSH
        expects = [hidden(b"1"), hidden(b"2"), hidden(b"CIs"), hidden(b"3"), hidden(b"3", last=True)]
        await self.send(data, *expects)
        await reply.done
        return reply.rows

    async def describe(self, record: Record, sql: str) -> list[wire.Column]:
        """Plan a statement in the client's session and return the columns of its result.

        Raises:
            StatementFailed: it failed; the client has received the error as that of its statement.
        """
        name = self._name()
        hidden, reply = self._reply(record)
        data = wire.parse(name, sql) + wire.describe(b"S", name) + wire.close(b"S", name) + wire.FLUSH
        await self.send(data, hidden(b"1"), hidden(b"Tn"), hidden(b"3", last=True))
        await reply.done
        return reply.columns

    def _name(self) -> str:
        return f"mz_local_{next(self._names)}"

    def _reply(self, record: Record) -> tuple[Callable[..., Expect], Reply]:
        reply = Reply(asyncio.get_running_loop().create_future())

        def hidden(ends: bytes, *, last: bool = False) -> Expect:
            return Expect(ends, deque([record]), visible=False, rewritten=True, reply=reply, last=last)

        return hidden, reply

    # Receiving

    async def pump(self) -> None:
        """Handle PostgreSQL's answers until it closes the connection."""
        try:
            await self._pump()
        finally:
            self._abandon()

    async def _pump(self) -> None:
        buffer = bytearray()
        while chunk := await self._reader.read(_CHUNK):
            buffer += chunk
            at = kept = 0
            out = bytearray()
            while len(buffer) - at >= 5:
                end = at + 1 + int.from_bytes(buffer[at + 1 : at + 5], "big")
                if end > len(buffer):
                    break
                kind = buffer[at]
                if not (kind in _DATA and self._expected and self._expected[0].visible):
                    replaced = await self._handle(kind, bytes(buffer[at + 5 : end]))
                    if replaced is not None:
                        out += buffer[kept:at]
                        out += replaced
                        kept = end
                at = end
            out += buffer[kept:at]
            del buffer[:at]
            await self._to_client(out)
            self._wake()

    async def tell(self, message: bytes) -> None:
        """Send the client a message that is not PostgreSQL's; nothing of that may be on its way."""
        await self._to_client(bytearray(message))

    async def _to_client(self, data: bytearray) -> None:
        if not data or self._client_lost:
            return
        try:
            self._client.write(data)
            await self._client.drain()
        except ConnectionError:
            # A lost client does not stop what its statement began.
            self._client_lost = True
            self.client_gone.set()

    def _wake(self) -> None:
        if self._idle is not None and not self._expected:
            if not self._idle.done():
                self._idle.set_result(None)
            self._idle = None

    async def _handle(self, kind: int, body: bytes) -> bytes | None:
        """What the client gets instead of this message; None for the message itself."""
        letter = bytes((kind,))
        head = self._expected[0] if self._expected else None
        if letter in b"AS":
            return None
        if letter == b"N":
            return b"" if head is not None and not head.visible else None
        if letter == b"K":
            self.pid = int.from_bytes(body[:4], "big")
            return None
        if letter == b"E":
            return await self._handle_error(head, body)
        if head is None:
            return None
        if letter == b"G":
            self.copy_in.set()
        if head.reply is not None:
            if letter == b"D":
                head.reply.rows.append(wire.data_row(body))
            elif letter == b"T":
                head.reply.columns = wire.row_description(body)
        replaced = None if head.visible and letter not in head.hidden_types else b""
        if letter in b"CI" and head.visible and head.records:
            replaced = self._complete(head.records.popleft(), letter, body) or replaced
        if letter in head.ends:
            self._expected.popleft()
            self._finish(head)
        if letter == b"Z" and body == b"I":
            self._leave_transaction()
        return replaced

    def _complete(self, record: Record, letter: bytes, body: bytes) -> bytes | None:
        tag = wire.text_of(body[:-1]) if letter == b"C" else ""
        shown = record.tag or tag
        self._write_log(record, "ok", tag=shown)
        if shown.startswith(("BEGIN", "START TRANSACTION")):
            self._leave_transaction()
            self.in_transaction = True
        elif shown.startswith(("COMMIT", "ROLLBACK")) and not shown.startswith("ROLLBACK TO"):
            self._leave_transaction()
        elif shown == "SAVEPOINT":
            self.nested = True
        elif not shown.startswith(_READS_NOTHING):
            self.used = True
        return wire.message(b"C", wire.cstring(record.tag)) if record.tag and letter == b"C" else None

    def _leave_transaction(self) -> None:
        self.in_transaction = self.used = self.nested = False
        self.reading = None

    async def _handle_error(self, head: Expect | None, body: bytes) -> bytes:
        fields = wire.error_fields(body)
        if head is not None and head.rewritten:
            fields = {key: value for key, value in fields.items() if value and key not in _OWN_POSITIONS}
        fields = await self._rewrite_error(fields)
        if head is not None and head.records:
            cancelled = fields.get("C") == "57014" and "user request" in fields.get("M", "")
            self._write_log(
                head.records.popleft(),
                "cancelled" if cancelled else "error",
                code=fields.get("C"),
                error=fields.get("M"),
            )
            head.records.clear()
        if head is not None and head.ends != b"Z":
            while self._expected and self._expected[0].ends != b"Z":
                self._finish(self._expected.popleft(), failed=True)
            self._skipping = not self._expected
        return wire.message(b"E", wire.error_body(fields))

    def _finish(self, expect: Expect, *, failed: bool = False) -> None:
        if expect.ended is not None and not expect.ended.done():
            expect.ended.set_result(None)
        if expect.reply is None or expect.reply.done.done():
            return
        if failed or self._skipping:
            expect.reply.done.set_exception(StatementFailed())
        elif expect.last:
            expect.reply.done.set_result(None)

    def _abandon(self) -> None:
        self._skipping = True
        self._leave_transaction()
        while self._expected:
            self._finish(self._expected.popleft(), failed=True)
        self._wake()

    def _write_log(
        self,
        record: Record,
        outcome: Outcome,
        *,
        tag: str | None = None,
        code: str | None = None,
        error: str | None = None,
    ) -> None:
        self._log.append(
            record.sql,
            session=str(self.pid),
            outcome=outcome,
            tag=tag,
            code=code,
            error=error,
            seconds=time.monotonic() - record.started,
            bound=record.bound,
        )


def simple_query(records: Sequence[Record], *, rewritten: bool) -> Expect:
    """The answer to a simple query."""
    return Expect(b"Z", deque(records), rewritten=rewritten)
