"""What the proxy does with each statement: pass it on, replace it by one PostgreSQL knows, or carry it out."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from mz_orchestration.local.materialize import ddl, sink_ddl, source_ddl
from mz_orchestration.local.materialize.copy_grammar import CopyTo, parse_copy
from mz_orchestration.local.materialize.errors import StatementError, not_supported
from mz_orchestration.local.materialize.parsing import Parser
from mz_orchestration.local.materialize.subscribe_grammar import (
    CopySubscribe,
    Declare,
    Fetch,
    parse_copy_subscribe,
    parse_declare,
    parse_fetch,
)
from mz_orchestration.local.materialize.tokens import Piece, literal

# Session variables of Materialize, kept in custom settings of PostgreSQL called mz.<name>.
VARIABLES = frozenset(
    {
        "auto_route_catalog_queries",
        "cluster",
        "cluster_replica",
        "database",
        "emit_introspection_query_notice",
        "emit_plan_insights_notice",
        "emit_timestamp_notice",
        "emit_trace_id_notice",
        "max_query_result_size",
        "real_time_recency",
        "real_time_recency_timeout",
        "transaction_isolation",
        "welcome_message",
    }
)


@dataclass(frozen=True)
class Rewrite:
    """A statement replaced by another.

    Attributes:
        sql: what PostgreSQL gets.
        tag: the tag the client gets instead of PostgreSQL's own; None keeps that.
        fresh: the name of the statement, if it may not follow another statement in a transaction.
    """

    sql: str
    tag: str | None = None
    fresh: str | None = None


@dataclass(frozen=True)
class Validate:
    """``VALIDATE CONNECTION``, carried out by the proxy.

    Attributes:
        connection: the name of the connection.
        fresh: the name of the statement, which may not follow another statement in a transaction.
    """

    connection: tuple[str, ...]
    fresh: str = "VALIDATE CONNECTION"


Work = CopyTo | Validate | Declare | Fetch | CopySubscribe
Treatment = Rewrite | Work | None


def classify(piece: Piece) -> Treatment:
    """Decide what to do with one statement; None passes it on as it is."""
    handler = _HANDLERS.get(piece.tokens[0].keyword)
    if handler is None:
        return None
    try:
        return handler(piece)
    except StatementError as error:
        return refuse(error)


def needs_tokens(text: str) -> bool:
    """Whether the text can be anything but one statement that is passed on; saves tokenizing large ones."""
    first = _FIRST_WORD.match(text)
    return first is None or first[1].upper() in _HANDLERS or ";" in text.rstrip("; \t\r\n")


_FIRST_WORD = re.compile(r"\s*([A-Za-z_]+)")


def refuse(error: StatementError) -> Rewrite:
    """The statement that fails in PostgreSQL in just this way."""
    arguments = ", ".join(literal(text) for text in (error.message, error.code, error.detail, error.hint))
    return Rewrite(do(f"PERFORM mz_local.fail({arguments});"))


def do(body: str) -> str:
    """A statement that runs the PL/pgSQL statements and returns no rows."""
    return f"DO {literal(f'BEGIN {body} END')}"


NOTHING = "DO 'BEGIN END'"


def _copy(piece: Piece) -> Treatment:
    return parse_copy(piece) or parse_copy_subscribe(piece)


def _validate(piece: Piece) -> Treatment:
    parser = Parser(piece)
    parser.expect("VALIDATE", "CONNECTION")
    name = parser.qualified_name()
    parser.end()
    return Validate(name)


def _set(piece: Piece) -> Treatment:
    parser = Parser(piece)
    parser.expect("SET")
    if not (parser.accept("SESSION") or parser.accept("LOCAL")) and parser.looks_at("TRANSACTION"):
        return _isolation(piece)
    token = parser.peek()
    if token is None or token.name not in VARIABLES:
        return _isolation(piece)
    fresh = "SET cluster" if token.name == "cluster" else None
    return Rewrite(f"{piece.text[: token.start]}mz.{token.name}{piece.text[token.end :]}", fresh=fresh)


def _isolation(piece: Piece) -> Treatment:
    # PostgreSQL's repeatable read gives the one timestamp a transaction of Materialize has at every level.
    words = [token.keyword for token in piece.tokens]
    for i in range(len(words) - 2):
        if words[i : i + 2] == ["ISOLATION", "LEVEL"]:
            level = words[i + 2 : i + 4]
            length = 1 if level[0] == "SERIALIZABLE" else 2
            if level[:length] in _LEVELS:
                first, last = piece.tokens[i + 2], piece.tokens[i + 1 + length]
                return Rewrite(f"{piece.text[: first.start]}REPEATABLE READ{piece.text[last.end :]}")
    return None


_LEVELS = (["STRICT", "SERIALIZABLE"], ["SERIALIZABLE"], ["READ", "COMMITTED"], ["READ", "UNCOMMITTED"])


def _reset(piece: Piece) -> Treatment:
    parser = Parser(piece)
    parser.expect("RESET")
    token = parser.peek()
    if token is None or token.name not in VARIABLES:
        return None
    fresh = "SET cluster" if token.name == "cluster" else None
    return Rewrite(f"RESET mz.{token.name}", fresh=fresh)


_LISTINGS = {
    "CLUSTERS": (
        "SELECT c.name, (SELECT string_agg(r.name || ' (' || r.size || ')', ', ' ORDER BY r.name)"
        " FROM mz_catalog.mz_cluster_replicas r WHERE r.cluster_id = c.id) AS replicas, '' AS comment"
        " FROM mz_catalog.mz_clusters c ORDER BY 1"
    ),
    "CONNECTIONS": "SELECT name, type, '' AS comment FROM mz_catalog.mz_connections ORDER BY 1",
    "SECRETS": "SELECT name, '' AS comment FROM mz_catalog.mz_secrets ORDER BY 1",
    "SINKS": (
        "SELECT s.name, s.type, c.name AS cluster, '' AS comment FROM mz_catalog.mz_sinks s"
        " JOIN mz_catalog.mz_clusters c ON c.id = s.cluster_id ORDER BY 1"
    ),
    "SOURCES": (
        "SELECT s.name, s.type, c.name AS cluster, '' AS comment FROM mz_catalog.mz_sources s"
        " JOIN mz_catalog.mz_clusters c ON c.id = s.cluster_id ORDER BY 1"
    ),
    "MZ_VERSION": "SELECT mz_version() AS mz_version",
}


def _show(piece: Piece) -> Treatment:
    names = [token.name for token in piece.tokens[1:]]
    if names == ["transaction", "isolation", "level"]:
        names = ["transaction_isolation"]
    if len(names) != 1 or names[0] is None:
        return None
    if names[0].upper() in _LISTINGS:
        return Rewrite(_LISTINGS[names[0].upper()], tag="SHOW")
    if names[0] in VARIABLES:
        setting = literal(f"mz.{names[0]}")
        return Rewrite(f"SELECT current_setting({setting}, true) AS {names[0]}", tag="SHOW")
    return None


def _create(piece: Piece) -> Treatment:
    parser = Parser(piece)
    parser.expect("CREATE")
    if parser.accept("SECRET"):
        return Rewrite(do(ddl.create_secret(parser)), tag="CREATE SECRET", fresh="CREATE SECRET")
    if parser.accept("CONNECTION"):
        return Rewrite(do(ddl.create_connection(parser)), tag="CREATE CONNECTION", fresh="CREATE CONNECTION")
    if parser.accept("CLUSTER"):
        if parser.looks_at("REPLICA"):
            raise not_supported(piece.text)
        return Rewrite(do(ddl.create_cluster(parser)), tag="CREATE CLUSTER", fresh="CREATE CLUSTER")
    if parser.accept("SINK"):
        return Rewrite(do(sink_ddl.create_sink(parser)), tag="CREATE SINK", fresh="CREATE SINK")
    if parser.accept("SOURCE"):
        return Rewrite(do(source_ddl.create_source(parser)), tag="CREATE SOURCE", fresh="CREATE SOURCE")
    replace = parser.accept("OR", "REPLACE")
    if parser.accept("MATERIALIZED", "VIEW"):
        return Rewrite(do(ddl.create_materialized_view(parser, replace)), tag="CREATE MATERIALIZED VIEW")
    if any(parser.looks_at(*words) for words in _UNKNOWN_OBJECTS) or _is_source_table(piece):
        raise not_supported(piece.text)
    return None


_UNKNOWN_OBJECTS = (
    ("WEBHOOK",),
    ("NETWORK", "POLICY"),
    ("CONTINUAL", "TASK"),
    ("DEFAULT", "INDEX"),
)


def _is_source_table(piece: Piece) -> bool:
    words = [token.keyword for token in piece.tokens if token.depth == 0]
    return "TABLE" in words[:3] and any(words[i : i + 2] == ["FROM", "SOURCE"] for i in range(len(words)))


def _drop(piece: Piece) -> Treatment:
    parser = Parser(piece)
    parser.expect("DROP")
    for kind in ("SECRET", "CONNECTION", "SINK"):
        if parser.accept(kind):
            return Rewrite(do(ddl.drop_item(parser, kind.lower())), tag=f"DROP {kind}", fresh=f"DROP {kind}")
    if parser.accept("CLUSTER"):
        if parser.looks_at("REPLICA"):
            raise not_supported(piece.text)
        return Rewrite(do(ddl.drop_cluster(parser)), tag="DROP CLUSTER", fresh="DROP CLUSTER")
    if parser.accept("MATERIALIZED", "VIEW"):
        return Rewrite(do(ddl.drop_materialized_view(parser)), tag="DROP MATERIALIZED VIEW")
    if parser.accept("SOURCE"):
        return Rewrite(do(source_ddl.drop_source(parser)), tag="DROP SOURCE", fresh="DROP SOURCE")
    return None


def _alter(piece: Piece) -> Treatment:
    parser = Parser(piece)
    parser.expect("ALTER")
    if parser.accept("SECRET"):
        return Rewrite(do(ddl.alter_secret(parser)), tag="ALTER SECRET", fresh="ALTER SECRET")
    if parser.accept("CLUSTER"):
        return Rewrite(do(ddl.alter_cluster(parser)), tag="ALTER CLUSTER", fresh="ALTER CLUSTER")
    if parser.accept("SINK"):
        return Rewrite(do(sink_ddl.alter_sink(parser)), tag="ALTER SINK", fresh="ALTER SINK")
    if parser.looks_at("MATERIALIZED") or any(parser.looks_at(word) for word in ("CONNECTION", "SOURCE", "CLUSTER")):
        raise not_supported(piece.text)
    return None


def _subscribe(piece: Piece) -> Treatment:
    raise not_supported(piece.text)


def _declare(piece: Piece) -> Treatment:
    return parse_declare(piece)


def _fetch(piece: Piece) -> Treatment:
    return parse_fetch(piece)


def _grant(piece: Piece) -> Treatment:
    words = [token.keyword for token in piece.tokens]
    for i, word in enumerate(words[:-1]):
        if word == "ON" and words[i + 1] in ("CONNECTION", "SECRET", "CLUSTER", "SYSTEM"):
            raise not_supported(piece.text)
    return None


_HANDLERS: dict[str, Callable[[Piece], Treatment]] = {
    "COPY": _copy,
    "VALIDATE": _validate,
    "SET": _set,
    "RESET": _reset,
    "SHOW": _show,
    "BEGIN": _isolation,
    "START": _isolation,
    "CREATE": _create,
    "DROP": _drop,
    "ALTER": _alter,
    "SUBSCRIBE": _subscribe,
    "DECLARE": _declare,
    "FETCH": _fetch,
    "GRANT": _grant,
    "REVOKE": _grant,
}
