"""``SUBSCRIBE`` by ``DECLARE`` and ``FETCH`` and by ``COPY ... TO STDOUT``, as far as watching the catalog needs it."""

from __future__ import annotations

import re
from dataclasses import dataclass

from mz_orchestration.local.materialize.errors import StatementError, not_supported
from mz_orchestration.local.materialize.parsing import Parser
from mz_orchestration.local.materialize.tokens import Piece, identifier

_DURATION = re.compile(r"\s*(\d+(?:\.\d+)?)\s*(ms|milliseconds?|s|sec|secs|seconds?|m|min|minutes?)?\s*")


@dataclass(frozen=True)
class Declare:
    """A cursor for a subscription.

    Attributes:
        cursor: Its name.
        query: What is subscribed to.
        keys: Columns of ``ENVELOPE UPSERT``; empty for the plain envelope.
        progress: Whether progress is told.
        snapshot: Whether what is there is told first.
        up_to: Timestamp at which it ends; None for never.
    """

    cursor: str
    query: str
    keys: tuple[str, ...] = ()
    progress: bool = False
    snapshot: bool = True
    up_to: int | None = None


@dataclass(frozen=True)
class CopySubscribe:
    """``COPY (SUBSCRIBE ...) TO STDOUT``.

    Attributes:
        declared: The subscription; its cursor has no name.
    """

    declared: Declare


@dataclass(frozen=True)
class Fetch:
    """``FETCH`` of a cursor that may be one for a subscription.

    Attributes:
        cursor: Its name.
        limit: So many rows at most; None for all there are.
        timeout: Seconds; None waits for the first row.
    """

    cursor: str
    limit: int | None = None
    timeout: float | None = None


def parse_declare(piece: Piece) -> Declare | None:
    """Read a ``DECLARE``; None if it is for a query."""
    parser = Parser(piece)
    parser.expect("DECLARE")
    cursor = parser.identifier()
    for words in (("NO", "SCROLL"), ("SCROLL",)):
        if parser.accept(*words):
            break
    if not parser.accept("CURSOR"):
        return None
    for words in (("WITHOUT", "HOLD"), ("WITH", "HOLD")):
        if parser.accept(*words):
            break
    if not parser.accept("FOR", "SUBSCRIBE"):
        return None
    declared = _subscription(parser, cursor)
    parser.end()
    return declared


def parse_copy_subscribe(piece: Piece) -> CopySubscribe | None:
    """Read a ``COPY`` that has been checked; None if it is not of a subscription to the client."""
    parser = Parser(piece)
    parser.expect("COPY")
    if not parser.accept("(", "SUBSCRIBE"):
        return None
    declared = _subscription(parser, "")
    parser.expect(")", "TO")
    if not parser.accept("STDOUT"):
        return None
    if parser.peek() is not None:
        parser.accept("WITH")
        if not any(parser.accept("(", "FORMAT", *words, ")") for words in (("TEXT",), ("=", "TEXT"))):
            raise not_supported(piece.text)
    return CopySubscribe(declared)


def _subscription(parser: Parser, cursor: str) -> Declare:
    parser.accept("TO")
    query = _query(parser)
    keys: tuple[str, ...] = ()
    if parser.accept("ENVELOPE"):
        if not parser.accept("UPSERT"):
            raise not_supported(parser.text)
        parser.expect("(", "KEY")
        keys = _columns(parser)
        parser.expect(")")
    if parser.accept("WITHIN"):
        raise not_supported(parser.text)
    options = _options(parser)
    up_to: int | None = None
    if parser.looks_at("AS", "OF"):
        raise not_supported("SUBSCRIBE ... AS OF; nothing of the past is kept")
    if parser.accept("UP", "TO"):
        token = parser.next()
        if token is None or not token.text.isdigit():
            parser.fail("a timestamp")
        up_to = int(token.text)
    return Declare(cursor, query, keys, options.get("PROGRESS", False), options.get("SNAPSHOT", True), up_to)


def parse_fetch(piece: Piece) -> Fetch | None:
    """Read a ``FETCH`` forward; None if it is another kind, which cursors for queries have only."""
    parser = Parser(piece)
    parser.expect("FETCH")
    parser.accept("FORWARD")
    limit: int | None = 1
    token = parser.peek()
    if parser.accept("ALL"):
        limit = None
    elif token is not None and token.text.isdigit():
        limit = int(token.text)
        parser.next()
    if not parser.accept("FROM"):
        parser.accept("IN")
    token = parser.peek()
    if token is None or token.name is None:
        return None
    cursor = parser.identifier()
    timeout: float | None = None
    if parser.accept("WITH"):
        parser.expect("(", "TIMEOUT")
        parser.accept("=")
        timeout = _seconds(parser.string())
        parser.expect(")")
    return Fetch(cursor, limit, timeout) if parser.peek() is None else None


def _query(parser: Parser) -> str:
    opening = parser.peek()
    if opening is not None and opening.text == "(":
        parser.skip_group()
        return parser.text[opening.end : parser.tokens[parser.at - 1].start]
    name = ".".join(identifier(part) for part in parser.qualified_name())
    return f"SELECT * FROM {name}"  # noqa: S608


def _columns(parser: Parser) -> tuple[str, ...]:
    parser.expect("(")
    names = [parser.identifier()]
    while parser.accept(","):
        names.append(parser.identifier())
    parser.expect(")")
    return tuple(names)


def _options(parser: Parser) -> dict[str, bool]:
    found: dict[str, bool] = {}
    if not parser.accept("WITH"):
        return found
    parser.expect("(")
    while not parser.accept(")"):
        name = next((word for word in ("PROGRESS", "SNAPSHOT") if parser.accept(word)), None)
        if name is None:
            parser.fail("one of PROGRESS or SNAPSHOT")
        parser.accept("=")
        value = not parser.accept("FALSE")
        if value:
            parser.accept("TRUE")
        found[name] = value
        if not parser.accept(",") and not parser.looks_at(")"):
            parser.fail("right parenthesis")
    return found


def _seconds(text: str) -> float:
    found = _DURATION.fullmatch(text)
    if found is None:
        raise StatementError(f"invalid TIMEOUT option value: invalid input syntax for type interval: {text!r}")
    unit = found[2] or "s"
    factor = 0.001 if unit.startswith(("ms", "milli")) else 60.0 if unit.startswith("m") else 1.0
    return float(found[1]) * factor
