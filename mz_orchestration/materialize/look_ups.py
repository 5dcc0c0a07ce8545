"""The small statements around a COPY: clusters, connections, sessions."""

from __future__ import annotations

from datetime import datetime

from psycopg import sql

from mz_orchestration.materialize.names import parse_object_name


def use_cluster(name: str) -> sql.Composed:
    """Makes the session use a cluster; any name is taken."""
    return sql.SQL("SET cluster = {}").format(sql.Identifier(name))


def count_clusters(name: str) -> sql.Composed:
    """Asks whether there is a cluster of that name."""
    return sql.SQL("SELECT count(*) FROM mz_catalog.mz_clusters WHERE name = {}").format(sql.Literal(name))


def connection_types(name: str) -> sql.Composed:
    """Asks for the types of the connections of that name."""
    last = parse_object_name(name)[-1]
    return sql.SQL("SELECT type FROM mz_catalog.mz_connections WHERE name = {}").format(sql.Literal(last))


def count_sessions(pid: int, before: datetime) -> sql.Composed:
    """Asks whether a session is still there that connected before a moment; ids come round again after a restart."""
    return sql.SQL(
        "SELECT count(*) FROM mz_internal.mz_sessions WHERE connection_id::bigint = {} AND connected_at <= {}"
    ).format(sql.Literal(pid), sql.Literal(before))


def cancel_backend(pid: int) -> sql.Composed:
    """Cancels what another session is running."""
    return sql.SQL("SELECT pg_cancel_backend({})").format(sql.Literal(pid))
