"""Which relations a query reads, and which of them Materialize would read for it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from mz_orchestration.local.materialize.parsing import Parser
from mz_orchestration.local.materialize.tokens import Piece, split

_QUERY_WORDS = ("SELECT", "WITH", "VALUES", "TABLE", "(")


class Catalog(Protocol):
    """What is asked of the proxy's own connection."""

    async def rows(self, sql: str, *values: object) -> list[tuple[object, ...]]:
        """Run a statement and return its rows."""

    async def named(self, query: str, search_path: str) -> list[tuple[int, str]] | None:
        """The relations that planning the query locks, with their names; None when it cannot be planned there."""


@dataclass(frozen=True)
class Reads:
    """What a query reads.

    Attributes:
        relations: those it names.
        collections: what holds the rows of those, by oid: fully qualified names. Views are not among them.
        clock: whether it asks for the timestamp itself.
    """

    relations: frozenset[int]
    collections: Mapping[int, str]
    clock: bool


def query_of(piece: Piece) -> str | None:
    """The query in a statement that reads; None for every other statement."""
    parser = Parser(piece)
    if parser.accept("DECLARE"):
        while parser.peek() is not None:
            if parser.accept("FOR"):
                return parser.rest() or None
            parser.next()
        return None
    if parser.accept("COPY"):
        start = parser.peek(1)
        if not parser.looks_at("(") or start is None:
            return None
        parser.skip_group()
        return piece.text[start.start : piece.tokens[parser.at - 1].start]
    return piece.text if any(parser.looks_at(word) for word in _QUERY_WORDS) else None


async def reads(catalog: Catalog, query: str, search_path: str) -> Reads | None:
    """What a query reads; None when that cannot be told, as for temporary and uncommitted objects."""
    found = await catalog.named(query, search_path)
    if found is None:
        return None
    words = {token.name for piece in split(query) for token in piece.tokens}
    # Planning locks what a view is made of, too; only what the text names counts.
    relations = frozenset(oid for oid, name in found if name in words)
    return Reads(relations, await _collections(catalog, "collections", relations), "mz_now" in words)


async def timedomain(catalog: Catalog, relations: frozenset[int]) -> Mapping[int, str]:
    """The collections of all objects in the schemas of these relations."""
    return await _collections(catalog, "timedomain", relations)


async def _collections(catalog: Catalog, function: str, relations: frozenset[int]) -> Mapping[int, str]:
    if not relations:
        return {}
    rows: Sequence[tuple[object, ...]] = await catalog.rows(
        f"SELECT oid::bigint, name FROM mz_local.{function}(%s::oid[])",  # noqa: S608
        sorted(relations),
    )
    return {int(str(oid)): str(name) for oid, name in rows}
